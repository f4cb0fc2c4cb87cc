#include "trainer/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/json_text.h"
#include "runtime/module.h"
#include "runtime/printable.h"
#include "trainer/format.h"
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
  throw UsageError(text(place, ": expected ", type_name(key), ", got ", json_type(value),
                        value.is_null() ? "" : " " + shown_json(value)));
}

void check_range(const ConfigKey& key, bool holds, const json& value, const std::string& place,
                 const std::string& reason = "") {
  usage_require(holds, place, ": expected a value ", std::isinf(key.range.high) ? "" : "in ", range_text(key), ", got ",
                shown_json(value), reason);
}

template <class Integer>
Integer integer(const ConfigKey& key, const json& value, const std::string& place) {
  using Limits = std::numeric_limits<Integer>;
  // An integer of more than 64 bits is read as a float: its type is right, its range is not.
  const bool huge = value.is_number_float() && std::abs(value.get<double>()) >= 0x1p63;
  if (!value.is_number_integer() && !huge) wrong_type(key, value, place);
  const bool fits =
      !huge && (!value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(Limits::max()));
  check_range(key, key.range.holds(value.get<double>()) && (fits || std::isinf(key.range.high)), value, place);
  usage_require(fits, place, ": expected a value of at most ", Limits::max(), ", got ", shown_json(value));
  return value.get<Integer>();
}

double real(const ConfigKey& key, const json& value, const std::string& place) {
  if (!value.is_number()) wrong_type(key, value, place);
  const auto number = value.get<double>();
  check_range(key, std::isfinite(number) && key.range.holds(number), value, place);
  usage_require(std::abs(number) <= std::numeric_limits<float>::max(), place,
                ": expected a value of at most 3.4e38, got ", shown_json(value));
  const auto single = static_cast<float>(number);
  usage_require(single != 0 || number == 0, place, ": expected ", key.range.holds(0) ? "0 or " : "",
                "a value of at least 1.4e-45, got ", shown_json(value));
  check_range(key, key.range.holds(single), value, place, text(", which as a float32 is ", single));
  return number;
}

void require_utf8(const std::string& value, const std::string& place) {
  usage_require(is_utf8(value), place, ": expected UTF-8, which JSON is written in, got '", shown(value), "'");
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
  void operator()(int64_t Config::*member) const { config.*member = integer<int64_t>(key, value, place); }
  void operator()(uint64_t Config::*member) const { config.*member = integer<uint64_t>(key, value, place); }
  void operator()(double Config::*member) const { config.*member = real(key, value, place); }
  void operator()(std::string Config::*member) const {
    if (!value.is_string()) wrong_type(key, value, place);
    const auto& given = value.get_ref<const std::string&>();
    if (!key.choices.empty()) {
      bool known = false;
      for (const std::string& choice : key.choices) known = known || choice == given;
      usage_require(known, place, ": expected one of ", range_text(key), ", got ", shown_json(value));
    }
    require_utf8(given, place);
    config.*member = given;
  }
  void operator()(std::vector<int64_t> Config::*member) const {
    if (!value.is_array()) wrong_type(key, value, place);
    std::vector<int64_t> list;
    for (const json& item : value) list.push_back(integer<int64_t>(key, item, place));
    config.*member = list;
  }
  void operator()(std::vector<std::string> Config::*member) const {
    if (!value.is_array()) wrong_type(key, value, place);
    std::vector<std::string> list;
    for (const json& item : value) {
      if (!item.is_string()) wrong_type(key, item, place);
      list.push_back(item.get<std::string>());
      require_utf8(list.back(), place);
    }
    config.*member = list;
  }
};

// Where a key's value was given, for messages. An option of its own already names the key.
std::string place_of(const std::string& name, const std::string& source) {
  const bool own_option = source.starts_with("--") && source != "--set";
  return own_option ? source : source + ": " + name;
}

// Keys of earlier versions that have no effect any more, and why.
struct RetiredKey {
  const char *name, *reason;
};
constexpr RetiredKey kRetiredKeys[] = {{"accept_fortran_order", "Fortran order is always read"}};

// The line that says so; "" of any other key.
std::string retired_note(const std::string& name, const std::string& source) {
  for (const RetiredKey& key : kRetiredKeys)
    if (name == key.name) return text("warning: ", source, ": ", name, " has no effect any more: ", key.reason);
  return "";
}

