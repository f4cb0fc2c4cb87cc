#include "trainer/report/compare.h"

#include <algorithm>
#include <set>

#include "kernels/core/error.h"
#include "runtime/printable.h"
#include "trainer/checkpoint.h"
#include "trainer/format.h"
#include "trainer/report.h"
#include "trainer/report/html.h"
#include "trainer/report/sections.h"
#include "trainer/text_table.h"

namespace duet::report {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOtherData = "* of other data than the first run: its figures say nothing beside the others'";

nlohmann::json checksums(const fs::path& run) {
  try {
    std::vector<std::string> ignored;
    if (const std::optional<Checkpoint> checkpoint = CheckpointFolder(run).newest(ignored))
      return checkpoint->facts.data;
  } catch (const UsageError&) {  // damaged, or of a newer program: then the path says which data it was
  }
  return nullptr;
}

// By the values of the test split where both are known and scaled alike, else by the path and what is known of labels.
bool same_data(const ComparedRun& a, const ComparedRun& b) {
  const Config &x = a.history.config, &y = b.history.config;
  if (a.data.is_null() || b.data.is_null()) return x.data == y.data && x.map == y.map;
  const bool scaled_alike = x.modalities == y.modalities && x.scaling_a == y.scaling_a && x.scaling_v == y.scaling_v &&
                            x.input_limit == y.input_limit && x.pool == y.pool && x.validation == y.validation &&
                            (x.validation == 0 || (x.seed == y.seed && x.labels == y.labels));
  if (!scaled_alike && (x.data != y.data || x.map != y.map)) return false;
  for (const auto& [part, checksum] : a.data.items())
    if (part.starts_with("test ") &&
        (scaled_alike || part == "test labels" || part == "test label sets" || part == "test groups") &&
        (!b.data.contains(part) || b.data[part] != checksum))
      return false;
  return true;
}

// What the columns of the first table say already, and what says nothing of the method.
bool stands_elsewhere(const std::string& key) {
  for (const char* each : {"method", "labels", "seed", "epochs", "data", "data_memory", "threads"})
    if (key == each) return true;
  return false;
}

std::array<std::string, 2> directions(const std::vector<ComparedRun>& runs) {
  const std::vector<std::string>& first = runs.front().history.config.modalities;
  const bool alike = first.size() == 2 && std::ranges::all_of(runs, [&](const ComparedRun& run) {
                       return run.history.config.modalities == first;
                     });
  const std::string a = alike ? first[0] : "A", v = alike ? first[1] : "V";
  return {a + " to " + v, v + " to " + a};
}

std::string marked(const ComparedRun& run) { return printable(run.name) + (run.other_data ? " *" : ""); }

std::vector<Cells> run_rows(const std::vector<ComparedRun>& runs) {
  const auto [a_to_v, v_to_a] = directions(runs);
  std::vector<Cells> rows = {
      {"run", "method", "labels", "seed", "epochs", "MAP " + a_to_v, "MAP " + v_to_a, "mean", "R@1", "seconds"}};
  for (const ComparedRun& run : runs) {
    const RunHistory& history = run.history;
    const Config& config = history.config;
    const auto done = std::ssize(history.epochs);
    Cells row = {marked(run), config.method, number_text(config.labels), std::to_string(config.seed),
                 done == config.epochs ? std::to_string(done) : text(done, " of ", config.epochs)};
    const nlohmann::json* const last = history.last_evaluation();
    for (const char* path : {"map/a_to_v", "map/v_to_a", "map/mean", "recall/1/mean"})
      row.push_back(last ? fixed_text(value_at(*last, path), 3) : "-");
    row.push_back(fixed_text(history.seconds(), 1));
    rows.push_back(std::move(row));
  }
  return rows;
}

// None where no key differs.
std::vector<Cells> key_rows(const std::vector<ComparedRun>& runs) {
  std::vector<nlohmann::ordered_json> configs;
  std::vector<Cells> rows = {{"key"}};
  for (const ComparedRun& run : runs) {
    configs.push_back(to_json(run.history.config));
    rows[0].push_back(marked(run));
  }
  for (const ConfigKey& key : config_keys()) {
    if (stands_elsewhere(key.name)) continue;
    Cells row = {key.name};
    std::set<std::string> values;
    for (const nlohmann::ordered_json& config : configs) {
      row.push_back(shown(config.at(key.name).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
      values.insert(row.back());
    }
    if (values.size() > 1) rows.push_back(std::move(row));
  }
  return rows.size() > 1 ? rows : std::vector<Cells>();
}

bool any_other(const std::vector<ComparedRun>& runs) { return std::ranges::any_of(runs, &ComparedRun::other_data); }

std::string html_table(const std::string& label, const std::vector<Cells>& rows) {
  return table(label, rows.front(), {rows.begin() + 1, rows.end()});
}

}  // namespace

std::vector<ComparedRun> read_runs(const std::vector<fs::path>& runs) {
  std::vector<ComparedRun> out;
  for (const fs::path& run : runs) {
    out.push_back({run.string(), read_history(run), checksums(run), false});
    out.back().other_data = !same_data(out.front(), out.back());
  }
  return out;
}

std::string comparison_text(const std::vector<ComparedRun>& runs) {
  std::string out = text_table(run_rows(runs));
  if (any_other(runs)) out += std::string(kOtherData) + '\n';
  const std::vector<Cells> keys = key_rows(runs);
  if (!keys.empty()) out += '\n' + text_table(keys);
  return out;
}

std::string comparison_page(const std::vector<ComparedRun>& runs) {
  std::vector<Series> maps, losses;
  nlohmann::ordered_json data = {{kFormatKey, kReportFormat}};
  nlohmann::ordered_json& plotted = data["runs"] = nlohmann::ordered_json::array();
  for (const ComparedRun& run : runs) {
    const RunHistory& history = run.history;
    Series loss{marked(run), RunHistory::values(history.epochs, "epoch"), RunHistory::values(history.epochs, "loss")};
    nlohmann::ordered_json object = {
        {"run", run.name}, {"other_data", run.other_data}, {"epoch", loss.x}, {"loss", loss.y}};
    // The mean of both directions on the test split, and on another where that was evaluated too.
    for (Series& each : map_series(history, {"", ""})) {
      if (!each.name.starts_with("mean")) continue;
      const size_t split = each.name.find(", ");
      const std::string ending = split == std::string::npos ? "" : each.name.substr(split);
      object["map" + ending] = {{"epoch", each.x}, {"mean", each.y}};
      each.name = marked(run) + ending;
      maps.push_back(std::move(each));
    }
    losses.push_back(std::move(loss));
    plotted.push_back(std::move(object));
  }
  std::string table_part = html_table("runs", run_rows(runs));
  if (any_other(runs)) table_part += paragraph(kOtherData);
  std::vector<Section> sections = {{"runs", "Runs", table_part}};
  std::string curves = "<div class=\"grid\">\n";
  if (!maps.empty()) curves += line_chart("Mean average precision, mean of both directions", {"epoch", "MAP"}, maps);
  curves += line_chart("Loss", {"epoch", "weighted total", 0}, losses,
                       "Totals of methods with other terms or weights are not comparable.");
  sections.push_back({"curves", "Curves", curves + "</div>\n"});
  const std::vector<Cells> keys = key_rows(runs);
  sections.push_back({"keys", "Keys that differ",
                      keys.empty() ? paragraph("None but those of the first table.") : html_table("keys", keys)});
  return page("duet: " + text(runs.size(), " runs"), "", sections, data);
}

}  // namespace duet::report
