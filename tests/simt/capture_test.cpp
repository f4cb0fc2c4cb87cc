// A step is recorded once and replayed: no call of it waits for the device or reads a value on the host, and what
// changes lies in device memory.
#include <memory>

#include "kernels/cuda/device.h"
#include "tests/kernels/optimizer_steps.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

class StreamContext {
 public:
  StreamContext() {
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.device = DUET_DEVICE_CUDA;
    options.stream = stream_.get();
    SUCCEED_CALL(duet_context_create(&options, &context_));
  }
  ~StreamContext() { duet_context_destroy(context_); }
  StreamContext(const StreamContext&) = delete;
  operator duet_context*() const { return context_; }
  void* stream() const { return stream_.get(); }

 private:
  duet::cuda::Stream stream_;
  duet_context* context_ = nullptr;
};

// Rows of a data set through dropout and a layer, and an optimizer's step on the layer's weight.
struct Step {
  static constexpr int64_t kBatch = 9, kIn = 6, kOut = 5, kRows = 20;
  Floats source, rows, dropped, weight, outputs, grad_weight, first, second, rate;
  Longs indices, step;
  duet_linear_inputs layer = DUET_LINEAR_INPUTS_INIT;
  std::unique_ptr<Scratch> scratch;

  explicit Step(duet_context* context)
      : source(Draw(1).normals(kRows, kIn)),
        rows(kBatch, kIn),
        dropped(kBatch, kIn),
        weight(Draw(2).normals(kOut, kIn)),
        outputs(kBatch, kOut),
        grad_weight(kOut, kIn),
        first(kOut * kIn, 1),
        second(kOut * kIn, 1),
        rate(1, 1),
        indices(kBatch, 1),
        step(1, 1) {
    grad_weight.fill(0), first.fill(0), second.fill(0);
    layer.x = dropped.matrix(), layer.weight = weight.matrix();
    size_t bytes = 0;
    SUCCEED_CALL(duet_linear_workspace(context, &layer, &bytes));
    scratch = std::make_unique<Scratch>(bytes);
  }
  void set(int64_t number) {
    for (int64_t i = 0; i < kBatch; ++i) indices.at(i) = (7 * i + 3 * number) % kRows;
    step.at(0) = number;
    rate.fill(0.1 / static_cast<double>(number));
  }
  void run(duet_context* context) {
    duet_dropout_options dropout = DUET_DROPOUT_OPTIONS_INIT;
    dropout.drop_probability = 0.25f, dropout.step = step.vector();
    SUCCEED_CALL(duet_gather_forward(
        context, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
        sized<duet_gather_outputs>({.rows = rows.matrix()})));
    SUCCEED_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = rows.matrix(), .dropout = &dropout}),
                                      sized<duet_dropout_outputs>({.outputs = dropped.matrix()})));
    SUCCEED_CALL(duet_linear_forward(context, &layer, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                     scratch->view()));
    SUCCEED_CALL(duet_linear_backward(
        context, &layer,
        sized<duet_linear_gradients>({.grad_outputs = outputs.matrix(), .grad_weight = grad_weight.matrix()}),
        scratch->view()));
    const auto flat = [](Floats& of) { return duet_f32_vector(of.data(), of.rows() * of.columns()); };
    const duet_optimizer_slot slot = {flat(weight), flat(grad_weight), first.vector(), second.vector(), {}};
    const duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
    SUCCEED_CALL(adamw_step(context, &slot, 1, adamw, rate.vector(), step.vector()));
  }
};

}  // namespace

TEST_CASE("a captured step, replayed with other values, is the step itself") {
  StreamContext context;
  Step captured(context), plain(context);
  captured.set(1);
  duet::cuda::begin_capture(context.stream());
  captured.run(context);
  const duet::cuda::Graph graph = duet::cuda::end_capture(context.stream());
  for (const int64_t number : {1, 2, 3}) {
    captured.set(number), plain.set(number);
    graph.replay(context.stream());
    duet::cuda::synchronize(context.stream());
    plain.run(context);
    CHECK(captured.outputs.same_bits(plain.outputs));
    CHECK(captured.weight.same_bits(plain.weight));
  }
}

TEST_CASE("an index out of range is refused, and harmless where nothing can be refused") {
  StreamContext context;
  Step step(context);
  Ints labels(Step::kRows, 1), picked(Step::kBatch, 1);
  labels.fill(4);
  Floats grad = Draw(3).normals(Step::kRows, Step::kIn);
  const Floats before = grad, upstream = Draw(4).normals(Step::kBatch, Step::kIn);
  step.set(1);
  for (int64_t i = 0; i < Step::kBatch; ++i) step.indices.at(i) = i % 2 ? int64_t{1} << 40 : -1;
  FAIL_CALL(duet_gather_forward(
                context, sized<duet_gather_inputs>({.source = step.source.matrix(), .indices = step.indices.vector()}),
                sized<duet_gather_outputs>({.rows = step.rows.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "indices[0]: expected 0 to 19, got -1");
  duet::cuda::begin_capture(context.stream());
  Floats from = upstream;
  SUCCEED_CALL(duet_gather_forward(
      context, sized<duet_gather_inputs>({.source = step.source.matrix(), .indices = step.indices.vector()}),
      sized<duet_gather_outputs>({.rows = step.rows.matrix()})));
  SUCCEED_CALL(duet_gather_labels(
      context, sized<duet_gather_labels_inputs>({.source = labels.vector(), .indices = step.indices.vector()}),
      sized<duet_gather_labels_outputs>({.labels = picked.vector()})));
  SUCCEED_CALL(
      duet_gather_backward(context, sized<duet_gather_inputs>({.indices = step.indices.vector()}),
                           sized<duet_gather_gradients>({.grad_rows = from.matrix(), .grad_source = grad.matrix()})));
  const duet::cuda::Graph graph = duet::cuda::end_capture(context.stream());
  step.rows.fill(0);
  graph.replay(context.stream());
  duet::cuda::synchronize(context.stream());
  CHECK(grad.same_bits(before));
  for (int64_t i = 0; i < Step::kBatch; ++i) CHECK((std::isnan(step.rows.at(i, 5)) && picked.at(i) == -1));
}
