// Whether numbers are numbers: what is neither NaN nor infinite.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace duet {

// Value k of values of Real, which may be unaligned.
template <class Real>
double value_at(const void* values, int64_t k) {
  Real value;
  std::memcpy(&value, static_cast<const std::byte*>(values) + k * static_cast<int64_t>(sizeof(Real)), sizeof(Real));
  return value;
}

// The position of the first of count such values that is NaN or infinite; -1 where there is none.
template <class Real>
int64_t first_not_finite(const void* values, int64_t count) {
  for (int64_t k = 0; k < count; ++k)
    if (!std::isfinite(value_at<Real>(values, k))) return k;
  return -1;
}

// Such a value in a message: NaN has no sign that says anything.
inline const char* not_finite_name(double value) { return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"; }

}  // namespace duet
