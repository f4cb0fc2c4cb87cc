// What both backends make of a row's (or column's) statistics, and the sigmoid loss of a pair.
#pragma once

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/core/own_pair.h"

namespace duet {

// Where in a row of statistics: log-sum-exp, N = sum pos, log-odds of the own pair.
enum ContrastiveStatistic { kLogSum = 0, kPositives = 1, kLogOdds = 2 };

// One row's statistics, and its loss in nats: cross-entropy against its normalised positives, the own pair and the
// others.
DUET_HOST_DEVICE inline float softmax_loss(const OwnAndOthers& parts, const OtherPositives& others, float* statistics) {
  statistics[kLogSum] = static_cast<float>(parts.lse);
  statistics[kPositives] = static_cast<float>(others.weight + (parts.has_own ? 1 : 0));
  statistics[kLogOdds] = static_cast<float>(parts.log_odds);
  return has_target(statistics[kPositives]) ? static_cast<float>(target_loss(parts, parts.has_own, others, false)) : 0;
}

// The upstream weight of row i, 0 where it has no target.
DUET_HOST_DEVICE inline float weight_of(const float* statistics, Vector<const float> weight, int64_t i) {
  return weight.data && has_target(statistics[kPositives]) ? weight.data[i] : 0;
}

// w (P - What) of the own pair.
DUET_HOST_DEVICE inline double own_score_gradient(const float* statistics, float weight) {
  if (weight == 0) return 0;
  return checked_weight(weight, statistics[kLogSum]) *
         own_against_positives(statistics[kLogOdds], statistics[kPositives]);
}

}  // namespace duet
