// Rows are processed in parallel. Counts and averages over the batch are formed on one thread, in order. All of it is
// in float64. A sample costs one exponential a class; finding a head's class costs none.
#include <algorithm>
#include <cmath>

#include "kernels/core/philox.h"
#include "kernels/cpu/parallel.h"
#include "kernels/supervision/supervision_backends.h"
#include "kernels/supervision/supervision_formula.h"

namespace duet::cpu {
namespace {

constexpr int64_t kRows = 64;  // of a work item

struct Scratch {
  Matrix<double> both;  // B x C: p_i, the softmax of the two heads' mean
  Vector<double> lift, log_lift, mean;
  Vector<int32_t> agree;  // B: whether the heads name the same class

  Scratch(Workspace& workspace, int64_t samples, int64_t classes)
      : both(workspace.take_matrix<double>(samples, classes)),
        lift{workspace.take<double>(classes), classes},
        log_lift{workspace.take<double>(classes), classes},
        mean{workspace.take<double>(classes), classes},
        agree{workspace.take<int32_t>(samples), samples} {}
};

// out_c = softmax_c of logit(c); NaN in any of them is NaN in all.
template <class Logit>
void softmax(int64_t classes, double* out, Logit&& logit) {
  double largest = -HUGE_VAL, sum = 0;
  for (int64_t c = 0; c < classes; ++c) largest = std::max(largest, out[c] = logit(c));
  for (int64_t c = 0; c < classes; ++c) sum += out[c] = std::exp(out[c] - largest);
  for (int64_t c = 0; c < classes; ++c) out[c] /= sum;
}

// p <- p lift, renormalised; p stays where the lift leaves no mass at all (a prior of 0 in every class that p holds).
void apply_lift(Vector<const double> lift, double* p) {
  double sum = 0;
  for (int64_t c = 0; c < lift.size; ++c) sum += p[c] * lift[c];
  if (sum == 0) return;
  for (int64_t c = 0; c < lift.size; ++c) p[c] = p[c] * lift[c] / sum;
}

// The lowest class of the largest lifted probability (of the probability itself where the lift leaves no mass); -1
// where they are NaN.
int64_t named_class(const float* logits, Vector<const double> log_lift) {
  double largest = -HUGE_VAL;
  for (int64_t c = 0; c < log_lift.size; ++c) largest = std::max(largest, double{logits[c]});
  const auto best = [&](bool lifted) {
    Candidate found{0, -1};
    for (int64_t c = 0; c < log_lift.size; ++c)
      found = BetterCandidate{}(found, Candidate{lifted_logit(logits[c], largest, lifted ? log_lift[c] : 0), c});
    return found;
  };
  const Candidate found = best(true);
  return class_of(found.value == -HUGE_VAL ? best(false) : found);
}

// next = momentum u + (1 - momentum) mean of p over the batch; u itself where the batch is empty.
void move_predicted(const SupervisionInputs& inputs, const Scratch& scratch, Vector<const float> predicted,
                    Vector<float> next) {
  const int64_t samples = scratch.both.rows, classes = scratch.both.columns;
  if (samples == 0) {
    for (int64_t c = 0; c < classes; ++c) next[c] = predicted[c];
    return;
  }
  std::fill_n(scratch.mean.data, classes, 0.0);
  for (int64_t i = 0; i < samples; ++i)
    for (int64_t c = 0; c < classes; ++c) scratch.mean[c] += scratch.both.row(i)[c];
  for (int64_t c = 0; c < classes; ++c)
    next[c] = static_cast<float>(inputs.momentum * predicted[c] +
                                 (1 - inputs.momentum) * scratch.mean[c] / static_cast<double>(samples));
}

// The distribution of an annotated sample.
void fill_annotated(const LabelSets& sets, int32_t label, int64_t classes, double* q) {
  const auto of_label = [&](int64_t c) { return sets ? sets.holds(label, c) : c == label; };
  int64_t count = 0;
  for (int64_t c = 0; c < classes; ++c) count += of_label(c);
  for (int64_t c = 0; c < classes; ++c) q[c] = annotated_q(of_label(c), static_cast<double>(count));
}

bool heads_agree(const SupervisionInputs& inputs, int64_t i, Vector<const double> log_lift) {
  if (log_lift.size < kFewestClasses) return false;
  const int64_t a = named_class(inputs.logits_a.row(i), log_lift);
  return a >= 0 && a == named_class(inputs.logits_v.row(i), log_lift);
}

}  // namespace

size_t supervision_workspace(int64_t samples, int64_t classes) {
  Workspace measure;
  Scratch(measure, samples, classes);
  return measure.used();
}

void supervision_forward(const duet_context& context, const SupervisionInputs& inputs, const SupervisionState& state,
                         const SupervisionOutputs& outputs, Workspace workspace) {
  const int64_t samples = inputs.labels.size, classes = inputs.logits_a.columns;
  const Scratch scratch(workspace, samples, classes);
  const auto for_each_row = [&](auto&& body) {
    parallel_chunks(context, samples, kRows, [&](int64_t first, int64_t count, int) {
      for (int64_t i = first; i < first + count; ++i) body(i);
    });
  };
  for_each_row([&](int64_t i) {
    softmax(classes, scratch.both.row(i),
            [&](int64_t c) { return 0.5 * (double{inputs.logits_a.row(i)[c]} + inputs.logits_v.row(i)[c]); });
  });
  move_predicted(inputs, scratch, state.predicted, state.next_predicted);
  for (int64_t c = 0; c < classes; ++c) {
    scratch.lift[c] = lift_of(inputs, inputs.prior[c], state.next_predicted[c]);
    scratch.log_lift[c] = std::log(scratch.lift[c]);
  }

  const uint64_t threshold = coin_threshold(inputs.ratio[0]);
  const auto step = static_cast<uint32_t>(inputs.epoch[0]);
  for_each_row([&](int64_t i) {
    const int32_t label = inputs.labels[i];
    const bool annotated =
        label >= 0 && (!inputs.hide || random_word(inputs.seed, kStreamAnnotatedSplit, step,
                                                   static_cast<uint64_t>(inputs.sample_ids[i])) < threshold);
    const bool agree = heads_agree(inputs, i, scratch.log_lift);
    double* q = scratch.both.row(i);
    if (annotated)
      fill_annotated(inputs.label_sets, label, classes, q);
    else
      apply_lift(scratch.lift, q);
    for (int64_t c = 0; c < classes; ++c) outputs.class_q.row(i)[c] = static_cast<float>(q[c]);
    outputs.annotated[i] = annotated;
    outputs.trust[i] = annotated || !inputs.trust || agree;
    outputs.hidden_trust[i] = annotated ? 0 : outputs.trust[i];
    outputs.kappa[i] = annotated ? 1 : static_cast<float>(inputs.unannotated_kappa);
    if (outputs.anchor_weight) outputs.anchor_weight[i] = anchor_weight_of(inputs, label);
    scratch.agree[i] = agree;
  });
  int64_t annotated_count = 0, never_labelled = 0, agreeing = 0;
  for (int64_t i = 0; i < samples; ++i) {
    annotated_count += outputs.annotated[i] != 0;
    never_labelled += inputs.labels[i] < 0;
    agreeing += inputs.labels[i] < 0 && scratch.agree[i];
  }
  float concord = state.concord[0];
  if (never_labelled > 0) {
    const double share = static_cast<double>(agreeing) / static_cast<double>(never_labelled);
    concord = static_cast<float>(inputs.momentum * concord + (1 - inputs.momentum) * share);
  }
  state.next_concord[0] = concord;
  outputs.counts[0] = static_cast<float>(annotated_count);
  outputs.counts[1] = static_cast<float>(samples - annotated_count);
  outputs.pair_weight[0] = static_cast<float>(pair_weight_of(inputs, concord));
}

}  // namespace duet::cpu
