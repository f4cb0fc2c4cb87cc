// Comparisons with the double reference that say where and by how much, once an array and not once an element.
#pragma once

#include <functional>
#include <string>

#include "tests/support/arrays.h"

namespace duet::test {

// Of the finite values' sizes; 0 of none.
double largest(const Doubles& values);

// |actual - expected| <= tolerance in every element; NaN matches NaN, infinities match themselves.
void check_close(const Doubles& actual, const Doubles& expected, double tolerance, const std::string& what);

// The same with a tolerance relative to the largest entry expected, as METHOD.md states gradients' tolerances, plus a
// floor.
void check_relative(const Doubles& actual, const Doubles& expected, double relative, const std::string& what,
                    double floor = 1e-30);

// |actual - expected| <= relative * parts in every element, parts the sizes of what it is formed of, plus a floor.
void check_parts(const Doubles& actual, const Doubles& expected, const Doubles& parts, double relative,
                 const std::string& what, double floor = 0);
// The same with every element as its own part: each keeps its relative accuracy.
inline void check_each(const Doubles& actual, const Doubles& expected, double relative, const std::string& what,
                       double floor = 0) {
  check_parts(actual, expected, expected, relative, what, floor);
}

// Central differences of f with respect to every element of x, in double: step 1e-6 leaves an error near 1e-9 of the
// function's scale.
Doubles central_differences(const std::function<double(const Doubles&)>& f, Doubles x, double step = 1e-6);

}  // namespace duet::test
