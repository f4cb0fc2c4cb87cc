#include "tests/reference/retrieval.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;

namespace {

struct Problem {
  Floats queries, gallery;
  Ints query_labels, gallery_labels;
  bool paired = false;
  int64_t first_row = 0, first_column = 0;

  duet_retrieval_inputs inputs() {
    duet_retrieval_inputs in = DUET_RETRIEVAL_INPUTS_INIT;
    in.queries = queries.matrix(), in.gallery = gallery.matrix();
    in.query_labels = query_labels.vector(), in.gallery_labels = gallery_labels.vector();
    in.paired = paired, in.first_row = first_row, in.first_column = first_column;
    return in;
  }
  int64_t n() const { return queries.rows(); }
  int64_t m() const { return gallery.rows(); }
};

struct Result {
  Ints relevant, first_rank, own_rank;
  Floats average_precision, precision_at_r, all_cutoffs, precision_recall, matching;

  explicit Result(int64_t n)
      : relevant(n, 1),
        first_rank(n, 1),
        own_rank(n, 1),
        average_precision(n, 1),
        precision_at_r(n, 1),
        all_cutoffs(n, 1),
        precision_recall(n, 11, 2),
        matching(n, 1) {}
  duet_retrieval_outputs outputs() {
    duet_retrieval_outputs out = DUET_RETRIEVAL_OUTPUTS_INIT;
    out.relevant = relevant.vector(), out.first_relevant_rank = first_rank.vector(), out.own_rank = own_rank.vector();
    out.average_precision = average_precision.vector(), out.precision_at_r = precision_at_r.vector();
    out.precision_all_cutoffs = all_cutoffs.vector(), out.precision_recall = precision_recall.matrix(), out.matching = matching.vector();
    return out;
  }
  bool same_bits(const Result& other) const {
    return relevant.same_bits(other.relevant) && first_rank.same_bits(other.first_rank) && own_rank.same_bits(other.own_rank) &&
           average_precision.same_bits(other.average_precision) && precision_at_r.same_bits(other.precision_at_r) &&
           all_cutoffs.same_bits(other.all_cutoffs) && precision_recall.same_bits(other.precision_recall) && matching.same_bits(other.matching);
  }
};

Result run(Problem& problem, int threads) {
  Context context(threads);
  const auto inputs = problem.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  Result result(problem.n());
  const auto outputs = result.outputs();
  SUCCEED_CALL(duet_retrieval_forward(context, &inputs, &outputs, scratch.view()));
  return result;
}

// With 1, 2, 4 and 8 threads, which must agree bit for bit.
Result run_all(Problem& problem) {
  Result first = run(problem, 1);
  for (const int threads : other_thread_counts()) CHECK(run(problem, threads).same_bits(first));
  return first;
}

struct TopK {
  Ints indices;
  Floats scores;
};

TopK top_k(Problem& problem, int64_t k, int threads) {
  Context context(threads);
  const auto inputs = problem.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  TopK top{Ints(problem.n(), k, 1), Floats(problem.n(), k, 3)};
  SUCCEED_CALL(duet_retrieval_top_k(context, &inputs, top.indices.matrix(), top.scores.matrix(), scratch.view()));
  return top;
}

std::vector<int32_t> to_vector(const Ints& labels) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < labels.rows(); ++i) out.push_back(labels.at(i));
  return out;
}

class Expected {
 public:
  explicit Expected(const Problem& problem)
      : problem_(problem),
        scores_(duet::reference::cosines(problem.queries.values(), problem.gallery.values(), problem.n(), problem.m(), problem.queries.columns())),
        labels_(to_vector(problem.gallery_labels)) {}

