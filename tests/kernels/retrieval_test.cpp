#include "tests/kernels/retrieval_problem.h"
#include "tests/support/golden.h"

using namespace duet::test;

TEST_CASE("retrieval agrees with the double reference") {
  struct Shape {
    int64_t n, m, d, classes;
    double unlabelled;
    int64_t padding;
  };
  const Shape shapes[] = {{1, 1, 1, 1, 0, 0},
                          {1, 7, 3, 2, 0, 0},
                          {13, 1, 5, 2, 0, 1},
                          {37, 131, 17, 4, 0.2, 3},
                          {64, 64, 64, 10, 0, 0},
                          {129, 67, 65, 3, 0.3, 5},
                          {40, 40, 6, 1, 0, 0},
                          {33, 500, 8, 1, 0.5, 0},
                          {9, 300, 4, 300, 0, 0},
                          {20, 20, 4, 3, 1, 0},
                          {5, 9, 300, 2, 0, 0},
                          {1030, 517, 6, 7, 0.1, 0},
                          {5, 8200, 2, 1, 0, 0},
                          // Scores of the plane crowd towards 1 and -1; 16 bits do not count the relevant items of the
                          // last.
                          {13, 6000, 2, 2, 0, 0},
                          {3, 70000, 2, 1, 0.4, 0}};
  for (const Shape& shape : shapes) {
    if (!affordable_rows(shape.n, shape.m)) continue;
    CAPTURE(shape.n);
    CAPTURE(shape.m);
    RetrievalProblem problem =
        draw_problem(7, shape.n, shape.m, shape.d, shape.classes, shape.unlabelled, shape.padding);
    check_measures(run_all(problem), problem, 1e-6);
  }
}

TEST_CASE("retrieval agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    for (const bool forth : {true, false}) {
      const auto x = golden.load(forth ? "A" : "V"), y = golden.load(forth ? "V" : "A");
      RetrievalProblem problem{x.array(), y.array(), golden.load(forth ? "ya" : "yv").array<int32_t>(),
                               golden.load(forth ? "yv" : "ya").array<int32_t>(), golden.fact("paired") != 0};
      if (!affordable_rows(problem.n(), problem.m())) continue;
      const RetrievalResult result = run_all(problem);
      check_measures(result, problem, 1e-6);
      const RetrievalExpected expected(problem);
      // Means of each measure, and of how far float32 may move it where rows score alike up to the last bits: METHOD.md
      // 7's 1e-3 apart from that.
      const size_t measures = result.row(0).size();
      Doubles sum(measures), slack(measures), count(measures);
      double queries = 0;
      for (int64_t i = 0; i < problem.n(); ++i) {
        const Doubles row = result.row(i), low = expected.row(i, -1e-6), high = expected.row(i, 1e-6);
        queries += result.relevant.at(i) > 0;
        for (size_t k = 0; k < measures; ++k) {
          if (std::isnan(row[k])) continue;
          count[k] += 1, sum[k] += row[k];
          slack[k] += k == kOverCutoffs ? 2 * expected.near_pairs(i, 1e-6) / static_cast<double>(problem.m())
                                        : high[k] - low[k];
        }
      }
      const std::string direction = forth ? "a_to_v" : "v_to_a", all = "retrieval_expected/" + direction,
                        own = "matching_expected/" + direction;
      const auto compare = [&](size_t k, const std::string& fact) {
        CAPTURE(fact);
        CHECK(golden.has_fact(fact) == (count[k] > 0));
        if (count[k] > 0) CHECK(std::abs(sum[k] / count[k] - golden.fact(fact)) <= 1e-3 + slack[k] / count[k]);
      };
      CHECK(golden.has_fact(all) == (queries > 0));
      if (queries > 0) {
        CHECK(queries == golden.fact(all + "/queries"));
        compare(0, all + "/map"), compare(1, all + "/map_at_r"), compare(2, all + "/map_over_cutoffs");
        for (size_t l = 0; l <= 10; ++l) compare(4 + l, all + "/precision_recall_11/" + std::to_string(l));
        for (size_t k = 0; k < 3; ++k) compare(15 + k, all + "/recall_at_" + std::to_string(problem.cutoff[k]));
      }
      if (!problem.paired) continue;
      compare(3, own + "/matching_1_of_2");
      for (size_t k = 0; k < 3; ++k) compare(18 + k, own + "/pair_recall_at_" + std::to_string(problem.cutoff[k]));
    }
  }
}

