// The loss that `pair_loss` names: its value is METHOD.md's, it falls, and its bias is learned where it should be.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <optional>

#include "runtime/device.h"
#include "tests/reference/contrastive.h"
#include "tests/trainer/program.h"
#include "trainer/method.h"
#include "trainer/preparation.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;
using reference::Doubles;

namespace {

constexpr int64_t kRows = 48;
constexpr double kMargin = 0.3, kBias = -4, kTemperature = 0.2;

class Bench {
 public:
  Bench(const std::string& method, const std::string& pair_loss, double labels, bool learns = false,
        bool grouped = false) {
    write_small_set(folder_ / "data");
    Config config;
    config.data = folder_ / "data";
    config.method = method;
    config.pair_loss = pair_loss;
    config.pair_margin = kMargin, config.pair_bias = kBias, config.temperature = kTemperature;
    config.learn_temperature = learns;
    config.hidden_units = {24};
    config.embedding_dim = 8;
    config.dropout = 0;
    config.labels = labels;
    config.pair_evidence = false;  // every row's pair term weighs 1
    config.hide_labels = false;
    validate(config);
    preparation = prepare(config);
    if (grouped) preparation.dataset.train.groups = groups_of(preparation.dataset.train.rows());
    model.emplace(preparation.description, device.context());
    step.emplace(device, *model, preparation.dataset.train, preparation.labels, Evidence{}, 1000, 256);
  }

  // Of the first rows, by the model as it is: a_i . v_j.
  Doubles dots() {
    const data::Features a = model->embed(device.context(), 0, preparation.dataset.train.features[0], 64),
                         v = model->embed(device.context(), 1, preparation.dataset.train.features[1], 64);
    Doubles out;
    for (int64_t i = 0; i < kRows; ++i)
      for (int64_t j = 0; j < kRows; ++j)
        out.push_back(std::inner_product(a.row(i), a.row(i) + a.columns, v.row(j), 0.0));
    return out;
  }
  // Three rows an item, which may be of different classes; every fourth row is an item of its own.
  static std::vector<int32_t> groups_of(int64_t rows) {
    std::vector<int32_t> groups;
    for (int64_t i = 0; i < rows; ++i) groups.push_back(static_cast<int32_t>(i % 4 == 3 ? -1 : i / 4));
    return groups;
  }
  Doubles groups() const {
    const std::vector<int32_t>& all = preparation.dataset.train.groups;
    return all.empty() ? Doubles() : Doubles(all.begin(), all.begin() + kRows);
  }
  Doubles labels() const { return Doubles(preparation.labels.begin(), preparation.labels.begin() + kRows); }
  void run() {
    std::vector<int64_t> rows(kRows);
    std::iota(rows.begin(), rows.end(), int64_t{0});
    REQUIRE(step->run(rows));
  }
  double pair() const { return step->losses().pair; }
  float bias() {
    return model->parameters().tensor(model->parameters().number("loss_bias"), ParameterKind::value).item();
  }

  TemporaryFolder folder_;
  Device device{{.threads = 1}};
  Preparation preparation;
  std::optional<Model> model;
  std::optional<TrainingStep> step;
};

Doubles transposed(const Doubles& x) {
  Doubles out(x.size());
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < kRows; ++j) out[static_cast<size_t>(j * kRows + i)] = x[static_cast<size_t>(i * kRows + j)];
  return out;
}

double mean(const reference::RowTerms& terms) {
  return std::accumulate(terms.loss.begin(), terms.loss.end(), 0.0) / static_cast<double>(kRows);
}

// L_pair of METHOD.md 6.10 in double. labels, groups: empty: there are none.
double expected(const std::string& pair_loss, const Doubles& dots, const Doubles& labels, const Doubles& groups = {}) {
  const Doubles weight(kRows, 1.0);
  const bool by_label = pair_loss == "circle" || pair_loss == "ntxent" || pair_loss == "multi_positive";
  const Doubles known = by_label ? labels : Doubles();
  const auto relation = reference::relation_of_pairs(known, known, groups, groups, false, kRows, kRows);
  if (pair_loss == "sigmoid") {
    Doubles x = dots;
    for (double& value : x) value = value / kTemperature + kBias;
    return mean(reference::sigmoid_rows(x, relation.positive, weight, kRows, kRows));
  }
  const auto direction = [&](const Doubles& of) {
    Doubles scores = of;
    for (double& value : scores) value /= kTemperature;
    if (pair_loss == "infonce" || pair_loss == "multi_positive")
      return mean(reference::infonce_rows(scores, relation, weight, kRows, kRows));
    if (pair_loss == "decoupled") return mean(reference::decoupled_rows(scores, relation, weight, kRows, kRows));
    if (pair_loss == "ntxent") return mean(reference::ntxent_rows(scores, relation, weight, kRows, kRows));
    return mean(reference::circle_rows(of, of, 1 / kTemperature, kMargin, relation, weight, kRows, kRows));
  };
  return (direction(dots) + direction(transposed(dots))) / 2;
}

}  // namespace

