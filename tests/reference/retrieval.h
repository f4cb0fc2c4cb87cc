// METHOD.md 7 in double, for tests alone: every ranking is written out, equal scores as the expectation over their
// orders. A NaN score is no item's.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/reference/label_sets.h"

namespace duet::reference {

// n x m cosine similarities of rows, each divided by max(norm, 1e-12); NaN where a row has a NaN or an infinity.
inline std::vector<double> cosines(const std::vector<double>& queries, const std::vector<double>& gallery, int64_t n,
                                   int64_t m, int64_t d) {
  const auto norm = [&](const double* x) {
    double sum = 0;
    for (int64_t k = 0; k < d; ++k) sum += x[k] * x[k];
    return std::isnan(sum) ? sum : std::max(std::sqrt(sum), 1e-12);
  };
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const double *x = queries.data() + i * d, *y = gallery.data() + j * d;
      double sum = 0;
      for (int64_t k = 0; k < d; ++k) sum += x[k] / norm(x) * (y[k] / norm(y));
      out.push_back(sum);
    }
  return out;
}

// Gallery rows, best first: by falling score, ties by lower index, NaN last.
inline std::vector<int64_t> ranking(const std::vector<double>& scores) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](int64_t j) {
    const double score = scores[static_cast<size_t>(j)];
    return std::isnan(score) ? -std::numeric_limits<double>::infinity() : score;
  };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return value(a) > value(b); });
  return order;
}

// Of each rank: the expectation of P@k rel_k, of the number of relevant items up to it, and the probability that there
// is one.
struct Ranks {
  std::vector<double> gain, hits, any;
};

// Scores and whether each is relevant, NaN left out, best first; equal scores in the order given.
struct Item {
  double score;
  bool relevant;
};
inline std::vector<Item> ranked_items(const std::vector<double>& scores, const std::vector<bool>& relevant) {
  std::vector<Item> items;
  for (const int64_t j : ranking(scores))
    if (!std::isnan(scores[static_cast<size_t>(j)]))
      items.push_back({scores[static_cast<size_t>(j)], relevant[static_cast<size_t>(j)]});
  return items;
}

// By the formula: behind N items, R of them relevant, in a group of n equal scores, r of them relevant, the item at
// rank N + i is relevant with probability r/n and then has R + (i-1)(r-1)/(n-1) + 1 relevant ones up to itself.
inline Ranks expected_ranks(const std::vector<double>& scores, const std::vector<bool>& relevant) {
  const std::vector<Item> items = ranked_items(scores, relevant);
  Ranks out;
  double before = 0, hits = 0, none = 1;  // none: the probability that no item so far is relevant
  for (size_t begin = 0, end = 0; begin < items.size(); begin = end) {
    double n = 0, r = 0;
    for (; end < items.size() && items[end].score == items[begin].score; ++end) n += 1, r += items[end].relevant;
    for (double i = 1; i <= n; ++i) {
      out.gain.push_back(r / n * (hits + (n > 1 ? (i - 1) * (r - 1) / (n - 1) : 0) + 1) / (before + i));
      out.hits.push_back(hits + i * r / n);
      none *= std::max(n - r - (i - 1), 0.0) / (n - (i - 1));
      out.any.push_back(1 - none);
    }
    before += n, hits += r;
  }
  return out;
}

// The same as the mean over all orders, written out. For a handful of items.
inline Ranks mean_ranks(const std::vector<double>& scores, const std::vector<bool>& relevant) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Ranks out;
  double orders = 0;
  do {
    std::vector<double> some;
    std::vector<bool> wanted;
    for (const size_t j : order) some.push_back(scores[j]), wanted.push_back(relevant[j]);
    const std::vector<Item> items = ranked_items(some, wanted);
    for (std::vector<double>* each : {&out.gain, &out.hits, &out.any}) each->resize(items.size());
    double hits = 0;
    for (size_t k = 0; k < items.size(); ++k) {
      hits += items[k].relevant;
      out.gain[k] += items[k].relevant * hits / static_cast<double>(k + 1);
      out.hits[k] += hits;
      out.any[k] += hits > 0;
    }
    orders += 1;
  } while (std::next_permutation(order.begin(), order.end()));
  for (std::vector<double>* each : {&out.gain, &out.hits, &out.any})
    for (double& value : *each) value /= orders;
  return out;
}

// The probability that a relevant item is in the first k.
inline double found(const Ranks& ranks, int64_t k) {
  return ranks.any.empty() || k <= 0 ? 0 : ranks.any[std::min(static_cast<size_t>(k), ranks.any.size()) - 1];
}

struct QueryMeasures {
  double relevant = 0, average_precision = std::nan(""), precision_at_r = std::nan(""),
         precision_over_cutoffs = std::nan("");
  std::vector<double> precision_recall = std::vector<double>(11, std::nan(""));
};

inline QueryMeasures query_measures(const Ranks& ranks) {
  QueryMeasures out;
  const double total = ranks.hits.empty() ? 0 : std::round(ranks.hits.back());
  out.relevant = total;
  if (total == 0) return out;
  out.precision_at_r = out.precision_over_cutoffs = 0;
  std::fill(out.precision_recall.begin(), out.precision_recall.end(), 0.0);
  double sum = 0;
  for (size_t k = 0; k < ranks.hits.size(); ++k) {
    const double precision = ranks.hits[k] / static_cast<double>(k + 1);
    sum += ranks.gain[k];
    if (static_cast<double>(k) < total) out.precision_at_r += ranks.gain[k] / total;
    if (ranks.hits[k] > 0) out.precision_over_cutoffs += sum / ranks.hits[k] / static_cast<double>(ranks.hits.size());
    for (int l = 0; l <= 10; ++l)  // 1e-9: a sum of shares may fall short of the whole number it stands for
      if (10 * ranks.hits[k] >= total * l - 1e-9)
        out.precision_recall[static_cast<size_t>(l)] =
            std::max(out.precision_recall[static_cast<size_t>(l)], precision);
  }
  out.average_precision = sum / total;
  return out;
}

// The share of items of other classes, labelled and not alike, that score below the own pair, its best row; equal ones
// half.
inline double matching(const std::vector<double>& scores, const std::vector<int32_t>& labels, int32_t label,
                       const std::vector<bool>& own, const LabelSets& sets = {}) {
  double below = 0, others = 0, best = std::nan("");
  for (size_t j = 0; j < scores.size(); ++j)
    if (own[j] && !std::isnan(scores[j]) && !(scores[j] <= best)) best = scores[j];
  for (size_t j = 0; j < scores.size(); ++j) {
    if (std::isnan(best) || std::isnan(scores[j]) || label < 0 || labels[j] < 0 || sets.alike(label, labels[j]))
      continue;
    others += 1;
    below += scores[j] < best ? 1 : scores[j] == best ? 0.5 : 0;
  }
  return others > 0 ? below / others : std::nan("");
}

}  // namespace duet::reference
