// Rows with several labels: what a step adds up and what a ranking measures, against METHOD.md 2, 3, 6.4, 6.12 and 7 in
// double.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "data/npy.h"
#include "runtime/device.h"
#include "tests/reference/agreement.h"
#include "tests/reference/distance.h"
#include "tests/reference/retrieval.h"
#include "tests/reference/supervision.h"
#include "tests/reference/triplet.h"
#include "tests/trainer/several_labels_set.h"
#include "tests/trainer/teacher_heads.h"
#include "trainer/evaluate.h"
#include "trainer/method.h"
#include "trainer/preparation.h"

using namespace duet;
using namespace duet::testing;

namespace {

using Doubles = std::vector<double>;

std::vector<int64_t> first_rows(int64_t count) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(i);
  return rows;
}

// A step without dropout, so that student and teacher say the same before it.
struct Bench {
  explicit Bench(const data::Dataset& set, const std::string& method, auto change) {
    test::write_dataset(folder / "data", set);
    Config config;
    config.data = folder / "data";
    config.method = method;
    config.hidden_units = {24};
    config.embedding_dim = 8;
    config.dropout = 0;
    config.labels = 0.5;
    config.epochs = 10;
    change(config);
    preparation = prepare(config);
    model.emplace(preparation.description, device.context());
    step.emplace(device, *model, preparation.dataset.train, preparation.labels,
                 preparation.evidence.value_or(Evidence{}), 100, 256);
  }
  Bench(const data::Dataset& set, const std::string& method) : Bench(set, method, [](Config&) {}) {}

  // Of one side of these rows.
  TeacherHeads heads(int side, const std::vector<int64_t>& rows) {
    return teacher_heads(device, *model, preparation.dataset.train, side, rows);
  }

  TemporaryFolder folder;
  Device device{{.threads = 1}};
  Preparation preparation;
  std::optional<Model> model;
  std::optional<TrainingStep> step;
};

// What METHOD.md 6.12 makes of a batch.
struct Supervised {
  Doubles q, trust, annotated;
  reference::Weights weights;
  double annotated_count = 0;
};

Supervised supervised(Bench& bench, const std::vector<int64_t>& rows, uint32_t epoch, bool psd) {
  const Preparation& made = bench.preparation;
  const data::LabelSets& sets = made.dataset.train.sets;
  const auto classes = static_cast<size_t>(made.dataset.classes);
  reference::SupervisionBatch batch;
  batch.sample_ids = rows;
  batch.epoch = epoch;
  batch.ratio = annotated_ratio(bench.model->description().config, epoch);
  batch.hide = batch.lift = batch.trust = psd;
  double labelled = 0;
  batch.prior.assign(classes, 0);
  for (const int32_t label : made.labels) {
    const std::vector<int32_t> own = data::classes_of(sets, label);
    for (const int32_t c : own) batch.prior[static_cast<size_t>(c)] += 1 / static_cast<double>(own.size());
    labelled += label >= 0;
  }
  for (double& share : batch.prior) share /= labelled;
  for (const int64_t row : rows) batch.labels.push_back(made.labels[static_cast<size_t>(row)]);
  batch.logits_a = bench.heads(0, rows).logits, batch.logits_v = bench.heads(1, rows).logits;
  if (!psd) std::ranges::fill(batch.logits_a, 0.0), std::ranges::fill(batch.logits_v, 0.0);
  Doubles predicted(classes, 1 / static_cast<double>(classes));
  double concord = 0;
  const auto of = reference::supervision(batch, predicted, concord);

  Supervised out{of.class_q, of.trust, of.annotated, {}, of.counts[0]};
  const size_t n = rows.size();
  for (size_t i = 0; i < n; ++i) {
    if (of.annotated[i] == 0) continue;
    const std::vector<int32_t> own = data::classes_of(sets, batch.labels[i]);
    for (size_t c = 0; c < classes; ++c) out.q[i * classes + c] = 0;
    for (const int32_t c : own) out.q[i * classes + static_cast<size_t>(c)] = 1 / static_cast<double>(own.size());
  }
  if (!psd) out.trust = out.annotated;
  const auto rows_count = static_cast<int64_t>(n);
  out.weights = reference::agreement(out.q, out.q, out.trust, rows_count, rows_count, made.dataset.classes, psd);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) {
      if (of.annotated[i] == 0 || of.annotated[j] == 0 || (psd && i == j)) continue;
      const bool share = data::alike(sets, batch.labels[i], batch.labels[j]);
      out.weights.positive[i * n + j] = share, out.weights.negative[i * n + j] = !share;
    }
  return out;
}

