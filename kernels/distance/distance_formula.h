// METHOD.md 1's rules for pairs that a product of float32 rows cannot tell, and their distance from the differences of
// the rows, in float64.
#pragma once

#include <cmath>

#include "kernels/core/constants.h"
#include "kernels/core/host_device.h"
#include "kernels/core/norm.h"
#include "kernels/distance/distance.h"

namespace duet {

// A squared distance below this is not formed in float32: a product that underflows is off by 7e-46, 10^7 of them by a
// tenth of this one's rounding.
inline constexpr float kSmallestSquare = 1e-30f;
// A Euclidean distance past this is far: dL/dD / D may fall under float32's normal numbers though the gradient, that
// times a difference of rows, does not.
inline constexpr float kFarEuclidean = 1e15f;
// A cosine distance below this is 0: rounding in float64 gives as much to rows that are multiples of each other.
inline constexpr double kSmallestCosine = 1e-28;

// A distance is recomputed where the product gives less than this: of squared distances a share of the larger squared
// norm, of cosine the distance.
constexpr float closeness(duet_metric metric, double d) {
  const double share = 4e-4 * (d > 128 ? d / 128 : 1), of_unit_rows = share / 2;
  if (metric != DUET_METRIC_COSINE) return static_cast<float>(share);
  return static_cast<float>(of_unit_rows > 0.01 ? of_unit_rows : 0.01);
}

// Whether a distance formed in float32 (of Euclidean ones the square) stands; what does not, NaN among it, is
// recomputed. larger_square: of the rows' squared norms, of cosine 1.
DUET_HOST_DEVICE inline bool is_told(float value, float near, float larger_square) {
  return (value <= kLargestFloat) &
         (value > ::fmaxf(near * larger_square, kSmallestSquare));  // with && a branch an element
}

// The distance of rows, for cosine of unit rows, whose squared difference is `square`; norms: of the rows given, for
// cosine alone.
DUET_HOST_DEVICE inline float distance_of_square(duet_metric metric, double square, double norm_x, double norm_y) {
  if (metric == DUET_METRIC_COSINE) {
    const double distance = (square + (1 - unit_square(norm_x)) + (1 - unit_square(norm_y))) / 2;
    return distance < kSmallestCosine ? 0.0f : static_cast<float>(distance);
  }
  return static_cast<float>(metric == DUET_METRIC_EUCLIDEAN ? std::sqrt(square) : square);
}

// Whether a pair's gradient is formed from the difference of its rows: of cosine because g - (g.u) u cancels where g is
// along u, of Euclidean distances because 1 / D magnifies what products cancel, or leaves float32's range.
// larger_square: of the rows' squared norms. NaN is not close.
DUET_HOST_DEVICE inline bool by_difference(duet_metric metric, float distance, float near, float larger_square) {
  if (metric == DUET_METRIC_COSINE) return distance < near;
  const float bound = near * larger_square;
  return (distance * distance < (bound > kSmallestSquare ? bound : kSmallestSquare)) | (distance > kFarEuclidean);
}

}  // namespace duet
