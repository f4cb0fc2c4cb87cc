// METHOD.md 6 "Evidence", from its meaning: each row is left out, the others' system is solved by Gaussian elimination,
// and what it predicts at the row is read off. O(n^4). For many rows a second way inverts once, by Gauss-Jordan in long
// double. For tests alone.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace duet::reference {

struct EvidenceSide {
  std::vector<double> x;  // rows x width
  int64_t width;
};
struct EvidenceResult {
  std::array<double, 2> labels_read{}, gradient_share{};
  double unread = 0, pairs_generalise = 0;
};

template <class Real>
using Grid = std::vector<std::vector<Real>>;

// Reduces the system's left square to the identity, by partial pivoting; what stands to its right becomes the solution.
template <class Real>
void eliminate(Grid<Real>& system) {
  const size_t n = system.size();
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t i = k + 1; i < n; ++i)
      if (std::abs(system[i][k]) > std::abs(system[pivot][k])) pivot = i;
    std::swap(system[k], system[pivot]);
    const Real scale = 1 / system[k][k];
    for (Real& value : system[k]) value *= scale;
    for (size_t i = 0; i < n; ++i) {
      const Real factor = i == k ? 0 : system[i][k];
      if (factor == 0) continue;
      Real* const row = system[i].data();
      const Real* const pivot_row = system[k].data();
      for (size_t j = k; j < system[k].size(); ++j) row[j] -= factor * pivot_row[j];
    }
  }
}

inline Grid<double> unit_kernel(const EvidenceSide& side, const std::vector<int64_t>& rows) {
  Grid<double> unit, kernel(rows.size(), std::vector<double>(rows.size()));
  for (const int64_t row : rows) {
    std::vector<double> u(side.x.begin() + row * side.width, side.x.begin() + (row + 1) * side.width);
    double square = 0;
    for (const double value : u) square += value * value;
    for (double& value : u) value /= std::max(std::sqrt(square), 1e-12);
    unit.push_back(u);
  }
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < rows.size(); ++j)
      for (size_t k = 0; k < unit[i].size(); ++k) kernel[i][j] += unit[i][k] * unit[j][k];
  return kernel;
}

// What kernel ridge regression predicts of targets (a row each) at every row from the others.
inline Grid<double> predict_left_out(const Grid<double>& kernel, const Grid<double>& targets) {
  const size_t n = kernel.size(), width = targets[0].size();
  Grid<double> out(n, std::vector<double>(width));
  for (size_t left = 0; left < n; ++left) {
    std::vector<size_t> others;
    for (size_t i = 0; i < n; ++i)
      if (i != left) others.push_back(i);
    Grid<double> system;
    for (const size_t i : others) {
      std::vector<double> row;
      for (const size_t j : others) row.push_back(kernel[i][j] + (i == j ? 0.3 : 0.0));
      row.insert(row.end(), targets[i].begin(), targets[i].end());
      system.push_back(row);
    }
    eliminate(system);
    for (size_t k = 0; k < others.size(); ++k)
      for (size_t t = 0; t < width; ++t) out[left][t] += kernel[left][others[k]] * system[k][others.size() + t];
  }
  return out;
}

inline Grid<double> predict_at_once(const Grid<double>& kernel, const Grid<double>& targets) {
  const size_t n = kernel.size(), width = targets[0].size();
  Grid<long double> system(n, std::vector<long double>(2 * n));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) system[i][j] = kernel[i][j] + (i == j ? 0.3L : 0.0L);
    system[i][n + i] = 1;
  }
  eliminate(system);
  Grid<double> out(n, std::vector<double>(width));
  for (size_t i = 0; i < n; ++i) {
    std::vector<long double> sums(width);
    for (size_t j = 0; j < n; ++j) {
      const long double weight = i == j ? 0 : -system[i][n + j] / system[i][n + i];
      const double* const target = targets[j].data();
      long double* const sum = sums.data();
      for (size_t t = 0; t < width; ++t) sum[t] += weight * target[t];
    }
    out[i].assign(sums.begin(), sums.end());
  }
  return out;
}

// The share of the other columns of row i that score below column own, ties half; of several own columns the mean, of
// all of them a half.
inline double share_below(const std::vector<double>& scores, const std::vector<size_t>& own) {
  double below = 0, pairs = 0;
  for (const size_t k : own)
    for (size_t j = 0; j < scores.size(); ++j) {
      if (std::find(own.begin(), own.end(), j) != own.end()) continue;
      below += std::abs(scores[j] - scores[k]) <= 1e-9 ? 0.5 : scores[j] < scores[k] ? 1.0 : 0.0;
      pairs += 1;
    }
  return pairs > 0 ? below / pairs : 0.5;
}
inline double share_below(const std::vector<double>& scores, size_t own) {
  return share_below(scores, std::vector<size_t>{own});
}