  Doubles scores(int64_t i) const { return Doubles(scores_.begin() + i * problem_.m(), scores_.begin() + (i + 1) * problem_.m()); }
  // With the relevant items' scores raised by shift: every measure rises with them.
  duet::reference::QueryMeasures measures(int64_t i, double shift = 0) const {
    Doubles row = scores(i);
    for (int64_t j = 0; j < problem_.m(); ++j)
      if (problem_.gallery_labels.at(j) == problem_.query_labels.at(i)) row[static_cast<size_t>(j)] += shift;
    return duet::reference::query_measures(row, labels_, problem_.query_labels.at(i));
  }
  int64_t own(int64_t i) const {
    const int64_t j = i + problem_.first_row - problem_.first_column;
    return problem_.paired && j >= 0 && j < problem_.m() ? j : -1;
  }
  double matching(int64_t i, double shift = 0) const {
    if (own(i) < 0) return kNaN;
    return duet::reference::matching(shifted(i, shift), labels_, problem_.query_labels.at(i), own(i));
  }
  double own_rank(int64_t i, double shift = 0) const { return own(i) < 0 ? -1 : duet::reference::own_rank(shifted(i, shift), own(i)); }

 private:
  Doubles shifted(int64_t i, double shift) const {
    Doubles row = scores(i);
    row[static_cast<size_t>(own(i))] += shift;
    return row;
  }
  const Problem& problem_;
  Doubles scores_;
  std::vector<int32_t> labels_;
};

// Scores in float32 may swap neighbours, so each measure lies between those of the relevant items 1e-6 down and 1e-6 up (METHOD.md 7), give or
// take the rounding of the result; with slack 0, for scores further apart or equal, it is the measure itself.
void check_measures(const Result& result, const Problem& problem, double slack) {
  const Expected expected(problem);
  const double rounding = 2e-7;
  const auto between = [&](double value, double low, double high) {
    return (std::isnan(value) && std::isnan(low) && std::isnan(high)) || (value >= low - rounding && value <= high + rounding);
  };
  int64_t wrong = 0;
  for (int64_t i = 0; i < problem.n(); ++i) {
    const auto low = expected.measures(i, -slack), high = expected.measures(i, slack);
    bool good = result.relevant.at(i) == static_cast<int32_t>(low.relevant);
    good = good && between(result.average_precision.at(i), low.average_precision, high.average_precision);
    good = good && between(result.precision_at_r.at(i), low.precision_at_r, high.precision_at_r);
    good = good && between(result.all_cutoffs.at(i), low.precision_all_cutoffs, high.precision_all_cutoffs);
    good = good && between(result.first_rank.at(i), high.first_rank, low.first_rank);
    for (int64_t l = 0; l <= 10; ++l)
      good = good &&
             between(result.precision_recall.at(i, l), low.precision_recall[static_cast<size_t>(l)], high.precision_recall[static_cast<size_t>(l)]);
    good = good && between(result.matching.at(i), expected.matching(i, -slack), expected.matching(i, slack));
    good = good && between(result.own_rank.at(i), expected.own_rank(i, slack), expected.own_rank(i, -slack));
    wrong += !good;
  }
  CHECK_MESSAGE(wrong == 0, wrong << " of " << problem.n() << " queries differ from the reference");
}

Problem draw_problem(uint64_t seed, int64_t n, int64_t m, int64_t d, int64_t classes, double unlabelled, int64_t padding) {
  Draw draw(seed);
  const bool paired = n == m;
  Problem problem{draw.normals(n, d, 2, padding), draw.normals(m, d, 0.5, padding), draw.labels(n, classes, unlabelled),
                  draw.labels(m, classes, unlabelled), paired};
  for (int64_t i = 0; paired && i < n; ++i) problem.gallery_labels.at(i) = problem.query_labels.at(i);
  return problem;
}

// Gallery rows that repeat `distinct` rows in no order, so that most scores are ties.
Problem draw_ties(uint64_t seed, int64_t n, int64_t m, int64_t d, int64_t distinct, bool label_by_row) {
  Draw draw(seed);
  const Floats rows = draw.normals(distinct, d);
  Problem problem{draw.normals(n, d), Floats(m, d), draw.labels(n, 5), draw.labels(m, 5), true};
  for (int64_t j = 0; j < m; ++j) {
    const int64_t row = draw.integer(0, distinct - 1);
    for (int64_t k = 0; k < d; ++k) problem.gallery.at(j, k) = rows.at(row, k);
    if (label_by_row) problem.gallery_labels.at(j) = static_cast<int32_t>(row % 5);
  }
  return problem;
}

// The emulator sorts an item in about the time of 400 multiply-adds.
bool affordable_rows(int64_t n, int64_t m) { return affordable(n * m * 400); }

}  // namespace

