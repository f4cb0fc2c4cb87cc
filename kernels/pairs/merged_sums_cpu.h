// What the pairs of a call add to a row or a column, as parts of a batch are merged by it (CPU).
#pragma once

#include "kernels/cpu/log_sum.h"

namespace duet::cpu {

struct MergedSums {
  static constexpr int kLogSums = 2, kPlain = 3, kNumbers = 2 * kLogSums + kPlain;

  LogSum log[kLogSums];  // their crosses are not stored
  double plain[kPlain] = {0, 0, 0};

  // kNumbers numbers: reference and sum of each log-sum-exp, then the plain sums.
  static MergedSums load(const double* from) {
    MergedSums out;
    for (int k = 0; k < kLogSums; ++k) out.log[k] = {from[2 * k], from[2 * k + 1]};
    for (int k = 0; k < kPlain; ++k) out.plain[k] = from[2 * kLogSums + k];
    return out;
  }
  void store(double* to) const {
    for (int k = 0; k < kLogSums; ++k) to[2 * k] = log[k].reference, to[2 * k + 1] = log[k].sum;
    for (int k = 0; k < kPlain; ++k) to[2 * kLogSums + k] = plain[k];
  }
  // Adds those of the part that comes after this one.
  void add(const MergedSums& right) {
    ShiftFactor factor;
    for (int k = 0; k < kLogSums; ++k) log[k].add(right.log[k], factor);
    for (int k = 0; k < kPlain; ++k) plain[k] += right.plain[k];
  }
};

}  // namespace duet::cpu
