// A batch of the supervision's tests, its state and its outputs, and one step of it beside the double-precision
// reference.
#pragma once

#include "tests/reference/supervision.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/label_table.h"

namespace duet::test::supervision {

struct Batch {
  Ints labels;
  Longs sample_ids;
  Floats logits_a, logits_v, prior, ratio;
  Longs epoch;
  duet_supervision_inputs options = DUET_SUPERVISION_INPUTS_INIT;
  LabelTable label_sets = {{}, 1};  // empty: a label is a class

  duet_supervision_inputs inputs() {
    duet_supervision_inputs in = options;
    in.labels = labels.vector(), in.sample_ids = sample_ids.vector();
    in.logits_a = logits_a.matrix(), in.logits_v = logits_v.matrix();
    in.prior = prior.vector(), in.ratio = ratio.vector(), in.epoch = epoch.vector();
    if (label_sets.words.rows() > 0) in.label_sets = label_sets.words.matrix();
    return in;
  }
  reference::SupervisionBatch expected() const {
    reference::SupervisionBatch out;
    for (int64_t i = 0; i < labels.rows(); ++i)
      out.labels.push_back(labels.at(i)), out.sample_ids.push_back(sample_ids.at(i));
    out.logits_a = logits_a.values(), out.logits_v = logits_v.values(), out.prior = prior.values();
    out.ratio = ratio.at(0), out.epoch = static_cast<uint32_t>(epoch.at(0)), out.seed = options.seed;
    out.hide = options.hide, out.lift = options.lift, out.trust = options.trust;
    out.momentum = options.momentum, out.largest_lift = options.largest_lift;
    out.unannotated_kappa = options.unannotated_kappa, out.pair_weight_scale = options.pair_weight_scale;
    out.unread = options.unread, out.generality = options.generality;
    out.label_sets = label_sets.sets;
    return out;
  }
};

struct State {
  Floats predicted, concord;

  explicit State(int64_t classes) : predicted(classes, 1), concord(1, 1) {
    predicted.fill(1.0 / static_cast<double>(classes)), concord.fill(0);
  }
  duet_supervision_state view() {
    duet_supervision_state out = DUET_SUPERVISION_STATE_INIT;
    out.predicted = predicted.vector(), out.concord = concord.vector();
    return out;
  }
};

struct Result {
  Floats class_q, trust, kappa, annotated, hidden_trust, counts, pair_weight, anchor_weight;

  Result(int64_t samples, int64_t classes)
      : class_q(samples, classes, 1),
        trust(samples, 1),
        kappa(samples, 1),
        annotated(samples, 1),
        hidden_trust(samples, 1),
        counts(2, 1),
        pair_weight(1, 1),
        anchor_weight(samples, 1) {}
  duet_supervision_outputs outputs() {
    duet_supervision_outputs out = DUET_SUPERVISION_OUTPUTS_INIT;
    out.class_q = class_q.matrix(), out.trust = trust.vector(), out.kappa = kappa.vector(),
    out.annotated = annotated.vector();
    out.hidden_trust = hidden_trust.vector(), out.counts = counts.vector(), out.pair_weight = pair_weight.vector();
    out.anchor_weight = anchor_weight.vector();
    return out;
  }
  bool same_bits(const Result& other) const {
    return class_q.same_bits(other.class_q) && trust.same_bits(other.trust) && kappa.same_bits(other.kappa) &&
           annotated.same_bits(other.annotated) && hidden_trust.same_bits(other.hidden_trust) &&
           counts.same_bits(other.counts) && pair_weight.same_bits(other.pair_weight) &&
           anchor_weight.same_bits(other.anchor_weight);
  }
};

inline Batch draw_batch(uint64_t seed, int64_t samples, int64_t classes, double unlabelled, int64_t padding = 0) {
  Draw draw(seed);
  Batch batch{draw.labels(samples, classes, unlabelled),
              Longs(samples, 1),
              draw.normals(samples, classes, 2, padding),
              draw.normals(samples, classes, 2, padding),
              Floats(classes, 1),
              Floats(1, 1),
              Longs(1, 1)};
  for (int64_t i = 0; i < samples; ++i) {
    batch.sample_ids.at(i) = draw.integer(0, int64_t{1} << 40);
    for (int64_t c = 0; c < classes; ++c) batch.logits_v.at(i, c) += batch.logits_a.at(i, c);  // heads that often agree
  }
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += batch.prior.at(c) = static_cast<float>(1 + 3 * draw.uniform(0, 1));
  for (int64_t c = 0; c < classes; ++c) batch.prior.at(c) = static_cast<float>(batch.prior.at(c) / sum);
  batch.ratio.at(0) = 0.65f, batch.epoch.at(0) = 11, batch.options.seed = 0x123456789ABCDEF;
  return batch;
}

// One call; it moves the state on.
inline duet_status run_on(duet_context* context, Batch& batch, State& state, Result& result) {
  const auto inputs = batch.inputs();
  const auto outputs = result.outputs();
  const auto view = state.view();
  size_t bytes = 0;
  SUCCEED_CALL(duet_supervision_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  const duet_status status = duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view());
  device.synchronize();
  return status;
}

inline Result run(Batch& batch, State& state, int threads) {
  const Context context(threads);
  Result result(batch.labels.rows(), batch.logits_a.columns());
  SUCCEED_CALL(run_on(context, batch, state, result));
  return result;
}

// One step with every number of threads from the same state, which it moves on; compared with the reference from that
// state.
inline Result step(Batch& batch, State& state) {
  const State before = state;
  const Result result = run(batch, state, 1);
  for (const int threads : other_thread_counts()) {
    State again = before;
    CHECK(run(batch, again, threads).same_bits(result));
    CHECK((again.predicted.same_bits(state.predicted) && again.concord.same_bits(state.concord)));
  }
  Doubles predicted = before.predicted.values();
  double concord = before.concord.at(0);
  const auto expected = reference::supervision(batch.expected(), predicted, concord);
  // Computed in double from a state in float32: u and with it the lift are off by an ulp or two, q at most as much;
  // concord^8 eight times that.
  const double rounding = 3e-7;
  check_close(state.predicted.values(), predicted, rounding, "predicted");
  check_close(state.concord.values(), {concord}, rounding, "concord");
  check_close(result.class_q.values(), expected.class_q, rounding, "class_q");
  check_close(result.pair_weight.values(), expected.pair_weight, 8 * rounding * 3 * batch.options.pair_weight_scale,
              "pair_weight");
  check_close(result.anchor_weight.values(), expected.anchor_weight, rounding, "anchor_weight");
  check_close(result.kappa.values(), expected.kappa, rounding, "kappa");
  check_close(result.trust.values(), expected.trust, 0, "trust");
  check_close(result.annotated.values(), expected.annotated, 0, "annotated");
  check_close(result.hidden_trust.values(), expected.hidden_trust, 0, "hidden_trust");
  check_close(result.counts.values(), expected.counts, 0, "counts");
  return result;
}

}  // namespace duet::test::supervision