TEST_CASE("retrieval agrees with the double reference") {
  struct Shape {
    int64_t n, m, d, classes;
    double unlabelled;
    int64_t padding;
  };
  const Shape shapes[] = {{1, 1, 1, 1, 0, 0},     {1, 7, 3, 2, 0, 0},       {13, 1, 5, 2, 0, 1},  {37, 131, 17, 4, 0.2, 3},
                          {64, 64, 64, 10, 0, 0}, {129, 67, 65, 3, 0.3, 5}, {40, 40, 6, 1, 0, 0}, {33, 500, 8, 1, 0.5, 0},
                          {9, 300, 4, 300, 0, 0}, {20, 20, 4, 3, 1, 0},     {5, 9, 300, 2, 0, 0}, {1030, 517, 6, 7, 0.1, 0},
                          {5, 8200, 2, 1, 0, 0}};
  for (const Shape& shape : shapes) {
    if (!affordable_rows(shape.n, shape.m)) continue;
    CAPTURE(shape.n);
    CAPTURE(shape.m);
    Problem problem = draw_problem(7, shape.n, shape.m, shape.d, shape.classes, shape.unlabelled, shape.padding);
    check_measures(run_all(problem), problem, 1e-6);
  }
}

TEST_CASE("retrieval agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    for (const bool forth : {true, false}) {
      const auto x = golden.load(forth ? "A" : "V"), y = golden.load(forth ? "V" : "A");
      Problem problem{x.array(), y.array(), golden.load(forth ? "ya" : "yv").array<int32_t>(), golden.load(forth ? "yv" : "ya").array<int32_t>(),
                      golden.fact("paired") != 0};
      if (!affordable_rows(problem.n(), problem.m())) continue;
      const Result result = run_all(problem);
      check_measures(result, problem, 1e-6);
      // Rows k/4 apart or 1e-4 apart score alike up to the last bits, and the reference's own order among them is its rounding's: the bounds
      // above hold there, the means cannot.
      if (golden.name() == "ties" || golden.name() == "near") continue;
      const std::string direction = forth ? "a_to_v" : "v_to_a", all = "retrieval/" + direction, own = "matching/" + direction;
      double queries = 0, map = 0, map_at_r = 0, cutoffs = 0, recall[3] = {}, curve[11] = {}, matched = 0, matches = 0, pairs[3] = {};
      const int ks[3] = {1, 5, 10};
      for (int64_t i = 0; i < problem.n(); ++i) {
        if (!std::isnan(result.matching.at(i))) matches += 1, matched += result.matching.at(i);
        for (int k = 0; k < 3; ++k) pairs[k] += result.own_rank.at(i) >= 0 && result.own_rank.at(i) < ks[k];
        if (result.relevant.at(i) == 0) continue;
        queries += 1, map += result.average_precision.at(i), map_at_r += result.precision_at_r.at(i), cutoffs += result.all_cutoffs.at(i);
        for (int k = 0; k < 3; ++k) recall[k] += result.first_rank.at(i) < ks[k];
        for (int l = 0; l <= 10; ++l) curve[l] += result.precision_recall.at(i, l);
      }
      CHECK(golden.has_fact(all) == (queries > 0));
      const double allowed = 1e-3;  // METHOD.md 7
      if (queries > 0) {
        CHECK(queries == golden.fact(all + "/queries"));
        CHECK(std::abs(map / queries - golden.fact(all + "/map")) <= allowed);
        CHECK(std::abs(map_at_r / queries - golden.fact(all + "/map_at_r")) <= allowed);
        CHECK(std::abs(cutoffs / queries - golden.fact(all + "/map_all_cutoffs")) <= allowed);
        for (int k = 0; k < 3; ++k) CHECK(std::abs(recall[k] / queries - golden.fact(all + "/recall_at_" + std::to_string(ks[k]))) <= allowed);
        for (int l = 0; l <= 10; ++l) CHECK(std::abs(curve[l] / queries - golden.fact(all + "/precision_recall_11/" + std::to_string(l))) <= allowed);
      }
      if (!golden.has_fact("matching")) continue;
      CHECK(golden.has_fact(own + "/matching_1_of_2") == (matches > 0));
      if (matches > 0) CHECK(std::abs(matched / matches - golden.fact(own + "/matching_1_of_2")) <= allowed);
      for (int k = 0; k < 3; ++k)
        CHECK(std::abs(pairs[k] / static_cast<double>(problem.n()) - golden.fact(own + "/pair_recall_at_" + std::to_string(ks[k]))) <= allowed);
    }
  }
}

