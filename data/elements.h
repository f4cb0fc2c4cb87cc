// The elements of an array in their own type. Internal to data/.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "data/stored_array.h"
#include "kernels/core/error.h"

namespace duet::data {

static_assert(std::endian::native == std::endian::little, "values are read as they lie in most files");

inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, exponent = (half >> 10) & 31u,
                 fraction = half & 0x3FFu;
  if (exponent == 0)
    return std::bit_cast<float>(sign |
                                std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f));  // 0 and subnormals
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

inline float bfloat_to_float(uint16_t upper) { return std::bit_cast<float>(static_cast<uint32_t>(upper) << 16); }

// Element k of values that need not be aligned.
template <class T, bool kBigEndian>
T element(const std::byte* values, int64_t k) {
  std::byte bytes[sizeof(T)];
  std::memcpy(bytes, values + k * static_cast<int64_t>(sizeof(T)), sizeof(T));
  if constexpr (kBigEndian) std::reverse(bytes, bytes + sizeof(T));
  return std::bit_cast<T>(bytes);
}

template <bool kBigEndian, class Body>
void with_elements_of(const ArrayView& view, Body&& body) {
  const std::byte* const values = view.values.data();
  const auto plain = [&]<class T>(T) { body([values](int64_t k) { return element<T, kBigEndian>(values, k); }); };
  switch (view.type) {
    case ElementType::f2:
      return body([values](int64_t k) { return half_to_float(element<uint16_t, kBigEndian>(values, k)); });
    case ElementType::bf2:
      return body([values](int64_t k) { return bfloat_to_float(element<uint16_t, kBigEndian>(values, k)); });
    case ElementType::f4: return plain(float{});
    case ElementType::f8: return plain(double{});
    // A byte that is neither 0 nor 1 is true, as in C.
    case ElementType::b1:
      return body([values](int64_t k) { return uint8_t{element<uint8_t, kBigEndian>(values, k) != 0}; });
    case ElementType::i1: return plain(int8_t{});
    case ElementType::i2: return plain(int16_t{});
    case ElementType::i4: return plain(int32_t{});
    case ElementType::i8: return plain(int64_t{});
    case ElementType::u1: return plain(uint8_t{});
    case ElementType::u2: return plain(uint16_t{});
    case ElementType::u4: return plain(uint32_t{});
    case ElementType::u8: return plain(uint64_t{});
    case ElementType::bytes:
    case ElementType::utf32: throw Error(DUET_STATUS_INVALID_ARGUMENT, text(view.name, ": strings; expected numbers"));
  }
}

// Calls body with a function from an element's number to its value, in the file's type (float for f2 and bf2).
template <class Body>
void with_elements(const ArrayView& view, Body&& body) {
  return view.big_endian ? with_elements_of<true>(view, body) : with_elements_of<false>(view, body);
}

// Elements from one to the next along each axis.
inline std::vector<int64_t> element_steps(const ArrayView& view) {
  std::vector<int64_t> steps(view.shape.size());
  int64_t step = 1;
  for (size_t n = 0; n < steps.size(); ++n) {
    const size_t axis = view.fortran_order ? n : steps.size() - 1 - n;
    steps[axis] = step;
    step *= view.shape[axis];
  }
  return steps;
}

}  // namespace duet::data
