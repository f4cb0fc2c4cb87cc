// METHOD.md 7, brute force: every ranking is written out. In double, for tests alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace duet::reference {

// n x m cosine similarities of rows, each divided by max(norm, 1e-12).
inline std::vector<double> cosines(const std::vector<double>& queries, const std::vector<double>& gallery, int64_t n, int64_t m, int64_t d) {
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

struct QueryMeasures {
  double relevant = 0, average_precision = std::nan(""), precision_at_r = std::nan(""), precision_all_cutoffs = std::nan(""), first_rank = -1;
  std::vector<double> precision_recall = std::vector<double>(11, std::nan(""));
};

inline QueryMeasures query_measures(const std::vector<double>& scores, const std::vector<int32_t>& labels, int32_t label) {
  QueryMeasures out;
  const auto order = ranking(scores);
  std::vector<double> hits;
  double total = 0;
  for (const int64_t j : order) {
    const bool relevant = label >= 0 && labels[static_cast<size_t>(j)] == label;
    if (relevant && total == 0) out.first_rank = static_cast<double>(hits.size());
    hits.push_back(total += relevant);
  }
  out.relevant = total;
  if (total == 0) return out;
  out.average_precision = out.precision_at_r = out.precision_all_cutoffs = 0;
  std::fill(out.precision_recall.begin(), out.precision_recall.end(), 0.0);
  for (size_t k = 0; k < hits.size(); ++k) {
    const double precision = hits[k] / static_cast<double>(k + 1);
    const bool relevant = hits[k] > (k ? hits[k - 1] : 0);
    out.average_precision += relevant * precision / total;
    if (static_cast<double>(k) < total) out.precision_at_r += relevant * precision / total;
    out.precision_all_cutoffs += precision / static_cast<double>(hits.size());
    for (int l = 0; l <= 10; ++l)
      if (10 * hits[k] >= total * l) out.precision_recall[static_cast<size_t>(l)] = std::max(out.precision_recall[static_cast<size_t>(l)], precision);
  }
  return out;
}

// The share of items of other classes that score below the own pair, ties half.
inline double matching(const std::vector<double>& scores, const std::vector<int32_t>& labels, int32_t label, int64_t own) {
  double below = 0, others = 0;
  for (size_t j = 0; j < scores.size(); ++j) {
    if (label < 0 || labels[j] < 0 || labels[j] == label) continue;
    const double score = scores[j], own_score = scores[static_cast<size_t>(own)];
    others += 1;
    if (std::isnan(score))
      below += std::isnan(own_score) ? 0.5 : 1;
    else
      below += score < own_score ? 1 : score == own_score ? 0.5 : 0;
  }
  return others > 0 ? below / others : std::nan("");
}

inline double own_rank(const std::vector<double>& scores, int64_t own) {
  const auto order = ranking(scores);
  return static_cast<double>(std::find(order.begin(), order.end(), own) - order.begin());
}

}  // namespace duet::reference
