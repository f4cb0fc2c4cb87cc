// A whole training step: it learns, its bits do not depend on the threads, and it allocates nothing after the first.
#include <memory>

#include "runtime/module.h"
#include "runtime/ops.h"
#include "runtime/optimizer.h"
#include "runtime/schedule.h"
#include "tests/runtime/total.h"
#include "tests/support/arrays.h"
#include "tests/support/count_allocations.h"

using namespace duet;
using namespace duet::test;

namespace {

constexpr int64_t kSamples = 300, kInputsA = 20, kInputsV = 12, kWidth = 16, kClasses = 5, kBatch = 64;

// The step of METHOD.md 6 with every loss term switched on, on a small network.
struct Training {
  explicit Training(duet_context* given)
      : context(given),
        tape(given),
        encoders(store, {kInputsA, {32, 32}, kWidth, DUET_ACTIVATION_KIND_RELU, 0.2f, true},
                 {kInputsV, {32, 32}, kWidth, DUET_ACTIVATION_KIND_RELU, 0.2f, false}),
        classifier(store, "classifier", kWidth, kClasses),
        scale(store, "scale", 10),
        optimizer(store) {
    store.initialise(context, 1);
    for (int64_t i = 0; i < kSamples; ++i) {
      for (int64_t k = 0; k < kInputsA; ++k)
        samples_a.at(i, k) = static_cast<float>(draw.normal() + (labels.at(i) == k));
      for (int64_t k = 0; k < kInputsV; ++k)
        samples_v.at(i, k) = static_cast<float>(draw.normal() + (labels.at(i) == k));
      order.at(i) = i;
    }
    prior.fill(1.0 / kClasses), predicted.fill(1.0 / kClasses), concord.fill(0.5);
    ratio.fill(0.7), rho.fill(0.5), one.fill(1);
    epoch.fill(0), step.fill(0);
  }

  static Tensor of(Floats& array) { return Tensor::view(array.data(), array.rows(), array.columns()); }

  // Makes the supervision of a batch from the teacher's logits: not differentiable, so the kernel is called as it is.
  struct Supervision {
    Tensor class_q, trust, kappa, annotated, hidden_trust, counts, pair_weight, anchor_weight;
  };
  Supervision supervise(int64_t first, int64_t batch, const Tensor& logits_a, const Tensor& logits_v) {
    const Supervision out{tape.make(batch, kClasses), tape.make(batch), tape.make(batch), tape.make(batch),
                          tape.make(batch),           tape.make(2),     tape.make(1),     tape.make(batch)};
    duet_supervision_inputs inputs = DUET_SUPERVISION_INPUTS_INIT;
    inputs.labels = duet_i32_const_vector(labels.data() + first, batch),
    inputs.sample_ids = duet_i64_const_vector(order.data() + first, batch);
    inputs.logits_a = logits_a.matrix(), inputs.logits_v = logits_v.matrix();
    inputs.unread = 0.1, inputs.generality = 0.6;
    inputs.prior = prior.vector(), inputs.ratio = ratio.vector(), inputs.epoch = epoch.vector();
    duet_supervision_state state = DUET_SUPERVISION_STATE_INIT;
    state.predicted = predicted.vector(), state.concord = concord.vector();
    duet_supervision_outputs outputs = DUET_SUPERVISION_OUTPUTS_INIT;
    outputs.class_q = out.class_q.matrix(), outputs.trust = out.trust.vector(), outputs.kappa = out.kappa.vector();
    outputs.annotated = out.annotated.vector(), outputs.hidden_trust = out.hidden_trust.vector();
    outputs.counts = out.counts.vector(), outputs.pair_weight = out.pair_weight.vector();
    outputs.anchor_weight = out.anchor_weight.vector();
    SUCCEED_CALL(duet_supervision_forward(context, &inputs, &state, &outputs,
                                          tape.workspace(duet_supervision_workspace, inputs)));
    return out;
  }

