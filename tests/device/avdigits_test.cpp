// 44 steps of psd on real data, spoken and written digits, the CPU beside the emulated device. Each step starts from
// the CPU's state, so that a difference is a step's own and no sum of those before it.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tests/device/devices.h"

using namespace duet;
using namespace duet::testing;

namespace {

// T is a mean over the triplets within the margin: one that is within rounding of the hinge is in one mean and not in
// the other. METHOD.md 3 leaves either side open to triplets within 4e-6 of it.
constexpr double kHinge = 4e-6;

double allowed(double value) { return 2e-5 * std::max(std::abs(value), 1e-3); }

// The teacher's moving average beside the parameters, and the moments.
void copy_parameters(const Trained& from, Trained& to) {
  for (int kind = 0; kind < kParameterKinds; ++kind)
    to.model->parameters().write(ParameterKind{kind}, from.model->parameters().read(ParameterKind{kind}));
}

// The distances of the rows of x and y, in float64.
std::vector<double> distances(const std::vector<float>& x, const std::vector<float>& y, int64_t n) {
  const int64_t d = std::ssize(x) / n;
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < d; ++k)
        sum += std::pow(double{x[static_cast<size_t>(i * d + k)]} - y[static_cast<size_t>(j * d + k)], 2);
      out.push_back(sum);
    }
  return out;
}

// How far the nearest triplet of a batch is from the hinge; triplets by the labels that the files have, anchors on
// either side.
double nearest_to_hinge(Trained& trained, std::span<const int64_t> rows, const Mode& mode, double margin) {
  const auto n = std::ssize(rows);
  const data::Split& train = trained.preparation.dataset.train;
  Tape tape(trained.device.context());
  const NoGradient no_gradient(tape);
  std::array<std::vector<float>, 2> embeddings;
  for (size_t side = 0; side < 2; ++side) {
    const data::Features& features = train.features[side];
    const Tensor x = tape.make(n, features.columns);
    for (int64_t i = 0; i < n; ++i)
      std::copy_n(features.row(rows[static_cast<size_t>(i)]), features.columns, x.data + i * features.columns);
    const ParameterView student = trained.model->parameters().student();
    const EncoderPair& encoders = trained.model->encoders();
    const Tensor out =
        side == 0 ? encoders.forward_a(tape, student, x, mode) : encoders.forward_v(tape, student, x, mode);
    embeddings[side].assign(out.data, out.data + out.size());
  }
  double nearest = 1;
  const auto label = [&](int64_t i) { return train.labels[static_cast<size_t>(rows[static_cast<size_t>(i)])]; };
  for (const auto& [x, y] : {std::pair{0, 1}, std::pair{1, 0}}) {
    const std::vector<double> d = distances(embeddings[static_cast<size_t>(x)], embeddings[static_cast<size_t>(y)], n);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t p = 0; p < n; ++p)
        for (int64_t q = 0; q < n && label(p) == label(i); ++q)
          if (label(q) != label(i))
            nearest = std::min(
                nearest, std::abs(d[static_cast<size_t>(i * n + p)] - d[static_cast<size_t>(i * n + q)] + margin));
  }
  return nearest;
}

// Empty where there are none and they may be missing.
fs::path avdigits() {
  const char* const shared = std::getenv("DUET_SHARED_DIR");
  const fs::path data = fs::path(shared ? shared : DUET_PROJECT_DIR "/../shared") / "data" / "avdigits";
  if (!fs::exists(data)) {
    REQUIRE_MESSAGE(!std::getenv("CI"), "no shared data at ", data.string());
    std::printf("skipped: there is no %s\n", data.c_str());
    return {};
  }
  return data;
}

Config config_of(const fs::path& data) {
  Config config;
  config.data = data;
  config.labels = 0.1;
  config.epochs = 2;
  config.seed = 3;
  return config;
}

}  // namespace