inline std::vector<int64_t> at_most_256(const std::vector<int64_t>& rows) {
  if (rows.size() <= 256) return rows;
  std::vector<int64_t> out;
  for (size_t k = 0; k < 256; ++k) out.push_back(rows[k * rows.size() / 256]);
  return out;
}

inline double pairs_read(const Grid<double>& from, const Grid<double>& to, decltype(&predict_left_out) predict) {
  Grid<double> f = predict(from, to);
  const size_t n = f.size();
  double sum = 0;
  for (size_t j = 0; j < n; ++j) {
    double mean = 0;
    for (size_t i = 0; i < n; ++i) mean += f[i][j] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) f[i][j] -= mean;
  }
  for (size_t i = 0; i < n; ++i) sum += share_below(f[i], i) / static_cast<double>(n);
  return sum;
}

// sets: the classes of each label; empty: a label is a class.
inline EvidenceResult evidence(const EvidenceSide& a, const EvidenceSide& v, const std::vector<int32_t>& labels,
                               int64_t classes, decltype(&predict_left_out) predict = predict_left_out,
                               const std::vector<std::vector<size_t>>& sets = {}) {
  std::vector<int64_t> rows, all;
  for (size_t i = 0; i < labels.size(); ++i) {
    all.push_back(static_cast<int64_t>(i));
    if (labels[i] != -1) rows.push_back(static_cast<int64_t>(i));
  }
  all = at_most_256(all), rows = at_most_256(rows);
  EvidenceResult out;
  const auto label = [&](size_t k) { return labels[static_cast<size_t>(rows[k])]; };
  const auto own_of = [&](size_t k) {
    const auto own = static_cast<size_t>(label(k));
    return sets.empty() ? std::vector<size_t>{own} : sets[own];
  };
  bool two = false;
  for (size_t k = 1; k < rows.size(); ++k) two |= label(k) != label(0);
  double delta = 0;
  if (two) {
    const auto n = static_cast<double>(rows.size());
    Grid<double> onehot(rows.size(), std::vector<double>(static_cast<size_t>(classes)));
    for (size_t k = 0; k < rows.size(); ++k)
      for (const size_t c : own_of(k)) onehot[k][c] = 1;
    const Grid<double> scores[2] = {predict(unit_kernel(a, rows), onehot), predict(unit_kernel(v, rows), onehot)};
    double mean[2] = {0, 0}, variance = 0;
    for (const int side : {0, 1})
      for (size_t k = 0; k < rows.size(); ++k) mean[side] += share_below(scores[side][k], own_of(k)) / n;
    const double m = mean[1] - mean[0];
    for (size_t k = 0; k < rows.size(); ++k) {
      const auto own = own_of(k);
      variance += std::pow(share_below(scores[1][k], own) - share_below(scores[0][k], own) - m, 2) / (n - 1);
    }
    const double sign = m > 0 ? 1 : m < 0 ? -1 : 0;
    delta = 2 * sign * std::max(0.0, std::abs(m) - std::sqrt(variance / n));
    out.labels_read = {std::max(0.0, 2 * mean[0] - 1), std::max(0.0, 2 * mean[1] - 1)};
  }
  out.unread = 1 - std::max(out.labels_read[0], out.labels_read[1]);
  double p = 0.001;
  if (all.size() >= 3) {
    const Grid<double> kernel_a = unit_kernel(a, all), kernel_v = unit_kernel(v, all);
    p = std::max(p, pairs_read(kernel_a, kernel_v, predict) + pairs_read(kernel_v, kernel_a, predict) - 1);
  }
  out.pairs_generalise = p;
  const double h = (out.labels_read[0] + out.labels_read[1]) / 2 + 0.05;
  // In logarithms, so that no power overflows.
  const double log_ratio = std::log(std::max(h + delta / 2, 0.05)) - std::log(std::max(h - delta / 2, 0.05));
  const double exponent = 2 * (1 - p) / p * log_ratio;
  out.gradient_share = {std::exp(std::min(0.0, exponent)), std::exp(std::min(0.0, -exponent))};
  return out;
}

}  // namespace duet::reference
