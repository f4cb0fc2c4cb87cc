// retrieval: the measures of a ranking, and the best rows of a gallery.
#include "tests/reference/retrieval.h"

#include <algorithm>

#include "tests/backends/distances.h"
#include "tests/backends/operations.h"
#include "tests/support/label_table.h"

namespace duet::test::backends {
namespace {

// METHOD.md 7: float32 may swap neighbours whose scores differ by up to 1e-6. Equal rows have equal scores.
struct Ranked {
  Floats &queries, &gallery;
  Ints &query_labels, &gallery_labels;
  Ints query_groups, gallery_groups;
  Longs cutoffs;
  LabelTable table;
  duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;
  Ranked(Case& c, int64_t n, int64_t m, int64_t d, int64_t classes)
      : queries(c.operands(n, d)),
        gallery(c.operands(m, d)),
        query_labels(c.labels(n, classes)),
        gallery_labels(c.labels(m, classes)),
        query_groups(n, 1),
        gallery_groups(m, 1),
        cutoffs(c.draw.integer(0, 4), 1),
        // One row fewer than labels: the last label is alike to itself alone.
        table(draw_label_table(c.draw, std::max<int64_t>(classes - 1, 1), c.one_of<int64_t>({2, 7, 40}), 0.2,
                               c.padding())) {
    inputs.queries = c.features(queries), inputs.gallery = c.features(gallery);
    inputs.query_labels = query_labels.vector(), inputs.gallery_labels = gallery_labels.vector();
    inputs.paired = c.coin(), inputs.first_row = c.one_of<int64_t>({0, 0, 5}),
    inputs.first_column = c.one_of<int64_t>({0, 0, 3});
    const bool grouped = c.coin(0.4);
    const int64_t groups = c.draw.integer(1, 12);
    for (Ints* each : {&query_groups, &gallery_groups})
      for (int64_t i = 0; i < each->rows(); ++i) each->at(i) = static_cast<int32_t>(c.draw.integer(-1, groups));
    if (grouped) inputs.query_groups = query_groups.vector(), inputs.gallery_groups = gallery_groups.vector();
    for (int64_t k = 0; k < cutoffs.rows(); ++k) cutoffs.at(k) = c.draw.integer(-1, 45);
    if (c.coin(0.8)) inputs.cutoffs = cutoffs.vector();
    inputs.exclude_own = c.coin(0.3);
    const bool sets = c.coin(0.3);
    if (sets)
      inputs.label_sets = table.words.matrix();
    else
      table.sets = {};
    c.describe("grouped", grouped);
    c.describe("label_sets", sets);
    c.describe("exclude_own", inputs.exclude_own);
  }
  bool same_index(int64_t i, int64_t j) const { return i + inputs.first_row == j + inputs.first_column; }
  bool left_out(int64_t i, int64_t j) const { return inputs.exclude_own && same_index(i, j); }
  bool has_groups() const { return inputs.query_groups.data != nullptr && inputs.gallery_groups.data != nullptr; }
  std::vector<Doubles> scores(const Pairs& pairs, const Values& value) const {
    const Doubles all = pairs.distances(value, DUET_METRIC_COSINE);
    std::vector<Doubles> rows;
    for (int64_t i = 0; i < pairs.n(); ++i) {
      rows.emplace_back(all.begin() + i * pairs.m(), all.begin() + (i + 1) * pairs.m());
      for (double& s : rows.back()) s = 1 - s;
      for (int64_t j = 0; j < pairs.m(); ++j)
        if (left_out(i, j)) rows.back()[static_cast<size_t>(j)] = kNaN;
    }
    return rows;
  }
  std::vector<bool> relevant(int64_t i) const {
    std::vector<bool> out;
    for (int64_t j = 0; j < gallery_labels.rows(); ++j)
      out.push_back(table.sets.alike(query_labels.at(i), gallery_labels.at(j)));
    return out;
  }
  std::vector<bool> own(int64_t i) const {
    std::vector<bool> out;
    const int32_t group = has_groups() ? query_groups.at(i) : -1;
    for (int64_t j = 0; j < gallery_labels.rows(); ++j)
      out.push_back(!left_out(i, j) &&
                    (group >= 0 ? gallery_groups.at(j) == group : inputs.paired && same_index(i, j)));
    return out;
  }
  // The items of query i, best first.
  std::vector<int64_t> ranking(int64_t i, const Doubles& scores) const {
    std::vector<int64_t> order = reference::ranking(scores);
    std::erase_if(order, [&](int64_t j) { return left_out(i, j); });
    return order;
  }
};

// Whether no item is twice in a list of k, and none is there before an equal row of a lower index: equal rows have
// equal scores.
bool in_order(const Ranked& ranked, const Doubles& lists, int64_t k) {
  const Floats& gallery = ranked.gallery;
  int64_t i = -1;  // the list's query
  const auto same = [&](int64_t p, int64_t q) {
    for (int64_t e = 0; e < gallery.columns(); ++e)
      if (gallery.at(p, e) != gallery.at(q, e)) return false;
    return true;
  };
  for (auto list = lists.begin(); list != lists.end(); list += k) {
    ++i;
    for (auto place = list; place != list + k; ++place) {
      if (*place < 0) continue;
      if (std::find(list, place, *place) != place) return false;
      for (int64_t other = 0; other < static_cast<int64_t>(*place); ++other)
        if (!ranked.left_out(i, other) && same(other, static_cast<int64_t>(*place)) &&
            std::find(list, place, static_cast<double>(other)) == place)
          return false;
    }
  }
  return true;
}

}  // namespace

void retrieval(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(), classes = c.draw.integer(1, 5);
  Ranked ranked(c, n, m, d, classes);
  const int64_t cutoffs = ranked.inputs.cutoffs.size;
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_retrieval_workspace(run.context, &ranked.inputs, bytes); });
    duet_retrieval_outputs out = DUET_RETRIEVAL_OUTPUTS_INIT;
    out.relevant = run.integers("relevant", n);
    out.average_precision = run.optional("average_precision", n),
    out.precision_at_r = run.optional("precision_at_r", n);
    out.precision_over_cutoffs = run.optional("precision_over_cutoffs", n),
    out.precision_recall = run.optional("precision_recall", n, 11);
    out.recall = run.optional("recall", n, cutoffs);
    out.matching = run.optional("matching", n), out.pair_recall = run.optional("pair_recall", n, cutoffs);
    run.call(duet_retrieval_forward(run.context, &ranked.inputs, &out, scratch));
  });
  const Pairs pairs(c, ranked.queries, ranked.gallery, DUET_METRIC_COSINE);
  std::vector<int32_t> labels;
  for (int64_t j = 0; j < m; ++j) labels.push_back(ranked.gallery_labels.at(j));
  c.expect(
      [&](const Values& value) {
        const auto scores = ranked.scores(pairs, value);
        Expected relevant{"relevant", {}}, ap{"average_precision", {}}, at_r{"precision_at_r", {}},
            over{"precision_over_cutoffs", {}}, curve{"precision_recall", {}}, recall{"recall", {}},
            matching{"matching", {}}, pair_recall{"pair_recall", {}};
        for (int64_t i = 0; i < n; ++i) {
          const Doubles& row = scores[static_cast<size_t>(i)];
          const auto by_label = reference::expected_ranks(row, ranked.relevant(i)),
                     by_pair = reference::expected_ranks(row, ranked.own(i));
          const auto measures = reference::query_measures(by_label);
          relevant.values.push_back(measures.relevant);
          ap.values.push_back(measures.average_precision), at_r.values.push_back(measures.precision_at_r);
          over.values.push_back(measures.precision_over_cutoffs);
          curve.values.insert(curve.values.end(), measures.precision_recall.begin(), measures.precision_recall.end());
          matching.values.push_back(
              reference::matching(row, labels, ranked.query_labels.at(i), ranked.own(i), ranked.table.sets));
          const bool pair = !by_pair.hits.empty() && by_pair.hits.back() > 0.5;
          for (int64_t k = 0; k < cutoffs; ++k) {
            recall.values.push_back(measures.relevant > 0 ? reference::found(by_label, ranked.cutoffs.at(k)) : kNaN);
            pair_recall.values.push_back(pair ? reference::found(by_pair, ranked.cutoffs.at(k)) : kNaN);
          }
        }
        const std::vector<Expected*> shares = {&ap, &at_r, &over, &curve, &recall, &matching, &pair_recall};
        for (Expected* each : shares) each->low = 0, each->high = 1;
        // Rows below 1e-12 have scores that underflow in float32 and not in the reference, and then tie there alone: of
        // such rows any share is right.
        if (c.kind == Kind::tiny)
          for (Expected* each : shares) {
            each->floor = 0.5;
            for (double& x : each->values) x = std::isnan(x) ? x : 0.5;
          }
        std::vector<Expected> out = {relevant};
        for (const Expected* each : shares) out.push_back(*each);
        return out;
      },
      pairs.error(), true);
}

