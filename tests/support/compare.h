// Comparisons with the double reference that say where and by how much, once an array and not once an element.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "tests/support/arrays.h"

namespace duet::test {

inline double largest(const Doubles& values) {
  double worst = 0;
  for (const double value : values)
    if (std::isfinite(value)) worst = std::max(worst, std::abs(value));
  return worst;
}

// |actual - expected| <= tolerance in every element; NaN matches NaN, infinities match themselves.
inline void check_close(const Doubles& actual, const Doubles& expected, double tolerance, const std::string& what) {
  REQUIRE_MESSAGE(actual.size() == expected.size(), what);
  double worst = -1;
  size_t where = 0;
  for (size_t k = 0; k < actual.size(); ++k) {
    double error = std::abs(actual[k] - expected[k]);
    if (actual[k] == expected[k] || (std::isnan(actual[k]) && std::isnan(expected[k]))) error = 0;
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    if (error > worst) worst = error, where = k;
  }
  if (actual.empty()) return;
  CHECK_MESSAGE(worst <= tolerance, what << ": element " << where << " is " << actual[where] << ", expected " << expected[where] << ", off by "
                                         << worst << ", allowed " << tolerance);
}

// The same with a tolerance relative to the largest entry expected, as METHOD.md states gradients' tolerances, plus a floor.
inline void check_relative(const Doubles& actual, const Doubles& expected, double relative, const std::string& what, double floor = 1e-30) {
  check_close(actual, expected, relative * largest(expected) + floor, what);
}

// Central differences of f with respect to every element of x, in double: step 1e-6 leaves an error near 1e-9 of the function's scale.
inline Doubles central_differences(const std::function<double(const Doubles&)>& f, Doubles x, double step = 1e-6) {
  Doubles out(x.size());
  for (size_t k = 0; k < x.size(); ++k) {
    const double kept = x[k];
    x[k] = kept + step;
    const double above = f(x);
    x[k] = kept - step;
    const double below = f(x);
    x[k] = kept;
    out[k] = (above - below) / (2 * step);
  }
  return out;
}

}  // namespace duet::test
