#include "runtime/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/core/error.h"

namespace duet {

double learning_rate(const Schedule& schedule, int64_t step, int64_t total_steps) {
  require(schedule.rate >= 0, "rate: expected at least 0, got ", schedule.rate);
  require(schedule.warmup_steps >= 0, "warmup_steps: expected at least 0, got ", schedule.warmup_steps);
  require(schedule.final_share >= 0 && schedule.final_share <= 1, "final_share: expected 0 to 1, got ",
          schedule.final_share);
  require(step >= 0, "step: expected at least 0, got ", step);
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  if (step < schedule.warmup_steps) return schedule.rate * static_cast<double>(step + 1) / warmup;
  if (schedule.decay == Decay::constant) return schedule.rate;
  const double remaining = std::max(1.0, static_cast<double>(total_steps) - warmup);
  const double done = std::min(1.0, (static_cast<double>(step) - warmup) / remaining);
  return schedule.rate *
         (schedule.final_share + (1 - schedule.final_share) * (1 + std::cos(std::numbers::pi * done)) / 2);
}

}  // namespace duet
