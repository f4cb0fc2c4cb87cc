// What the large and the small form of supervision share: the results of a class and of a sample, from their sums.
#pragma once

#include "kernels/core/philox.h"
#include "kernels/supervision/supervision_formula.h"

namespace duet::cuda {

struct SupervisionCounts {
  unsigned annotated, never_labelled, agreeing;
};

// next = momentum u + (1 - momentum) mean of p, then the class's lift. sum: that of p over the batch.
__device__ inline void move_predicted(const SupervisionInputs& inputs, const SupervisionState& state, int64_t c,
                                      double sum, double* lift, double* log_lift) {
  const auto samples = static_cast<double>(inputs.labels.size);
  state.next_predicted[c] =
      static_cast<float>(inputs.momentum * state.predicted[c] + (1 - inputs.momentum) * sum / samples);
  lift[c] = lift_of(inputs, inputs.prior[c], state.next_predicted[c]);
  log_lift[c] = log(lift[c]);
}

__device__ inline bool is_annotated(const SupervisionInputs& inputs, int64_t i) {
  const uint32_t word = random_word(inputs.seed, kStreamAnnotatedSplit, static_cast<uint32_t>(inputs.epoch[0]),
                                    static_cast<uint64_t>(inputs.sample_ids[i]));
  return inputs.labels[i] >= 0 && (!inputs.hide || word < coin_threshold(inputs.ratio[0]));
}

// The classes of a sample's label: the label itself, or those of its set where kSets.
template <bool kSets>
struct ClassesOfLabel {
  int32_t label;

  __device__ ClassesOfLabel(const LabelSets&, int32_t label) : label(label) {}
  __device__ bool operator()(int64_t c) const { return c == label; }
  template <class Sum>
  __device__ double count(Sum&&) const {
    return 1;
  }
};
template <>
struct ClassesOfLabel<true> {
  LabelSets sets;
  int32_t label;
  bool known;

  __device__ ClassesOfLabel(const LabelSets& sets, int32_t label) : sets(sets), label(label), known(sets.has(label)) {}
  __device__ bool operator()(int64_t c) const { return known && sets.holds(label, c); }
  // sum(value) adds value(c) over all classes.
  template <class Sum>
  __device__ double count(Sum&& sum) const {
    return sum([this](int64_t c) { return (*this)(c) ? 1.0 : 0.0; });
  }
};

// q_c of a sample; mass: the sum of p lift over its classes, of_label: those of its label.
__device__ inline float class_q_of(double p, double lift, double mass, bool annotated, bool is_of_label,
                                   double of_label) {
  if (annotated) return static_cast<float>(annotated_q(is_of_label, of_label));
  return static_cast<float>(mass == 0 ? p : p * lift / mass);
}

// The outputs of a sample other than q. agree: whether its heads name the same class.
__device__ inline SupervisionCounts write_sample(const SupervisionInputs& inputs, const SupervisionOutputs& outputs,
                                                 int64_t i, bool annotated, bool agree) {
  const int32_t label = inputs.labels[i];
  const float trust = annotated || !inputs.trust || agree ? 1.0f : 0.0f;
  outputs.annotated[i] = annotated ? 1.0f : 0.0f;
  outputs.trust[i] = trust;
  outputs.hidden_trust[i] = annotated ? 0 : trust;
  outputs.kappa[i] = annotated ? 1.0f : static_cast<float>(inputs.unannotated_kappa);
  if (outputs.anchor_weight.data) outputs.anchor_weight[i] = anchor_weight_of(inputs, label);
  return {annotated, label < 0, label < 0 && agree};
}

// Called by one thread.
__device__ inline void write_summary(const SupervisionInputs& inputs, const SupervisionState& state,
                                     const SupervisionOutputs& outputs, const SupervisionCounts& counts) {
  double share = state.concord[0];
  if (counts.never_labelled > 0) {
    const double agreeing = static_cast<double>(counts.agreeing) / static_cast<double>(counts.never_labelled);
    share = static_cast<float>(inputs.momentum * share + (1 - inputs.momentum) * agreeing);
  }
  state.next_concord[0] = static_cast<float>(share);
  if (inputs.labels.size == 0)  // no sum over rows has moved them
    for (int64_t c = 0; c < state.predicted.size; ++c) state.next_predicted[c] = state.predicted[c];
  outputs.counts[0] = static_cast<float>(counts.annotated);
  outputs.counts[1] = static_cast<float>(inputs.labels.size - counts.annotated);
  outputs.pair_weight[0] = static_cast<float>(pair_weight_of(inputs, share));
}

// The form of one launch, for shapes that supervision_is_small.
void supervision_small(const duet_context& context, const SupervisionInputs& inputs, const SupervisionState& state,
                       const SupervisionOutputs& outputs);

}  // namespace duet::cuda
