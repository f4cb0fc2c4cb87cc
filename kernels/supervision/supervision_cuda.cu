// A warp owns a sample, a block one of over 2048 classes; a block owns a run of columns in the sums over the batch.
// Bytes a sample of C classes: 8 C of logits twice, 16 C of p, 4 C of q.
// Operations: an exponential a class in double; no products.
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/rows.h"
#include "kernels/supervision/supervision_cuda.h"

namespace duet::cuda {
namespace {

struct Scratch {
  Matrix<double> both;      // B x C: p
  double *lift, *log_lift;  // C
  SupervisionCounts* counts;
  double* partials;
  ColumnRuns cut;

  Scratch(Workspace& workspace, int64_t samples, int64_t classes)
      : both(workspace.take_matrix<double>(samples, classes)),
        lift(workspace.take<double>(classes)),
        log_lift(workspace.take<double>(classes)),
        counts(workspace.take<SupervisionCounts>(1)),
        partials(nullptr),
        cut(samples, classes) {
    partials = workspace.take<double>(cut.partials(1));
  }
};

// The largest of logit(c), NaN skipped.
template <class Team, class Logit>
__device__ double largest_of(int64_t classes, Logit&& logit) {
  double largest = -HUGE_VAL;
  Team::template each<1>(classes, [&](int64_t c) { largest = MaxNumber{}(largest, logit(c)); });
  return Team::reduce(largest, MaxNumber{});
}

// p_c = softmax_c of the heads' mean; NaN in any logit is NaN in all.
struct Softmax {
  Matrix<const float> logits_a, logits_v;
  Matrix<double> both;

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const float *const a = logits_a.row(i), *const v = logits_v.row(i);
    double* const p = both.row(i);
    const auto logit = [=](int64_t c) { return 0.5 * (double{a[c]} + v[c]); };
    const double largest = largest_of<Team>(both.columns, logit);
    const double sum =
        Team::template sum_over<1>(both.columns, [=](int64_t c) { return p[c] = exp(logit(c) - largest); });
    Team::template each<1>(both.columns, [=](int64_t c) { p[c] /= sum; });
  }
};

struct Probability {
  Matrix<double> both;

  __device__ ColumnTerms<1> operator()(int64_t i, int64_t c) const { return {{both.row(i)[c]}}; }
};

struct MovePredicted {
  SupervisionInputs inputs;
  SupervisionState state;
  double *lift, *log_lift;

  __device__ void operator()(int64_t c, const ColumnTerms<1>& sums) const {
    move_predicted(inputs, state, c, sums.at[0], lift, log_lift);
  }
};

template <bool kSets>
struct Sample {
  SupervisionInputs inputs;
  SupervisionOutputs outputs;
  Matrix<double> both;
  const double *lift, *log_lift;
  SupervisionCounts* counts;

  // The lowest class of the largest lifted probability (of the probability itself where the lift leaves no mass); -1
  // where they are NaN.
  template <class Team>
  __device__ int64_t named_class(const float* logits) const {
    const int64_t classes = both.columns;
    const double largest = largest_of<Team>(classes, [=](int64_t c) { return double{logits[c]}; });
    Candidate lifted{0, -1}, plain{0, -1};
    Team::template each<1>(classes, [&](int64_t c) {
      lifted = BetterCandidate{}(lifted, Candidate{lifted_logit(logits[c], largest, log_lift[c]), c});
      plain = BetterCandidate{}(plain, Candidate{lifted_logit(logits[c], largest, 0), c});
    });
    lifted = Team::reduce(lifted, BetterCandidate{});
    return class_of(lifted.value == -HUGE_VAL ? Team::reduce(plain, BetterCandidate{}) : lifted);
  }

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const int64_t classes = both.columns;
    const bool annotated = is_annotated(inputs, i);
    const int64_t best_a = named_class<Team>(inputs.logits_a.row(i)),
                  best_v = named_class<Team>(inputs.logits_v.row(i));
    const bool agree = classes >= kFewestClasses && best_a >= 0 && best_a == best_v;

    const double *const p = both.row(i), *const factors = lift;
    float* const q = outputs.class_q.row(i);
    const double mass = Team::template sum_over<1>(classes, [=](int64_t c) { return p[c] * factors[c]; });
    const ClassesOfLabel<kSets> of_label(inputs.label_sets, inputs.labels[i]);
    const double count = of_label.count([=](auto&& value) { return Team::template sum_over<1>(classes, value); });
    Team::template each<1>(
        classes, [=](int64_t c) { q[c] = class_q_of(p[c], factors[c], mass, annotated, of_label(c), count); });
    if (Team::thread() != 0) return;
    const SupervisionCounts mine = write_sample(inputs, outputs, i, annotated, agree);
    if (mine.annotated) atomicAdd(&counts->annotated, 1u);
    if (mine.never_labelled) atomicAdd(&counts->never_labelled, 1u);
    if (mine.agreeing) atomicAdd(&counts->agreeing, 1u);
  }
};

__global__ void clear_kernel(SupervisionCounts* counts) { *counts = {0, 0, 0}; }

__global__ void summary_kernel(SupervisionInputs inputs, SupervisionState state, SupervisionOutputs outputs,
                               const SupervisionCounts* counts) {
  write_summary(inputs, state, outputs, *counts);
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
  if (supervision_is_small(context, samples, classes)) return supervision_small(context, inputs, state, outputs);
  const Scratch scratch(workspace, samples, classes);
  DUET_LAUNCH(clear_kernel, 1, 1, 0, context.stream)(scratch.counts);
  for_each_row(context, samples, classes, false, Softmax{inputs.logits_a, inputs.logits_v, scratch.both});
  column_sums<1>(context, scratch.cut, Probability{scratch.both},
                 MovePredicted{inputs, state, scratch.lift, scratch.log_lift}, scratch.partials);
  const auto decide = [&](auto sets) {
    for_each_row(
        context, samples, classes, false,
        Sample<decltype(sets)::value>{inputs, outputs, scratch.both, scratch.lift, scratch.log_lift, scratch.counts});
  };
  if (inputs.label_sets)
    decide(std::true_type());
  else
    decide(std::false_type());
  DUET_LAUNCH(summary_kernel, 1, 1, 0, context.stream)(inputs, state, outputs, scratch.counts);
}

}  // namespace duet::cuda
