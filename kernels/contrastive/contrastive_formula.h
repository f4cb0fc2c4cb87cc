// What both backends make of a row's (or column's) statistics, and the sigmoid loss of a pair.
#pragma once

#include <float.h>

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/core/own_pair.h"

namespace duet {

// Where in a row of statistics: log-sum-exp, N = sum pos, log-odds of the own pair.
enum ContrastiveStatistic { kLogSum = 0, kPositives = 1, kLogOdds = 2 };

// The upstream weight of row i, 0 where it has no target. A sum of positives below the smallest normal float counts as none, because its reciprocal
// would be infinite; NaN counts as one, so that it shows.
DUET_HOST_DEVICE inline float weight_of(const float* statistics, Vector<const float> weight, int64_t i) {
  return weight.data && !(statistics[kPositives] < FLT_MIN) ? weight.data[i] : 0;
}

// w (P - What) of the own pair.
DUET_HOST_DEVICE inline double own_pull(const float* statistics, float weight) {
  if (weight == 0) return 0;
  return taking_part(weight, statistics[kLogSum]) * own_against_positives(statistics[kLogOdds], statistics[kPositives]);
}

}  // namespace duet