double cross_entropies(const Doubles& logits, const Supervised& by) {
  const size_t n = by.annotated.size(), classes = logits.size() / n;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    if (by.annotated[i] == 0) continue;
    const Doubles p = reference::class_softmax({logits.begin() + i * classes, logits.begin() + (i + 1) * classes});
    for (size_t c = 0; c < classes; ++c) sum -= by.q[i * classes + c] * std::log(p[c]);
  }
  return sum / by.annotated_count;
}

double triplets(const Doubles& x, const Doubles& y, const Supervised& by) {
  const size_t n = by.trust.size(), d = x.size() / n;
  Doubles distances(n * n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t k = 0; k < d; ++k) distances[i * n + j] += std::pow(x[i * d + k] - y[j * d + k], 2);
  const reference::TripletSums sums = reference::triplets_all(distances, by.weights, by.trust, 0.2);
  return reference::total(sums.loss) / reference::total(sums.active);
}

// The mean over the rows of METHOD.md 5.8, tau 0.1: positives are rows that share a class and the own pair, negatives
// labelled rows that share none.
double ntxent_rows(const Doubles& x, const Doubles& y, const std::vector<int32_t>& labels,
                   const data::LabelSets& sets) {
  const size_t n = labels.size(), d = x.size() / n;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    Doubles positives;
    double negatives = 0;
    for (size_t j = 0; j < n; ++j) {
      double score = 0;
      for (size_t k = 0; k < d; ++k) score += 10 * x[i * d + k] * y[j * d + k];
      if (i == j || data::alike(sets, labels[i], labels[j]))
        positives.push_back(score);
      else if (labels[i] >= 0 && labels[j] >= 0)
        negatives += std::exp(score);
    }
    if (negatives > 0)
      for (const double score : positives) sum += std::log1p(negatives * std::exp(-score));
  }
  return sum / static_cast<double>(n);
}

}  // namespace

TEST_CASE("the label and the triplet loss of a step are those of the sets") {
  for (const std::string method : {"psd", "triplet", "label"})
    for (const uint32_t epoch : {0u, 4u}) {
      CAPTURE(method);
      CAPTURE(epoch);
      Bench bench(several_labels_set(), method);
      const std::vector<int64_t> rows = first_rows(64);
      const bool psd = method == "psd";
      const Supervised by = supervised(bench, rows, epoch, psd);
      REQUIRE(by.annotated_count > 10);
      REQUIRE(by.annotated_count < 64);
      const TeacherHeads a = bench.heads(0, rows), v = bench.heads(1, rows);
      bench.step->start_epoch(epoch);
      REQUIRE(bench.step->run(rows));
      const Losses& losses = bench.step->losses();
      // Float32 against double: logits are sums of 24 products, distances are off by 2e-6 and share 0.2.
      CHECK(losses.label ==
            doctest::Approx(cross_entropies(a.logits, by) + cross_entropies(v.logits, by)).epsilon(1e-5));
      if (method == "label") continue;
      const double cross = triplets(a.embeddings, v.embeddings, by) + triplets(v.embeddings, a.embeddings, by);
      CHECK(losses.cross == doctest::Approx(cross).epsilon(1e-4));
    }
}

TEST_CASE("a pair loss by labels takes rows that share a class for positives") {
  Bench bench(several_labels_set(), "contrastive", [](Config& config) { config.pair_loss = "ntxent"; });
  const std::vector<int64_t> rows = first_rows(64);
  const Doubles a = bench.heads(0, rows).embeddings, v = bench.heads(1, rows).embeddings;
  std::vector<int32_t> labels;
  for (const int64_t row : rows) labels.push_back(bench.preparation.labels[static_cast<size_t>(row)]);
  const data::LabelSets& sets = bench.preparation.dataset.train.sets;
  REQUIRE(bench.step->run(rows));
  const double expected = (ntxent_rows(a, v, labels, sets) + ntxent_rows(v, a, labels, sets)) / 2;
  CHECK(bench.step->losses().pair == doctest::Approx(expected).epsilon(1e-4));
}

