// Words of others in our messages: file names, config values, names in a file. A message stays one line of UTF-8 of a
// bounded length, whatever they hold.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace duet {

inline constexpr size_t kLongestShown = 60;  // characters of a value in a message

bool is_utf8(std::string_view raw);
// raw with control characters and bytes that are no UTF-8 as \xNN.
std::string printable(std::string_view raw);
// The same of at most kLongestShown characters; "..." stands for what was cut off.
std::string shown(std::string_view raw);

}  // namespace duet
