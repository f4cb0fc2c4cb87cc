// Learning rates as functions of the step alone, so that a resumed run continues as if it had not stopped.
#pragma once

#include <cstdint>

namespace duet {

enum class Decay { constant, cosine };

struct Schedule {
  double rate = 1e-3;  // the largest rate
  Decay decay = Decay::constant;
  int64_t warmup_steps = 0;  // linear from rate / warmup_steps at step 0 to rate at step warmup_steps - 1
  double final_share = 0;    // cosine: the share of rate that is left after the last step
};

// The rate of step (from 0) of total_steps. cosine, after the warm-up: rate (f + (1 - f) (1 + cos(pi p)) / 2), f =
// final_share, p the share of the steps after the warm-up that is done; steps past the end keep the last rate.
double learning_rate(const Schedule& schedule, int64_t step, int64_t total_steps);

}  // namespace duet
