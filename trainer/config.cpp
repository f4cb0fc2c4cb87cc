#include "trainer/config.h"

#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "trainer/usage_error.h"

namespace duet {
namespace {

using nlohmann::json;

// The type of a JSON value in the words of the table.
std::string json_type(const json& value) {
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  if (value.is_object()) return "object";
  return value.type_name();
}

[[noreturn]] void wrong_type(const ConfigKey& key, const json& value, const std::string& place) {
  throw UsageError(text(place, ": expected ", type_name(key), ", got ", json_type(value), " ", value.dump()));
}

void check_range(const ConfigKey& key, double number, const json& value, const std::string& place) {
  usage_require(std::isfinite(number) && key.range.holds(number), place, ": expected a value ", std::isinf(key.range.high) ? "" : "in ",
                range_text(key), ", got ", value.dump());
}

int64_t integer(const ConfigKey& key, const json& value, const std::string& place) {
  if (!value.is_number_integer()) wrong_type(key, value, place);
  usage_require(!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX, place, ": ", value.dump(), " is too large");
  check_range(key, value.get<double>(), value, place);
  return value.get<int64_t>();
}

// Stores one JSON value into the member that its key names, checked by the key's type and range.
struct Store {
  Config& config;
  const ConfigKey& key;
  const json& value;
  const std::string& place;

  void operator()(bool Config::*member) const {
    if (!value.is_boolean()) wrong_type(key, value, place);
    config.*member = value.get<bool>();
  }
  void operator()(int64_t Config::*member) const { config.*member = integer(key, value, place); }
  void operator()(double Config::*member) const {
    if (!value.is_number()) wrong_type(key, value, place);
    check_range(key, value.get<double>(), value, place);
    config.*member = value.get<double>();
  }
  void operator()(std::string Config::*member) const {
    if (!value.is_string()) wrong_type(key, value, place);
    const auto& given = value.get_ref<const std::string&>();
    if (!key.choices.empty()) {
      bool known = false;
      for (const std::string& choice : key.choices) known = known || choice == given;
      usage_require(known, place, ": expected one of ", range_text(key), ", got ", value.dump());
    }
    config.*member = given;
  }
  void operator()(std::vector<int64_t> Config::*member) const {
    if (!value.is_array()) wrong_type(key, value, place);
    std::vector<int64_t> list;
    for (const json& item : value) list.push_back(integer(key, item, place));
    config.*member = list;
  }
  void operator()(std::vector<std::string> Config::*member) const {
    if (!value.is_array()) wrong_type(key, value, place);
    std::vector<std::string> list;
    for (const json& item : value) {
      if (!item.is_string()) wrong_type(key, item, place);
      list.push_back(item.get<std::string>());
    }
    config.*member = list;
  }
};

void set(Config& config, const std::string& name, const json& value, const std::string& source) {
  const ConfigKey* key = find_key(name);
  usage_require(key != nullptr, source, ": unknown config key '", name, "' (did you mean '", nearest_key(name).name, "'?)");
  // An option of its own already names the key.
  const bool own_option = source.starts_with("--") && source != "--set";
  const std::string place = own_option ? source : source + ": " + name;
  std::visit(Store{config, *key, value, place}, key->member);
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= list.size() && !list.empty();) {
    const size_t end = std::min(list.find(',', start), list.size());
    parts.push_back(list.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

// A number of the command line as JSON: an integer where it reads as one, else a number, else the text, which then has the wrong type.
json number(const std::string& value) {
  int64_t whole = 0;
  const char* end = value.data() + value.size();
  if (auto [stop, error] = std::from_chars(value.data(), end, whole); error == std::errc() && stop == end) return whole;
  double real = 0;
  if (auto [stop, error] = std::from_chars(value.data(), end, real); error == std::errc() && stop == end && std::isfinite(real)) return real;
  return value;
}

// The JSON that the text of a command line stands for, by the type that the key expects.
struct Read {
  const std::string& value;

  json operator()(bool Config::*) const { return value == "true" ? json(true) : value == "false" ? json(false) : json(value); }
  json operator()(int64_t Config::*) const { return number(value); }
  json operator()(double Config::*) const { return number(value); }
  json operator()(std::string Config::*) const { return value; }
  json operator()(std::vector<int64_t> Config::*) const {
    json list = json::array();
    for (const std::string& part : split(value)) list.push_back(number(part));
    return list;
  }
  json operator()(std::vector<std::string> Config::*) const { return split(value); }
};

}  // namespace

void set_from_json(Config& config, const json& object, const std::string& source) {
  usage_require(object.is_object(), source, ": expected a JSON object of config keys, got ", json_type(object));
  Config changed = config;
  for (const auto& [name, value] : object.items()) set(changed, name, value, source);
  config = changed;
}

void set_from_file(Config& config, const std::string& path) {
  std::ifstream file(path);
  usage_require(file.good(), path, ": cannot read the config file");
  std::set<std::string> seen;
  const auto once = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key && depth == 1)
      usage_require(seen.insert(parsed.get<std::string>()).second, path, ": config key ", parsed.dump(), " is given twice");
    return true;
  };
  json object;
  try {
    object = json::parse(file, once);
  } catch (const json::parse_error& error) {
    std::string reason = error.what();
    for (char& c : reason)
      if (c == '\n') c = ' ';
    throw UsageError(path + ": not JSON: " + reason);
  }
  set_from_json(config, object, path);
}

void set_from_text(Config& config, const std::string& name, const std::string& value, const std::string& source) {
  const ConfigKey* key = find_key(name);
  Config changed = config;
  set(changed, name, key ? std::visit(Read{value}, key->member) : json(value), source);
  config = changed;
}

void set_from_assignment(Config& config, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  usage_require(equals != std::string::npos && equals > 0, "--set: expected key=value, got '", assignment, "'");
  set_from_text(config, assignment.substr(0, equals), assignment.substr(equals + 1), "--set");
}

void validate(const Config& config) {
  usage_require(config.modalities.empty() || config.modalities.size() == 2, "modalities: expected two names, got ", config.modalities.size());
  usage_require(config.modalities.empty() || config.modalities[0] != config.modalities[1], "modalities: expected two different names, got '",
                config.modalities.empty() ? "" : config.modalities[0], "' twice");
  if (config.sampler == "shuffled") {
    usage_require(config.batch_size >= config.smallest_batch, "batch_size: ", config.batch_size, " is below smallest_batch ", config.smallest_batch,
                  ", so that every batch would be left out");
  } else {
    usage_require(config.balanced_classes * config.balanced_samples >= config.smallest_batch,
                  "balanced_classes times balanced_samples: ", config.balanced_classes * config.balanced_samples, " is below smallest_batch ",
                  config.smallest_batch, ", so that every batch would be left out");
  }
}

nlohmann::ordered_json to_json(const Config& config) {
  nlohmann::ordered_json object;
  for (const ConfigKey& key : config_keys()) std::visit([&](auto member) { object[key.name] = config.*member; }, key.member);
  return object;
}

std::string default_text(const ConfigKey& key) { return to_json(Config{})[key.name].dump(); }

}  // namespace duet
