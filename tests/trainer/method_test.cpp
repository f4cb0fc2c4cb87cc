// The training step: what it adds up, what it moves, and when it moves nothing.
#include "trainer/method.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/trainer/program.h"
#include "trainer/context.h"
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
    model.emplace(preparation.description, context.get());
    step.emplace(context.get(), *model, preparation.dataset.train, preparation.labels, 100);
  }
  explicit Bench(const std::string& method) : Bench(method, [](Config&) {}) {}

  std::vector<float> values(ParameterKind kind) {
    const Tensor all = model->parameters().all(kind);
    return {all.data, all.data + all.size()};
  }
  // The first count rows whose label the run may see, or may not.
  std::vector<int64_t> rows(bool labelled, size_t count) const {
    std::vector<int64_t> chosen;
    for (size_t i = 0; i < preparation.labels.size() && chosen.size() < count; ++i)
      if ((preparation.labels[i] >= 0) == labelled) chosen.push_back(static_cast<int64_t>(i));
    return chosen;
  }

  Context context = make_context(1);
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

TEST_CASE("the total is the terms, weighted as METHOD.md 6.10 weighs them") {
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
      // Each term is a float32 sum; 1e-5 of the total is a few dozen units in the last place.
      if (method == "psd") {
        const double concord = std::pow((losses.total - expected) / (0.8 * losses.pair), 0.125);
        CHECK(losses.total - expected >= -1e-5 * losses.total);
        if (losses.total - expected > 1e-3) CHECK(concord <= 1);
      } else {
        CHECK(losses.total == doctest::Approx(expected).epsilon(1e-5));
      }
    }
  }
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
    for (size_t i = 0; i < after.size(); ++i) worst = std::max(worst, std::abs(after[i] - (0.95 * before[i] + 0.05 * student[i])));
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
  Bench both("triplet", [](Config&config) { config.dropout = 0; }), labelled("triplet", [](Config&config) { config.dropout = 0; });
  std::vector<int64_t> rows = both.rows(true, 24);
  REQUIRE(labelled.step->run(rows));
  const std::vector<int64_t> others = both.rows(false, 24);
  rows.insert(rows.end(), others.begin(), others.end());
  REQUIRE(both.step->run(rows));
  // The same rows in a larger batch: BLAS may round their embeddings differently, a few units of 6e-8.
  CHECK(both.step->losses().cross == doctest::Approx(labelled.step->losses().cross).epsilon(1e-5));
  CHECK(both.step->losses().label == doctest::Approx(labelled.step->losses().label).epsilon(1e-5));
}

TEST_CASE("a loss that is not finite ends the run before it reaches the model") {
  Bench bench("label", [](Config& config) { config.learning_rate = 1e30; });
  const auto run = [&] {
    for (int i = 0; i < 5; ++i) bench.step->run(first_rows(64));
  };
  CHECK_THROWS_WITH_AS(run(), doctest::Contains("the loss is"), std::runtime_error);
}