void set(Config& config, const std::string& name, const json& value, const std::string& source) {
  const ConfigKey* key = find_key(name);
  if (!key)
    throw UsageError(
        text(source, ": unknown config key '", shown(name), "' (did you mean '", nearest_key(shown(name)).name, "'?)"));
  const std::string place = place_of(name, source);
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

// A number of the command line as JSON: an integer where it reads as one, else a number, else the text, which then has
// the wrong type.
json number(const std::string& value, const std::string& place) {
  const char* end = value.data() + value.size();
  int64_t whole = 0;
  if (auto [stop, error] = std::from_chars(value.data(), end, whole); error == std::errc() && stop == end) return whole;
  uint64_t large = 0;
  if (auto [stop, error] = std::from_chars(value.data(), end, large); error == std::errc() && stop == end) return large;
  double real = 0;
  const auto [stop, error] = std::from_chars(value.data(), end, real);
  usage_require(error != std::errc::result_out_of_range || stop != end, place,
                ": expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got ", shown(value));
  if (error == std::errc() && stop == end && std::isfinite(real)) return real;
  return value;
}

// The JSON that the text of a command line stands for, by the type that the key expects.
struct Read {
  const std::string& value;
  const std::string& place;

  json operator()(bool Config::*) const {
    return value == "true" ? json(true) : value == "false" ? json(false) : json(value);
  }
  json operator()(int64_t Config::*) const { return number(value, place); }
  json operator()(uint64_t Config::*) const { return number(value, place); }
  json operator()(double Config::*) const { return number(value, place); }
  json operator()(std::string Config::*) const { return value; }
  json operator()(std::vector<int64_t> Config::*) const {
    if (const std::optional<json> given = as_in_file()) return *given;
    json list = json::array();
    for (const std::string& part : split(value)) list.push_back(number(part, place));
    return list;
  }
  json operator()(std::vector<std::string> Config::*) const {
    if (const std::optional<json> given = as_in_file()) return *given;
    return split(value);
  }

  // A list that is written as the config file has it.
  std::optional<json> as_in_file() const {
    if (!value.starts_with('[')) return std::nullopt;
    const json given = json::parse(value, nullptr, false);
    return given.is_array() ? std::optional(given) : std::nullopt;
  }
};

}  // namespace

std::vector<std::string> set_from_json(Config& config, const json& object, const std::string& source) {
  usage_require(object.is_object(), source, ": expected a JSON object of config keys, got ", json_type(object));
  Config changed = config;
  if (object.contains(kFormatKey)) require_known_format(object[kFormatKey], kConfigFormat, source);
  std::vector<std::string> notes;
  for (const auto& [name, value] : object.items()) {
    if (name == kFormatKey) continue;
    if (std::string note = retired_note(name, source); !note.empty())
      notes.push_back(std::move(note));
    else
      set(changed, name, value, source);
  }
  config = changed;
  return notes;
}

std::vector<std::string> set_from_file(Config& config, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content;
  char part[4096];
  while (file.good()) {
    file.read(part, sizeof part);
    content.append(part, static_cast<size_t>(file.gcount()));
  }
  usage_require(file.eof(), path, ": cannot read the config file");
  try {
    return set_from_json(config, read_json(content, JsonComments::passed_over), path);
  } catch (const JsonError& error) {
    throw UsageError(path + ": " + error.with_key());
  }
}

void set_from_text(Config& config, const std::string& name, const std::string& value, const std::string& source) {
  const ConfigKey* key = find_key(name);
  Config changed = config;
  const std::string place = place_of(name, source);
  set(changed, name, key ? std::visit(Read{value, place}, key->member) : json(value), source);
  config = changed;
}

std::vector<std::string> set_from_assignment(Config& config, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  usage_require(equals != std::string::npos && equals > 0, "--set: expected key=value, got '", shown(assignment), "'");
  const std::string name = assignment.substr(0, equals);
  if (std::string note = retired_note(name, "--set"); !note.empty()) return {std::move(note)};
  set_from_text(config, name, assignment.substr(equals + 1), "--set");
  return {};
}

bool is_modality_name(const std::string& name) {
  constexpr size_t kLongest =
      200;  // bytes; with ".npy" and what marks a file that is being written it stays below a file name's 255
  // What is printed otherwise than it is has a control character or is no UTF-8.
  return printable(name) == name && !name.empty() && name != "." && name != ".." && name.size() <= kLongest &&
         name.find('/') == std::string::npos;
}

std::string misfit(const Config& config) {
  const auto& modalities = config.modalities;
  if (!modalities.empty() && modalities.size() != 2)
    return text("modalities: expected two names, got ", modalities.size());
  for (const std::string& name : modalities)
    if (!is_modality_name(name))
      return text("modalities: expected the name of a .npy file without its ending, in UTF-8, got '", shown(name), "'");
  if (!modalities.empty() && modalities[0] == modalities[1])
    return text("modalities: expected two different names, got '", shown(modalities[0]), "' twice");
  if (config.learn_temperature && !(1 / config.temperature >= LearnedScale::kLeast))
    return text("temperature: with learn_temperature expected at most ", 1 / LearnedScale::kLeast, ", got ",
                config.temperature);
  const auto left_out = [&](const char* what, int64_t rows) {
    return rows >= config.smallest_batch ? ""
                                         : text(what, ": ", rows, " is below smallest_batch ", config.smallest_batch,
                                                ", so that every batch would be left out");
  };
  return config.sampler == "shuffled"
             ? left_out("batch_size", config.batch_size)
             : left_out("balanced_classes times balanced_samples", config.balanced_classes * config.balanced_samples);
}

void validate(const Config& config) {
  const std::string fault = misfit(config);
  usage_require(fault.empty(), fault);
}

nlohmann::ordered_json to_json(const Config& config) {
  nlohmann::ordered_json object;
  for (const ConfigKey& key : config_keys())
    std::visit([&](auto member) { object[key.name] = config.*member; }, key.member);
  return object;
}

std::string default_text(const ConfigKey& key) { return to_json(Config{})[key.name].dump(); }

}  // namespace duet