void retrieval_top_k(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(), k = c.draw.integer(1, 12);
  Ranked ranked(c, n, m, d, 3);
  ranked.inputs.query_labels = ranked.inputs.gallery_labels = ranked.inputs.query_groups =
      ranked.inputs.gallery_groups = {};
  const bool has_scores = c.coin(0.8);
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_retrieval_workspace(run.context, &ranked.inputs, bytes); });
    const duet_matrix indices = run.integers("indices", n, k);
    run.call(duet_retrieval_top_k(
        run.context, &ranked.inputs,
        sized<duet_retrieval_top_k_outputs>(
            {.indices = indices, .scores = has_scores ? run.output("scores", n, k) : duet_matrix{}}),
        scratch));
  });
  const Pairs pairs(c, ranked.queries, ranked.gallery, DUET_METRIC_COSINE);
  const auto best = [&](const Values& value, Doubles* scores) {
    std::vector<int> indices;
    const std::vector<Doubles> rows = ranked.scores(pairs, value);
    for (int64_t i = 0; i < n; ++i) {
      const Doubles& row = rows[static_cast<size_t>(i)];
      const auto order = ranked.ranking(i, row);
      for (size_t place = 0; place < static_cast<size_t>(k); ++place) {
        const bool there = place < order.size();
        indices.push_back(there ? static_cast<int>(order[place]) : -1);
        if (scores) scores->push_back(there ? row[static_cast<size_t>(order[place])] : kNaN);
      }
    }
    return indices;
  };
  // Two sorted lists whose scores are off by e are off by e at every place: so an item's exact score is within 2 e of
  // the place's.
  const std::vector<Doubles> exact = ranked.scores(pairs, Values(0, 0));
  c.allow("indices", [&](size_t place, int64_t x, int64_t y) {
    const Doubles& row = exact[place / static_cast<size_t>(k)];
    const auto order = ranked.ranking(static_cast<int64_t>(place) / k, row);
    if (place % static_cast<size_t>(k) >= order.size()) return false;
    const double wanted = row[static_cast<size_t>(order[place % static_cast<size_t>(k)])];
    const auto good = [&](int64_t j) {
      return j >= 0 && j < m && std::abs(row[static_cast<size_t>(j)] - wanted) <= 2 * pairs.error();
    };
    return good(x) && good(y);
  });
  for (const bool cuda : {false, true})
    c.check(in_order(ranked, c.left("indices", cuda), k), "indices: an item twice, or equal rows out of order");
  c.expect(
      [&](const Values& value) {
        Expected indices{"indices", {}}, scores{"scores", {}};
        scores.low = -1, scores.high = 1;
        for (const int index : best(value, &scores.values)) indices.values.push_back(index);
        return std::vector<Expected>{indices, scores};
      },
      pairs.error());
}

}  // namespace duet::test::backends
