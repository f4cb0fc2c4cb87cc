#include "trainer/ablation_grid.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/files/file_bytes.h"
#include "runtime/json_text.h"
#include "runtime/printable.h"
#include "trainer/cca.h"
#include "trainer/format.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<const char*, 2> kBaselines = {"cca", "cluster_cca"};

// The word of a list that is the fewest edits away, and the list.
std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  const std::string& nearest =
      *std::ranges::min_element(known, {}, [&](const std::string& each) { return edit_distance(word, each); });
  std::string all;
  for (const std::string& each : known) all += (all.empty() ? "" : ", ") + each;
  return text("(did you mean '", nearest, "'?): expected one of ", all);
}

void require_known_keys(const json& object, const std::vector<std::string>& known, const std::string& source) {
  for (const auto& [name, value] : object.items())
    if (std::ranges::find(known, name) == known.end())
      throw UsageError(text(source, ": unknown key '", shown(name), "' ", suggestion(shown(name), known)));
}

const json& required_list(const json& object, const char* key, const std::string& source) {
  usage_require(object.contains(key), source, ": expected the key '", key, "', a list");
  const json& list = object[key];
  usage_require(list.is_array() && !list.empty(), source, ": ", key, ": expected a list that is not empty, got ",
                shown_json(list));
  return list;
}

std::string required_text(const json& object, const char* key, const std::string& source) {
  usage_require(object.contains(key), source, ": expected the key '", key, "', a string");
  usage_require(object[key].is_string(), source, ": ", key, ": expected a string, got ", shown_json(object[key]));
  return object[key].get<std::string>();
}

// Keys that the grid gives by another way.
struct Elsewhere {
  const char *name, *place;
  bool of_all;  // may stand in "base"
};
constexpr Elsewhere kElsewhere[] = {{"data", "the grid's own key 'data' holds it", false},
                                    {"labels", "the grid's own key 'labels' lists them", false},
                                    {"seed", "the grid's own key 'seeds' lists them", false},
                                    {"method", "a method's own key 'method' holds it", false},
                                    {"threads", "every cell takes one thread", false},
                                    {"modalities", "'base' holds it, for all methods", true},
                                    {"map", "'base' holds it, for all methods", true},
                                    {"pool", "'base' holds it, for all methods", true}};

std::vector<std::string> set_keys(Config& config, const json& object, const std::string& source, bool is_base) {
  if (object.is_object())
    for (const Elsewhere& key : kElsewhere)
      usage_require(!object.contains(key.name) || (is_base && key.of_all), source, ": ", key.name,
                    ": does not belong here: ", key.place);
  return set_from_json(config, object, source);
}

std::vector<std::string> known_methods() {
  std::vector<std::string> names = find_key("method")->choices;
  names.insert(names.end(), kBaselines.begin(), kBaselines.end());
  return names;
}

class Reader {
 public:
  Reader(json grid, std::string source, std::vector<std::string>& notes)
      : grid_(std::move(grid)), source_(std::move(source)), notes_(notes) {}

  AblationGrid read(const std::optional<std::string>& data) {
    usage_require(grid_.is_object(), source_, ": expected a JSON object, got ", shown_json(grid_));
    require_known_keys(grid_, {"data", "base", "methods", "labels", "seeds"}, source_);
    Config base;
    if (grid_.contains("data")) base.data = required_text(grid_, "data", source_);
    if (data) base.data = *data;
    if (grid_.contains("base")) note(set_keys(base, grid_["base"], source_ + ": base", true));

    AblationGrid out;
    const json& methods = required_list(grid_, "methods", source_);
    for (size_t k = 0; k < methods.size(); ++k)
      out.methods.push_back(method(methods[k], base, text(source_, ": methods[", k, "]")));
    Config taken;
    for (const json& share : required_list(grid_, "labels", source_)) {
      set_from_json(taken, {{"labels", share}}, source_);
      out.labels.push_back(taken.labels);
    }
    for (const json& seed : required_list(grid_, "seeds", source_)) {
      set_from_json(taken, {{"seed", seed}}, source_ + ": seeds");
      out.seeds.push_back(taken.seed);
    }
    std::vector<std::string> names;
    for (const AblationMethod& each : out.methods) names.push_back(each.name);
    require_distinct(names, "methods");
    require_distinct(out.labels, "labels");
    require_distinct(out.seeds, "seeds");
    return out;
  }

