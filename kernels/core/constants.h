// Constants of mathematics, of float32 and of METHOD.md 5 that both backends use; METHOD.md 1's are in norm.h and in
// distance/distance_formula.h.
#pragma once

#include <float.h>

namespace duet {

inline constexpr double kLn2 = 0.69314718055994531;
// log2 e to double's precision, to float's, and what float leaves out.
inline constexpr double kLog2EInDouble = 1.4426950408889634;
inline constexpr float kLog2E = static_cast<float>(kLog2EInDouble);
inline constexpr float kLog2ELow = static_cast<float>(kLog2EInDouble - static_cast<double>(kLog2E));

inline constexpr float kLargestFloat = FLT_MAX, kSmallestNormal = FLT_MIN, kSmallestFloat = FLT_TRUE_MIN;

// Scores of at most this size, in nats, are summed with the shift 0: e^40, 10^5 times it, and their reciprocals are far
// inside float32.
inline constexpr float kBoundedScore = 40;
// One shift serves scores whose row and column maxima lie within this of it, in nats: e^-60, and e^-87 of the largest,
// are normal numbers, and 10^26 times e^-60 is still nothing beside 1.
inline constexpr float kWidestShift = 60;

}  // namespace duet
