// What the tests of retrieval share: a problem, what a call makes of it, and what the double reference expects.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/reference/retrieval.h"
#include "tests/support/arrays.h"
#include "tests/support/label_table.h"

namespace duet::test {

struct RetrievalProblem {
  Floats queries, gallery;
  Ints query_labels, gallery_labels;
  bool paired = false;
  int64_t first_row = 0, first_column = 0;
  std::vector<int32_t> query_group = {}, gallery_group = {};  // empty: no groups
  std::vector<int64_t> cutoff = {1, 5, 10};
  bool exclude_own = false;
  LabelTable label_sets = {{}, 1};  // empty: a label is a class

  int64_t n() const { return queries.rows(); }
  int64_t m() const { return gallery.rows(); }
  bool same_index(int64_t i, int64_t j) const { return i + first_row == j + first_column; }
  bool left_out(int64_t i, int64_t j) const { return exclude_own && same_index(i, j); }
  bool is_own(int64_t i, int64_t j) const {
    if (left_out(i, j)) return false;
    const int32_t group = query_group.empty() ? -1 : query_group[static_cast<size_t>(i)];
    return group >= 0 ? group == gallery_group[static_cast<size_t>(j)] : paired && same_index(i, j);
  }
};

template <class T>
Array<T> array_of(const std::vector<T>& values) {
  Array<T> out(static_cast<int64_t>(values.size()), 1);
  for (int64_t i = 0; i < out.rows(); ++i) out.at(i) = values[static_cast<size_t>(i)];
  return out;
}

// The inputs of a call, with what they point to.
struct RetrievalCall {
  Ints query_groups, gallery_groups;
  Longs cutoffs;
  duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;

  explicit RetrievalCall(RetrievalProblem& problem)
      : query_groups(array_of(problem.query_group)),
        gallery_groups(array_of(problem.gallery_group)),
        cutoffs(array_of(problem.cutoff)) {
    inputs.queries = problem.queries.matrix(), inputs.gallery = problem.gallery.matrix();
    inputs.query_labels = problem.query_labels.vector(), inputs.gallery_labels = problem.gallery_labels.vector();
    inputs.paired = problem.paired, inputs.exclude_own = problem.exclude_own;
    inputs.first_row = problem.first_row, inputs.first_column = problem.first_column;
    if (!problem.query_group.empty())
      inputs.query_groups = query_groups.vector(), inputs.gallery_groups = gallery_groups.vector();
    inputs.cutoffs = cutoffs.vector();
    if (problem.label_sets.words.rows() > 0) inputs.label_sets = problem.label_sets.words.matrix();
  }
  RetrievalCall(const RetrievalCall&) = delete;
};

struct RetrievalResult {
  Ints relevant;
  Floats average_precision, precision_at_r, over_cutoffs, recall, precision_recall, matching, pair_recall;

  RetrievalResult(int64_t n, int64_t cutoffs)
      : relevant(n, 1),
        average_precision(n, 1),
        precision_at_r(n, 1),
        over_cutoffs(n, 1),
        recall(n, cutoffs, 1),
        precision_recall(n, 11, 2),
        matching(n, 1),
        pair_recall(n, cutoffs) {}
  duet_retrieval_outputs outputs() {
    duet_retrieval_outputs out = DUET_RETRIEVAL_OUTPUTS_INIT;
    out.relevant = relevant.vector(), out.average_precision = average_precision.vector(),
    out.precision_at_r = precision_at_r.vector();
    out.precision_over_cutoffs = over_cutoffs.vector(), out.recall = recall.matrix(),
    out.precision_recall = precision_recall.matrix();
    out.matching = matching.vector(), out.pair_recall = pair_recall.matrix();
    return out;
  }
  bool same_bits(const RetrievalResult& other) const {
    return relevant.same_bits(other.relevant) && average_precision.same_bits(other.average_precision) &&
           precision_at_r.same_bits(other.precision_at_r) && over_cutoffs.same_bits(other.over_cutoffs) &&
           recall.same_bits(other.recall) && precision_recall.same_bits(other.precision_recall) &&
           matching.same_bits(other.matching) && pair_recall.same_bits(other.pair_recall);
  }
  // Query i's measures in the order of RetrievalExpected::row.
  Doubles row(int64_t i) const {
    Doubles out = {average_precision.at(i), precision_at_r.at(i), over_cutoffs.at(i), matching.at(i)};
    for (const Floats* each : {&precision_recall, &recall, &pair_recall})
      for (int64_t k = 0; k < each->columns(); ++k) out.push_back(each->at(i, k));
    return out;
  }
};
inline constexpr size_t kOverCutoffs = 2;  // its place in such a row

inline RetrievalResult run_retrieval(RetrievalProblem& problem, int threads = 2) {
  Context context(threads);
  const RetrievalCall call(problem);
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &call.inputs, &bytes));
  const Scratch scratch(bytes);
  RetrievalResult result(problem.n(), static_cast<int64_t>(problem.cutoff.size()));
  const auto outputs = result.outputs();
  SUCCEED_CALL(duet_retrieval_forward(context, &call.inputs, &outputs, scratch.view()));
  return result;
}