  float run(int64_t first, int64_t batch) {
    tape.reset();
    step.at(0) += 1;
    const Indices rows{order.data() + first, batch};
    const Tensor x_a = ops::gather(tape, of(samples_a), rows), x_v = ops::gather(tape, of(samples_v), rows);
    const auto read = [&](const ParameterView& view, const Mode& mode) {
      const Tensor last_a = encoders.outputs_a(tape, view, x_a, mode);
      return classifier.forward(tape, view, {last_a, encoders.outputs_v(tape, view, x_v, mode)});
    };
    std::span<const ops::Head> taught;
    {
      const NoGradient teacher(tape);
      taught = read(store.teacher(), Mode::evaluation());
    }
    const Supervision given = supervise(first, batch, taught[0].logits, taught[1].logits);
    const std::span<const ops::Head> out = read(store.student(), Mode::train(3, {step.data(), 1}));
    const Tensor &a = out[0].embeddings, &v = out[1].embeddings;

    duet_triplet_inputs triplet = DUET_TRIPLET_INPUTS_INIT;
    triplet.class_x = triplet.class_y = given.class_q.matrix();
    triplet.trust_x = triplet.trust_y = given.trust.vector();
    triplet.metric = DUET_METRIC_SQEUCLIDEAN, triplet.margin = 0.2f, triplet.paired = 1;
    duet_distillation_inputs distillation = DUET_DISTILLATION_INPUTS_INIT;
    distillation.teacher_a = taught[0].embeddings.matrix(), distillation.teacher_v = taught[1].embeddings.matrix();
    distillation.class_a = distillation.class_v = given.class_q.matrix();
    distillation.trust_a = distillation.trust_v = given.trust.vector();
    distillation.kappa_a = distillation.kappa_v = given.kappa.vector();
    distillation.teacher_scale = tape.constant(10).vector();
    distillation.paired = 1;
    duet_contrastive_inputs pair = DUET_CONTRASTIVE_INPUTS_INIT;
    pair.grad_factor_v = tape.constant(0.5f).vector();

    const Tensor annotated = given.counts.row_part(0, 1), others = given.counts.row_part(1, 1), q = given.class_q;
    const Tensor unit = of(one), half_rho = of(rho), temperature = scale.forward(tape, store.student());
    const Tensor entropies = ops::cross_entropy_terms(tape, {out[0].logits, out[1].logits}, q);
    const Tensor ce_a = entropies.row_part(0, batch), ce_v = entropies.row_part(batch, batch);
    const Tensor cross_av = ops::triplet(tape, a, v, triplet), cross_va = ops::triplet(tape, v, a, triplet);
    const Tensor divergences = ops::distillation_terms(tape, a, v, temperature, distillation);
    const Tensor pairs = ops::contrastive_terms(tape, a, v, temperature, {}, pair);
    const Tensor loss =
        total(tape, {{unit, {ce_a, given.annotated, annotated}, {}},
                     {unit, {ce_v, given.annotated, annotated}, {}},
                     times(unit, cross_av),
                     times(unit, cross_va),
                     ops::both_directions(half_rho, divergences, batch, given.trust, given.trust),
                     {half_rho, {ce_a, given.hidden_trust, others}, {}},
                     {half_rho, {ce_v, given.hidden_trust, others}, {}},
                     ops::both_directions(given.pair_weight, pairs, batch, given.anchor_weight, given.anchor_weight),
                     times(unit, ops::decorrelation(tape, a, v))});
    store.clear_gradients();
    tape.backward(loss);
    rate.fill(learning_rate({1e-2, Decay::cosine, 2, 0}, step.at(0) - 1, 100));
    optimizer.step(context, of(rate), {step.data(), 1});
    return loss.item();
  }

  duet_context* context;
  Tape tape;
  ParameterStore store;
  EncoderPair encoders;
  Classifier classifier;
  LearnedScale scale;
  AdamW optimizer;
  Floats samples_a{kSamples, kInputsA}, samples_v{kSamples, kInputsV};
  Draw draw{2};
  Ints labels = draw.labels(kSamples, kClasses, 0.3);
  Longs order{kSamples, 1}, epoch{1, 1}, step{1, 1};
  Floats prior{kClasses, 1}, predicted{kClasses, 1}, concord{1, 1}, ratio{1, 1}, rho{1, 1}, one{1, 1}, rate{1, 1};
};

}  // namespace

TEST_CASE("training lowers the loss and does not depend on the number of threads") {
  std::vector<float> expected;
  for (const int threads : {1, 2, 4}) {
    Context context(threads);
    const auto training = std::make_unique<Training>(context);
    std::vector<float> losses;
    for (int k = 0; k < (threads == 1 ? 60 : 6); ++k) losses.push_back(training->run(k % 4 * kBatch, kBatch));
    if (threads == 1) {
      CHECK(losses[56] < 0.8f * losses[0]);
      expected = {losses.begin(), losses.begin() + 6};
    } else {
      CHECK(losses == expected);
    }
  }
}

#ifdef DUET_TEST_COUNTS_ALLOCATIONS
TEST_CASE("a training step allocates nothing after the first") {
  // The count works: every way of asking for memory is seen. Calls through volatile pointers, which a compiler cannot
  // leave out.
  void* (*volatile plain)(size_t) = std::malloc;
  void* (*volatile operator_new)(size_t) = ::operator new;
  void* (*volatile aligned_new)(size_t, std::align_val_t) = ::operator new;
  counting = true;
  std::free(plain(100));
  ::operator delete(operator_new(100));
  ::operator delete (aligned_new(100, std::align_val_t{64}), std::align_val_t{64});
  counting = false;
  CHECK(allocations.exchange(0) == 3);
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    Context context(threads);
    const auto training = std::make_unique<Training>(context);
    training->run(0, kBatch);  // also starts the context's threads
    const size_t bytes = training->tape.memory_bytes();
    counting = true;
    for (int k = 1; k < 20; ++k) training->run(k % 4 * kBatch, kBatch);
    training->run(0, 9);  // a last batch is smaller
    training->run(0, 33);
    training->run(0, kBatch);
    counting = false;
    CHECK(allocations.exchange(0) == 0);
    CHECK(training->tape.memory_bytes() == bytes);
  }
}
#endif
