// What a run's log tells: curves by epoch, and what the run was given.
#include <algorithm>
#include <set>

#include "kernels/core/error.h"
#include "runtime/json_text.h"
#include "trainer/losses.h"
#include "trainer/report/sections.h"

namespace duet::report {
namespace {

std::string tile(const std::string& name, const std::string& value) {
  return "<div><dt>" + escaped(name) + "</dt><dd>" + escaped(value) + "</dd></div>";
}

// An entry a member: its name and its value as JSON writes it.
std::vector<Cells> rows_of(const nlohmann::ordered_json& object) {
  std::vector<Cells> rows;
  for (const auto& [name, value] : object.items())
    rows.push_back({name, value.is_string() ? value.get<std::string>()
                                            : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)});
  return rows;
}

}  // namespace

bool tells(const std::vector<double>& values) {
  return std::ranges::any_of(values, [](double value) { return std::isfinite(value) && value != 0; });
}

std::vector<Series> map_series(const RunHistory& history, const std::array<std::string, 2>& directions) {
  std::set<std::string> splits;
  for (const nlohmann::json& line : history.evaluations) splits.insert(split_of(line));
  std::vector<Series> all;
  for (const std::string& split : splits) {
    std::vector<nlohmann::json> lines;
    for (const nlohmann::json& line : history.evaluations)
      if (split_of(line) == split) lines.push_back(line);
    std::ranges::stable_sort(lines, {}, [](const nlohmann::json& line) { return value_at(line, "epoch"); });
    const std::string ending = splits.size() > 1 ? ", " + split : "";
    const std::vector<double> epochs = RunHistory::values(lines, "epoch");
    all.push_back({"mean of both" + ending, epochs, RunHistory::values(lines, "map/mean")});
    for (size_t k = 0; k < directions.size(); ++k)
      all.push_back({directions[k] + ending, epochs, RunHistory::values(lines, std::string("map/") + kDirections[k])});
  }
  return all;
}

Section training_section(const RunPage& page, nlohmann::ordered_json& data) {
  const RunHistory& history = page.history;
  const std::vector<double> epochs = RunHistory::values(history.epochs, "epoch");
  nlohmann::ordered_json& plotted = data["training"] = {{"epoch", epochs}};
  const auto series = [&](const std::string& key, const std::string& name) {
    Series made{name, epochs, RunHistory::values(history.epochs, key)};
    plotted[key] = made.y;
    return made;
  };
  std::vector<Series> terms;
  const Series total = series("loss", "loss");
  for (const LossName& name : kLossNames) {
    if (name.value == &Losses::total) continue;
    Series term = series(name.key, name.word);
    if (tells(term.y)) terms.push_back(std::move(term));
  }
  std::vector<Series> shares = {series("ratio", "annotated ratio r"), series("rho", "rho")};
  Series concord = series("concord", "concord");
  if (tells(concord.y)) shares.push_back(std::move(concord));

  std::string content = "<div class=\"grid\">\n";
  if (history.epochs.empty()) {
    content += paragraph("No epoch has ended.");
  } else {
    content += line_chart("Loss", {"epoch", "weighted total", 0}, {total});
    if (!terms.empty()) content += line_chart("Terms of the loss, before their weights", {"epoch", "loss", 0}, terms);
    content += line_chart("Learning rate", {"epoch", "learning rate", 0}, {series("learning_rate", "learning rate")});
    content += line_chart("Schedules and concord", {"epoch", "share", 0, 1}, shares);
    const Series weight = series("pair_weight", "weight of the pair term");
    if (tells(weight.y)) content += line_chart("Weight of the pair term", {"epoch", "weight", 0}, {weight});
  }
  const std::vector<Series> maps = map_series(history, {page.direction(0), page.direction(1)});
  nlohmann::ordered_json& evaluations = plotted["map"] = nlohmann::ordered_json::array();
  for (const nlohmann::json& line : history.evaluations)
    evaluations.push_back({{"epoch", line.value("epoch", nlohmann::json())},
                           {"split", split_of(line)},
                           {"a_to_v", value_at(line, "map/a_to_v")},
                           {"v_to_a", value_at(line, "map/v_to_a")}});
  if (!maps.empty()) content += line_chart("Mean average precision", {"epoch", "MAP"}, maps);
  content += "</div>\n";
  for (const nlohmann::json& line : history.resumed) {
    const std::optional<int64_t> step = whole_number(line.value("step", nlohmann::json()));
    for (const nlohmann::json& change : line["resumed"])
      if (change.is_string())
        content += paragraph((step ? text("From step ", *step, " on: ") : "") + change.get<std::string>());
  }
  return {"training", "Training", content};
}

std::string tiles(const RunPage& page) {
  std::string out = "<dl class=\"tiles\">";
  const RunHistory& history = page.history;
  // Of the split that the page shows; else what the log says.
  nlohmann::json last;
  if (page.test)
    last = to_json(page.test->evaluation);
  else if (const nlohmann::json* const logged = history.last_evaluation())
    last = *logged;
  const auto figure_of = [&](const std::string& name, const std::string& path) {
    if (!last.is_null()) out += tile(name, fixed_text(value_at(last, path), 3));
  };
  figure_of("MAP, mean", "map/mean");
  figure_of("MAP " + page.direction(0), "map/a_to_v");
  figure_of("MAP " + page.direction(1), "map/v_to_a");
  figure_of("recall at 1, mean", "recall/1/mean");
  out += tile("epochs", text(history.epochs.size(), " of ", history.config.epochs));
  if (!history.epochs.empty()) out += tile("seconds", fixed_text(history.seconds(), 1));
  return out + "</dl>\n";
}

Section setup_section(const RunPage& page) {
  const RunHistory& history = page.history;
  const nlohmann::ordered_json config = to_json(history.config), defaults = to_json(Config());
  nlohmann::ordered_json changed = nlohmann::ordered_json::object();
  for (const auto& [name, value] : config.items())
    if (defaults.at(name) != value) changed[name] = value;
  std::string content = "<h3>Configuration</h3>\n";
  if (changed.empty())
    content += paragraph("Every key is at its default.");
  else
    content += table("keys that are not at their default", {"key", "value"}, rows_of(changed));
  content += details("every key", table("configuration", {"key", "value"}, rows_of(config)));

  const DataFacts& facts = page.data;
  std::vector<Cells> data = {{"data", facts.name},
                             {"training pairs", text(facts.train_rows, ", ", facts.labelled, " labelled")},
                             {"test pairs", std::to_string(facts.test_rows)},
                             {"classes", std::to_string(facts.classes)}};
  for (size_t side = 0; side < page.modalities.size(); ++side)
    data.push_back({page.modalities[side], text(facts.widths[side], " columns; ", facts.scaling[side])});
  content += "<h3>Data</h3>\n" + table("data", {"", "value"}, data);

  content += "<h3>Machine and time</h3>\n";
  std::vector<Cells> machine = rows_of(history.machine);
  if (!history.epochs.empty()) {
    const double seconds = history.seconds(), steps = value_at(history.epochs.back(), "step");
    machine.push_back({"seconds", fixed_text(seconds, 1)});
    machine.push_back({"steps", number_text(steps, 12)});
    if (seconds > 0) machine.push_back({"steps a second", number_text(steps / seconds)});
  }
  return {"setup", "Configuration, data, machine", content + table("machine and time", {"", "value"}, machine)};
}

}  // namespace duet::report
