// The measures of given embeddings, and what is said where many of them coincide.
#include "trainer/evaluate.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/npy.h"
#include "runtime/device.h"
#include "tests/trainer/program.h"
#include "trainer/interrupt.h"
#include "trainer/report.h"

using namespace duet;
using namespace duet::testing;

namespace {

data::Features rows_of(const std::vector<std::vector<float>>& rows) {
  data::Features out(static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size()));
  for (size_t i = 0; i < rows.size(); ++i) std::copy(rows[i].begin(), rows[i].end(), out.row(static_cast<int64_t>(i)));
  return out;
}

}  // namespace

TEST_CASE("rows that all coincide are measured as if they stood in random order") {
  const Device device({.threads = 1});
  const data::Features rows(200, 3);
  std::vector<int32_t> mixed, sorted;
  for (int32_t i = 0; i < 200; ++i) mixed.push_back(i % 5), sorted.push_back(i / 40);
  const Evaluation one = evaluate(device.context(), rows, rows, mixed),
                   two = evaluate(device.context(), rows, rows, sorted);
  // P@k rel_k of rank k is 1/5 (1 + 39 (k - 1) / 199) / k.
  double ap = 0;
  for (int k = 1; k <= 200; ++k) ap += 0.2 * (1 + 39.0 * (k - 1) / 199) / k / 40;
  for (const Evaluation& evaluation : {one, two}) {
    CHECK(evaluation.a_to_v.map == doctest::Approx(ap).epsilon(1e-6));
    CHECK(evaluation.a_to_v.recall[0] == doctest::Approx(0.2));
    CHECK(evaluation.a_to_v.pair_recall[2] == doctest::Approx(0.05));
    CHECK(evaluation.a_to_v.matching_1_of_2 == doctest::Approx(0.5));
    CHECK(evaluation.a_to_v.queries == 200);
    CHECK(evaluation.coinciding == std::array<double, 2>{1, 1});
  }
  CHECK(one.mean_map() == two.mean_map());
}

TEST_CASE("rows of one group are the same item") {
  const Device device({.threads = 1});
  // Two images with two captions each; one caption of each is nearer to its image than the other.
  const data::Features images = rows_of({{1, 0}, {1, 0}, {0, 1}, {0, 1}}),
                       captions = rows_of({{9, 1}, {9, 2}, {2, 9}, {1, 9}});
  const std::vector<int32_t> labels = {0, 0, 1, 1};
  const Evaluation rows = evaluate(device.context(), images, captions, labels),
                   items = evaluate(device.context(), images, captions, labels, {7, 7, 2, 2});
  CHECK(rows.a_to_v.pair_recall[0] == doctest::Approx(0.5));
  CHECK(rows.v_to_a.pair_recall[0] == doctest::Approx(0.5));
  CHECK(items.a_to_v.pair_recall[0] == 1);
  CHECK(items.v_to_a.pair_recall[0] == 1);
  CHECK(items.a_to_v.matching_1_of_2 == 1);
  // Rows of one item may coincide.
  CHECK(rows.coinciding == std::array<double, 2>{1, 0});
  CHECK(items.coinciding == std::array<double, 2>{0, 0});
}

TEST_CASE("a row of group -1 is an item of its own") {
  const Device device({.threads = 1});
  const data::Features images = rows_of({{1, 0}, {1, 0}, {0, 1}, {0, 1}}),
                       captions = rows_of({{9, 1}, {9, 2}, {2, 9}, {1, 9}});
  const std::vector<int32_t> labels = {0, 0, 1, 1};
  const auto measured = [&](const std::vector<int32_t>& groups) {
    return to_json(evaluate(device.context(), images, captions, labels, groups)).dump();
  };
  // Groups -1 beside the same groups by numbers that differ.
  CHECK(measured({7, 7, -1, -1}) == measured({7, 7, 8, 9}));
  CHECK(measured({0, 0, -1, -1}) == measured({7, 7, 8, 9}));
  CHECK(measured({-1, -1, 1, 0}) == measured({}));
  CHECK(measured({-1, -1, -1, -1}) == measured({}));
  CHECK(measured({7, 7, -1, -1}) != measured({7, 7, 8, 8}));
}