TEST_CASE("retrieval gives equal rows equal scores wherever they stand, and ties to the lower index") {
  // Distinct rows' scores are further apart than float32 sees, so the reference's ranking is the only right one.
  for (const bool label_by_row : {false, true})
    for (const int64_t m : {31, 750, 1501}) {
      if (!affordable_rows(21, m)) continue;
      CAPTURE(m);
      Problem problem = draw_ties(11, 21, m, 37, 7, label_by_row);
      check_measures(run_all(problem), problem, 0);
      const Expected expected(problem);
      for (const int64_t k : {int64_t{1}, int64_t{10}, m}) {
        const TopK top = top_k(problem, k, 2);
        for (int64_t i = 0; i < problem.n(); ++i) {
          const auto order = duet::reference::ranking(expected.scores(i));
          int64_t wrong = 0;
          for (int64_t r = 0; r < k; ++r) wrong += top.indices.at(i, r) != order[static_cast<size_t>(r)];
          REQUIRE(wrong == 0);
        }
      }
    }
}

TEST_CASE("retrieval ranks NaN last") {
  Problem problem = draw_problem(13, 40, 40, 5, 3, 0.1, 0);
  for (const int64_t j : {int64_t{0}, int64_t{7}, int64_t{39}}) problem.gallery.at(j, 2) = std::numeric_limits<float>::quiet_NaN();
  problem.gallery.at(9, 0) = std::numeric_limits<float>::infinity();  // inf / inf
  problem.queries.at(3, 1) = std::numeric_limits<float>::quiet_NaN();
  problem.queries.at(4, 1) = 1e30f;  // its square is past float32
  for (int64_t k = 0; k < 5; ++k) problem.queries.at(5, k) = 0, problem.gallery.at(11, k) = -0.0f;
  check_measures(run_all(problem), problem, 1e-6);
  const TopK top = top_k(problem, 40, 2);
  CHECK(top.indices.at(0, 36) == 0);
  CHECK(top.indices.at(0, 39) == 39);
  CHECK(std::isnan(top.scores.at(0, 36)));
  CHECK_FALSE(std::isnan(top.scores.at(0, 35)));
  for (int64_t r = 0; r < 40; ++r) CHECK(top.indices.at(3, r) == r);
}

TEST_CASE("retrieval writes empty results") {
  Problem nothing{Floats(0, 4), Floats(5, 4), Ints(0, 1), Ints(5, 1)};
  nothing.gallery.fill(1), nothing.gallery_labels.fill(0);
  run_all(nothing);
  Problem empty{Floats(3, 4), Floats(0, 4), Ints(3, 1), Ints(0, 1), true};
  empty.queries.fill(1), empty.query_labels.fill(0);
  check_measures(run_all(empty), empty, 0);
  const TopK top = top_k(empty, 2, 1);
  CHECK(top.indices.at(2, 1) == -1);
  CHECK(std::isnan(top.scores.at(2, 1)));
  Problem flat{Floats(4, 0), Floats(4, 0), Ints(4, 1), Ints(4, 1), true};  // no columns: every score is 0
  for (int64_t i = 0; i < 4; ++i) flat.query_labels.at(i) = flat.gallery_labels.at(i) = static_cast<int32_t>(i % 2);
  check_measures(run_all(flat), flat, 0);
}

