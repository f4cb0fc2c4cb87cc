// Inputs (METHOD.md 6): x' = clip((x - mean) * scale, +-limit) in float64, then float32, with statistics of the
// training split's own values in float64, kept with the model.
//   zscore  mean and 1 / std of each column, std with n - 1
//   norm    mean 0, sqrt(dim) / (mean row norm) for every column: for sparse non-negative features, whose rare columns
//           z-scoring would blow up
//   none    mean 0, scale 1
// zscore and norm give a column that is constant in training the scale 0, so that x' is 0 in every split: the encoders
// learn nothing of it.
#pragma once

#include <string>
#include <vector>

#include "data/feature_source.h"
#include "data/features.h"
#include "data/residence.h"

namespace duet::data {

enum class Scaling { automatic, zscore, norm, none };

// "auto", "zscore", "norm", "none"; another word throws DUET_STATUS_INVALID_ARGUMENT and names key.
Scaling parse_scaling(const std::string& word, const std::string& key);
const char* scaling_name(Scaling scaling);

inline constexpr double kInputLimit = 5;

// One modality's statistics: what a model file keeps.
struct Preprocessing {
  Scaling scaling = Scaling::zscore;  // what was done, never automatic
  std::string reason;          // one line: "zscore (auto: negative values; 2 of 30 columns are constant and become 0)"
  double limit = kInputLimit;  // infinite: nothing is clipped
  std::vector<double> mean, scale;  // a value a column
  bool single_precision =
      false;  // a model of duet 0.1.0, whose inputs were rounded to float32 first and scaled in float32

  // automatic: norm where no training value is negative, the smallest is exactly 0, and either over 50 % of the values
  // are 0, or over 10 % and all rows that are not 0 share one sum or one norm, within 1 %; else zscore. A column is
  // constant where its smallest and largest value are equal, or where std <= 4 u max|x|, u = train.rounding(), or where
  // 1 / std overflows.
  // Throws DUET_STATUS_INVALID_ARGUMENT, naming train: a single row, no column that is not constant, and whatever
  // train.read_row throws.
  static Preprocessing fit(const FeatureSource& train, Scaling scaling);

  // Throws DUET_STATUS_INVALID_ARGUMENT, naming features: the width differs, or, where nothing is clipped, a scaled
  // value that is not finite in float32. residence says where they lie; null: in memory.
  Features apply(const FeatureSource& features, Residence* residence = nullptr) const {
    return apply(features, 0, features.rows(), residence);
  }
  // Of rows first ... first + rows - 1 alone.
  Features apply(const FeatureSource& features, int64_t first, int64_t rows, Residence* residence = nullptr) const;
};

}  // namespace duet::data
