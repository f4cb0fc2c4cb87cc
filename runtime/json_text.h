// JSON from outside, read with what the library's own reader lacks: a bound on the depth (values are printed and
// destroyed by recursion), a refusal of numbers that a float64 does not hold, and of names given twice.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace duet {

inline constexpr int kDeepestJson = 8;  // objects and lists within one another; our own files have 3

// One line without the file's name. key: the name in the outermost object whose value is at fault, "" where there is
// none.
class JsonError : public std::runtime_error {
 public:
  JsonError(const std::string& message, std::string key) : std::runtime_error(message), key(std::move(key)) {}
  // "key: message"; the message alone where there is no key.
  std::string with_key() const { return (key.empty() ? "" : key + ": ") + what(); }
  std::string key;
};

// Throws JsonError. Comments: // to the end of a line and /* */ are passed over, as people write them.
enum class JsonComments { refused, passed_over };
nlohmann::json read_json(std::string_view text, JsonComments comments = JsonComments::refused);

// A whole number of 64 bits; nothing where the value is of another type or greater. The library's own get<int64_t>()
// takes a float too, and rounds it, whose range is not checked.
std::optional<int64_t> whole_number(const nlohmann::json& value);

// A value for a message: at most kLongestShown characters, and no deeper than kDeepestJson.
std::string shown_json(const nlohmann::json& value);

}  // namespace duet
