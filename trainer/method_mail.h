// The places of the numbers that a training step takes from the host, keeps, and tells the host (kernels/step/step.h).
#pragma once

#include <cstdint>

#include "kernels/duet.h"

namespace duet {

// What a step takes out of its mail.
enum MailValue : int64_t { kLearningRate, kRatio, kKlWeight, kSoftWeight, kMailValues };
enum MailInteger : int64_t { kStep, kEpoch, kMailIntegers };
// Numbers that a run keeps.
enum Constant : int64_t {
  kScale,
  kTeacherScale,
  kLabelWeight,
  kCrossWeight,
  kContrastiveWeight,
  kDisWeight,
  kGradientShareA,
  kGradientShareV,
  kConstants
};
enum Counter : int64_t { kBegun, kUpdates, kFailed, kCounters };
// What a step answers: its loss terms, then concord and the weight of the pair term.
enum Reported : int64_t { kTotal, kLabelA, kLabelV, kSoftA, kSoftV, kCrossAv, kCrossVa, kKl, kPair, kDis, kConcord, kPairWeight, kMostReported };

inline duet_matrix matrix_of(int64_t* data, int64_t rows, int64_t columns) { return {data, rows, columns, columns, DUET_I64}; }

}  // namespace duet
