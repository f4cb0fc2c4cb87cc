// The elements of a .npy file in their own type. Internal to data/.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "data/npy.h"

namespace duet::data {

static_assert(std::endian::native == std::endian::little, "values are read as they lie in the file");

inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, exponent = (half >> 10) & 31u,
                 fraction = half & 0x3FFu;
  if (exponent == 0)
    return std::bit_cast<float>(sign |
                                std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f));  // 0 and subnormals
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

// Element k of values that need not be aligned.
template <class T>
T element(const std::byte* values, int64_t k) {
  T value;
  std::memcpy(&value, values + k * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// Calls body with a function from an element's number to its value, in the file's type (float for f2).
template <class Body>
void with_elements(const NpyView& view, Body&& body) {
  const std::byte* const values = view.values.data();
  switch (view.type) {
    case NpyType::f2: return body([values](int64_t k) { return half_to_float(element<uint16_t>(values, k)); });
    case NpyType::f4: return body([values](int64_t k) { return element<float>(values, k); });
    case NpyType::f8: return body([values](int64_t k) { return element<double>(values, k); });
    case NpyType::i1: return body([values](int64_t k) { return element<int8_t>(values, k); });
    case NpyType::i2: return body([values](int64_t k) { return element<int16_t>(values, k); });
    case NpyType::i4: return body([values](int64_t k) { return element<int32_t>(values, k); });
    case NpyType::i8: return body([values](int64_t k) { return element<int64_t>(values, k); });
    case NpyType::u1: return body([values](int64_t k) { return element<uint8_t>(values, k); });
    case NpyType::u2: return body([values](int64_t k) { return element<uint16_t>(values, k); });
    case NpyType::u4: return body([values](int64_t k) { return element<uint32_t>(values, k); });
    case NpyType::u8: return body([values](int64_t k) { return element<uint64_t>(values, k); });
  }
}

std::string shape_text(const std::vector<int64_t>& shape);  // "(3, 2)"

}  // namespace duet::data