TEST_CASE("sets of one class each are classes") {
  data::Dataset one = data::synthetic_dataset(small_set()), sets = one;
  for (data::Split* split : {&sets.train, &sets.test}) {
    split->sets = data::LabelSets(sets.classes, sets.classes);
    for (int32_t c = 0; c < sets.classes; ++c) split->sets.put(c, c);
  }
  const std::vector<int64_t> rows = first_rows(64);
  for (const auto& words : {std::array<std::string, 3>{"label", "infonce", "all"},
                            {"triplet", "infonce", "all"},
                            {"triplet", "infonce", "semihard"},
                            {"contrastive", "multi_positive", "all"},
                            {"contrastive", "circle", "all"},
                            {"psd", "sigmoid", "all"},
                            {"psd", "ntxent", "all"}}) {
    const std::string& method = words[0];
    CAPTURE(method);
    const auto change = [&](Config& config) { config.pair_loss = words[1], config.mining = words[2]; };
    Bench by_class(one, method, change), by_set(sets, method, change);
    CHECK(by_set.preparation.labels == by_class.preparation.labels);
    CHECK(by_set.preparation.evidence == by_class.preparation.evidence);
    for (int64_t epoch = 0; epoch < 6; epoch += 2) {
      by_class.step->start_epoch(epoch), by_set.step->start_epoch(epoch);
      REQUIRE(by_class.step->run(rows));
      REQUIRE(by_set.step->run(rows));
      // The same numbers, added up in another order.
      for (const LossName& name : kLossNames)
        CHECK_MESSAGE(
            by_set.step->losses().*name.value == doctest::Approx(by_class.step->losses().*name.value).epsilon(1e-4),
            name.key);
    }
  }
}

TEST_CASE("relevant is what shares a class, and a query counts in each of its classes") {
  const Device device({.threads = 1});
  std::mt19937 engine(3);
  constexpr int64_t kRows = 30, kWidth = 5, kClasses = 34;  // of two words
  const auto value = [&] { return static_cast<float>(engine() >> 8) / (1 << 23) - 1; };
  std::array<data::Features, 2> sides = {data::Features(kRows, kWidth), data::Features(kRows, kWidth)};
  std::array<Doubles, 2> values;
  for (size_t side = 0; side < 2; ++side) {
    for (float& x : sides[side].values) x = value();
    values[side].assign(sides[side].values.begin(), sides[side].values.end());
  }
  data::LabelSets rows(kClasses, kRows);
  for (int64_t i = 1; i < kRows; ++i)  // row 0 has no label
    for (int64_t c = 29; c < kClasses; ++c)
      if ((engine() >> 10) % 4 == 0) rows.put(i, c);
  rows.put(7, 0);  // a class that no other row has
  const data::SetLabels by_set = data::label_by_set(std::array{static_cast<const data::LabelSets*>(&rows)});
  const data::LabelSets& sets = by_set.sets;
  const std::vector<int32_t>& labels = by_set.labels[0];
  const Evaluation found = evaluate(device.context(), sides[0], sides[1], labels, {}, {}, sets);
  for (const size_t side : {0, 1}) {
    const DirectionScores& scores = side == 0 ? found.a_to_v : found.v_to_a;
    const Doubles cosines = reference::cosines(values[side], values[1 - side], kRows, kRows, kWidth);
    double sum = 0, queries = 0, matching = 0, matched = 0, recall = 0;
    std::map<int32_t, std::pair<double, double>> of_class;
    for (int64_t i = 0; i < kRows; ++i) {
      const Doubles row(cosines.begin() + i * kRows, cosines.begin() + (i + 1) * kRows);
      std::vector<bool> relevant;
      double below = 0, others = 0;
      for (int64_t j = 0; j < kRows; ++j) {
        const int32_t own = labels[static_cast<size_t>(i)], item = labels[static_cast<size_t>(j)];
        relevant.push_back(data::alike(sets, own, item));
        if (own < 0 || item < 0 || relevant.back()) continue;
        others += 1;
        below += row[static_cast<size_t>(j)] < row[static_cast<size_t>(i)];
      }
      if (others > 0) matching += below / others, matched += 1;
      const auto ranks = reference::expected_ranks(row, relevant);
      const double ap = reference::query_measures(ranks).average_precision;
      if (std::isnan(ap)) continue;
      sum += ap, queries += 1, recall += reference::found(ranks, 1);
      CHECK(static_cast<double>(scores.average_precision[static_cast<size_t>(i)]) == doctest::Approx(ap).epsilon(1e-5));
      for (const int32_t c : data::classes_of(sets, labels[static_cast<size_t>(i)]))
        of_class[c].first += ap, of_class[c].second += 1;
    }
    CHECK(static_cast<double>(scores.queries) == queries);
    CHECK(queries > 15);
    CHECK(scores.map == doctest::Approx(sum / queries).epsilon(1e-6));
    CHECK(scores.recall[0] == doctest::Approx(recall / queries));
    CHECK(scores.matching_1_of_2 == doctest::Approx(matching / matched).epsilon(1e-6));
    REQUIRE(scores.classes.size() == of_class.size());
    for (const ClassScores& each : scores.classes) {
      CHECK(static_cast<double>(each.queries) == of_class[each.label].second);
      CHECK(each.map == doctest::Approx(of_class[each.label].first / of_class[each.label].second).epsilon(1e-6));
    }
    CHECK(of_class.contains(0));
  }
}
