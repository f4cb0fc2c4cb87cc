// A learned temperature: that it moves, where it stops, how a model keeps it, and that models of 0.1.0 come back with
// it.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "runtime/device.h"
#include "runtime/safetensors.h"
#include "tests/trainer/program.h"
#include "trainer/method.h"
#include "trainer/preparation.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;

namespace {

struct Learner {
  explicit Learner(auto change) {
    write_small_set(folder / "data");
    Config config;
    config.data = folder / "data";
    config.method = "contrastive";
    config.hidden_units = {24};
    config.embedding_dim = 8;
    config.learn_temperature = true;
    change(config);
    validate(config);
    preparation = prepare(config);
    model.emplace(preparation.description, device.context());
    step.emplace(device, *model, preparation.dataset.train, preparation.labels,
                 preparation.evidence.value_or(Evidence{}), 1000, 256);
  }
  void run(int steps) {
    std::vector<int64_t> rows(80);
    for (int k = 0; k < steps; ++k) {
      std::iota(rows.begin(), rows.end(), int64_t{k % 3 * 80});
      REQUIRE(step->run(rows));
    }
  }
  float logarithm(ParameterKind kind = ParameterKind::value) {
    return model->parameters().tensor(model->parameters().number("log_loss_scale"), kind).item();
  }

  TemporaryFolder folder;
  Device device{{.threads = 1}};
  Preparation preparation;
  std::optional<Model> model;
  std::optional<TrainingStep> step;
};

// A model file with one tensor replaced.
void replace(const fs::path& from, const fs::path& to, const std::string& name, NamedArray by) {
  const SafetensorsFile file(from);
  std::vector<NamedArray> arrays = file.arrays();
  for (NamedArray& array : arrays)
    if (array.name == name) array = by;
  write_safetensors(to, arrays, file.metadata());
}

}  // namespace

TEST_CASE("a learned temperature moves by what the optimizer's rate allows, whatever it is") {
  // AdamW moves the logarithm by up to its rate, 1e-3, a step: under gradients of one sign 240 steps make 0.24. Learned
  // as it is, a scale of 10 would move by 0.24 too, a fortieth of itself. At first the pairs are far from told apart,
  // and a larger scale tells them apart more surely.
  for (const double temperature : {1.0, 0.5}) {
    Learner learner([=](Config& config) {
      config.temperature = temperature;
      config.weight_decay = 0.1;  // which would draw the logarithm of 2 to 0
    });
    const double start = -std::log(temperature);
    CHECK(learner.logarithm() == doctest::Approx(start).epsilon(1e-6));
    learner.run(240);
    CHECK(learner.logarithm() - start > 0.12);
    CHECK(learner.logarithm() - start < 0.48);  // a step is longer than the rate where gradients shrink
    CHECK(std::abs(learner.logarithm(ParameterKind::teacher) - learner.logarithm()) < 0.03);  // some 20 steps behind
  }
}

TEST_CASE("a learned temperature stays in its bounds") {
  Learner learner([](Config& config) {
    config.learning_rate = 1;
    config.temperature = 1e-3;
  });
  for (int k = 0; k < 8; ++k) {
    learner.run(1);
    for (const ParameterKind kind : {ParameterKind::value, ParameterKind::teacher}) {
      CHECK(learner.logarithm(kind) >= static_cast<float>(std::log(0.1)));
      CHECK(learner.logarithm(kind) <= static_cast<float>(std::log(1000)));
    }
  }
  CHECK_THROWS_WITH_AS(Learner([](Config& config) { config.temperature = 11; }),
                       "temperature: with learn_temperature expected at most 10, got 11", UsageError);
}

TEST_CASE("a model keeps the logarithm, and one of 0.1.0 with the scale itself is converted") {
  Learner learner([](Config&) {});
  learner.run(5);
  const fs::path path = learner.folder / "model.safetensors", older = learner.folder / "older.safetensors";
  learner.model->save(path);
  const auto log_scale_of = [&](const fs::path& file) {
    const auto model = Model::load(file, learner.device.context());
    return model->parameters().tensor(model->parameters().number("log_loss_scale"), ParameterKind::teacher).item();
  };
  CHECK(log_scale_of(path) == learner.logarithm(ParameterKind::teacher));
  for (const float scale : {9.955f, 1e-3f, 5000.0f}) {
    replace(path, older, "log_loss_scale", {"loss_scale", DUET_DTYPE_F32, {1}, &scale});
    CHECK(log_scale_of(older) == static_cast<float>(std::log(std::clamp<double>(scale, 0.1, 1000))));
    const auto now = Model::load(path, learner.device.context()), then = Model::load(older, learner.device.context());
    const data::Features& inputs = learner.preparation.dataset.test.features[0];
    CHECK(now->embed(learner.device.context(), 0, inputs, 32).values ==
          then->embed(learner.device.context(), 0, inputs, 32).values);
  }
  for (const float scale : {0.0f, -1.0f}) {
    replace(path, older, "log_loss_scale", {"loss_scale", DUET_DTYPE_F32, {1}, &scale});
    CHECK_THROWS_WITH_AS(log_scale_of(older), doctest::Contains("loss_scale: expected one number above 0"), UsageError);
  }
  const float two[2] = {1, 2};
  replace(path, older, "log_loss_scale", {"loss_scale", DUET_DTYPE_F32, {2}, two});
  CHECK_THROWS_AS(log_scale_of(older), UsageError);
  replace(path, older, "log_loss_scale", {"something", DUET_DTYPE_F32, {1}, two});
  CHECK_THROWS_WITH_AS(log_scale_of(older), doctest::Contains("log_loss_scale is missing"), UsageError);
}