TEST_CASE("L_pair is the loss that pair_loss names, and training lowers it") {
  for (const std::string method : {"contrastive", "psd"})
    for (const std::string pair_loss : {"infonce", "sigmoid", "decoupled", "circle", "ntxent"})
      for (const double labels : {0.5, 1.0}) {
        INFO(method);
        INFO(pair_loss);
        CAPTURE(labels);
        Bench bench(method, pair_loss, labels);
        const double value = expected(pair_loss, bench.dots(), bench.labels());
        bench.run();
        // Embeddings are float32 rows of 8 products of some 24: a few units in the last place of a score of up to 5.
        CHECK(bench.pair() == doctest::Approx(value).epsilon(2e-5));
        const double first = bench.pair();
        for (int step = 0; step < 30; ++step) bench.run();
        CHECK(bench.pair() < first);
      }
}

TEST_CASE("without a label the circle loss and NT-Xent take own pairs against all others") {
  for (const std::string pair_loss : {"circle", "ntxent"}) {
    INFO(pair_loss);
    Bench bench("contrastive", pair_loss, 1);
    std::ranges::fill(bench.preparation.labels, -1);
    bench.step.emplace(bench.device, *bench.model, bench.preparation.dataset.train, bench.preparation.labels,
                       Evidence{}, 1000, 256);
    const double value = expected(pair_loss, bench.dots(), {});
    bench.run();
    CHECK(bench.pair() == doctest::Approx(value).epsilon(2e-5));
  }
}

TEST_CASE("rows of one group are positives of each other in every L_pair") {
  for (const std::string method : {"contrastive", "psd"})
    for (const std::string pair_loss : {"infonce", "sigmoid", "decoupled", "circle", "ntxent", "multi_positive"}) {
      INFO(method);
      INFO(pair_loss);
      Bench bench(method, pair_loss, 1, false, true);
      const double value = expected(pair_loss, bench.dots(), bench.labels(), bench.groups());
      const double without = expected(pair_loss, bench.dots(), bench.labels());
      CHECK(value != doctest::Approx(without).epsilon(1e-4));
      bench.run();
      CHECK(bench.pair() == doctest::Approx(value).epsilon(2e-5));
    }
}

TEST_CASE("groups reach the triplets and the distillation") {
  // Every row of one group: no pair is a negative, so no triplet is left.
  Bench bench("psd", "infonce", 1);
  bench.run();
  const Losses alone = bench.step->losses();
  CHECK(alone.cross > 0);
  bench.preparation.dataset.train.groups.assign(static_cast<size_t>(bench.preparation.dataset.train.rows()), 0);
  Bench grouped("psd", "infonce", 1);
  grouped.preparation.dataset.train.groups = bench.preparation.dataset.train.groups;
  grouped.step.emplace(grouped.device, *grouped.model, grouped.preparation.dataset.train, grouped.preparation.labels,
                       Evidence{}, 1000, 256);
  grouped.step->start_epoch(100);  // distillation has its whole weight
  grouped.run();
  CHECK(grouped.step->losses().cross == 0);
  // Each row its own group: what own pairs are anyway.
  Bench own("psd", "infonce", 1);
  std::vector<int32_t>& groups = own.preparation.dataset.train.groups;
  groups.resize(static_cast<size_t>(own.preparation.dataset.train.rows()));
  std::iota(groups.begin(), groups.end(), 0);
  own.step.emplace(own.device, *own.model, own.preparation.dataset.train, own.preparation.labels, Evidence{}, 1000,
                   256);
  own.run();
  for (const LossName& name : kLossNames)
    CHECK(own.step->losses().*name.value == doctest::Approx(alone.*name.value).epsilon(1e-5));
  // The agreement that labels tell is another one where rows of one group differ in class.
  Bench plain("psd", "infonce", 1), mixed("psd", "infonce", 1, false, true);
  for (Bench* each : {&plain, &mixed}) {
    each->step->start_epoch(100);
    each->run();
  }
  CHECK(plain.step->losses().kl > 0);
  CHECK(mixed.step->losses().kl != doctest::Approx(plain.step->losses().kl).epsilon(1e-4));
}

TEST_CASE("multi_positive of psd takes the teacher's classes, of contrastive the labels") {
  // Where every label is known and none is hidden, rows of one class are positives.
  Bench bench("psd", "multi_positive", 1);
  const double value = expected("multi_positive", bench.dots(), bench.labels());
  bench.run();
  CHECK(bench.pair() == doctest::Approx(value).epsilon(2e-5));
  const double first = bench.pair();
  for (int step = 0; step < 30; ++step) bench.run();
  CHECK(bench.pair() < first);
  // A row without a label is of no class: it takes part in its own pair alone.
  for (const double labels : {0.5, 1.0}) {
    Bench baseline("contrastive", "multi_positive", labels);
    const double wanted = expected("multi_positive", baseline.dots(), baseline.labels());
    baseline.run();
    CHECK(baseline.pair() == doctest::Approx(wanted).epsilon(2e-5));
  }
}

TEST_CASE("the bias of the sigmoid loss is learned with the temperature alone") {
  Bench fixed("contrastive", "sigmoid", 1), learned("contrastive", "sigmoid", 1, true);
  CHECK_THROWS(fixed.bias());
  CHECK(learned.bias() == doctest::Approx(kBias));
  learned.run();
  // AdamW's first step is its rate, 1e-3, along the gradient: with 47 of 48 pairs apart the bias falls.
  CHECK(learned.bias() == doctest::Approx(kBias - 1e-3).epsilon(1e-6));
}
