// Equal scores, rows without a direction, groups of rows, and scores at the ends of their range.
#include <random>

#include "tests/kernels/retrieval_problem.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

std::vector<int64_t> all_rows(int64_t m) {
  std::vector<int64_t> rows(static_cast<size_t>(m));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace

TEST_CASE("the reference's expectation over ties is the mean over all orders") {
  Draw draw(3);
  for (int64_t trial = 0; trial < 60; ++trial) {
    const int64_t m = trial % 7, values = 1 + trial % 4;
    Doubles scores;
    std::vector<bool> relevant;
    for (int64_t j = 0; j < m; ++j)
      scores.push_back(0.25 * static_cast<double>(draw.integer(1, values))), relevant.push_back(draw.integer(0, 1) > 0);
    const auto formula = duet::reference::expected_ranks(scores, relevant),
               orders = duet::reference::mean_ranks(scores, relevant);
    check_close(formula.gain, orders.gain, 1e-12, "P@k rel_k");
    check_close(formula.hits, orders.hits, 1e-12, "hits");
    check_close(formula.any, orders.any, 1e-12, "any");
  }
}

TEST_CASE(
    "retrieval counts what scores better than one score of thousands of relevant items, and behind the relevant items "
    "before it") {
  if (!on_cpu() && !device.every_value)
    return;  // thousands of columns of tiles are slow to emulate: once, in one schedule
  // Rows of a group score alike, each group below the one before; the query has label 0.
  struct Group {
    int64_t count;
    int32_t label;
  };
  for (const std::vector<Group>& groups :
       {std::vector<Group>{{5000, 1}, {5000, 0}}, {{7, 0}, {900, 1}, {3, 0}, {40, 1}, {4200, 0}, {30, 1}, {5, 0}}}) {
    std::vector<int64_t> order;
    for (size_t g = 0; g < groups.size(); ++g)
      order.insert(order.end(), static_cast<size_t>(groups[g].count), static_cast<int64_t>(g));
    std::shuffle(order.begin(), order.end(), std::mt19937(5));
    RetrievalProblem problem{Floats(1, 3), Floats(static_cast<int64_t>(order.size()), 3), Ints(1, 1),
                             Ints(static_cast<int64_t>(order.size()), 1), true};
    problem.queries.at(0, 0) = 1, problem.queries.at(0, 1) = problem.queries.at(0, 2) = 0;
    problem.query_labels.at(0) = 0;
    problem.cutoff = {1, 5, 920, 5001};
    for (int64_t j = 0; j < problem.m(); ++j) {
      const int64_t g = order[static_cast<size_t>(j)];
      problem.gallery.at(j, 0) = 1, problem.gallery.at(j, 1) = 0.25f * static_cast<float>(g),
                            problem.gallery.at(j, 2) = 0;
      problem.gallery_labels.at(j) = groups[static_cast<size_t>(g)].label;
    }
    check_measures(run_retrieval(problem), problem, 0);
  }
}

TEST_CASE("retrieval takes the expectation over the orders of equal scores") {
  // Up to 300 distinct rows' scores are further apart than float32 sees, so the reference's groups are the only right
  // ones.
  struct Shape {
    int64_t n, m, distinct, classes;
    bool label_by_row, cpu_alone = false;
  };
  // Past 4096 relevant items: several runs, of many scores, of few, and of one score that has more.
  for (const Shape& shape : {Shape{3, 1, 1, 1, false},
                             {3, 2, 1, 2, false},
                             {5, 31, 1, 2, false},
                             {21, 31, 7, 5, false},
                             {21, 31, 7, 5, true},
                             {21, 750, 7, 5, false},
                             {9, 750, 7, 5, true},
                             {9, 600, 1, 3, false},
                             {21, 750, 300, 5, false},
                             {21, 1501, 7, 5, true},
                             {1, 9000, 4000, 2, false},
                             {1, 8400, 1, 2, false},
                             {3, 9000, 3, 2, false, true},
                             {3, 4500, 2000, 1, false, true}}) {
    if (!affordable_rows(shape.n, shape.m)) continue;
    // Thousands of columns of tiles are slow to emulate: the cases that cut runs, once, in one schedule.
    const bool large = shape.m > 2000;
    if (large && !on_cpu() && (!device.every_value || shape.cpu_alone)) continue;
    CAPTURE(shape.m);
    CAPTURE(shape.distinct);
    RetrievalProblem problem = draw_ties(11, shape.n, shape.m, 37, shape.distinct, shape.classes, shape.label_by_row);
    problem.cutoff = {0, 1, 2, 3, 5, 10, 100, shape.m - 1, shape.m, shape.m + 7};
    const RetrievalResult result = large && !on_cpu() ? run_retrieval(problem) : run_all(problem);
    check_measures(result, problem, shape.distinct > 300 ? 1e-6 : 0);
    if (large && !on_cpu()) continue;
    // In another order of the gallery the same bits, but for the own pairs, which are others.
    std::vector<int64_t> order = all_rows(shape.m);
    std::shuffle(order.begin(), order.end(), std::mt19937_64(5));
    RetrievalProblem mixed = with_gallery(problem, order);
    RetrievalResult other = run_retrieval(mixed);
    other.matching = result.matching, other.pair_recall = result.pair_recall;
    CHECK(other.same_bits(result));
    if (large) continue;
    for (const int64_t k : {int64_t{1}, int64_t{10}, shape.m}) {
      const TopK top = top_k(problem, k);
      const RetrievalExpected expected(problem);
      int64_t wrong = 0;
      for (int64_t i = 0; i < problem.n(); ++i) {
        const auto ranking = duet::reference::ranking(expected.scores(i));
        for (int64_t r = 0; r < std::min(k, shape.m); ++r)
          wrong += top.indices.at(i, r) != ranking[static_cast<size_t>(r)];
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("retrieval: a query with NaN has NaN in every measure, a gallery row with NaN is left out") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  RetrievalProblem problem = draw_problem(13, 40, 40, 5, 3, 0.1, 0);
  const RetrievalResult clean = run_retrieval(problem);
  for (const int64_t i : {3, 8}) problem.query_labels.at(i) = problem.gallery_labels.at(i) = 1;
  problem.queries.at(3, 1) = nan, problem.queries.at(8, 0) = -infinity;
  for (const int64_t j : {0, 7, 39}) problem.gallery.at(j, 2) = nan;
  problem.gallery.at(9, 0) = infinity;
  for (int64_t k = 0; k < 5; ++k)
    problem.queries.at(5, k) = 0, problem.gallery.at(11, k) = -0.0f;  // zero rows are rows: every score is 0
  const RetrievalResult result = run_all(problem);
  check_measures(result, problem, 1e-6);
  for (const int64_t i : {3, 8}) {
    CHECK(result.relevant.at(i) == 0);
    for (const double value : result.row(i)) CHECK(std::isnan(value));
  }
  CHECK(std::isnan(result.pair_recall.at(7, 2)));  // its own pair is left out
  CHECK(std::isnan(result.matching.at(7)));
  // The gallery without those rows gives the same bits.
  RetrievalProblem rest = problem, whole = problem;
  std::vector<int64_t> kept = all_rows(40);
  for (const int64_t j : {39, 9, 7, 0}) kept.erase(kept.begin() + j);
  rest = with_gallery(problem, kept);
  rest.paired = whole.paired = false;
  CHECK(run_retrieval(rest).same_bits(run_retrieval(whole)));
  const TopK top = top_k(problem, 40);
  CHECK(top.indices.at(1, 36) == 0);
  CHECK(top.indices.at(1, 39) == 39);
  CHECK(std::isnan(top.scores.at(1, 36)));
  CHECK_FALSE(std::isnan(top.scores.at(1, 35)));
  for (int64_t r = 0; r < 40; ++r) CHECK(top.indices.at(3, r) == r);
  problem.gallery.fill(nan);
  const RetrievalResult none = run_all(problem);
  for (int64_t i = 0; i < 40; ++i)
    for (const double value : none.row(i)) CHECK(std::isnan(value));
  CHECK_FALSE(std::isnan(clean.pair_recall.at(3, 0)));
}

TEST_CASE("retrieval: rows of one group are one item") {
  Draw draw(29);
  // Five rows an image, as five captions have: the images' rows coincide, the captions' do not.
  const int64_t images = 12, captions = 60, d = 7;
  const Floats image = draw.normals(images, d);
  RetrievalProblem problem{Floats(captions, d), Floats(captions, d), draw.labels(captions, 3), draw.labels(captions, 3),
                           true};
  for (int64_t i = 0; i < captions; ++i) {
    problem.query_group.push_back(static_cast<int32_t>(i / 5 * 190'000'007));
    problem.gallery_group.push_back(static_cast<int32_t>(i / 5 * 190'000'007));
    for (int64_t k = 0; k < d; ++k) {
      problem.queries.at(i, k) = image.at(i / 5, k);
      problem.gallery.at(i, k) = image.at(i / 5, k) + 0.1f * static_cast<float>(draw.normal());
    }
  }
  for (const bool captions_search : {false, true}) {
    if (captions_search)
      std::swap(problem.queries, problem.gallery), std::swap(problem.query_labels, problem.gallery_labels);
    const RetrievalResult result = run_all(problem);
    check_measures(result, problem, captions_search ? 0 : 1e-6);
    for (int64_t i = 0; i < captions; ++i) CHECK(result.pair_recall.at(i, 0) == 1);
    RetrievalProblem alone =
        problem;  // without groups, four rows of the same item stand as well as the own pair, or better
    alone.query_group.clear(), alone.gallery_group.clear();
    double found = 0;
    const RetrievalResult by_row = run_retrieval(alone);
    for (int64_t i = 0; i < captions; ++i) found += by_row.pair_recall.at(i, 0) / static_cast<double>(captions);
    CHECK(found < 0.35);
  }
  // Groups of different sizes, one in neither side, ties across the cut-off, and a group without a row that counts.
  RetrievalProblem mixed = draw_ties(31, 23, 57, 5, 6, 3, false);
  for (int64_t i = 0; i < 23; ++i) mixed.query_group.push_back(static_cast<int32_t>(draw.integer(-2, 9)));
  for (int64_t j = 0; j < 57; ++j) mixed.gallery_group.push_back(static_cast<int32_t>(draw.integer(-1, 7)));
  mixed.query_group[4] = INT32_MAX, mixed.query_group[5] = INT32_MIN, mixed.gallery_group[6] = INT32_MAX;
  mixed.gallery.at(6, 0) = std::numeric_limits<float>::quiet_NaN();
  mixed.first_row = 5;
  for (const bool paired : {true, false}) {
    mixed.paired = paired;
    const RetrievalResult result = run_all(mixed);
    check_measures(result, mixed, 0);
    CHECK(std::isnan(result.pair_recall.at(4, 0)));
    CHECK(std::isnan(result.pair_recall.at(5, 0)) != paired);  // of no group: its own pair is that of its index
  }
  // Every query of no group: as if there were no groups at all; all rows of one group: every item is an own pair.
  RetrievalProblem none = mixed, plain = mixed, one = mixed;
  none.paired = plain.paired = true;
  std::fill(none.query_group.begin(), none.query_group.end(), -1);
  plain.query_group.clear(), plain.gallery_group.clear();
  CHECK(run_retrieval(none).same_bits(run_retrieval(plain)));
  std::fill(one.query_group.begin(), one.query_group.end(), 0);
  std::fill(one.gallery_group.begin(), one.gallery_group.end(), 0);
  check_measures(run_all(one), one, 0);
}

TEST_CASE("retrieval scores are cosines, whatever the rows' lengths") {
  Draw draw(37);
  const int64_t n = 12, d = 33;
  // A query's own gallery row is the query at another scale: 1 and -1 are reached, and no score lies past them.
  RetrievalProblem problem{draw.normals(n, d), Floats(2 * n, d), draw.labels(n, 3), draw.labels(2 * n, 3), true};
  for (int64_t j = 0; j < n; ++j)
    for (int64_t k = 0; k < d; ++k) {
      problem.gallery.at(j, k) = problem.queries.at(j, k) * (j % 2 == 0 ? 1e18f : 1e-9f);
      problem.gallery.at(n + j, k) = -problem.queries.at(j, k);
    }
  const TopK top = top_k(problem, 2 * n);
  double outside = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t r = 0; r < 2 * n; ++r)
      outside = std::max(outside, std::abs(static_cast<double>(top.scores.at(i, r))) - 1);
    CHECK(top.indices.at(i, 0) == i);
    CHECK(top.scores.at(i, 0) == doctest::Approx(1).epsilon(1e-6));
    CHECK(top.indices.at(i, 2 * n - 1) == n + i);
  }
  CHECK(outside <= 0);
  check_measures(run_all(problem), problem, 1e-6);
  // Rows of norm 1e-30 stay 1e18 short of a unit row (METHOD.md 1), and rank by their directions all the same; rows of
  // norm 1e18 and 1e38 are unit.
  for (const float scale : {1e-30f, 1e18f, 1e37f}) {
    RetrievalProblem scaled = problem;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < d; ++k) scaled.queries.at(i, k) = scale * problem.queries.at(i, k);
    const TopK same = top_k(scaled, 2 * n);
    const RetrievalExpected expected(scaled);
    for (int64_t i = 0; i < n; ++i) {
      const Doubles scores = expected.scores(i);
      double largest = 0, worst = 0;
      for (int64_t r = 0; r < 2 * n; ++r) {
        const double right = scores[static_cast<size_t>(same.indices.at(i, r))];
        largest = std::max(largest, std::abs(right)), worst = std::max(worst, std::abs(same.scores.at(i, r) - right));
      }
      CHECK(worst <= 1e-6 * largest);
      CHECK(same.indices.at(i, 0) == i);
    }
  }
}