TEST_CASE("embeddings that coincide are counted bit for bit, and warned of past 1 %") {
  const Device device({.threads = 1});
  data::Features rows(200, 2), others(200, 2);
  for (int64_t i = 0; i < 200; ++i)
    rows.row(i)[0] = others.row(i)[1] = static_cast<float>(i + 1), rows.row(i)[1] = others.row(i)[0] = 1;
  rows.row(7)[0] = rows.row(3)[0];
  const std::vector<int32_t> labels(200, 0);
  Evaluation evaluation = evaluate(device.context(), rows, others, labels);
  CHECK(evaluation.coinciding == std::array<double, 2>{0.01, 0});
  CHECK(coincidence_warning(evaluation, "audio", "visual").empty());
  rows.row(8)[0] = rows.row(3)[0];
  evaluation = evaluate(device.context(), rows, others, labels);
  CHECK(evaluation.coinciding == std::array<double, 2>{0.015, 0});
  const std::string warning = coincidence_warning(evaluation, "audio", "visual");
  CHECK(warning.find("warning: 1.5 % of the audio embeddings") == 0);
  CHECK(std::count(warning.begin(), warning.end(), '\n') == 1);
  CHECK(to_json(evaluation)["coinciding"]["a"] == 0.015);
}

TEST_CASE("train and eval say that embeddings coincide") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  test::write_features(data + "/test/visual.npy", data::Features(60, 20));
  const Outcome trained = run_program(
      {"train", "--data", data, "--run", run, "--epochs", "1", "--set", "hidden_units=32", "embedding_dim=16"});
  const Outcome measured = run_program({"eval", "--run", run, "--data", data, "--json"});
  for (const Outcome& outcome : {trained, measured}) {
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.find("warning: 100.0 % of the visual embeddings") != std::string::npos);
    CHECK(outcome.err.find("of the audio embeddings") == std::string::npos);
  }
  const nlohmann::json evaluation = nlohmann::json::parse(measured.out);
  CHECK(evaluation["coinciding"]["v"] == 1);
  CHECK(evaluation["map_over_cutoffs"]["mean"].is_number());
}

TEST_CASE("what is called between the parts of an evaluation may end it") {
  const Device device({.threads = 1});
  const data::Features rows(30, 3);
  const std::vector<int32_t> labels(30);
  int calls = 0;
  const auto second_ends = [&] {
    if (++calls == 2) throw Interrupted{SIGTERM};
  };
  CHECK_THROWS_AS(evaluate(device.context(), rows, rows, labels, {}, second_ends), Interrupted);
  CHECK(calls == 2);
}

TEST_CASE("each class has the mean of its queries' average precision") {
  const Device device({.threads = 1});
  // Class 3 is found first by all of its queries, class 5 by one of two; a label that no other row has finds its pair,
  // and a row without a label is no query.
  const data::Features rows = rows_of({{1, 0}, {1, 0.1f}, {0, 1}, {0.1f, 1}, {-1, -1}, {0, 1.01f}}),
                       others = rows_of({{1, 0}, {1, 0.1f}, {0, 1}, {9, 1}, {-1, -1}, {-1, 1}});
  const std::vector<int32_t> labels = {3, 3, 5, 5, 8, -1};
  const Evaluation evaluation = evaluate(device.context(), rows, others, labels);
  for (const DirectionScores* scores : {&evaluation.a_to_v, &evaluation.v_to_a}) {
    REQUIRE(scores->classes.size() == 3);
    double sum = 0;
    int64_t queries = 0;
    for (const ClassScores& each : scores->classes)
      sum += each.map * static_cast<double>(each.queries), queries += each.queries;
    CHECK(queries == scores->queries);
    CHECK(sum / static_cast<double>(queries) == doctest::Approx(scores->map).epsilon(1e-12));
  }
  const auto& classes = evaluation.a_to_v.classes;
  CHECK(classes[0].label == 3);
  CHECK(classes[0].queries == 2);
  // (9, 1) lies next to (1, 0.1): the ranks of class 3 are 1 and 2 for (1, 0), 1 and 3 for (1, 0.1).
  CHECK(classes[0].map == doctest::Approx((1 + (1 + 2.0 / 3) / 2) / 2).epsilon(1e-6));
  CHECK(classes[2].label == 8);
  CHECK(classes[2].map == 1);
  const std::vector<int64_t> values = {10, 11, 12, 13, 14, 15, 16, 17, -18};
  const nlohmann::ordered_json json = classes_json(directions(evaluation), {values});
  REQUIRE(json.size() == 3);
  CHECK(json[2]["label"] == -18);
  CHECK(json[2]["queries"]["v_to_a"] == 1);
  CHECK(json[2]["map"]["mean"] == 1);
  const std::vector<std::string> names = {"", "", "", "ca\tt", "", "dog", "", "", "emu"};
  CHECK(classes_json(directions(evaluation), {values, names})[1]["label"] == "dog");
  const std::string table =
      class_table(directions(evaluation), {"audio to visual", "visual to audio"}, {values, names});
  CHECK(table.find("class") == 0);
  CHECK(table.find("\nemu ") != std::string::npos);
  CHECK(table.find('\t') == std::string::npos);
  CHECK(std::count(table.begin(), table.end(), '\n') == 4);
}