TEST_CASE("44 steps of psd on avdigits, each from the CPU's state") {
  const fs::path data = avdigits();
  if (data.empty()) return;
  const Config config = config_of(data);
  const int64_t last = 44;
  Trained cpu(on_cpu(), config), device(on_emulator(), config);
  data::BatchSampler& sampler = *cpu.preparation.sampler;
  const bool has_smaller_batch = cpu.preparation.dataset.train.rows() % sampler.batch_rows() != 0;
  CHECK(has_smaller_batch);
  int64_t step = 0, beyond = 0;
  double worst = 0;
  bool distils = false, hides = false;
  for (int64_t epoch = 0; epoch < config.epochs && step < last; ++epoch) {
    sampler.start_epoch(static_cast<uint32_t>(epoch));
    cpu.step->start_epoch(epoch), device.step->start_epoch(epoch);
    distils = distils || distillation_ramp(config, epoch) > 0;
    hides = hides || annotated_ratio(config, epoch) < 1;
    for (int64_t batch = 0; batch < sampler.batches() && step < last; ++batch, ++step) {
      const std::span<const int64_t> rows = sampler.batch(batch);
      copy_parameters(cpu, device);
      device.step->set_state(cpu.step->state());
      const std::vector<float> before = cpu.values(ParameterKind::value);
      REQUIRE(device.step->run(rows));
      REQUIRE(cpu.step->run(rows));
      bool exceeds = false;
      for (const LossName& name : kLossNames) {
        const double expected = cpu.step->losses().*name.value, found = device.step->losses().*name.value,
                     off = std::abs(found - expected);
        if (off <= allowed(expected)) {
          worst = std::max(worst, off / std::max(std::abs(expected), 1e-3));
          continue;
        }
        std::printf("step %2lld: %s is %.9g, on the CPU %.9g, apart %.1e of it\n", static_cast<long long>(step + 1),
                    name.key, found, expected, off / std::abs(expected));
        // The total holds loss_cross.
        CHECK((name.value == &Losses::cross || name.value == &Losses::total));
        exceeds = true;
      }
      beyond += exceeds;
      if (exceeds) {
        const std::vector<float> after = cpu.values(ParameterKind::value);
        cpu.model->parameters().write(ParameterKind::value, before);
        const double nearest = nearest_to_hinge(cpu, rows, Mode::train(config.seed, {&step, 1}), config.margin);
        cpu.model->parameters().write(ParameterKind::value, after);
        std::printf("         a triplet is %.1e from the hinge\n", nearest);
        CHECK(nearest <= kHinge);
      }
      CHECK(std::abs(device.step->concord() - cpu.step->concord()) <= 1e-6);
    }
  }
  std::printf("%lld steps; within the bound the terms are at most %.1e apart; beyond it in %lld steps\n",
              static_cast<long long>(step), worst, static_cast<long long>(beyond));
  CHECK(step == last);
  CHECK(distils);
  CHECK(hides);
}

TEST_CASE("left alone, the two runs part where a triplet comes to lie on the hinge") {
  const fs::path data = avdigits();
  if (data.empty()) return;
  const Config config = config_of(data);
  Trained cpu(on_cpu(), config), device(on_emulator(), config);
  data::BatchSampler& sampler = *cpu.preparation.sampler;
  sampler.start_epoch(0);
  // Until then the terms agree as in the steps above; afterwards the gradients differ by a triplet's, and with them
  // everything that follows.
  for (int64_t step = 0; step < sampler.batches(); ++step) {
    const std::span<const int64_t> rows = sampler.batch(step);
    const std::vector<float> before = cpu.values(ParameterKind::value);
    REQUIRE(device.step->run(rows));
    REQUIRE(cpu.step->run(rows));
    for (const LossName& name : kLossNames) {
      const double expected = cpu.step->losses().*name.value, found = device.step->losses().*name.value;
      if (std::abs(found - expected) <= allowed(expected)) continue;
      CHECK(name.value == &Losses::cross);
      cpu.model->parameters().write(ParameterKind::value, before);
      const double nearest = nearest_to_hinge(cpu, rows, Mode::train(config.seed, {&step, 1}), config.margin);
      std::printf("step %lld: %s is %.9g, on the CPU %.9g; a triplet is %.1e from the hinge\n",
                  static_cast<long long>(step + 1), name.key, found, expected, nearest);
      CHECK(nearest <= kHinge);
      return;
    }
  }
}
