#include "tests/backends/softmax_floors.h"

#include <algorithm>
#include <cmath>

namespace duet::test::backends {

namespace {

// r of every score.
Doubles exponent_errors(const Doubles& s, const Doubles& lse, const Doubles& sizes, double error, int64_t n,
                        int64_t m) {
  constexpr double kNothing = 40;  // e^-40 of a sum is less than its rounding
  Doubles r(s.size());
  for (int64_t i = 0; i < n; ++i) {
    const size_t first = static_cast<size_t>(i * m), end = first + static_cast<size_t>(m);
    double top = -INFINITY, of_sum = 0;
    for (size_t k = first; k < end; ++k) top = std::max(top, s[k] - error * sizes[k]);
    for (size_t k = first; k < end; ++k)
      if (s[k] + error * sizes[k] >= top - kNothing) of_sum = std::max(of_sum, error * sizes[k]);
    const double sum = std::abs(lse[static_cast<size_t>(i)]);
    for (size_t k = first; k < end; ++k)
      r[k] = sum + of_sum > kLargestScore ? INFINITY
                                          : error * sizes[k] + of_sum + 2.4e-7 * std::max(std::abs(s[k]), sum) + 2e-6;
  }
  return r;
}

}  // namespace

RowFloors row_floors(const Doubles& parts, const Doubles& weight, const Doubles& s, const Doubles& sizes, double error,
                     OwnPairs own, int64_t n, int64_t m) {
  const Doubles lse = reference::log_sum_exp_rows(s, n, m), r = exponent_errors(s, lse, sizes, error, n, m);
  RowFloors floors{Doubles(s.size()), Doubles(lse.size()), Doubles(lse.size())};
  for (int64_t i = 0; i < n; ++i) {
    const size_t row = static_cast<size_t>(i);
    if (!std::isfinite(lse[row])) continue;  // the reference itself says what is not finite
    const double size = std::abs(weight[row]);
    for (int64_t j = 0; j < m; ++j) {
      const size_t k = static_cast<size_t>(i * m + j);
      if (own.excludes(i, j)) continue;
      if (std::isinf(r[k])) floors.sums[row] = INFINITY;
      if (own.paired && j == i + own.offset) floors.odds[row] = r[k];
      if (size == 0 || !std::isfinite(s[k])) continue;
      const double off = std::isinf(r[k]) ? INFINITY
                         : r[k] < 1       ? parts[k] * std::expm1(r[k])
                                          : size * std::exp(std::min(0.0, s[k] - lse[row] + r[k]));
      floors.terms[k] = off + 4e-21 * size;  // terms below that of a weight may be 0 (METHOD.md 5)
    }
  }
  return floors;
}

Doubles parts_of(const reference::RowTerms& terms, const Doubles& weight, const Doubles& s, OwnPairs own, int64_t n,
                 int64_t m) {
  const Doubles p = reference::softmax_rows(s, n, m);
  Doubles parts(p.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const size_t k = static_cast<size_t>(i * m + j);
      if (own.excludes(i, j)) continue;
      const double of_p = weight[static_cast<size_t>(i)] * p[k];
      parts[k] = own.paired && j == i + own.offset ? terms.parts[k] : std::abs(of_p) + std::abs(of_p - terms.grad_s[k]);
    }
  return parts;
}

Doubles log_odds(const Doubles& s, OwnPairs own, int64_t n, int64_t m) {
  Doubles out(static_cast<size_t>(n), -INFINITY);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = i + own.offset;
    if (!own.paired || at < 0 || at >= m) continue;
    Doubles others(s.begin() + i * m, s.begin() + (i + 1) * m);
    others.erase(others.begin() + at);
    const double of_others = others.empty() ? -INFINITY : reference::log_sum_exp_rows(others, 1, m - 1)[0];
    out[static_cast<size_t>(i)] = s[static_cast<size_t>(i * m + at)] - of_others;
  }
  return out;
}

GradientFloors gradient_floors(const Pairs& pairs, double scale, const Doubles& off) {
  // (sum G) x - sum G y: what cancels is rounded again.
  constexpr double kRounding = 1e-6;
  const int64_t n = pairs.n(), m = pairs.m(), d = pairs.d();
  const Doubles distances = pairs.distances(Values(0, 0)), rows = pairs.x.values(), columns = pairs.y.values();
  GradientFloors out{Doubles(rows.size()), Doubles(columns.size()), {0}};
  const auto add = [](double& sum, double term) {
    sum += std::isnan(term) ? 0 : term;
  };  // of infinite rows the reference says enough
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const size_t k = static_cast<size_t>(i * m + j);
      if (off[k] == 0) continue;
      const double a = reference::norm(rows.data() + i * d, d), b = reference::norm(columns.data() + j * d, d),
                   h = scale * off[k];
      add(out.scale[0], off[k] * std::abs(distances[k]));
      for (int64_t e = 0; e < d; ++e) {
        const size_t at_x = static_cast<size_t>(i * d + e), at_y = static_cast<size_t>(j * d + e);
        const double x = std::abs(rows[at_x]), y = std::abs(columns[at_y]);
        const double difference = std::abs(rows[at_x] - columns[at_y]) + kRounding * (x + y);
        switch (pairs.metric) {
          case DUET_METRIC_INNER: add(out.a[at_x], h * y), add(out.v[at_y], h * x); break;
          case DUET_METRIC_COSINE:  // of a unit row and its projection
            add(out.a[at_x], a < 1e-12 ? 0 : 2 * h / a), add(out.v[at_y], b < 1e-12 ? 0 : 2 * h / b);
            break;
          default: {
            const double of_root =
                pairs.metric == DUET_METRIC_EUCLIDEAN ? (distances[k] > 0 ? 1 / distances[k] : 0) : 2;
            add(out.a[at_x], h * of_root * difference), add(out.v[at_y], h * of_root * difference);
          }
        }
      }
    }
  return out;
}

}  // namespace duet::test::backends