// With 1, 2, 4 and 8 threads, which must agree bit for bit.
inline RetrievalResult run_all(RetrievalProblem& problem) {
  RetrievalResult first = run_retrieval(problem, 1);
  for (const int threads : other_thread_counts()) CHECK(run_retrieval(problem, threads).same_bits(first));
  return first;
}

struct TopK {
  Ints indices;
  Floats scores;
};

inline TopK top_k(RetrievalProblem& problem, int64_t k, int threads = 2) {
  Context context(threads);
  const RetrievalCall call(problem);
  size_t bytes = 0;
  SUCCEED_CALL(duet_retrieval_workspace(context, &call.inputs, &bytes));
  const Scratch scratch(bytes);
  TopK top{Ints(problem.n(), k, 1), Floats(problem.n(), k, 3)};
  SUCCEED_CALL(duet_retrieval_top_k(
      context, &call.inputs,
      sized<duet_retrieval_top_k_outputs>({.indices = top.indices.matrix(), .scores = top.scores.matrix()}),
      scratch.view()));
  return top;
}

class RetrievalExpected {
 public:
  explicit RetrievalExpected(const RetrievalProblem& problem)
      : problem_(problem),
        scores_(duet::reference::cosines(problem.queries.values(), problem.gallery.values(), problem.n(), problem.m(),
                                         problem.queries.columns())) {
    for (int64_t j = 0; j < problem.m(); ++j) labels_.push_back(problem.gallery_labels.at(j));
  }

  // NaN of what is no item.
  Doubles scores(int64_t i) const {
    Doubles row(scores_.begin() + i * problem_.m(), scores_.begin() + (i + 1) * problem_.m());
    for (size_t j = 0; j < row.size(); ++j)
      if (problem_.left_out(i, static_cast<int64_t>(j))) row[j] = kNaN;
    return row;
  }
  std::vector<bool> relevant(int64_t i) const {
    const int32_t label = problem_.query_labels.at(i);
    return chosen([&](int64_t j) { return problem_.label_sets.sets.alike(label, problem_.gallery_labels.at(j)); });
  }
  double relevant_count(int64_t i) const { return measures(i, 0).relevant; }
  // With the scores of relevant items raised by shift for the measures by label, and those of own pairs for the others:
  // every measure but precision_over_cutoffs rises with them.
  Doubles row(int64_t i, double shift = 0) const {
    const auto by_label = measures(i, shift);
    const std::vector<bool> own = chosen([&](int64_t j) { return problem_.is_own(i, j); });
    const Doubles for_own = shifted(i, own, shift);
    Doubles out = {
        by_label.average_precision, by_label.precision_at_r, by_label.precision_over_cutoffs,
        duet::reference::matching(for_own, labels_, problem_.query_labels.at(i), own, problem_.label_sets.sets)};
    out.insert(out.end(), by_label.precision_recall.begin(), by_label.precision_recall.end());
    add_found(out, duet::reference::expected_ranks(shifted(i, relevant(i), shift), relevant(i)));
    add_found(out, duet::reference::expected_ranks(for_own, own));
    return out;
  }
  // Pairs of a relevant and another item whose scores float32 may exchange.
  double near_pairs(int64_t i, double slack) const {
    const Doubles row = scores(i);
    const std::vector<bool> wanted = relevant(i);
    Doubles others;
    for (size_t j = 0; j < row.size(); ++j)
      if (!wanted[j] && !std::isnan(row[j])) others.push_back(row[j]);
    std::sort(others.begin(), others.end());
    double pairs = 0;
    for (size_t j = 0; j < row.size(); ++j)
      if (wanted[j] && !std::isnan(row[j]))
        pairs += static_cast<double>(std::upper_bound(others.begin(), others.end(), row[j] + 2 * slack) -
                                     std::lower_bound(others.begin(), others.end(), row[j] - 2 * slack));
    return pairs;
  }

 private:
  template <class Chooses>
  std::vector<bool> chosen(Chooses&& chooses) const {
    std::vector<bool> out;
    for (int64_t j = 0; j < problem_.m(); ++j) out.push_back(chooses(j));
    return out;
  }
  Doubles shifted(int64_t i, const std::vector<bool>& which, double shift) const {
    Doubles row = scores(i);
    for (size_t j = 0; j < row.size(); ++j) row[j] += which[j] ? shift : 0;
    return row;
  }
  duet::reference::QueryMeasures measures(int64_t i, double shift) const {
    return duet::reference::query_measures(
        duet::reference::expected_ranks(shifted(i, relevant(i), shift), relevant(i)));
  }
  // Of the problem's cut-offs; NaN where no item is wanted.
  void add_found(Doubles& out, const duet::reference::Ranks& ranks) const {
    const bool none = ranks.hits.empty() || ranks.hits.back() < 0.5;
    for (const int64_t k : problem_.cutoff) out.push_back(none ? kNaN : duet::reference::found(ranks, k));
  }

