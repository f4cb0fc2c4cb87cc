// An array of a file, of any of the formats that data/ reads: its type, its shape and where its values lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/files/mapping.h"

namespace duet::data {

// bf2: bfloat16. b1: a byte a truth value. bytes: strings of width bytes, UTF-8. utf32: strings of width / 4
// characters. Both are padded with zeros.
enum class ElementType { f2, bf2, f4, f8, b1, i1, i2, i4, i8, u1, u2, u4, u8, bytes, utf32 };

// What a file says of an array; it owns nothing. The values need not be aligned to their type.
struct ArrayView {
  std::string name;  // of the file, and of the array where it is one of several; for messages
  ElementType type = ElementType::f4;
  std::vector<int64_t> shape;
  bool fortran_order = false;  // the first axis is the one whose values lie one after another
  std::span<const std::byte> values;
  bool big_endian = false;
  int64_t width = 0;                          // bytes a string
  std::optional<std::vector<int64_t>> taken;  // rows of the array that are rows of the view, in this order; none: all

  // Rows of the view, and which of the array's one is. shape must have an axis.
  int64_t rows() const { return taken ? static_cast<int64_t>(taken->size()) : shape[0]; }
  int64_t row(int64_t i) const { return taken ? (*taken)[static_cast<size_t>(i)] : i; }
};

// A view with what holds its values; null where they lie in memory that outlives it.
struct StoredArray {
  std::shared_ptr<const void> memory;
  ArrayView view;
  const Mapping* mapping = nullptr;  // of the memory that the values lie in, where that is a part of a file
};

int64_t element_bytes(const ArrayView& view);
bool is_text(ElementType type);
// "x.npz: audio": how an array of a file is named in messages.
std::string array_place(const std::filesystem::path& path, const std::string& array);
std::string shape_text(const std::vector<int64_t>& shape);  // "(3, 2)"
// Bytes of all elements of this size. Throws DUET_STATUS_INVALID_ARGUMENT, naming name, where they are beyond 2^63 or
// an extent is negative, and where there are none and an extent is above 2^20.
int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t bytes_each, const std::string& name);

}  // namespace duet::data