 private:
  AblationMethod method(const json& given, const Config& base, const std::string& place) {
    AblationMethod out{.config = base};
    if (given.is_string()) {
      out.name = out.method = given.get<std::string>();
    } else {
      usage_require(given.is_object(), place, ": expected a method's name or an object, got ", shown_json(given));
      require_known_keys(given, {"name", "method", "set", "ridge"}, place);
      out.name = required_text(given, "name", place);
      out.method = given.contains("method") ? required_text(given, "method", place) : Config{}.method;
    }
    usage_require(is_modality_name(out.name) && out.name[0] != '.' && out.name.find('|') == std::string::npos, place,
                  ": name: expected a file's name in UTF-8, without '|' and no dot first, got '", shown(out.name), "'");
    for (const char* taken : {kGridFile, kAblationLock, kAblationFile, kAblationPage})
      usage_require(out.name != taken, place, ": name: '", taken, "' is a file of the ablation");
    const std::vector<std::string> known = known_methods();
    if (std::ranges::find(known, out.method) == known.end())
      throw UsageError(
          text(place, ": unknown method '", shown(out.method), "' ", suggestion(shown(out.method), known)));
    if (given.contains("set")) note(set_keys(out.config, given["set"], place + ": set", false));
    if (!out.is_baseline()) out.config.method = out.method;
    out.ridge = out.is_baseline() ? kDefaultRidge : 0;
    if (given.contains("ridge")) {
      const json& ridge = given["ridge"];
      usage_require(out.is_baseline(), place, ": ridge: method '", out.method, "' has none; cca and cluster_cca have");
      usage_require(ridge.is_number() && ridge.get<double>() >= kLeastRidge, place,
                    ": ridge: expected a number of at least ", kLeastRidge, ", got ", shown_json(ridge));
      out.ridge = ridge.get<double>();
    }
    const std::string fault = misfit(out.config);
    usage_require(fault.empty(), place, ": ", fault);
    return out;
  }

  template <class Value>
  void require_distinct(const std::vector<Value>& values, const char* key) const {
    for (auto value = values.begin(); value != values.end(); ++value)
      usage_require(std::find(values.begin(), value, *value) == value, source_, ": ", key, ": ", *value,
                    " is given twice");
  }
  void note(std::vector<std::string> lines) { std::ranges::move(lines, std::back_inserter(notes_)); }

  json grid_;
  std::string source_;
  std::vector<std::string>& notes_;
};

// The keys of a method that decide about its numbers.
nlohmann::ordered_json settings(const AblationMethod& method) {
  nlohmann::ordered_json keys = to_json(method.config);
  for (const char* key : {"data", "labels", "seed", "threads"}) keys.erase(key);
  nlohmann::ordered_json out = {{"name", method.name}, {"method", method.method}, {"config", std::move(keys)}};
  if (method.is_baseline()) out["ridge"] = method.ridge;
  return out;
}

template <class Value>
void require_kept(const json& before, const std::vector<Value>& now, const char* key, const std::string& source) {
  for (const json& value : before)
    usage_require(std::ranges::find(now, value.get<Value>()) != now.end(), source, ": the ablation has ", key, " ",
                  value.dump(), ", which the grid lacks: a grid may only add (another --out starts anew)");
}

}  // namespace

bool AblationMethod::is_baseline() const { return std::ranges::find(kBaselines, method) != kBaselines.end(); }

AblationGrid read_grid(const fs::path& file, const std::optional<std::string>& data, std::vector<std::string>& notes) {
  const FileBytes bytes = reading_input([&] { return FileBytes(file); });
  const std::string_view words(reinterpret_cast<const char*>(bytes.bytes().data()), bytes.bytes().size());
  try {
    return Reader(read_json(words, JsonComments::passed_over), file.string(), notes).read(data);
  } catch (const JsonError& error) {
    throw UsageError(file.string() + ": " + error.with_key());
  }
}

nlohmann::ordered_json to_json(const AblationGrid& grid) {
  nlohmann::ordered_json methods = nlohmann::ordered_json::array();
  for (const AblationMethod& method : grid.methods) methods.push_back(settings(method));
  return {{"methods", std::move(methods)}, {"labels", grid.labels}, {"seeds", grid.seeds}};
}

void require_only_adds(const json& before, const AblationGrid& now, const std::string& source) {
  try {
    for (const json& old : before.at("methods")) {
      const std::string name = old.at("name");
      const auto same = std::ranges::find(now.methods, name, &AblationMethod::name);
      usage_require(same != now.methods.end(), source, ": the ablation has the method '", shown(name),
                    "', which the grid lacks: a grid may only add (another --out starts anew)");
      AblationMethod was{.name = name, .method = old.at("method"), .ridge = old.value("ridge", 0.0)};
      set_from_json(was.config, old.at("config"), source);
      const json then = settings(was), here = settings(*same);
      for (const auto& [key, value] : here.at("config").items())
        usage_require(value == then.at("config").at(key), source, ": the ablation's method '", shown(name), "' has ",
                      key, " ", shown_json(then.at("config").at(key)), ", and the grid ", shown_json(value),
                      ": give what is new another name");
      usage_require(then == here, source, ": the ablation's method '", shown(name),
                    "' has another method or ridge than the grid's: give what is new another name");
    }
    require_kept(before.at("labels"), now.labels, "labels", source);
    require_kept(before.at("seeds"), now.seeds, "seed", source);
  } catch (const json::exception& error) {
    throw UsageError(text(source, ": not the record of an ablation: ", error.what()));
  }
}

std::string share_text(double share) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, share).ptr};
}

}  // namespace duet
