// What the cases of ranks hold to be so, in programs without a test framework.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace duet::test {

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

// Of the same bits; NaNs are alike.
inline bool alike(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i])))
      return false;
  return true;
}

}  // namespace duet::test
