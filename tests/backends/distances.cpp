#include "tests/backends/distances.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace duet::test::backends {
namespace {

// Equal rows have equal keys.
std::vector<uint64_t> keys_of(const Floats& x) {
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < x.rows(); ++i) {
    uint64_t key = 14695981039346656037u;
    for (int64_t k = 0; k < x.columns(); ++k) key = (key ^ std::bit_cast<uint32_t>(x.at(i, k))) * 1099511628211u;
    keys.push_back(key);
  }
  return keys;
}

}  // namespace

double Pairs::tolerance(int64_t i, int64_t j) const {
  if (exact_values) return 0;
  double a = 0, b = 0;
  for (int64_t k = 0; k < d(); ++k) a += double{x.at(i, k)} * x.at(i, k), b += double{y.at(j, k)} * y.at(j, k);
  const double square = 4 * error() * (a + b) + 1e-44 * static_cast<double>(d());
  return metric == DUET_METRIC_COSINE ? 4 * error() : metric == DUET_METRIC_EUCLIDEAN ? std::sqrt(square) : square;
}

bool Pairs::well_chosen(const Doubles& distances, int64_t i, int64_t j, const std::vector<int64_t>& candidates,
                        const std::function<bool(double, double)>& better) const {
  const auto at = [&](int64_t column) { return distances[static_cast<size_t>(i * m() + column)]; };
  const auto same_row = [&](int64_t p, int64_t q) {
    for (int64_t k = 0; k < d(); ++k)
      if (y.at(p, k) != y.at(q, k)) return false;
    return true;
  };
  if (std::find(candidates.begin(), candidates.end(), j) == candidates.end()) return false;
  for (const int64_t other : candidates) {
    if (std::isnan(at(other))) continue;
    const double error = tolerance(i, j) + tolerance(i, other);
    const bool clearly = better(at(other), at(j)) && std::abs(at(other) - at(j)) > error;
    if (clearly || (other < j && (same_row(other, j) || (exact_values && at(other) == at(j))))) return false;
  }
  return true;
}

Doubles Pairs::error_sizes(duet_metric of_metric, bool rounded) const {
  const bool square = of_metric == DUET_METRIC_EUCLIDEAN || of_metric == DUET_METRIC_SQEUCLIDEAN;
  const Doubles rows = x.values(), columns = y.values();
  Doubles sizes = reference::distances(rows, columns, n(), m(), d(), DUET_METRIC_SQEUCLIDEAN);
  for (int64_t i = 0; i < n(); ++i)
    for (int64_t j = 0; j < m(); ++j) {
      double& size = sizes[static_cast<size_t>(i * m() + j)];
      const double a = reference::norm(rows.data() + i * d(), d()), b = reference::norm(columns.data() + j * d(), d());
      // Pairs under 4e-4 of the larger squared norm are recomputed, to within 1 %.
      size = square ? std::min(a * a + b * b, 1250 * size) + static_cast<double>(d()) * kLeast
             : of_metric == DUET_METRIC_COSINE ? 1
                                               : a * b;
      if (exact_values && of_metric != DUET_METRIC_COSINE && !rounded) size = 0;
    }
  return sizes;
}

Doubles Pairs::distances(const Values& value, duet_metric of_metric) const {
  const bool euclidean = of_metric == DUET_METRIC_EUCLIDEAN, square = euclidean || of_metric == DUET_METRIC_SQEUCLIDEAN;
  Doubles out =
      reference::distances(x.values(), y.values(), n(), m(), d(), square ? DUET_METRIC_SQEUCLIDEAN : of_metric);
  const Doubles sizes = value.exact() ? Doubles() : error_sizes(of_metric);
  const auto row_keys = keys_of(x), column_keys = keys_of(y);
  const auto squares_of = [](const Floats& rows) {
    Doubles squares;
    for (int64_t i = 0; i < rows.rows(); ++i) {
      double sum = 0;
      for (int64_t k = 0; k < rows.columns(); ++k) sum += double{rows.at(i, k)} * rows.at(i, k);
      squares.push_back(sum);
    }
    return squares;
  };
  const Doubles squares_x = squares_of(x), squares_y = squares_of(y);
  for (int64_t i = 0; i < n(); ++i)
    for (int64_t j = 0; j < m(); ++j) {
      const size_t k = static_cast<size_t>(i * m() + j);
      if (square && value.rounds()) {  // the expansion rounds the squared norms first: one error for all of a row that
                                       // they outweigh
        const double a = squares_x[static_cast<size_t>(i)], b = squares_y[static_cast<size_t>(j)];
        if (std::isfinite(out[k]) && out[k] >= 4e-4 * std::max(a, b))
          out[k] += static_cast<float>(a) - a + static_cast<float>(b) - b;
      }
      if (!value.exact())
        out[k] = value.moved(out[k], sizes[k],
                             row_keys[static_cast<size_t>(i)] ^ (column_keys[static_cast<size_t>(j)] << 1));
      if (square) out[k] = out[k] < 0 ? 0 : out[k];
      if (euclidean) out[k] = value.moved(std::sqrt(out[k]), 0);  // rounded a second time
    }
  return out;
}

