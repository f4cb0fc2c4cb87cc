// What each backend implements of supervision, on checked arguments.
#pragma once

#include <cstddef>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/supervision/supervision.h"

namespace duet {

template <>
inline constexpr size_t kFirstSize<duet_supervision_inputs> = offsetof(duet_supervision_inputs, unread);
template <>
inline constexpr size_t kFirstSize<duet_supervision_outputs> = offsetof(duet_supervision_outputs, predicted);

struct SupervisionInputs {
  Vector<const int32_t> labels;
  Vector<const int64_t> sample_ids;
  Matrix<const float> logits_a, logits_v;
  Vector<const float> prior, ratio;
  Vector<const int64_t> epoch;
  uint64_t seed;
  bool hide, lift, trust;
  double momentum, largest_lift, unannotated_kappa, pair_weight_scale, unread, generality;
};

// next may be the state's own memory: each value is read before it is written, by the thread that writes it.
struct SupervisionState {
  Vector<const float> predicted, concord;
  Vector<float> next_predicted, next_concord;
};

struct SupervisionOutputs {
  Matrix<float> class_q;
  Vector<float> trust, kappa, annotated, hidden_trust, counts, pair_weight;
  Vector<float> anchor_weight;  // without data: not wanted
};

namespace cpu {

size_t supervision_workspace(int64_t samples, int64_t classes);
void supervision_forward(const duet_context& context, const SupervisionInputs& inputs, const SupervisionState& state,
                         const SupervisionOutputs& outputs, Workspace workspace);

}  // namespace cpu

namespace cuda {

size_t supervision_workspace(int64_t samples, int64_t classes);
void supervision_forward(const duet_context& context, const SupervisionInputs& inputs, const SupervisionState& state,
                         const SupervisionOutputs& outputs, Workspace workspace);

}  // namespace cuda
}  // namespace duet
