#include "data/labels.h"

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "data/elements.h"
#include "data/npy.h"
#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

void require_column(const ArrayView& view, const char* what) {
  require(view.shape.size() == 1 || (view.shape.size() == 2 && view.shape[1] == 1), view.name, ": shape ",
          shape_text(view.shape), "; expected ", what, " of one dimension, or of one column");
  require(view.rows() > 0, view.name, ": no rows; expected at least one");
}

void append_utf8(std::string& out, uint32_t character) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (character < 0x80) return put(character);
  if (character < 0x800) return put(0xC0 | character >> 6), put(0x80 | (character & 63));
  if (character < 0x10000)
    return put(0xE0 | character >> 12), put(0x80 | (character >> 6 & 63)), put(0x80 | (character & 63));
  put(0xF0 | character >> 18), put(0x80 | (character >> 12 & 63));
  put(0x80 | (character >> 6 & 63)), put(0x80 | (character & 63));
}

std::string utf32_string(const ArrayView& view, const std::byte* at) {
  std::string out;
  for (int64_t k = 0; k < view.width / 4; ++k) {
    const uint32_t character = view.big_endian ? element<uint32_t, true>(at, k) : element<uint32_t, false>(at, k);
    require(character <= 0x10FFFF, view.name, ": a string holds the character ", character,
            "; expected Unicode, at most 1114111");
    append_utf8(out, character);
  }
  return out;
}

LabelSets read_sets(const ArrayView& view) {
  require(view.rows() > 0, view.name, ": no rows; expected at least one");
  require(view.shape[1] <= INT32_MAX, view.name, ": ", view.shape[1], " classes; expected fewer than 2^31");
  LabelSets out(view.shape[1], view.rows());
  const std::vector<int64_t> steps = element_steps(view);
  with_elements(view, [&](auto value) {
    for (int64_t i = 0; i < view.rows(); ++i)
      for (int64_t c = 0; c < out.classes; ++c) {
        const auto flag = value(view.row(i) * steps[0] + c * steps[1]);
        if (flag != 0 && flag != 1)
          require(false, view.name, ": row ", i, ", column ", c, " is ", +flag, "; expected 0 or 1 in labels of shape ",
                  shape_text(view.shape), ", a column a class");
        if (flag == 1) out.put(i, c);
      }
  });
  return out;
}

}  // namespace

std::vector<int64_t> read_labels(const ArrayView& view) {
  require_column(view, "whole numbers");
  std::vector<int64_t> out(static_cast<size_t>(view.rows()));
  with_elements(view, [&](auto value) {
    for (int64_t i = 0; i < view.rows(); ++i) {
      const auto label = value(view.row(i));
      using Label = std::remove_const_t<decltype(label)>;
      // Compared in the file's own type: 1e30 must not be cast first, and NaN fails.
      if constexpr (std::is_floating_point_v<Label>) {
        constexpr int64_t kEnd = int64_t{1} << std::numeric_limits<Label>::digits;
        require(label == std::floor(label) && std::abs(label) < static_cast<Label>(kEnd), view.name, ": row ", i,
                " is ", label, "; expected a whole number, below ", kEnd, " in magnitude in a float of this size");
      } else {
        require(std::in_range<int64_t>(label), view.name, ": row ", i, " is ", +label,
                "; expected a whole number below 2^63");
      }
      out[static_cast<size_t>(i)] = static_cast<int64_t>(label);
    }
  });
  return out;
}

std::vector<int64_t> read_labels(const std::filesystem::path& npy) {
  const StoredArray opened = open_npy(npy);
  return read_labels(opened.view);
}

LabelColumn label_column(const ArrayView& view) {
  LabelColumn column{.name = view.name};
  if (view.shape.size() == 2 && view.shape[1] > 1 && !is_text(view.type))
    column.sets = read_sets(view);
  else if (is_text(view.type))
    column.names = read_strings(view);
  else
    column.numbers = read_labels(view);
  return column;
}

std::vector<std::string> read_strings(const ArrayView& view) {
  require(is_text(view.type), view.name, ": numbers; expected strings");
  require_column(view, "strings");
  std::vector<std::string> out;
  for (int64_t i = 0; i < view.rows(); ++i) {
    const std::byte* at = view.values.data() + view.row(i) * view.width;
    std::string value = view.type == ElementType::utf32
                            ? utf32_string(view, at)
                            : std::string(reinterpret_cast<const char*>(at), static_cast<size_t>(view.width));
    value.erase(value.find_last_not_of('\0') + 1);
    require(is_utf8(value), view.name, ": row ", i, ": the string '", shown(value), "' is no UTF-8");
    out.push_back(std::move(value));
  }
  return out;
}

std::u32string utf32(const std::string& utf8) {
  std::u32string out;
  for (size_t at = 0; at < utf8.size();) {
    const auto first = static_cast<uint8_t>(utf8[at]);
    const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    uint32_t character = length == 1 ? first : first & (0x7Fu >> length);
    for (size_t k = 1; k < length && at + k < utf8.size(); ++k) character = character << 6 | (utf8[at + k] & 0x3F);
    out += static_cast<char32_t>(character);
    at += length;
  }
  return out;
}

}  // namespace duet::data
