#include "data/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>

#include "kernels/core/error.h"

namespace duet::data {
namespace {

constexpr Scaling kScalings[] = {Scaling::automatic, Scaling::zscore, Scaling::norm, Scaling::none};
constexpr double kDeviationFloor = 1e-4;

// What `auto` looks at, and what the line it prints says.
struct Facts {
  double zero_share = 0;
  bool negative = false, common_sum = true, common_norm = true;
};

Facts examine(const Features& train) {
  constexpr double kSame = 0.01;  // rows within 1 % of each other were normalised by whoever made them
  Facts facts;
  int64_t zeros = 0;
  double sum_low = HUGE_VAL, sum_high = 0, square_low = HUGE_VAL, square_high = 0;
  for (int64_t i = 0; i < train.rows; ++i) {
    double sum = 0, square = 0;
    for (int64_t k = 0; k < train.columns; ++k) {
      const double x = train.row(i)[k];
      zeros += x == 0;
      facts.negative |= x < 0;
      sum += x;
      square += x * x;
    }
    if (square == 0) continue;  // an empty document says nothing
    sum_low = std::min(sum_low, sum), sum_high = std::max(sum_high, sum);
    square_low = std::min(square_low, square), square_high = std::max(square_high, square);
  }
  facts.zero_share = static_cast<double>(zeros) / (static_cast<double>(train.rows) * static_cast<double>(train.columns));
  facts.common_sum = sum_high > 0 && sum_high <= (1 + kSame) * sum_low;
  facts.common_norm = square_high > 0 && square_high <= (1 + kSame) * (1 + kSame) * square_low;
  return facts;
}

// norm where the rows are histograms or bags of words. Zeros alone do not tell: a drawn digit is 80 % background, and z-scoring suits it.
std::pair<Scaling, std::string> choose(const Features& train) {
  constexpr double kSparse = 0.9;
  const Facts facts = examine(train);
  const std::string zeros = text(std::lround(100 * facts.zero_share), " % zeros");
  if (facts.negative) return {Scaling::zscore, text("auto: negative values, ", zeros)};
  if (facts.common_sum) return {Scaling::norm, text("auto: no negative value, every row has the same sum, ", zeros)};
  if (facts.common_norm) return {Scaling::norm, text("auto: no negative value, every row has the same norm, ", zeros)};
  if (facts.zero_share > kSparse) return {Scaling::norm, text("auto: no negative value, ", zeros)};
  return {Scaling::zscore, text("auto: no negative value, but rows of unequal sums and norms, ", zeros)};
}

void fit_zscore(const Features& train, Preprocessing& out) {
  const auto columns = static_cast<size_t>(train.columns);
  std::vector<double> mean(columns, 0.0), square(columns, 0.0);
  for (int64_t i = 0; i < train.rows; ++i)
    for (size_t k = 0; k < columns; ++k) mean[k] += double{train.row(i)[k]};
  for (double& value : mean) value /= static_cast<double>(train.rows);
  for (int64_t i = 0; i < train.rows; ++i)
    for (size_t k = 0; k < columns; ++k) {
      const double off = double{train.row(i)[k]} - mean[k];
      square[k] += off * off;
    }
  const double freedom = static_cast<double>(std::max<int64_t>(train.rows - 1, 1));  // a single row has no deviation: 0, not 0/0
  for (size_t k = 0; k < columns; ++k) {
    out.mean[k] = static_cast<float>(mean[k]);
    out.scale[k] = static_cast<float>(1 / (std::sqrt(square[k] / freedom) + kDeviationFloor));
  }
}

void fit_norm(const Features& train, Preprocessing& out) {
  double norms = 0;
  for (int64_t i = 0; i < train.rows; ++i) {
    double square = 0;
    for (int64_t k = 0; k < train.columns; ++k) square += double{train.row(i)[k]} * double{train.row(i)[k]};
    norms += std::sqrt(square);
  }
  // Rows that are all zero stay zero, whatever the scale.
  const double scale = norms > 0 ? std::sqrt(static_cast<double>(train.columns)) * static_cast<double>(train.rows) / norms : 1.0;
  std::fill(out.scale.begin(), out.scale.end(), static_cast<float>(scale));
}

}  // namespace

Scaling parse_scaling(const std::string& word, const std::string& key) {
  for (const Scaling scaling : kScalings)
    if (word == scaling_name(scaling)) return scaling;
  throw Error(DUET_INVALID_ARGUMENT, text(key, ": expected auto, zscore, norm or none, got ", word));
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

Preprocessing Preprocessing::fit(const Features& train, Scaling scaling) {
  require(train.rows > 0 && train.columns > 0, "preprocessing: expected at least one row and one column, got ", train.rows, " x ", train.columns);
  Preprocessing out;
  std::string why = "as configured";
  if (scaling == Scaling::automatic) std::tie(scaling, why) = choose(train);
  out.scaling = scaling;
  out.reason = text(scaling_name(scaling), " (", why, ")");
  out.mean.assign(static_cast<size_t>(train.columns), 0.0f);
  out.scale.assign(static_cast<size_t>(train.columns), 1.0f);
  if (scaling == Scaling::zscore) fit_zscore(train, out);
  if (scaling == Scaling::norm) fit_norm(train, out);
  return out;
}

void Preprocessing::apply(Features& features, const std::string& what) const {
  require(features.columns == static_cast<int64_t>(mean.size()) && mean.size() == scale.size(), what, ": ", features.columns, " columns; expected ",
          mean.size(), " as in training");
  for (int64_t i = 0; i < features.rows; ++i) {
    float* const row = features.row(i);
    for (size_t k = 0; k < mean.size(); ++k) row[k] = std::clamp((row[k] - mean[k]) * scale[k], -limit, limit);
  }
}

std::array<Preprocessing, kModalities> preprocess(Dataset& dataset, const std::array<Scaling, kModalities>& scaling) {
  std::array<Preprocessing, kModalities> out;
  for (size_t side = 0; side < kModalities; ++side) {
    out[side] = Preprocessing::fit(dataset.train.features[side], scaling[side]);
    for (Split* split : {&dataset.train, &dataset.test}) out[side].apply(split->features[side], dataset.modalities[side]);
  }
  return out;
}

}  // namespace duet::data
