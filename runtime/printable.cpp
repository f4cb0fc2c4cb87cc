#include "runtime/printable.h"

#include <cstdint>

namespace duet {
namespace {

// Bytes of the character that starts at `at`, 0 where they are no UTF-8: overlong forms, halves of surrogates and what
// is beyond U+10FFFF are none.
size_t character_length(std::string_view raw, size_t at) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(raw[at + k]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > raw.size()) return 0;
  for (size_t k = 1; k < length; ++k)
    if ((byte(k) & 0xC0) != 0x80) return 0;
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
  if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
  return length;
}

// A character that would move the cursor or end the line; U+0080 to U+009F are control characters too.
bool is_control(std::string_view character) {
  const auto first = static_cast<uint8_t>(character[0]);
  return first < 0x20 || first == 0x7F || (first == 0xC2 && static_cast<uint8_t>(character[1]) < 0xA0);
}

std::string first_characters(std::string_view raw, size_t most) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  size_t characters = 0;
  for (size_t at = 0; at < raw.size(); ++characters) {
    if (characters == most) return out + "...";
    const size_t length = character_length(raw, at), bytes = length == 0 ? 1 : length;
    const std::string_view character = raw.substr(at, bytes);
    if (length > 0 && !is_control(character))
      out += character;
    else
      for (const char c : character) (((out += "\\x") += kDigits[static_cast<uint8_t>(c) >> 4]) += kDigits[c & 15]);
    at += bytes;
  }
  return out;
}

}  // namespace

bool is_utf8(std::string_view raw) {
  for (size_t at = 0; at < raw.size();) {
    const size_t length = character_length(raw, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string printable(std::string_view raw) { return first_characters(raw, raw.size()); }

std::string shown(std::string_view raw) { return first_characters(raw, kLongestShown); }

}  // namespace duet
