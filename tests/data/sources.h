// Values in memory as the source of features that a file of their type would be.
#pragma once

#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "data/feature_source.h"

namespace duet::test {

// Borrows values, rows of columns values each. uint16_t: the bits of float16.
template <class T>
data::FeatureSource source_of(const std::vector<T>& values, int64_t columns, const std::string& name = "x.npy") {
  using data::NpyType;
  constexpr NpyType kType = std::is_same_v<T, uint16_t>  ? NpyType::f2
                            : std::is_same_v<T, float>   ? NpyType::f4
                            : std::is_same_v<T, double>  ? NpyType::f8
                            : std::is_same_v<T, int64_t> ? NpyType::i8
                                                         : NpyType::u1;
  static_assert(kType != NpyType::u1 || std::is_same_v<T, uint8_t>);
  const auto rows = columns > 0 ? static_cast<int64_t>(values.size()) / columns : 0;
  return data::FeatureSource({std::nullopt, {name, kType, {rows, columns}, false, std::as_bytes(std::span(values))}});
}

inline data::FeatureSource source_of(const data::Features& x, const std::string& name = "x.npy") {
  return source_of(x.values, x.columns, name);
}

}  // namespace duet::test
