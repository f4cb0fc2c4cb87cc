// Rows with several labels, from the files to the measures: what a step adds up against METHOD.md 2, 3, 6.4 and 6.12 in
// double, and runs end to end.
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
#include "tests/trainer/stopped_run.h"
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

  struct Heads {
    Doubles embeddings, logits;
  };
  // Of one side of these rows.
  Heads heads(size_t side, const std::vector<int64_t>& rows) {
    const data::Features& all = preparation.dataset.train.features[side];
    std::vector<float> x;
    for (const int64_t row : rows) x.insert(x.end(), all.row(row), all.row(row) + all.columns);
    Tape tape(device.context());
    const NoGradient no_gradient(tape);
    const Tensor inputs = Tensor::view(x.data(), std::ssize(rows), all.columns);
    const ParameterView teacher = model->parameters().teacher();
    const Tensor outputs = side == 0 ? model->encoders().outputs_a(tape, teacher, inputs, Mode::evaluation())
                                     : model->encoders().outputs_v(tape, teacher, inputs, Mode::evaluation());
    const ops::Head head = model->classifier().forward(tape, teacher, {outputs})[0];
    return {{head.embeddings.data, head.embeddings.data + head.embeddings.size()},
            {head.logits.data, head.logits.data + head.logits.size()}};
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

std::vector<std::string> small_run(const std::string& data, const std::string& run,
                                   std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train", "--data", data, "--run", run, "--set", "hidden_units=32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json evaluation_of(const std::string& run, const std::string& data) {
  const Outcome outcome = run_program({"eval", "--run", run, "--data", data, "--json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  return json::parse(outcome.out);
}

void refused(const std::vector<std::string>& arguments, const std::string& words) {
  const Outcome outcome = run_program(arguments);
  INFO(outcome.err);
  CHECK(outcome.code == 2);
  CHECK(outcome.err.find(words) != std::string::npos);
  const size_t line = outcome.err.rfind("duet: ");
  REQUIRE(line != std::string::npos);
  CHECK(std::ranges::count(outcome.err.substr(line), '\n') == 1);
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
      const Bench::Heads a = bench.heads(0, rows), v = bench.heads(1, rows);
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

TEST_CASE("psd on rows with several labels, half of them hidden, beats chance; every command takes them") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "psd";
  write_several_labels_set(data);
  const data::Dataset set = several_labels_set();
  double relevant = 0;
  for (const int32_t i : set.test.labels)
    for (const int32_t j : set.test.labels) relevant += data::alike(set.test.sets, i, j);
  const double chance = relevant / std::pow(static_cast<double>(set.test.rows()), 2);
  const Outcome trained = run_program(small_run(data, run, {"--epochs", "15", "--labels", "0.5"}));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.err.find("240 training pairs (114 labelled), 60 test pairs, 6 classes, several a row;") !=
        std::string::npos);
  const json measured = evaluation_of(run, data);
  const double map = measured["map"]["mean"].get<double>();
  CHECK(chance < 0.6);
  CHECK(map > chance + 0.2);
  REQUIRE(measured["classes"].size() == 6);
  CHECK(measured["classes"][5]["label"] == 5);

  const Outcome per_class = run_program({"eval", "--run", run, "--data", data, "--per-class"});
  CHECK(per_class.code == 0);
  CHECK(per_class.out.find("class") != std::string::npos);
  CHECK(run_program({"eval", "--run", run, "--data", data, "--from", "audio", "--to", "audio"}).code == 0);
  const Outcome sides = run_program({"eval", "--run", run, "--query", data + "/test/audio.npy", "--gallery",
                                     data + "/train/visual.npy", "--from", "audio", "--to", "visual", "--json"});
  INFO(sides.err);
  REQUIRE(sides.code == 0);
  CHECK(json::parse(sides.out)["map"].get<double>() > chance + 0.2);
  CHECK(run_program({"search", "--run", run, "--gallery", data + "/test/visual.npy", "--query",
                     data + "/test/audio.npy", "--from", "audio", "--to", "visual", "--top", "2"})
            .code == 0);
  CHECK(run_program({"embed", "--run", run, "--data", data, "--out", folder / "embedded"}).code == 0);
  CHECK(run_program({"export", "--run", run, "--onnx", folder / "x.onnx", "--hub", folder / "hub"}).code == 0);
  CHECK(read_text(run + "/report.html").find("A row may have several labels here") != std::string::npos);
  CHECK(run_program({"report", "--run", run, "--data", data}).code == 0);
  const std::string page = read_text(run + "/report.html");
  CHECK(page.find("A row may have several labels here") != std::string::npos);
  CHECK(page.find("Items that share a class with the query are marked.") != std::string::npos);

  // A run that starts from its weights, on labels of either form.
  CHECK(run_program(small_run(data, folder / "again", {"--epochs", "1", "--init", run})).code == 0);
  write_small_set(folder / "one");
  const Outcome other = run_program(small_run(folder / "one", folder / "other", {"--epochs", "1", "--init", run}));
  INFO(other.err);
  CHECK(other.code == 0);
  CHECK(other.err.find("the model's labels are others: the classifier starts anew") != std::string::npos);
  refused({"eval", "--run", run, "--data", folder / "one"},
          "one/test/labels.npy: one label a row; expected several labels a row, of 6 classes, as in the model");
  refused({"eval", "--run", folder / "other", "--data", data},
          "data/test/labels.npy: several labels a row, of 6 classes; expected one label a row, as in the model");
}

TEST_CASE("every method trains on rows with several labels; what takes a label a row is refused in one line") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_several_labels_set(data);
  const auto outcome = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.begin(), {"--epochs", "2"});
    return run_program(small_run(data, folder / name, more));
  };
  const std::vector<std::vector<std::string>> runs = {{"--method", "label"},
                                                      {"--method", "triplet", "--labels", "0.3"},
                                                      {"--method", "contrastive"},
                                                      {"--set", "pair_loss=multi_positive"},
                                                      {"--set", "pair_loss=sigmoid"},
                                                      {"--set", "pair_loss=decoupled"},
                                                      {"--validation", "0.2", "--labels", "0.5"},
                                                      {"--set", "sampler=balanced", "balanced_classes=3"},
                                                      {"--method", "triplet", "--set", "mining=hard"},
                                                      {"--method", "triplet", "--set", "mining=semihard"},
                                                      {"--method", "triplet", "--set", "mining=distance_weighted"},
                                                      {"--method", "contrastive", "--set", "pair_loss=multi_positive"},
                                                      {"--set", "pair_loss=circle"},
                                                      {"--set", "pair_loss=ntxent"}};
  for (size_t k = 0; k < runs.size(); ++k) {
    const std::string name = "run" + std::to_string(k);
    const Outcome trained = outcome(name, runs[k]);
    INFO(name << ": " << trained.err);
    CHECK(trained.code == 0);
    if (k == 6) {
      CHECK(trained.err.find("192 training pairs") != std::string::npos);
      CHECK(trained.err.find("48 validation pairs") != std::string::npos);
      CHECK(run_program({"eval", "--run", folder / name, "--data", data, "--split", "val"}).code == 0);
    }
  }
  const auto refuses = [&](std::vector<std::string> more, const std::string& words) {
    more.insert(more.begin(), {"train", "--data", data, "--epochs", "1"});
    refused(more, words);
  };
  refuses({"--set", "sampler=balanced", "balanced_classes=7"}, "balanced_classes 7 is more than the 6 classes");

  CHECK(run_program({"baseline", "--data", data, "--method", "cca"}).code == 0);
  refused({"baseline", "--data", data, "--method", "cluster_cca"},
          "cluster_cca: several labels a row; expected one (cca looks at none)");
}

