// METHOD.md 3's mining by hard labels and groups, the bare rules in double on a matrix of distances, for tests alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/core/philox.h"
#include "tests/reference/agreement.h"
#include "tests/reference/distance.h"

namespace duet::reference {

using Labels = std::vector<int>;

struct Hard {
  std::vector<int> positive, negative;
};

// pairs: n x m of 1 and 0.
inline Hard mine_hard(const Doubles& distances, const Weights& pairs, size_t n) {
  const size_t m = n ? distances.size() / n : 0;
  Hard out{std::vector<int>(n, -1), std::vector<int>(n, -1)};
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < m; ++j) {
      const double d = distances[i * m + j];
      if (std::isnan(d)) continue;
      int &p = out.positive[i], &q = out.negative[i];
      if (pairs.positive[i * m + j] > 0 && (p < 0 || d > distances[i * m + p])) p = static_cast<int>(j);
      if (pairs.negative[i * m + j] > 0 && (q < 0 || d < distances[i * m + q])) q = static_cast<int>(j);
    }
  return out;
}
inline Hard mine_hard(const Doubles& distances, const Labels& x, const Labels& y) {
  return mine_hard(distances, agreement_of_labels(x, y), x.size());
}

struct Triplet {
  int anchor, positive, negative;
};

inline std::vector<Triplet> mine_semihard(const Doubles& distances, const Weights& pairs, size_t n, double margin) {
  const size_t m = n ? distances.size() / n : 0;
  std::vector<Triplet> out;
  for (size_t i = 0; i < n; ++i)
    for (size_t p = 0; p < m; ++p) {
      if (!(pairs.positive[i * m + p] > 0)) continue;
      const double dp = distances[i * m + p];
      int best = -1;
      for (size_t j = 0; j < m; ++j) {
        const double d = distances[i * m + j];
        if (pairs.negative[i * m + j] > 0 && d > dp && d < dp + margin && (best < 0 || d < distances[i * m + best]))
          best = static_cast<int>(j);
      }
      out.push_back({static_cast<int>(i), static_cast<int>(p), best});
    }
  return out;
}
inline std::vector<Triplet> mine_semihard(const Doubles& distances, const Labels& x, const Labels& y, double margin) {
  return mine_semihard(distances, agreement_of_labels(x, y), x.size(), margin);
}

// n x slots; euclidean: the Euclidean distances, row i and column j being first_row + i and first_column + j of a batch
// of total columns.
inline std::vector<int> mine_distance_weighted(const Doubles& euclidean, const Weights& pairs, size_t n, int64_t d,
                                               uint64_t seed, int64_t step, int64_t slots, int64_t first_row,
                                               int64_t first_column, int64_t total) {
  const size_t m = n ? euclidean.size() / n : 0;
  std::vector<int> out(n * slots, -1);
  for (size_t i = 0; i < n; ++i)
    for (int64_t slot = 0; slot < slots; ++slot) {
      double best = -std::numeric_limits<double>::infinity();
      for (size_t j = 0; j < m; ++j) {
        const double e = euclidean[i * m + j], c = std::max(e, 0.5);
        if (!(pairs.negative[i * m + j] > 0) || !(e < 1.4)) continue;
        const double log_q = (d - 2.0) * std::log(c) + 0.5 * (d - 3.0) * std::log(std::max(1 - c * c / 4, 1e-8));
        const uint64_t element = static_cast<uint64_t>((first_row + static_cast<int64_t>(i)) * total + first_column +
                                                       static_cast<int64_t>(j));
        const double u =
            uniform(random_word(seed, 6 + 256 * static_cast<uint32_t>(slot), static_cast<uint32_t>(step), element));
        const double score = -log_q - std::log(-std::log(u));
        if (score > best) best = score, out[i * slots + slot] = static_cast<int>(j);
      }
    }
  return out;
}
inline std::vector<int> mine_distance_weighted(const Doubles& euclidean, const Labels& x, const Labels& y, int64_t d,
                                               uint64_t seed, int64_t step, int64_t slots, int64_t first_row,
                                               int64_t first_column, int64_t total) {
  return mine_distance_weighted(euclidean, agreement_of_labels(x, y), x.size(), d, seed, step, slots, first_row,
                                first_column, total);
}

}  // namespace duet::reference
