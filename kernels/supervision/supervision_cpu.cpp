// Rows in parallel, what is counted and averaged over the batch on one thread, in order; float64 inside. A sample of 10 classes takes some 30
// exponentials, 0.3 us.
#include <algorithm>
#include <cmath>

#include "kernels/core/philox.h"
#include "kernels/cpu/parallel.h"
#include "kernels/supervision/supervision_backends.h"

namespace duet::cpu {
namespace {

constexpr int64_t kRows = 64;  // of a work item

struct Scratch {
  Matrix<double> both;  // B x C: p_i, the softmax of the two heads' mean
  Matrix<double> head;  // B x C: of one head, then of the other
  Vector<double> lift, mean;
  Vector<int32_t> agree;  // B: the heads name one class

  Scratch(Workspace& workspace, int64_t samples, int64_t classes)
      : both(workspace.take_matrix<double>(samples, classes)),
        head(workspace.take_matrix<double>(samples, classes)),
        lift{workspace.take<double>(classes), classes},
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

// The lowest class of the largest probability; -1 where they are NaN.
int64_t argmax(Vector<const double> p) {
  int64_t best = 0;
  for (int64_t c = 0; c < p.size; ++c) {
    if (std::isnan(p[c])) return -1;
    if (p[c] > p[best]) best = c;
  }
  return best;
}

// next = momentum u + (1 - momentum) mean of p over the batch; u itself where the batch is empty.
void move_predicted(const SupervisionInputs& inputs, const Scratch& scratch, Vector<const float> predicted, Vector<float> next) {
  const int64_t samples = scratch.both.rows, classes = scratch.both.columns;
  if (samples == 0) {
    for (int64_t c = 0; c < classes; ++c) next[c] = predicted[c];
    return;
  }
  std::fill_n(scratch.mean.data, classes, 0.0);
  for (int64_t i = 0; i < samples; ++i)
    for (int64_t c = 0; c < classes; ++c) scratch.mean[c] += scratch.both.row(i)[c];
  for (int64_t c = 0; c < classes; ++c)
    next[c] = static_cast<float>(inputs.momentum * predicted[c] + (1 - inputs.momentum) * scratch.mean[c] / static_cast<double>(samples));
}

void fill_lift(const SupervisionInputs& inputs, Vector<const float> predicted, Vector<double> lift) {
  for (int64_t c = 0; c < lift.size; ++c) {
    const double prior = inputs.prior[c], u = predicted[c];
    if (!inputs.lift)
      lift[c] = 1;
    else if (prior == 0 && u == 0)
      lift[c] = 0;  // a class that is neither labelled nor predicted
    else
      lift[c] = prior / u > inputs.largest_lift ? inputs.largest_lift : prior / u;
  }
}

bool heads_agree(const SupervisionInputs& inputs, int64_t i, const Scratch& scratch) {
  const auto best = [&](Matrix<const float> logits) {
    double* const p = scratch.head.row(i);
    softmax(logits.columns, p, [&](int64_t c) { return double{logits.row(i)[c]}; });
    apply_lift(scratch.lift, p);
    return argmax({p, logits.columns});
  };
  const int64_t a = best(inputs.logits_a);
  return a >= 0 && a == best(inputs.logits_v);
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
    softmax(classes, scratch.both.row(i), [&](int64_t c) { return 0.5 * (double{inputs.logits_a.row(i)[c]} + inputs.logits_v.row(i)[c]); });
  });
  move_predicted(inputs, scratch, state.predicted, state.next_predicted);
  fill_lift(inputs, state.next_predicted, scratch.lift);

  const uint64_t threshold = coin_threshold(inputs.ratio[0]);
  const auto step = static_cast<uint32_t>(inputs.epoch[0]);
  for_each_row([&](int64_t i) {
    const int32_t label = inputs.labels[i];
    const bool annotated = label >= 0 && (!inputs.hide || random_word(inputs.seed, kStreamAnnotatedSplit, step,
                                                                      static_cast<uint64_t>(inputs.sample_ids[i])) < threshold);
    const bool agree = heads_agree(inputs, i, scratch);
    double* q = scratch.both.row(i);
    if (annotated)
      for (int64_t c = 0; c < classes; ++c) q[c] = c == label;
    else
      apply_lift(scratch.lift, q);
    for (int64_t c = 0; c < classes; ++c) outputs.class_q.row(i)[c] = static_cast<float>(q[c]);
    outputs.annotated[i] = annotated;
    outputs.trust[i] = annotated || !inputs.trust || agree;
    outputs.hidden_trust[i] = annotated ? 0 : outputs.trust[i];
    outputs.kappa[i] = annotated ? 1 : static_cast<float>(inputs.unannotated_kappa);
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
  outputs.pair_weight[0] = static_cast<float>(inputs.pair_weight_scale * std::pow(double{concord}, 8));
}

}  // namespace duet::cpu