reference::RowGradients Pairs::gradients(const Values& value, Doubles g) const {
  const bool euclidean = metric == DUET_METRIC_EUCLIDEAN, cosine = metric == DUET_METRIC_COSINE;
  const Doubles rows = value(x), columns = value(y);
  const Doubles true_distances = euclidean ? distances(Values(0, 0)) : Doubles(),
                moved = euclidean ? distances(value) : Doubles();
  if (euclidean)  // backward divides by the distances that forward gave
    for (size_t k = 0; k < g.size(); ++k) g[k] *= moved[k] > 0 ? true_distances[k] / moved[k] : 1;
  reference::RowGradients out = reference::distance_gradients(rows, columns, n(), m(), d(), metric, g);
  if (value.exact()) return out;
  // (sum G) x - sum G y cancels: the sizes of its terms, and of a unit row's projection.
  Doubles sizes_x(out.x.size()), sizes_y(out.y.size());
  for (int64_t i = 0; i < n(); ++i)
    for (int64_t j = 0; j < m(); ++j) {
      const size_t k = static_cast<size_t>(i * m() + j);
      const double h = std::abs(euclidean ? (moved[k] > 0 ? g[k] / true_distances[k] : 0) : g[k]);
      const double a = cosine ? reference::norm(rows.data() + i * d(), d()) : 1,
                   b = cosine ? reference::norm(columns.data() + j * d(), d()) : 1;
      for (int64_t e = 0; e < d(); ++e) {
        const size_t at_x = static_cast<size_t>(i * d() + e), at_y = static_cast<size_t>(j * d() + e);
        const double size = std::abs(rows[at_x]) + std::abs(columns[at_y]);
        sizes_x[at_x] += cosine                        ? h / std::max(a, 1e-12)
                         : metric == DUET_METRIC_INNER ? h * std::abs(columns[at_y])
                                                       : 2 * h * size;
        sizes_y[at_y] += cosine                        ? h / std::max(b, 1e-12)
                         : metric == DUET_METRIC_INNER ? h * std::abs(rows[at_x])
                                                       : 2 * h * size;
      }
    }
  for (size_t k = 0; k < out.x.size(); ++k) out.x[k] = value.moved(out.x[k], sizes_x[k], k);
  for (size_t k = 0; k < out.y.size(); ++k) out.y[k] = value.moved(out.y[k], sizes_y[k], ~k);
  return out;
}

Doubles Pairs::scores(const Values& value, double scale) const {
  Doubles s = distances(value);
  for (double& entry : s) entry *= metric == DUET_METRIC_INNER ? scale : -scale;
  return s;
}

void add_rounding(const Values& value, reference::RowTerms& terms, const Doubles& s, const Doubles& errors,
                  const Doubles& weight, int64_t n, int64_t m) {
  const Doubles lse = reference::log_sum_exp_rows(s, n, m);
  for (int64_t i = 0; i < n; ++i) {
    const size_t row = static_cast<size_t>(i);
    double largest = std::abs(lse[row]);
    for (int64_t j = 0; j < m; ++j) largest = std::max(largest, errors[static_cast<size_t>(i * m + j)]);
    terms.loss[row] = value.moved(terms.loss[row], largest);
    for (int64_t j = 0; j < m; ++j) {
      const size_t k = static_cast<size_t>(i * m + j);
      double& g = terms.grad_s[k];
      if (weight[row] == 0) {
        g = std::isfinite(s[k]) ? 0 : kNaN;  // of a row that is not finite itself the gradient may not be either
        continue;
      }
      const double p = std::exp(s[k] - lse[row]), target = std::abs(p - g / weight[row]);
      g = value.moved(g, std::abs(weight[row]) * (probability_error(p, lse[row], errors[k]) + target));
    }
  }
}

}  // namespace duet::test::backends
