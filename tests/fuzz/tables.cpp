// Any bytes as what tells rows and arrays apart: a table of labels with or without ids, names of arrays, mappings. Each
// is read, or Error says why not. The first byte chooses.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/label_table.h"
#include "data/layout.h"
#include "kernels/core/error.h"

namespace {

using Lines = std::vector<std::string>;

Lines lines_of(std::string_view words) {
  Lines out;
  while (!words.empty()) {
    const size_t end = std::min(words.find('\n'), words.size());
    out.emplace_back(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return out;
}

void read(uint8_t kind, std::string_view words) {
  // What comes before the first zero byte, and what after it.
  const size_t zero = std::min(words.find('\0'), words.size());
  const std::string_view first = words.substr(0, zero), second = words.substr(std::min(zero + 1, words.size()));
  const char separator = kind & 1 ? '\t' : ',';
  switch (kind >> 1 & 3) {
    case 0: duet::data::parse_label_table(words, separator, "labels", std::nullopt); return;
    case 1: duet::data::parse_label_table(second, separator, "labels", duet::data::parse_ids(first, "ids.txt")); return;
    case 2: duet::data::detect_layout(lines_of(words), "fuzzed"); return;
    default: duet::data::mapped_layout(lines_of(first), lines_of(second), "fuzzed"); return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const duet::Error&) {
  }
  return 0;
}
