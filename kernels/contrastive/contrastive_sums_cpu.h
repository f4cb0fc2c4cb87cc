// The sums of a softmax row or column (contrastive.h's DUET_CONTRASTIVE_SUMS), and what becomes of them (CPU).
#pragma once

#include "kernels/contrastive/contrastive_formula.h"
#include "kernels/pairs/merged_sums_cpu.h"

namespace duet::cpu {

static_assert(MergedSums::kNumbers == DUET_CONTRASTIVE_SUMS);

// others: the log-sum-exp of so many scores; where there are none, it is that of the score that stood in the own pair's
// place, and nothing is kept of it. The own pair is a log-sum-exp of one score, or of none.
inline MergedSums softmax_sums(const LogSum& others, int64_t count, bool has_own, double own,
                               const OtherPositives& positives) {
  return {{count == 0 ? LogSum{} : others, has_own ? LogSum{own, 1} : LogSum{}},
          {static_cast<double>(count), positives.weight, positives.cross}};
}

// The loss, and the statistics.
inline float close_softmax(const MergedSums& sums, float* statistics) {
  const bool has_own = sums.log[1].sum != 0;
  const double others = sums.plain[0] == 0 ? -HUGE_VAL : sums.log[0].log();
  return softmax_loss(OwnAndOthers(has_own ? sums.log[1].log() : 0, others, has_own), {sums.plain[1], sums.plain[2]},
                      statistics);
}

}  // namespace duet::cpu
