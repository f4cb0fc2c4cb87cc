// The places of the numbers that a training step takes from the host, keeps, and tells the host (kernels/step/step.h).
#pragma once

#include <cstdint>

#include "kernels/duet.h"
#include "trainer/losses.h"

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
  kPairBias,
  kGradientShareA,
  kGradientShareV,
  kConstants
};
enum Counter : int64_t { kBegun, kUpdates, kFailed, kCounters };
// What a step answers: every loss in its parts (of either modality, or of either direction; 0 where there is none),
// then concord and the weight of the pair term.
inline constexpr int64_t kLossParts = 2;
inline constexpr int64_t reported_at(Loss loss) { return kLossParts * static_cast<int64_t>(loss); }
inline constexpr int64_t kTotal = reported_at(Loss::total);
enum Reported : int64_t { kConcord = kLossParts * static_cast<int64_t>(kLossNames.size()), kPairWeight, kMostReported };

// The losses that a step has reported.
inline Losses losses_of(const float* reported) {
  Losses losses;
  for (const LossName& name : kLossNames)
    for (int64_t part = 0; part < kLossParts; ++part) losses.*name.value += double{*reported++};
  return losses;
}

inline duet_matrix matrix_of(int64_t* data, int64_t rows, int64_t columns) {
  return {data, rows, columns, columns, DUET_DTYPE_I64};
}

}  // namespace duet
