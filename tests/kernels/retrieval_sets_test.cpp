// Retrieval by labels that stand for sets of classes.
#include "tests/kernels/retrieval_problem.h"

using namespace duet::test;

namespace {

void check_sets(RetrievalProblem problem, double slack) {
  check_measures(run_all(problem), problem, slack);
  problem.exclude_own = true;
  check_measures(run_all(problem), problem, slack);
}

}  // namespace

TEST_CASE("retrieval by label sets agrees with the double reference") {
  struct Shape {
    int64_t n, m, labels, classes;
    double share, unlabelled;
  };
  // 33 classes fill a word and one bit of another; one class is in every set; of 200 labels some have a row alone.
  for (const Shape& shape : values_of<Shape>({{1, 1, 1, 1, 0, 0},
                                              {13, 1, 3, 2, 0.3, 0},
                                              {40, 40, 9, 33, 0.05, 0.1},
                                              {21, 300, 200, 64, 0.02, 0.3},
                                              {20, 20, 4, 3, 1, 0},
                                              {5, 8200, 3, 4, 0.1, 0.1},
                                              {37, 131, 7, 5, 0.2, 0.2}})) {
    if (!affordable_rows(shape.n, shape.m)) continue;
    for (const bool ties : {false, true}) {
      CAPTURE(shape.n);
      CAPTURE(shape.m);
      CAPTURE(ties);
      // Labels past the table's end are alike to themselves alone.
      RetrievalProblem problem = ties ? draw_ties(71, shape.n, shape.m, 7, 5, shape.labels + 2, false)
                                      : draw_problem(72, shape.n, shape.m, 7, shape.labels + 2, shape.unlabelled, 1);
      Draw draw(73);
      problem.label_sets = draw_label_table(draw, shape.labels, shape.classes, shape.share, ties ? 2 : 0);
      if (ties) {
        for (int64_t i = 0; i < shape.n; ++i) problem.query_group.push_back(static_cast<int32_t>(draw.integer(-1, 4)));
        for (int64_t j = 0; j < shape.m; ++j)
          problem.gallery_group.push_back(static_cast<int32_t>(draw.integer(-1, 4)));
      }
      check_sets(problem, ties ? 0 : 1e-6);
    }
  }
}

TEST_CASE("retrieval by sets of one class each is retrieval by that class, bit for bit") {
  RetrievalProblem problem = draw_problem(74, 30, 90, 6, 5, 0.2, 0);
  const RetrievalResult expected = run_all(problem);
  problem.label_sets = {{{3}, {0}, {32}, {31}, {7}}, 33};
  CHECK(run_all(problem).same_bits(expected));
  // And a table without a row is none.
  problem.label_sets = {{}, 33};
  CHECK(run_all(problem).same_bits(expected));
}

TEST_CASE("retrieval by label sets: no class, all classes, and rows that are no numbers") {
  RetrievalProblem problem = draw_problem(75, 12, 12, 5, 3, 0, 0);
  problem.label_sets = {{{}, {0, 1, 2, 31}, {31, 63}}, 64};
  for (int64_t i = 0; i < 12; ++i) problem.query_labels.at(i) = problem.gallery_labels.at(i) = i % 3;
  problem.gallery.at(1, 0) = std::numeric_limits<float>::quiet_NaN();
  problem.queries.at(2, 0) = std::numeric_limits<float>::infinity();
  problem.query_labels.at(3) = -1, problem.gallery_labels.at(5) = -1;
  check_sets(problem, 1e-6);
  const RetrievalResult result = run_all(problem);
  CHECK(result.relevant.at(0) == 4);  // a label of no class is alike to itself alone
  CHECK(result.relevant.at(4) == 6);  // labels 1 and 2 share class 31; row 1 is NaN and row 5 unlabelled
}

TEST_CASE("retrieval refuses a table of label sets that is none") {
  Context context;
  RetrievalProblem problem = draw_problem(76, 4, 4, 3, 2, 0, 0);
  problem.label_sets = {{{0}, {1}}, 2};
  const RetrievalCall call(problem);
  RetrievalResult result(4, 3);
  const auto outputs = result.outputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &call.inputs, &bytes));
  const Scratch scratch(bytes);
  auto inputs = call.inputs;
  inputs.label_sets.dtype = DUET_DTYPE_F32;
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.label_sets: expected dtype i32, got f32");
  inputs = call.inputs;
  inputs.label_sets.data = nullptr;
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.label_sets: null data for 2 x 1");
}
