// The training step: what it adds up, what it moves, and when it moves nothing.
#include "trainer/method.h"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <limits>
#include <numeric>

#include "runtime/device.h"
#include "tests/reference/supervision.h"
#include "tests/trainer/program.h"
#include "tests/trainer/teacher_heads.h"
#include "trainer/loop.h"
#include "trainer/preparation.h"

using namespace duet;
using namespace duet::testing;

namespace {

class Bench {
 public:
  explicit Bench(const std::string& method, auto change) {
    write_small_set(folder_ / "data");
    Config config;
    config.data = folder_ / "data";
    config.method = method;
    config.hidden_units = {24};
    config.embedding_dim = 8;
    config.labels = 0.5;
    config.epochs = 10;
    config.decorrelation_weight = 0.25;
    change(config);
    preparation = prepare(config);
    model.emplace(preparation.description, device.context());
    step.emplace(device, *model, preparation.dataset.train, preparation.labels,
                 preparation.evidence.value_or(Evidence{}), 100, 256);
  }
  explicit Bench(const std::string& method) : Bench(method, [](Config&) {}) {}

  std::vector<float> values(ParameterKind kind) {
    const Tensor all = model->parameters().all(kind);
    return {all.data, all.data + all.size()};
  }
  // The teacher's logits of these rows, of one side, in evaluation mode.
  std::vector<double> teacher_logits(int side, const std::vector<int64_t>& rows) {
    return teacher_heads(device, *model, preparation.dataset.train, side, rows).logits;
  }
  // The first count rows whose label the run may see, or may not.
  std::vector<int64_t> rows(bool labelled, size_t count) const {
    std::vector<int64_t> chosen;
    for (size_t i = 0; i < preparation.labels.size() && chosen.size() < count; ++i)
      if ((preparation.labels[i] >= 0) == labelled) chosen.push_back(static_cast<int64_t>(i));
    return chosen;
  }

  // w of METHOD.md 6.10, but for its factor.
  double pair_weight(double concord) const {
    const Evidence evidence = preparation.evidence.value_or(Evidence{});
    return (1 + 2 * evidence.unread) *
           ((1 - concord) + std::pow(1 - evidence.pairs_generalise, 2) * std::pow(concord, 8));
  }

  Device device{{.threads = 1}};
  Preparation preparation;
  std::optional<Model> model;
  std::optional<TrainingStep> step;

