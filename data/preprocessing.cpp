#include "data/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

#include "kernels/core/error.h"

namespace duet::data {
namespace {

constexpr Scaling kScalings[] = {Scaling::automatic, Scaling::zscore, Scaling::norm, Scaling::none};

// A power of two near magnitude: values divided by it keep their bits, and their squares neither overflow nor vanish.
double unit_of(double magnitude) {
  constexpr int kLast = 1000;  // so that the unit and its inverse are finite
  return magnitude > 0 ? std::ldexp(1.0, std::clamp(std::ilogb(magnitude), -kLast, kLast)) : 1.0;
}

// Sums are of deviations, from the first row and then from the mean, so that a large offset costs no digits.
struct Column {
  double first = 0, low = HUGE_VAL, high = -HUGE_VAL;
  double mean = 0, unit = 1;
  double sum = 0, square = 0;  // first pass: of x - first; second: of (x - mean) / unit
  double deviation = 0;
  bool constant = false;

  double magnitude() const { return std::max(std::abs(low), std::abs(high)); }
};

struct Statistics {
  std::vector<Column> columns;
  double smallest = HUGE_VAL, zero_share = 0;
  bool common_sum = true, common_norm = true;
  double mean_norm = 0;

  int64_t constant() const {
    return std::count_if(columns.begin(), columns.end(), [](const Column& column) { return column.constant; });
  }
};

// The extremes of what rows have in common; a row of zeros says nothing.
struct Extremes {
  double low = HUGE_VAL, high = 0;
  void add(double value) { low = std::min(low, value), high = std::max(high, value); }
  bool common() const {
    constexpr double kSame = 0.01;  // rows within 1 % of each other were normalised by whoever made them
    return high > 0 && high <= (1 + kSame) * low;
  }
};

Statistics measure(const FeatureSource& train) {
  Statistics out;
  out.columns.resize(static_cast<size_t>(train.columns()));
  const auto count = static_cast<double>(train.rows());
  std::vector<double> row(out.columns.size());

  const int64_t part = train.rows_at_once();
  int64_t zeros = 0;
  for (int64_t i = 0; i < train.rows(); ++i) {
    train.read_row(i, row);
    for (size_t k = 0; k < row.size(); ++k) {
      Column& column = out.columns[k];
      if (i == 0) column.first = row[k];
      column.low = std::min(column.low, row[k]);
      column.high = std::max(column.high, row[k]);
      column.sum += row[k] - column.first;
      zeros += row[k] == 0;
    }
    if ((i + 1) % part == 0) train.release();
  }
  double magnitude = 0;
  for (Column& column : out.columns) {
    column.mean = column.first + column.sum / count;
    column.unit = unit_of(column.high - column.low);
    column.sum = 0;
    out.smallest = std::min(out.smallest, column.low);
    magnitude = std::max(magnitude, column.magnitude());
  }
  out.zero_share = static_cast<double>(zeros) / (count * static_cast<double>(row.size()));

  const double unit = unit_of(magnitude);
  Extremes sums, norms;
  double all_norms = 0;
  for (int64_t i = 0; i < train.rows(); ++i) {
    train.read_row(i, row);
    double sum = 0, square = 0;
    for (size_t k = 0; k < row.size(); ++k) {
      Column& column = out.columns[k];
      const double off = (row[k] - column.mean) / column.unit, x = row[k] / unit;
      column.sum += off;
      column.square += off * off;
      sum += x;
      square += x * x;
    }
    if (square > 0) sums.add(sum), norms.add(std::sqrt(square));
    all_norms += std::sqrt(square);
    if ((i + 1) % part == 0) train.release();
  }
  out.mean_norm = all_norms / count * unit;
  out.common_sum = sums.common();
  out.common_norm = norms.common();
  for (Column& column : out.columns) {
    // The second sum would be 0 but for the mean's own rounding, which it takes out.
    const double variance = std::max(0.0, column.square - column.sum * column.sum / count) / (count - 1);
    column.deviation = std::sqrt(variance) * column.unit;
    column.constant = column.low == column.high || column.deviation <= 4 * train.rounding() * column.magnitude() ||
                      std::isinf(1 / column.deviation);
  }
  return out;
}

// norm where the rows are histograms or bags of words, and the words of the line that says so.
std::pair<Scaling, std::string> choose(const Statistics& facts) {
  constexpr double kMostlyZero = 0.5, kSparse = 0.1;
  if (facts.smallest < 0) return {Scaling::zscore, "auto: negative values"};
  if (facts.smallest > 0) return {Scaling::zscore, text("auto: the smallest value is ", facts.smallest, ", not 0")};
  const std::string zeros = text("auto: no negative value, ", std::round(1000 * facts.zero_share) / 10, " % zeros");
  if (facts.zero_share > kMostlyZero) return {Scaling::norm, zeros};
  if (facts.zero_share <= kSparse) return {Scaling::zscore, zeros};
  if (facts.common_sum) return {Scaling::norm, zeros + ", every row has the same sum"};
  if (facts.common_norm) return {Scaling::norm, zeros + ", every row has the same norm"};
  return {Scaling::zscore, zeros + ", rows of unequal sums and norms"};
}

}  // namespace

Scaling parse_scaling(const std::string& word, const std::string& key) {
  for (const Scaling scaling : kScalings)
    if (word == scaling_name(scaling)) return scaling;
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(key, ": expected auto, zscore, norm or none, got ", word));
}