  const RetrievalProblem& problem_;
  Doubles scores_;
  std::vector<int32_t> labels_;
};

// Scores in float32 may swap neighbours, so each measure lies between those of the relevant items 1e-6 down and 1e-6 up
// (METHOD.md 7), give or take the rounding of the result; with slack 0, for scores further apart or equal, it is the
// measure itself. precision_over_cutoffs may rise or fall when neighbours are exchanged, by about one of its m terms.
inline void check_measures(const RetrievalResult& result, const RetrievalProblem& problem, double slack) {
  const RetrievalExpected expected(problem);
  const double rounding = 2e-7;
  int64_t wrong = 0;
  std::string where;
  for (int64_t i = 0; i < problem.n(); ++i) {
    const Doubles exact = expected.row(i), low = slack > 0 ? expected.row(i, -slack) : exact,
                  high = slack > 0 ? expected.row(i, slack) : exact;
    const Doubles row = result.row(i);
    bool good = result.relevant.at(i) == static_cast<int32_t>(expected.relevant_count(i));
    for (size_t k = 0; k < row.size(); ++k) {
      const bool nothing = std::isnan(exact[k]);
      double allowed = rounding;
      if (k == kOverCutoffs && slack > 0)
        allowed += 2 * expected.near_pairs(i, slack) / static_cast<double>(problem.m());
      const bool fits = nothing ? std::isnan(row[k])
                                : row[k] >= std::min({low[k], exact[k], high[k]}) - allowed &&
                                      row[k] <= std::max({low[k], exact[k], high[k]}) + allowed;
      if (!fits && where.empty())
        where = "; query " + std::to_string(i) + ", measure " + std::to_string(k) + ": " + std::to_string(row[k]) +
                ", expected " + std::to_string(low[k]) + " to " + std::to_string(high[k]);
      good = good && fits;
    }
    wrong += !good;
  }
  CHECK_MESSAGE(wrong == 0, wrong << " of " << problem.n() << " queries differ from the reference" << where);
}

inline RetrievalProblem draw_problem(uint64_t seed, int64_t n, int64_t m, int64_t d, int64_t classes, double unlabelled,
                                     int64_t padding) {
  Draw draw(seed);
  const bool paired = n == m;
  RetrievalProblem problem{draw.normals(n, d, 2, padding), draw.normals(m, d, 0.5, padding),
                           draw.labels(n, classes, unlabelled), draw.labels(m, classes, unlabelled), paired};
  for (int64_t i = 0; paired && i < n; ++i) problem.gallery_labels.at(i) = problem.query_labels.at(i);
  return problem;
}

// Gallery rows that repeat `distinct` rows in no order, so that most scores are ties.
inline RetrievalProblem draw_ties(uint64_t seed, int64_t n, int64_t m, int64_t d, int64_t distinct, int64_t classes,
                                  bool label_by_row) {
  Draw draw(seed);
  const Floats rows = draw.normals(distinct, d);
  RetrievalProblem problem{draw.normals(n, d), Floats(m, d), draw.labels(n, classes), draw.labels(m, classes), true};
  for (int64_t j = 0; j < m; ++j) {
    const int64_t row = draw.integer(0, distinct - 1);
    for (int64_t k = 0; k < d; ++k) problem.gallery.at(j, k) = rows.at(row, k);
    if (label_by_row) problem.gallery_labels.at(j) = static_cast<int32_t>(row % classes);
  }
  return problem;
}

// The rows `order` of the gallery, in that order.
inline RetrievalProblem with_gallery(const RetrievalProblem& problem, const std::vector<int64_t>& order) {
  const auto m = static_cast<int64_t>(order.size());
  RetrievalProblem out = problem;
  out.gallery = Floats(m, problem.gallery.columns());
  out.gallery_labels = Ints(m, 1);
  out.gallery_group.clear();
  for (int64_t j = 0; j < m; ++j) {
    const int64_t from = order[static_cast<size_t>(j)];
    for (int64_t k = 0; k < problem.gallery.columns(); ++k) out.gallery.at(j, k) = problem.gallery.at(from, k);
    out.gallery_labels.at(j) = problem.gallery_labels.at(from);
    if (!problem.gallery_group.empty()) out.gallery_group.push_back(problem.gallery_group[static_cast<size_t>(from)]);
  }
  return out;
}

// The emulator sorts an item in about the time of 400 multiply-adds.
inline bool affordable_rows(int64_t n, int64_t m) { return affordable(n * m * 400); }

}  // namespace duet::test