TEST_CASE("a run on rows with several labels goes on with the bits of one that did not stop, and not on other sets") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", whole = folder / "whole";
  write_several_labels_set(data);
  for (const std::string method : {"psd", "triplet"}) {
    CAPTURE(method);
    const std::string part = run + method, all = whole + method;
    REQUIRE(run_program(train(data, all, {"--method", method})).code == 0);
    REQUIRE(run_program(train(data, part, {"--method", method, "--steps", "5", "--threads", "1"})).code == 0);
    const Outcome outcome = resume(part, {"--steps", "0", "--threads", "2"});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    check_same(part, all);
  }
  // The same numbers of sets, in the same order, of other classes: the last of one class more has no row, or the first.
  const auto write_moved = [&](int64_t by) {
    data::Dataset moved = several_labels_set();
    for (data::Split* split : {&moved.train, &moved.test}) {
      data::LabelSets sets(kSeveralClasses + 1, split->sets.count());
      for (int64_t set = 0; set < sets.count(); ++set)
        for (int64_t c = 0; c < kSeveralClasses; ++c)
          if (split->sets.holds(set, c)) sets.put(set, c + by);
      split->sets = sets;
    }
    test::write_dataset(data, moved);
  };
  write_moved(0);
  REQUIRE(run_program(train(data, run, {"--steps", "5"})).code == 0);
  write_moved(1);
  const Outcome outcome = resume(run, {"--steps", "0"});
  CHECK(outcome.code == 2);
  CHECK_MESSAGE(outcome.err.find("train label sets is other than it was") != std::string::npos, outcome.err);
}

TEST_CASE("check and import of rows with several labels") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", copy = folder / "copy";
  write_several_labels_set(data);
  const Outcome checked = run_program({"check", data});
  INFO(checked.out);
  REQUIRE(checked.code == 0);
  for (const char* part : {"labels: 228 of 240 rows labelled, 6 classes, ", " labels a labelled row, at most 3\n",
                           "labels: 60 of 60 rows labelled, 6 classes, ", "          0 "})
    CHECK_MESSAGE(checked.out.find(part) != std::string::npos, part);
  const Outcome imported = run_program({"import", data, "--out", copy});
  INFO(imported.err);
  REQUIRE(imported.code == 0);
  CHECK(imported.out.find("train/labels.npy: 240 rows of labels, of 6 classes\n") != std::string::npos);
  CHECK(read_text(copy + "/train/labels.npy").ends_with(read_text(data + "/train/labels.npy").substr(128)));
  std::string again = run_program({"check", copy}).out;
  for (size_t at = again.find(copy); at != std::string::npos; at = again.find(copy))
    again.replace(at, copy.size(), data);
  CHECK(again == checked.out);
  write_small_set(folder / "one");
  fs::copy_file(folder / "one/test/labels.npy", data + "/test/labels.npy", fs::copy_options::overwrite_existing);
  refused({"check", data}, "test/labels.npy: one label a row; expected several labels a row, of 6 classes, as in ");
  refused({"train", "--data", data, "--epochs", "1"}, "test/labels.npy: one label a row; expected several");
}
