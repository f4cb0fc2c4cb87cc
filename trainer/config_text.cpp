#include "trainer/config_text.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <variant>

#include "kernels/core/error.h"
#include "trainer/config.h"
#include "trainer/format.h"

namespace duet {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kColumns = 100;  // of a comment

// Words in lines that start with "  // ".
std::string comment(const std::string& words) {
  std::string out = "  //";
  size_t column = out.size();
  for (size_t at = 0; at < words.size();) {
    const size_t end = std::min(words.find(' ', at), words.size());
    if (column + 1 + end - at > kColumns) out += "\n  //", column = 4;
    out += ' ' + words.substr(at, end - at), column += 1 + end - at;
    at = end + 1;
  }
  return out + '\n';
}

// What a value of this type, or each of a list, may be.
struct TypeSchema {
  const ConfigKey& key;

  Json operator()(bool Config::*) const { return {{"type", "boolean"}}; }
  Json operator()(int64_t Config::*) const { return bounded("integer"); }
  Json operator()(uint64_t Config::*) const { return bounded("integer"); }
  Json operator()(double Config::*) const { return bounded("number"); }
  Json operator()(std::string Config::*) const {
    Json schema = {{"type", "string"}};
    if (!key.choices.empty()) schema["enum"] = key.choices;
    return schema;
  }
  Json operator()(std::vector<int64_t> Config::*) const { return {{"type", "array"}, {"items", bounded("integer")}}; }
  Json operator()(std::vector<std::string> Config::*) const {
    return {{"type", "array"}, {"items", {{"type", "string"}}}};
  }

  Json bounded(const char* type) const {
    Json schema = {{"type", type}};
    const auto& [low, high, low_open, high_open] = key.range;
    const auto bound = [&](const char* name, double value) {
      if (std::isinf(value)) return;
      if (value == std::floor(value) && std::abs(value) < 0x1p53)
        schema[name] = static_cast<int64_t>(value);
      else
        schema[name] = value;
    };
    bound(low_open ? "exclusiveMinimum" : "minimum", low);
    bound(high_open ? "exclusiveMaximum" : "maximum", high);
    return schema;
  }
};

}  // namespace

std::string commented_config() {
  std::string out = "// duet train --config FILE. Keys that are left out have these values; // starts a comment.\n{\n";
  const auto keys = config_keys();
  for (const ConfigKey& key : keys) {
    const std::string range = range_text(key);
    out += comment(text(type_name(key), range.empty() ? "" : ", " + range, ": ", key.description));
    out += text("  \"", key.name, "\": ", default_text(key), &key == &keys.back() ? "\n" : ",\n");
  }
  return out + "}\n";
}

nlohmann::ordered_json config_schema() {
  Json properties = Json::object();
  for (const ConfigKey& key : config_keys()) {
    Json schema = std::visit(TypeSchema{key}, key.member);
    schema["default"] = Json::parse(default_text(key));
    schema["description"] = key.description;
    properties[key.name] = std::move(schema);
  }
  properties[kFormatKey] = {{"type", "integer"}, {"minimum", 1}, {"maximum", kConfigFormat}};
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "duet train --config"},
          {"type", "object"},
          {"properties", std::move(properties)},
          {"additionalProperties", false}};
}

std::string keys_table() {
  std::string table = "| key | type | default | values | meaning |\n| --- | --- | --- | --- | --- |\n";
  for (const ConfigKey& key : config_keys())
    table += text("| `", key.name, "` | ", type_name(key), " | `", default_text(key), "` | ", range_text(key), " | ",
                  key.description, " |\n");
  return table;
}

}  // namespace duet