TEST_CASE("retrieval writes empty results") {
  RetrievalProblem nothing{Floats(0, 4), Floats(5, 4), Ints(0, 1), Ints(5, 1)};
  nothing.gallery.fill(1), nothing.gallery_labels.fill(0);
  run_all(nothing);
  RetrievalProblem empty{Floats(3, 4), Floats(0, 4), Ints(3, 1), Ints(0, 1), true};
  empty.queries.fill(1), empty.query_labels.fill(0);
  check_measures(run_all(empty), empty, 0);
  const TopK top = top_k(empty, 2, 1);
  CHECK(top.indices.at(2, 1) == -1);
  CHECK(std::isnan(top.scores.at(2, 1)));
  RetrievalProblem flat{Floats(4, 0), Floats(4, 0), Ints(4, 1), Ints(4, 1), true};  // no columns: every score is 0
  for (int64_t i = 0; i < 4; ++i) flat.query_labels.at(i) = flat.gallery_labels.at(i) = static_cast<int32_t>(i % 2);
  check_measures(run_all(flat), flat, 0);
}

TEST_CASE("retrieval of the k best") {
  struct Shape {
    int64_t n, m, k;
  };
  // 8200: more than is sorted at once, so that the best are kept while the rest passes; 4200 of them: all are sorted.
  for (const Shape& shape :
       {Shape{7, 1300, 1}, {20, 1300, 5}, {7, 1300, 700}, {7, 1300, 1305}, {3, 8200, 6}, {3, 8200, 4200}}) {
    const int64_t n = shape.n, m = shape.m, k = shape.k;
    if (!affordable_rows(n, m)) continue;
    CAPTURE(m);
    CAPTURE(k);
    RetrievalProblem problem = draw_problem(17, n, m, 9, 3, 0, 2);
    const RetrievalExpected expected(problem);
    const TopK top = top_k(problem, k, 1);
    for (const int threads : other_thread_counts()) {
      const TopK again = top_k(problem, k, threads);
      CHECK((again.indices.same_bits(top.indices) && again.scores.same_bits(top.scores)));
    }
    int64_t wrong = 0;
    for (int64_t i = 0; i < problem.n(); ++i) {
      const Doubles scores = expected.scores(i);
      const auto order = duet::reference::ranking(scores);
      for (int64_t r = 0; r < k; ++r) {
        const int32_t index = top.indices.at(i, r);
        if (r >= problem.m())
          wrong += index != -1 || !std::isnan(top.scores.at(i, r));
        else  // at each rank the score that belongs there, up to swaps of near ties; and its own item's
          wrong += index < 0 ||
                   std::abs(scores[static_cast<size_t>(index)] -
                            scores[static_cast<size_t>(order[static_cast<size_t>(r)])]) > 1e-6 ||
                   std::abs(top.scores.at(i, r) - scores[static_cast<size_t>(index)]) > 1e-6;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("retrieval of parts of a batch") {
  RetrievalProblem whole = draw_problem(19, 90, 90, 7, 4, 0.1, 0);
  const RetrievalResult result = run_retrieval(whole);
  RetrievalProblem rows{Floats(33, 7), whole.gallery, Ints(33, 1), whole.gallery_labels, true, 41, 0};
  for (int64_t i = 0; i < 33; ++i) {
    rows.query_labels.at(i) = whole.query_labels.at(41 + i);
    for (int64_t k = 0; k < 7; ++k) rows.queries.at(i, k) = whole.queries.at(41 + i, k);
  }
  const RetrievalResult part = run_all(rows);
  check_measures(part, rows, 1e-6);
  for (int64_t i = 0; i < 33; ++i) {
    const bool counts = result.relevant.at(41 + i) > 0;
    CHECK(part.relevant.at(i) == result.relevant.at(41 + i));
    CHECK((part.average_precision.at(i) == result.average_precision.at(41 + i) || !counts));
    for (int64_t k = 0; k < 3; ++k) CHECK(part.pair_recall.at(i, k) == result.pair_recall.at(41 + i, k));
    CHECK((part.matching.at(i) == result.matching.at(41 + i) || whole.query_labels.at(41 + i) < 0));
  }
  // A part of the gallery: own pairs are found by their global index, those outside are not.
  rows.first_column = 50;
  const RetrievalResult other = run_all(rows);
  CHECK(std::isnan(other.pair_recall.at(8, 0)));
  CHECK(std::isnan(other.matching.at(8)));
  CHECK(other.pair_recall.at(9, 2) >= 0);
  check_measures(other, rows, 1e-6);
}

TEST_CASE("retrieval refuses misuse") {
  Context context;
  RetrievalProblem problem = draw_problem(23, 6, 6, 3, 2, 0, 0);
  const RetrievalCall call(problem);
  const duet_retrieval_inputs& inputs = call.inputs;
  RetrievalResult result(6, 3);
  const auto outputs = result.outputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &outputs, {scratch.view().data, bytes - 1}),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace: expected");
  FAIL_CALL(duet_retrieval_forward(context, nullptr, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs: null");
  FAIL_CALL(duet_retrieval_forward(context, &inputs, nullptr, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs: null");
  FAIL_CALL(duet_retrieval_forward(nullptr, &inputs, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "context: null");
  FAIL_CALL(duet_retrieval_workspace(context, &inputs, nullptr), DUET_STATUS_INVALID_ARGUMENT, "bytes: null");
  duet_retrieval_inputs wrong = inputs;
  wrong.gallery.columns = 2;
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.gallery: expected any x 3, got 6 x 2");
  wrong = inputs;
  wrong.gallery_labels.size = 5;
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.gallery_labels: expected 6");
  wrong = inputs;
  wrong.first_row = -1;
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.first_row: expected 0 or more, got -1");
  Ints groups = array_of<int32_t>({1, 1, 2, 2, 3, 3});
  wrong = inputs;
  wrong.query_groups = groups.vector();
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.gallery_groups: expected dtype i32");
  wrong.query_groups = {}, wrong.gallery_groups = groups.vector();
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.query_groups: expected dtype i32");
  Longs wide(6, 1);
  wide.fill(1);
  wrong.query_groups = wide.vector();
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.query_groups: expected dtype i32, got i64");
  wrong = inputs;
  wrong.cutoffs = {};
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.recall: expected 6 x 0, got 6 x 3");
  auto narrow = outputs;
  narrow.pair_recall.columns = 2;
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &narrow, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.pair_recall: expected 6 x 3, got 6 x 2");
  narrow = outputs;
  narrow.precision_recall.columns = 10;
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &narrow, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.precision_recall: expected 6 x 11");
  Floats indices(6, 2);
  FAIL_CALL(
      duet_retrieval_top_k(context, &inputs,
                           sized<duet_retrieval_top_k_outputs>({.indices = indices.matrix(), .scores = duet_matrix{}}),
                           scratch.view()),
      DUET_STATUS_INVALID_ARGUMENT, "indices: expected dtype i32, got f32");
  // Labels are forward's alone, scores optional.
  duet_retrieval_inputs unlabelled = inputs;
  unlabelled.query_labels = unlabelled.gallery_labels = unlabelled.cutoffs = duet_vector{};
  Ints good(6, 2);
  SUCCEED_CALL(duet_retrieval_top_k(
      context, &unlabelled, sized<duet_retrieval_top_k_outputs>({.indices = good.matrix(), .scores = duet_matrix{}}),
      scratch.view()));
  FAIL_CALL(duet_retrieval_forward(context, &unlabelled, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.query_labels");
}