TEST_CASE("retrieval of the k best") {
  struct Shape {
    int64_t n, m, k;
  };
  // 8200: more than is sorted at once, so that the best are kept while the rest passes; 4200 of them: all are sorted.
  for (const Shape& shape : {Shape{7, 1300, 1}, {20, 1300, 5}, {7, 1300, 700}, {7, 1300, 1305}, {3, 8200, 6}, {3, 8200, 4200}}) {
    const int64_t n = shape.n, m = shape.m, k = shape.k;
    if (!affordable_rows(n, m)) continue;
    CAPTURE(m);
    CAPTURE(k);
    Problem problem = draw_problem(17, n, m, 9, 3, 0, 2);
    const Expected expected(problem);
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
          wrong += index < 0 || std::abs(scores[static_cast<size_t>(index)] - scores[static_cast<size_t>(order[static_cast<size_t>(r)])]) > 1e-6 ||
                   std::abs(top.scores.at(i, r) - scores[static_cast<size_t>(index)]) > 1e-6;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("retrieval of parts of a batch") {
  Problem whole = draw_problem(19, 90, 90, 7, 4, 0.1, 0);
  const Result result = run(whole, 2);
  Problem rows{Floats(33, 7), whole.gallery, Ints(33, 1), whole.gallery_labels, true, 41, 0};
  for (int64_t i = 0; i < 33; ++i) {
    rows.query_labels.at(i) = whole.query_labels.at(41 + i);
    for (int64_t k = 0; k < 7; ++k) rows.queries.at(i, k) = whole.queries.at(41 + i, k);
  }
  const Result part = run_all(rows);
  check_measures(part, rows, 1e-6);
  for (int64_t i = 0; i < 33; ++i) {
    const bool counts = result.relevant.at(41 + i) > 0;
    CHECK(part.relevant.at(i) == result.relevant.at(41 + i));
    CHECK((part.average_precision.at(i) == result.average_precision.at(41 + i) || !counts));
    CHECK(part.own_rank.at(i) == result.own_rank.at(41 + i));
    CHECK((part.matching.at(i) == result.matching.at(41 + i) || whole.query_labels.at(41 + i) < 0));
  }
  // A part of the gallery: own pairs are found by their global index, those outside are not.
  rows.first_column = 50;
  const Result other = run_all(rows);
  CHECK(other.own_rank.at(8) == -1);
  CHECK(std::isnan(other.matching.at(8)));
  CHECK(other.own_rank.at(9) >= 0);
  check_measures(other, rows, 1e-6);
}

TEST_CASE("retrieval refuses misuse") {
  Context context;
  Problem problem = draw_problem(23, 6, 6, 3, 2, 0, 0);
  const auto inputs = problem.inputs();
  Result result(6);
  const auto outputs = result.outputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &outputs, {scratch.view().data, bytes - 1}), DUET_WORKSPACE_TOO_SMALL, "workspace: expected");
  FAIL_CALL(duet_retrieval_forward(context, nullptr, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_retrieval_forward(context, &inputs, nullptr, scratch.view()), DUET_INVALID_ARGUMENT, "outputs: null");
  FAIL_CALL(duet_retrieval_forward(nullptr, &inputs, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_retrieval_workspace(context, &inputs, nullptr), DUET_INVALID_ARGUMENT, "bytes: null");
  auto wrong = inputs;
  wrong.gallery.columns = 2;
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.gallery: expected any x 3, got 6 x 2");
  wrong = inputs;
  wrong.gallery_labels.size = 5;
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.gallery_labels: expected 6");
  wrong = inputs;
  wrong.first_row = -1;
  FAIL_CALL(duet_retrieval_forward(context, &wrong, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.first_row: expected 0 or more, got -1");
  auto narrow = outputs;
  narrow.precision_recall.columns = 10;
  FAIL_CALL(duet_retrieval_forward(context, &inputs, &narrow, scratch.view()), DUET_INVALID_ARGUMENT, "outputs.precision_recall: expected 6 x 11");
  Floats indices(6, 2);
  FAIL_CALL(duet_retrieval_top_k(context, &inputs, indices.matrix(), duet_matrix{}, scratch.view()), DUET_INVALID_ARGUMENT,
            "indices: expected dtype i32, got f32");
  // Labels are forward's alone, scores optional.
  auto unlabelled = inputs;
  unlabelled.query_labels = unlabelled.gallery_labels = duet_vector{};
  Ints good(6, 2);
  SUCCEED_CALL(duet_retrieval_top_k(context, &unlabelled, good.matrix(), duet_matrix{}, scratch.view()));
  FAIL_CALL(duet_retrieval_forward(context, &unlabelled, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.query_labels");
}
