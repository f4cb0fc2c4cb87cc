// Four steps, all in double as on the CPU, whose decisions they repeat: (1) a warp a sample (a block where there are over 2048 classes) writes p, the
// softmax of the two heads' mean, to the workspace; (2) the means of p over the batch, a sum over rows (kernels/cuda/column_sums.h), move u, and u
// gives the lift; (3) a team a sample flips the coin, compares the heads, writes q, trust and kappa, and counts with integer atomics, whose order no
// bit depends on; (4) one thread moves concord and writes the counts. 128 x 10 is the time of the launches; a large batch moves 8 C bytes of logits
// twice, 16 C of p and 4 C of q a sample: 65536 x 100 some 250 MB, 50 us at the 4.8 TB/s of an H200; an exponential a class in double takes a
// tenth of that.
#include "kernels/core/philox.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/rows.h"
#include "kernels/supervision/supervision_backends.h"
#include "kernels/supervision/supervision_formula.h"

namespace duet::cuda {
namespace {

struct Counts {
  unsigned annotated, never_labelled, agreeing;
};

struct Scratch {
  Matrix<double> both;      // B x C: p
  double *lift, *log_lift;  // C
  Counts* counts;
  double* partials;
  ColumnRuns cut;

  Scratch(Workspace& workspace, int64_t samples, int64_t classes)
      : both(workspace.take_matrix<double>(samples, classes)),
        lift(workspace.take<double>(classes)),
        log_lift(workspace.take<double>(classes)),
        counts(workspace.take<Counts>(1)),
        partials(nullptr),
        cut(samples, classes) {
    partials = workspace.take<double>(cut.partials(1));
  }
};

// The largest of logit(c), passing over NaN.
template <class Team, class Logit>
__device__ double largest_of(int64_t classes, Logit&& logit) {
  double largest = -HUGE_VAL;
  Team::template each<1>(classes, [&](int64_t c) { largest = LargerNumber{}(largest, logit(c)); });
  return Team::reduce(largest, LargerNumber{});
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
    const double sum = Team::template sum_over<1>(both.columns, [=](int64_t c) { return p[c] = exp(logit(c) - largest); });
    Team::template each<1>(both.columns, [=](int64_t c) { p[c] /= sum; });
  }
};

struct Probability {
  Matrix<double> both;

  __device__ ColumnTerms<1> operator()(int64_t i, int64_t c) const { return {{both.row(i)[c]}}; }
};

// next = momentum u + (1 - momentum) mean of p, then the class's lift.
struct MovePredicted {
  double momentum, largest_lift, samples;
  bool lifts;
  Vector<const float> prior;
  Vector<const float> predicted;
  Vector<float> next;
  double *lift, *log_lift;

  __device__ void operator()(int64_t c, const ColumnTerms<1>& sums) const {
    next[c] = static_cast<float>(momentum * predicted[c] + (1 - momentum) * sums.at[0] / samples);
    const double given = prior[c], u = next[c];
    if (!lifts)
      lift[c] = 1;
    else if (given == 0 && u == 0)
      lift[c] = 0;  // a class that is neither labelled nor predicted
    else
      lift[c] = given / u > largest_lift ? largest_lift : given / u;
    log_lift[c] = log(lift[c]);
  }
};

struct Sample {
  SupervisionInputs inputs;
  SupervisionOutputs outputs;
  Matrix<double> both;
  const double *lift, *log_lift;
  Counts* counts;

  // The lowest class of the largest lifted probability (of the probability itself where the lift leaves no mass); -1 where they are NaN.
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
    const int32_t label = inputs.labels[i];
    const uint32_t word =
        random_word(inputs.seed, kStreamAnnotatedSplit, static_cast<uint32_t>(inputs.epoch[0]), static_cast<uint64_t>(inputs.sample_ids[i]));
    const bool annotated = label >= 0 && (!inputs.hide || word < coin_threshold(inputs.ratio[0]));
    const int64_t best_a = named_class<Team>(inputs.logits_a.row(i)), best_v = named_class<Team>(inputs.logits_v.row(i));
    const bool agree = classes >= kFewestClasses && best_a >= 0 && best_a == best_v;

    const double *const p = both.row(i), *const factors = lift;
    float* const q = outputs.class_q.row(i);
    const double mass = Team::template sum_over<1>(classes, [=](int64_t c) { return p[c] * factors[c]; });
    Team::template each<1>(classes, [=](int64_t c) {
      const double lifted = mass == 0 ? p[c] : p[c] * factors[c] / mass;
      q[c] = static_cast<float>(annotated ? (c == label ? 1.0 : 0.0) : lifted);
    });
    if (Team::thread() != 0) return;
    const float trust = annotated || !inputs.trust || agree ? 1.0f : 0.0f;
    outputs.annotated[i] = annotated ? 1.0f : 0.0f;
    outputs.trust[i] = trust;
    outputs.hidden_trust[i] = annotated ? 0 : trust;
    outputs.kappa[i] = annotated ? 1.0f : static_cast<float>(inputs.unannotated_kappa);
    if (outputs.anchor_weight.data) outputs.anchor_weight[i] = anchor_weight_of(inputs, label);
    if (annotated) atomicAdd(&counts->annotated, 1u);
    if (label < 0) atomicAdd(&counts->never_labelled, 1u);
    if (label < 0 && agree) atomicAdd(&counts->agreeing, 1u);
  }
};

__global__ void clear_kernel(Counts* counts) { *counts = {0, 0, 0}; }

__global__ void summary_kernel(SupervisionInputs inputs, SupervisionState state, SupervisionOutputs outputs, const Counts* given) {
  const Counts counts = *given;
  double share = state.concord[0];
  if (counts.never_labelled > 0) {
    const double agreeing = static_cast<double>(counts.agreeing) / static_cast<double>(counts.never_labelled);
    share = static_cast<float>(inputs.momentum * share + (1 - inputs.momentum) * agreeing);
  }
  state.next_concord[0] = static_cast<float>(share);
  if (inputs.labels.size == 0)  // the sums over rows finished no column
    for (int64_t c = 0; c < state.predicted.size; ++c) state.next_predicted[c] = state.predicted[c];
  outputs.counts[0] = static_cast<float>(counts.annotated);
  outputs.counts[1] = static_cast<float>(inputs.labels.size - counts.annotated);
  outputs.pair_weight[0] = static_cast<float>(pair_weight_of(inputs, share));
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
  DUET_LAUNCH(clear_kernel, 1, 1, 0, context.stream)(scratch.counts);
  for_each_row(context, samples, classes, false, Softmax{inputs.logits_a, inputs.logits_v, scratch.both});
  column_sums<1>(context, scratch.cut, Probability{scratch.both},
                 MovePredicted{inputs.momentum, inputs.largest_lift, static_cast<double>(samples), inputs.lift, inputs.prior, state.predicted,
                               state.next_predicted, scratch.lift, scratch.log_lift},
                 scratch.partials);
  for_each_row(context, samples, classes, false, Sample{inputs, outputs, scratch.both, scratch.lift, scratch.log_lift, scratch.counts});
  DUET_LAUNCH(summary_kernel, 1, 1, 0, context.stream)(inputs, state, outputs, scratch.counts);
}

}  // namespace duet::cuda