const char* scaling_name(Scaling scaling) {
  switch (scaling) {
    case Scaling::automatic: return "auto";
    case Scaling::zscore: return "zscore";
    case Scaling::norm: return "norm";
    case Scaling::none: return "none";
  }
  return "unknown";
}

Preprocessing Preprocessing::fit(const FeatureSource& train, Scaling scaling) {
  require(train.rows() > 1, train.name(), ": a single row; expected at least two to scale by");
  const Statistics facts = measure(train);
  const int64_t constant = facts.constant();
  require(constant < train.columns(), train.name(), ": all ", train.columns(),
          " columns are constant; expected one that tells the rows apart");
  std::string why = "as configured";
  if (scaling == Scaling::automatic) std::tie(scaling, why) = choose(facts);
  if (constant > 0 && scaling != Scaling::none)
    why += text("; ", constant, " of ", train.columns(),
                constant == 1 ? " columns is constant and becomes 0" : " columns are constant and become 0");

  Preprocessing out;
  out.scaling = scaling;
  out.reason = text(scaling_name(scaling), " (", why, ")");
  const double by_norm =
      std::min(std::sqrt(static_cast<double>(train.columns())) / facts.mean_norm, std::numeric_limits<double>::max());
  for (const Column& column : facts.columns) {
    out.mean.push_back(scaling == Scaling::zscore ? column.mean : 0);
    out.scale.push_back(scaling == Scaling::none   ? 1
                        : column.constant          ? 0
                        : scaling == Scaling::norm ? by_norm
                                                   : 1 / column.deviation);
  }
  return out;
}

Features Preprocessing::apply(const FeatureSource& features, int64_t first, int64_t rows, Residence* residence) const {
  require(features.columns() == static_cast<int64_t>(mean.size()) && mean.size() == scale.size(), features.name(), ": ",
          features.columns(), " columns; expected ", mean.size(), " as in training");
  Features out = residence ? residence->features(rows, features.columns()) : Features(rows, features.columns());
  const int64_t part = features.rows_at_once();
  std::vector<double> row(mean.size());
  for (int64_t i = 0; i < out.rows; ++i) {
    features.read_row(first + i, row);
    float* const to = out.row(i);
    bool finite = true;
    for (size_t k = 0; k < row.size(); ++k) {
      if (single_precision) {
        const auto single = [](double value) { return static_cast<float>(value); };
        to[k] = std::clamp((single(row[k]) - single(mean[k])) * single(scale[k]), -single(limit), single(limit));
      } else {
        to[k] = static_cast<float>(std::clamp((row[k] - mean[k]) * scale[k], -limit, limit));
      }
      finite &= std::isfinite(to[k]);
    }
    if (finite) {
      if ((i + 1) % part == 0 || i + 1 == rows) {
        const int64_t done = i - i % part;
        out.settle(done, i + 1 - done);
        features.release();
      }
      continue;
    }
    size_t k = 0;
    while (std::isfinite(to[k])) ++k;
    throw Error(DUET_STATUS_INVALID_ARGUMENT,
                text(features.name(), ": row ", first + i, ", column ", k, " is ", row[k], ", scaled ", to[k],
                     "; expected a number that is finite in float32"));
  }
  features.require_unchanged();  // since it was opened: what scales it was read from the same values
  return out;
}

}  // namespace duet::data
