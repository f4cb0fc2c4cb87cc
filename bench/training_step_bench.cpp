// One step of a method, METHOD.md 6, on a batch of n pairs of VEGAS' widths (audio 128, visual 1024): gather, both
// passes, the optimizer.
#include <chrono>

#include "bench/bench.h"
#include "data/synthetic.h"
#include "kernels/core/dispatch.h"
#include "trainer/method.h"

namespace duet::bench {
namespace {

constexpr int64_t kWidthA = 128, kWidthV = 1024;
constexpr int64_t kBatches = 8;
constexpr int64_t kEpoch =
    12;  // of 40: half of the labels are hidden, and everything that is distilled has its full weight

class TrainingStepBench : public Prepared {
 public:
  TrainingStepBench(const Setting& setting, const char* method)
      : device_(options_of(*setting.context)), batch_(setting.shape.n) {
    data::SyntheticOptions options;
    options.train_rows = kBatches * batch_;
    options.test_rows = 1;
    options.classes = static_cast<int32_t>(setting.shape.classes);
    options.widths = {kWidthA, kWidthV};
    dataset_ = data::synthetic_dataset(options);
    ModelDescription description;
    description.config.method = method;
    description.modalities = dataset_.modalities;
    for (int side = 0; side < data::kModalities; ++side)
      description.inputs[static_cast<size_t>(side)].mean.resize(dataset_.width(side));
    description.class_values.assign(dataset_.class_values().begin(), dataset_.class_values().end());
    model_ = std::make_unique<Model>(std::move(description), device_.context());
    const auto& train = dataset_.train;
    const Evidence evidence = measure_evidence(train.features[0], train.features[1], train.labels, dataset_.classes);
    step_ = std::make_unique<TrainingStep>(device_, *model_, train, train.labels, evidence, 1000, batch_);
    step_->start_epoch(kEpoch);
    rows_.resize(static_cast<size_t>(dataset_.train.rows()));
    for (size_t i = 0; i < rows_.size(); ++i) rows_[i] = static_cast<int64_t>(i);

    const Config& config = model_->description().config;
    double weights = 0;
    for (const int64_t inputs : {kWidthA, kWidthV}) {
      double width = static_cast<double>(inputs);
      for (const int64_t hidden : config.hidden_units) {
        weights += width * static_cast<double>(hidden);
        width = static_cast<double>(hidden);
      }
      weights += width * static_cast<double>(config.embedding_dim);
    }
    // Forward, and backward to weights and inputs; the teacher's forward as well where there is one.
    forward_cost.flops = (std::string(method) == "psd" ? 4 : 3) * 2 * weights * static_cast<double>(batch_);
    // The batch is read; weights, both moments and the teacher are read and written.
    forward_cost.bytes = sizeof(float) * (static_cast<double>(batch_ * (kWidthA + kWidthV)) + 8 * weights);
  }

  int sets() const override { return static_cast<int>(kBatches); }
  // As in a run: a step is looked at when the next one is on its way.
  void forward(int set) override {
    step_->start(std::span(rows_).subspan(static_cast<size_t>(set * batch_), static_cast<size_t>(batch_)));
    if (step_->unfinished() > 1) finish();
  }
  // tests/trainer/method_test.cpp holds a step to METHOD.md; here it is enough that the loss is a number, which
  // finish() checks.
  void verify_forward() override { finish_all(); }

  double loop_rate(int steps) override {
    finish_all();
    const auto start = std::chrono::steady_clock::now();
    for (int step = 0; step < steps; ++step) forward(step % sets());
    finish_all();
    return steps / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  // The device of the context, with the stream on which the calls are timed.
  static DeviceOptions options_of(const duet_context& context) {
    return {.kind = context.device,
            .threads = duet_context_threads(&context),
            .index = context.device_index,
            .precision = context.precision,
            .stream = context.stream};
  }

  void finish() {
    if (!step_->finish().changed) throw Error(DUET_STATUS_INTERNAL_ERROR, "no step");
  }
  void finish_all() {
    while (step_->unfinished() > 0) finish();
  }

  Device device_;
  int64_t batch_;
  data::Dataset dataset_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<TrainingStep> step_;
  std::vector<int64_t> rows_;
};

Registration variant(const char* method) {
  return {"training_step", method, Passes::forward_only,
          [method](const Setting& setting) { return std::make_unique<TrainingStepBench>(setting, method); }};
}
const Registration kVariants[] = {variant("psd"), variant("triplet"), variant("label")};

}  // namespace
}  // namespace duet::bench