 private:
  TemporaryFolder folder_;
};

std::vector<int64_t> first_rows(size_t count) {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

}  // namespace

TEST_CASE("the schedules of METHOD.md 6.3") {
  Config config;
  config.epochs = 40;
  CHECK(annotated_ratio(config, 0) == 1);
  CHECK(annotated_ratio(config, 12) == doctest::Approx(0.65));
  CHECK(annotated_ratio(config, 24) == doctest::Approx(0.3));
  CHECK(annotated_ratio(config, 39) == doctest::Approx(0.3));
  CHECK(distillation_ramp(config, 0) == 0);
  CHECK(distillation_ramp(config, 6) == doctest::Approx(0.5));
  CHECK(distillation_ramp(config, 12) == 1);
  CHECK(distillation_ramp(config, 39) == 1);
}

TEST_CASE("the total is the terms, weighted as METHOD.md 6.11 weighs them") {
  for (const std::string method : {"label", "triplet", "contrastive", "psd"}) {
    INFO(method);
    Bench bench(method, [](Config& config) { config.supervision_momentum = 0.5; });
    for (int epoch = 0; epoch < 6; ++epoch) {
      bench.step->start_epoch(epoch);
      REQUIRE(bench.step->run(first_rows(64)));
      const Losses losses = bench.step->losses();
      CHECK(losses.label > 0);
      CHECK((losses.cross > 0) == (method == "psd" || method == "triplet"));
      CHECK((losses.kl > 0) == (method == "psd"));
      CHECK((losses.dis > 0) == (method == "psd"));
      CHECK((losses.pair > 0) == (method == "psd" || method == "contrastive"));
      const double rho = std::min(1.0, epoch / 3.0);
      double expected = losses.label + losses.cross + 0.5 * rho * (losses.kl + losses.soft) + 0.25 * losses.dis;
      if (method == "contrastive") expected += losses.pair;
      if (method == "psd") expected += bench.pair_weight(bench.step->concord()) * losses.pair;
      // Each term is a float32 sum; 1e-5 of the total is a few dozen units in the last place.
      CHECK(losses.total == doctest::Approx(expected).epsilon(1e-5));
    }
  }
}

TEST_CASE("class frequencies, concord and the weight of the pair term are those of METHOD.md 6.4 and 6.10") {
  // A high momentum would hide a wrong state: 0.5 moves it far in a few steps. A small pair weight would hide in the
  // total's rounding.
  Bench bench("psd", [](Config& config) {
    config.supervision_momentum = 0.5;
    config.pair_weight = 20;
  });
  const int64_t classes = bench.model->description().classes();
  const std::vector<int64_t> rows = first_rows(64);
  reference::SupervisionBatch batch;
  batch.sample_ids = rows;
  batch.momentum = 0.5;
  batch.pair_weight_scale = 20;
  batch.unread = bench.preparation.evidence->unread, batch.generality = bench.preparation.evidence->pairs_generalise;
  double labelled = 0;
  batch.prior.assign(static_cast<size_t>(classes), 0);
  for (const int32_t label : bench.preparation.labels)
    if (label >= 0) ++labelled, ++batch.prior[static_cast<size_t>(label)];
  for (double& share : batch.prior) share /= labelled;
  for (const int64_t row : rows) batch.labels.push_back(bench.preparation.labels[static_cast<size_t>(row)]);
  std::vector<double> frequencies(static_cast<size_t>(classes), 1.0 / static_cast<double>(classes));
  double concord = 0;
  for (uint32_t epoch = 0; epoch < 6; ++epoch) {
    batch.epoch = epoch;
    batch.ratio = annotated_ratio(bench.model->description().config, epoch);
    batch.logits_a = bench.teacher_logits(0, rows), batch.logits_v = bench.teacher_logits(1, rows);
    const auto expected = reference::supervision(batch, frequencies, concord);
    bench.step->start_epoch(epoch);
    REQUIRE(bench.step->run(rows));
    const std::vector<float> found = bench.step->class_frequencies();
    REQUIRE(found.size() == frequencies.size());
    // The state is kept in float32, a rounding a step.
    for (size_t c = 0; c < found.size(); ++c) CHECK(std::abs(found[c] - frequencies[c]) <= 1e-6);
    CHECK(std::abs(bench.step->concord() - concord) <= 1e-6);
    const Losses losses = bench.step->losses();
    const double rho = std::min(1.0, epoch / 3.0);
    const double others = losses.label + losses.cross + 0.5 * rho * (losses.kl + losses.soft) + 0.25 * losses.dis;
    // Each term is a float32 sum; 1e-5 of the total is a few dozen units in the last place.
    CHECK(std::abs(losses.total - others - expected.pair_weight[0] * losses.pair) <= 1e-5 * losses.total);
    CHECK(expected.pair_weight[0] == doctest::Approx(20 * bench.pair_weight(concord)));
    CHECK(bench.step->pair_weight() == doctest::Approx(expected.pair_weight[0]).epsilon(1e-5));
    CHECK(expected.pair_weight[0] * losses.pair > 0.3 * losses.total);  // else any weight would do
  }
  CHECK_FALSE(Bench("label").step->has_state());
}

TEST_CASE("the pair term weighs anchors, and reaches each side, as the evidence says") {
  // Nothing but L_pair: the change of each encoder is its gradient, times the rate, by SGD.
  const auto only_pairs = [](Config& config) {
    config.cross_weight = config.label_weight = config.kl_weight = config.soft_weight = config.decorrelation_weight = 0;
    config.optimizer = "sgd", config.momentum = 0, config.weight_decay = 0, config.learning_rate = 0.1;
    config.dropout = 0, config.supervision_momentum = 1;  // concord stays 0
    config.pair_evidence = false;
  };
  struct Moves {
    std::vector<double> a, v;
    double weight, pair;
  };
  const auto moved = [&](const Evidence& evidence, const std::vector<int64_t>& rows) {
    Bench bench("psd", only_pairs);
    bench.step.emplace(bench.device, *bench.model, bench.preparation.dataset.train, bench.preparation.labels, evidence,
                       100, 256);
    const auto parameters = [&](const char* side) {
      std::vector<double> values;
      const ParameterStore& store = bench.model->parameters();
      for (int64_t number = 0; number < store.count(); ++number) {
        if (!store.parameter(number).name.starts_with(side)) continue;
        const Tensor tensor = store.tensor(number, ParameterKind::value);
        values.insert(values.end(), tensor.data, tensor.data + tensor.size());
      }
      return values;
    };
    const std::vector<double> a = parameters("encoder_a"), v = parameters("encoder_v");
    REQUIRE(bench.step->run(rows));
    Moves moves{parameters("encoder_a"), parameters("encoder_v"), bench.step->pair_weight(), bench.step->losses().pair};
    for (size_t k = 0; k < a.size(); ++k) moves.a[k] -= a[k];
    for (size_t k = 0; k < v.size(); ++k) moves.v[k] -= v[k];
    return moves;
  };
  const auto check_times = [](const std::vector<double>& found, const std::vector<double>& base, double factor) {
    double largest = 0, worst = 0;
    for (size_t k = 0; k < base.size(); ++k) {
      largest = std::max(largest, std::abs(factor * base[k]));
      worst = std::max(worst, std::abs(found[k] - factor * base[k]));
    }
    // A parameter's own rounding, 2^-24 of numbers up to 1, is what a small move is known to.
    CHECK(worst <= 1e-4 * largest + 2e-7);
  };
  Evidence evidence;
  const std::vector<int64_t> rows = first_rows(64);
  const Moves base = moved(evidence, rows);
  CHECK(base.weight == 3);
  evidence.gradient_share = {1, 0.25};
  Moves shared = moved(evidence, rows);
  check_times(shared.a, base.a, 1);
  check_times(shared.v, base.v, 0.25);
  evidence.gradient_share = {0, 1};
  shared = moved(evidence, rows);
  check_times(shared.a, base.a, 0);
  check_times(shared.v, base.v, 1);
  // Of a batch that labels tell nothing of, unread moves the weight alone; of labelled samples it moves the loss too.
  Bench chooser("psd", only_pairs);
  CHECK_FALSE(chooser.preparation.evidence);
  for (const bool labelled : {false, true}) {
    CAPTURE(labelled);
    const std::vector<int64_t> chosen = chooser.rows(labelled, 40);
    evidence = Evidence{};
    const Moves full = moved(evidence, chosen);
    evidence.unread = 0.5;
    const Moves half = moved(evidence, chosen);
    CHECK(half.weight == 2);
    CHECK(half.pair == doctest::Approx(full.pair * (labelled ? 0.25 : 1)));
    check_times(half.a, full.a, 2.0 / 3 * (labelled ? 0.25 : 1));
  }
}

TEST_CASE("a step without any loss term leaves class frequencies and concord alone") {
  // No term but L_kl and L_soft, whose weight rho is 0 in the first epoch.
  const auto change = [](Config& config) {
    config.supervision_momentum = 0.5;
    config.cross_weight = config.label_weight = config.pair_weight = config.decorrelation_weight = 0;
  };
  Bench bench("psd", change), later("psd", change);
  const auto frequencies = [](const Bench& from) {
    const std::vector<float> all = from.step->class_frequencies();
    return std::vector<float>(all.begin(), all.end());
  };
  const std::vector<float> start = frequencies(bench);
  const auto student = bench.values(ParameterKind::value), teacher = bench.values(ParameterKind::teacher);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(bench.step->run(first_rows(64)));
  CHECK(frequencies(bench) == start);
  CHECK(bench.step->concord() == 0);
  CHECK(bench.values(ParameterKind::value) == student);
  CHECK(bench.values(ParameterKind::teacher) == teacher);
  // The first step with a term starts from the state that a run without the empty steps has.
  bench.step->start_epoch(2), later.step->start_epoch(2);
  REQUIRE(bench.step->run(first_rows(64)));
  REQUIRE(later.step->run(first_rows(64)));
  CHECK(frequencies(bench) == frequencies(later));
  CHECK(frequencies(bench) != start);
  CHECK(bench.step->concord() == later.step->concord());
  CHECK(bench.step->concord() > 0);
}

TEST_CASE("a step without any loss term changes nothing") {
  for (const std::string method : {"label", "triplet"}) {
    Bench bench(method);
    REQUIRE(bench.step->run(bench.rows(true, 16)));
    const auto student = bench.values(ParameterKind::value), teacher = bench.values(ParameterKind::teacher);
    CHECK_FALSE(bench.step->run(bench.rows(false, 16)));
    CHECK(bench.values(ParameterKind::value) == student);
    CHECK(bench.values(ParameterKind::teacher) == teacher);
    CHECK(bench.step->losses().total == 0);
  }
  for (const std::string method : {"contrastive", "psd"}) {
    Bench bench(method);
    const auto student = bench.values(ParameterKind::value);
    CHECK(bench.step->run(bench.rows(false, 16)));
    CHECK(bench.values(ParameterKind::value) != student);
  }
}

TEST_CASE("every method keeps the moving average") {
  for (const std::string method : {"label", "triplet", "contrastive", "psd"}) {
    Bench bench(method);
    const auto before = bench.values(ParameterKind::teacher);
    CHECK(before == bench.values(ParameterKind::value));
    REQUIRE(bench.step->run(first_rows(32)));
    const auto student = bench.values(ParameterKind::value), after = bench.values(ParameterKind::teacher);
    CHECK(student != before);
    double worst = 0;
    for (size_t i = 0; i < after.size(); ++i)
      worst = std::max(worst, std::abs(after[i] - (0.95 * before[i] + 0.05 * student[i])));
    CHECK(worst <= 2e-7);  // two roundings of numbers below 1
  }
}

TEST_CASE("the baselines hide no label") {
  Bench bench("label", [](Config& config) { config.ratio_end = 0; });
  bench.step->start_epoch(9);  // r = 0 for whoever hides
  CHECK(bench.step->run(bench.rows(true, 16)));
  CHECK(bench.step->losses().label > 0);
  Bench psd("psd", [](Config& config) { config.ratio_end = 0; });
  psd.step->start_epoch(9);
  CHECK(psd.step->run(psd.rows(true, 16)));
  CHECK(psd.step->losses().label == 0);
}

TEST_CASE("the triplets of the baseline are those of its labelled rows alone") {
  Bench both("triplet", [](Config&config) { config.dropout = 0; }),
      labelled("triplet", [](Config&config) { config.dropout = 0; });
  std::vector<int64_t> rows = both.rows(true, 24);
  REQUIRE(labelled.step->run(rows));
  const std::vector<int64_t> others = both.rows(false, 24);
  rows.insert(rows.end(), others.begin(), others.end());
  REQUIRE(both.step->run(rows));
  // The same rows in a larger batch: the sums of the loss have other parts, which differ by a few units of 6e-8.
  CHECK(both.step->losses().cross == doctest::Approx(labelled.step->losses().cross).epsilon(1e-5));
  CHECK(both.step->losses().label == doctest::Approx(labelled.step->losses().label).epsilon(1e-5));
}

TEST_CASE("a loss that is not finite ends the run before it reaches the model") {
  Bench bench("label", [](Config& config) { config.learning_rate = 1e30; });
  const auto run = [&] {
    for (int i = 0; i < 5; ++i) bench.step->run(first_rows(64));
  };
  CHECK_THROWS_WITH_AS(
      run(),
      doctest::Contains("outputs are not finite; a lower learning_rate may help; terms: loss_label; rows "
                        "0, 1, 2, 3, 4 and 59 more of the training split"),
      NotFinite);
}

TEST_CASE("a loss that is not finite is told by its term, and no learning rate is blamed that moved nothing") {
  Bench bench("psd", [](Config& config) { config.margin = 1e38; });
  const auto before = bench.values(ParameterKind::value);
  CHECK_THROWS_WITH_AS(
      bench.step->run(first_rows(64)),
      "step 1: the loss is inf: loss_cross is inf, though every embedding and logit is finite; the batch "
      "has rows 0, 1, 2, 3, 4 and 59 more of the training split",
      NotFinite);
  CHECK(bench.values(ParameterKind::value) == before);
  CHECK(bench.step->concord() == 0);

  Bench sum("label", [](Config& config) { config.label_weight = 3e38; });
  CHECK_THROWS_WITH_AS(sum.step->run(sum.rows(true, 32)),
                       doctest::Contains("weighted sum of its terms is too large for float32"), std::runtime_error);

  Bench weight("label");
  weight.model->parameters().tensor(1, ParameterKind::value).data[2] = std::nanf("");
  const std::string name = weight.model->parameters().parameter(1).name;
  CHECK_THROWS_WITH_AS(weight.step->run(weight.rows(true, 32)),
                       doctest::Contains((name + ": element 2 is nan").c_str()), std::runtime_error);
}

TEST_CASE("what a step left not finite is named before it is written or scored") {
  Bench bench("psd");
  REQUIRE(bench.step->run(first_rows(64)));
  bench.step->require_finite();
  for (const ParameterKind kind : {ParameterKind::value, ParameterKind::teacher}) {
    const Tensor values = bench.model->parameters().tensor(0, kind);
    const float before = values.data[5];
    values.data[5] = -std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH_AS(bench.step->require_finite(),
                         doctest::Contains("after step 1: encoder_a.layer0.weight: element 5 is -inf"),
                         std::runtime_error);
    values.data[5] = before;
  }
  bench.step->require_finite();
}

TEST_CASE("no model is made of inputs whose scaling is not finite") {
  Bench bench("label");
  for (const bool scale : {false, true}) {
    ModelDescription description = bench.preparation.description;
    (scale ? description.inputs[1].scale : description.inputs[1].mean)[7] = std::nanf("");
    const std::string words = std::string("visual: the ") + (scale ? "scale" : "mean") + " of column 7 is nan";
    CHECK_THROWS_WITH_AS(Model(description, bench.device.context()), words.c_str(), std::runtime_error);
  }
}

TEST_CASE("an interrupt ends a run after its step, the last one too, whose evaluation would come next") {
  // A sampler that interrupts when it is asked for a batch, that is, within the step.
  class Interrupting final : public data::BatchSampler {
   public:
    Interrupting(std::unique_ptr<data::BatchSampler> sampler, int64_t step)
        : sampler_(std::move(sampler)), left_(step) {}
    void start_epoch(uint32_t epoch) override { sampler_->start_epoch(epoch); }
    int64_t batches() const override { return sampler_->batches(); }
    int64_t batch_rows() const override { return sampler_->batch_rows(); }
    std::span<const int64_t> batch(int64_t batch) override {
      if (--left_ == 0) std::raise(SIGINT);
      return sampler_->batch(batch);
    }

   private:
    std::unique_ptr<data::BatchSampler> sampler_;
    int64_t left_;
  };
  const auto small = [](Config& config) {
    config.epochs = 2;
    config.batch_size = 120;  // 4 steps
  };
  std::signal(SIGINT, SIG_DFL);  // a shell starts what runs in the background with it ignored
  for (const int64_t step : {1, 2, 3, 4}) {
    Bench bench("label", small);
    bench.preparation.sampler = std::make_unique<Interrupting>(std::move(bench.preparation.sampler), step);
    Progress progress(Progress::Mode::quiet);
    const InterruptGuard interrupt;
    const TrainingResult result = train(bench.device, *bench.model, bench.preparation, {}, progress, interrupt);
    CHECK(result.steps == step);
    CHECK(result.interrupted_by == SIGINT);  // in the last step too: an evaluation may take long
    CHECK(std::isnan(result.evaluation.mean_map()));
  }
}
