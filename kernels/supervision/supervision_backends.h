// What each backend implements of supervision, on checked arguments.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/label_sets.h"
#include "kernels/core/outside.h"
#include "kernels/supervision/supervision.h"

namespace duet {

struct SupervisionInputs {
  Vector<const int32_t> labels;
  Vector<const int64_t> sample_ids;
  Matrix<const float> logits_a, logits_v;
  Vector<const float> prior, ratio;
  Vector<const int64_t> epoch;
  uint64_t seed;
  bool hide, lift, trust;
  double momentum, largest_lift, unannotated_kappa, pair_weight_scale, unread, generality;
  LabelSets label_sets;
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

inline Range<int32_t> label_range(const SupervisionInputs& inputs) {
  const int64_t labels = inputs.label_sets ? inputs.label_sets.words.rows : inputs.logits_a.columns;
  return {"inputs.labels", -1,
          static_cast<int32_t>(std::min<int64_t>(labels - 1, std::numeric_limits<int32_t>::max()))};
}
inline Range<float> ratio_range() { return {"inputs.ratio", 0, 1, true}; }

DUET_BACKEND_FUNCTION(size_t, supervision_workspace, int64_t samples, int64_t classes)
DUET_BACKEND_FUNCTION(void, supervision_forward, const duet_context& context, const SupervisionInputs& inputs,
                      const SupervisionState& state, const SupervisionOutputs& outputs, Workspace workspace)
namespace cuda {
// Whether p of the whole batch fits in a block's shared memory. Then one launch does all, and where the context records
// faults, that launch records a label or a ratio out of range itself.
bool supervision_is_small(const duet_context& context, int64_t samples, int64_t classes);
}  // namespace cuda

}  // namespace duet
