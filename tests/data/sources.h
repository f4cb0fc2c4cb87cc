// Values in memory as the source of features that a file of their type would be.
#pragma once

#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "data/feature_source.h"
#include "data/features.h"

namespace duet::test {

// Borrows values, rows of columns values each. uint16_t: the bits of float16.
template <class T>
data::FeatureSource source_of(std::span<const T> values, int64_t columns, const std::string& name = "x.npy") {
  using data::ElementType;
  constexpr ElementType kType = std::is_same_v<T, uint16_t>  ? ElementType::f2
                                : std::is_same_v<T, float>   ? ElementType::f4
                                : std::is_same_v<T, double>  ? ElementType::f8
                                : std::is_same_v<T, int64_t> ? ElementType::i8
                                                             : ElementType::u1;
  static_assert(kType != ElementType::u1 || std::is_same_v<T, uint8_t>);
  const auto rows = columns > 0 ? static_cast<int64_t>(values.size()) / columns : 0;
  return data::FeatureSource({nullptr, {name, kType, {rows, columns}, false, std::as_bytes(values)}});
}

template <class T>
data::FeatureSource source_of(const std::vector<T>& values, int64_t columns, const std::string& name = "x.npy") {
  return source_of(std::span<const T>(values), columns, name);
}

inline data::FeatureSource source_of(const data::Features& x, const std::string& name = "x.npy") {
  return source_of(std::span<const float>(x.values), x.columns, name);
}

}  // namespace duet::test
