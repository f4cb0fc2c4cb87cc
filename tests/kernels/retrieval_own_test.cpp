// Retrieval without the row of the query's own index.
#include "tests/kernels/retrieval_problem.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

// The indices of the k best items of each query that are left, -1 past them.
void check_top_k(RetrievalProblem& problem, int64_t k) {
  const TopK top = top_k(problem, k, 1);
  for (const int threads : other_thread_counts()) {
    const TopK again = top_k(problem, k, threads);
    CHECK((again.indices.same_bits(top.indices) && again.scores.same_bits(top.scores)));
  }
  RetrievalProblem whole = problem;
  whole.exclude_own = false;
  const TopK all = top_k(whole, problem.m());
  int64_t wrong = 0;
  for (int64_t i = 0; i < problem.n(); ++i) {
    int64_t r = 0;
    for (int64_t at = 0; at < problem.m() && r < k; ++at) {
      const int32_t index = all.indices.at(i, at);
      if (problem.left_out(i, index)) continue;
      const float score = top.scores.at(i, r), expected = all.scores.at(i, at);
      wrong += top.indices.at(i, r) != index || (std::isnan(expected) ? !std::isnan(score) : score != expected);
      ++r;
    }
    for (; r < k; ++r) wrong += top.indices.at(i, r) != -1 || !std::isnan(top.scores.at(i, r));
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("retrieval without the query's own row ranks as if the gallery were without it") {
  struct Part {
    int64_t n, m, first_row, first_column;
  };
  for (const Part& part : {Part{1, 1, 0, 0},
                           {1, 1, 0, 1},
                           {40, 40, 0, 0},
                           {21, 57, 5, 0},
                           {57, 21, 0, 30},
                           {9, 30, 100, 3},
                           {21, 600, 580, 0}}) {
    if (!affordable_rows(part.n, part.m)) continue;
    for (const bool ties : {false, true}) {
      for (const bool grouped : {false, true}) {
        CAPTURE(part.n);
        CAPTURE(part.m);
        CAPTURE(ties);
        CAPTURE(grouped);
        Draw draw(61);
        RetrievalProblem problem =
            ties ? draw_ties(61, part.n, part.m, 7, 5, 3, true) : draw_problem(62, part.n, part.m, 7, 3, 0.2, 1);
        problem.exclude_own = true, problem.first_row = part.first_row, problem.first_column = part.first_column;
        if (grouped) {
          for (int64_t i = 0; i < part.n; ++i) problem.query_group.push_back(static_cast<int32_t>(draw.integer(-1, 6)));
          for (int64_t j = 0; j < part.m; ++j)
            problem.gallery_group.push_back(static_cast<int32_t>(draw.integer(-1, 6)));
        }
        problem.cutoff = {1, 2, 5, part.m - 1, part.m};
        const double slack = ties ? 0 : 1e-6;
        RetrievalProblem unpaired = problem;
        unpaired.paired = !problem.paired;  // then says nothing: the own pair of the index is no item
        const RetrievalResult result = run_all(problem);
        check_measures(result, problem, slack);
        CHECK(run_retrieval(unpaired).same_bits(result));
        for (const int64_t k : {int64_t{1}, int64_t{5}, part.m, part.m + 3}) check_top_k(problem, k);
      }
    }
  }
}

TEST_CASE(
    "retrieval without the query's own row, which is its only relevant item, its group's only row, or no number") {
  RetrievalProblem problem = draw_problem(63, 6, 6, 4, 1, 0, 0);
  problem.exclude_own = true;
  for (int64_t i = 0; i < 6; ++i)
    problem.query_labels.at(i) = problem.gallery_labels.at(i) = static_cast<int32_t>(i),
    problem.query_group.push_back(static_cast<int32_t>(i)), problem.gallery_group.push_back(static_cast<int32_t>(i));
  const RetrievalResult alone = run_all(problem);
  check_measures(alone, problem, 0);
  for (int64_t i = 0; i < 6; ++i) {
    CHECK(alone.relevant.at(i) == 0);
    for (const double value : alone.row(i)) CHECK(std::isnan(value));
  }
  problem.gallery_group[1] = 0;  // an own pair of query 0 that is left
  problem.gallery_labels.at(1) = 0;
  RetrievalResult result = run_all(problem);
  check_measures(result, problem, 1e-6);
  CHECK(result.relevant.at(0) == 1);
  CHECK_FALSE(std::isnan(result.pair_recall.at(0, 0)));
  problem.gallery.at(2, 0) = std::numeric_limits<float>::quiet_NaN();
  problem.queries.at(3, 1) = std::numeric_limits<float>::infinity();
  result = run_all(problem);
  check_measures(result, problem, 1e-6);
  check_top_k(problem, 6);
}

TEST_CASE("the k best of a large gallery without the query's own row") {
  // 8200: more than is sorted at once, so that the best are kept while the rest passes; 4200 of them: all are sorted.
  for (const int64_t k : {int64_t{6}, int64_t{4200}, int64_t{8200}}) {
    if (!affordable_rows(3, 8200)) continue;
    RetrievalProblem problem = draw_problem(64, 3, 8200, 9, 3, 0, 0);
    problem.exclude_own = true, problem.first_row = 4100;
    check_top_k(problem, k);
  }
}
