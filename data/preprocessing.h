// Inputs (METHOD.md 6): x' = clip((x - mean) * scale, +-limit) with statistics of the training split, kept with the model.
//   zscore  mean and 1 / (std + 1e-4) of each column, std with n - 1
//   norm    mean 0, sqrt(dim) / (mean row norm) for every column: for sparse non-negative features, whose rare columns z-scoring would blow up
//   none    mean 0, scale 1
#pragma once

#include <array>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace duet::data {

enum class Scaling { automatic, zscore, norm, none };

// "auto", "zscore", "norm", "none"; another word throws DUET_INVALID_ARGUMENT and names key.
Scaling parse_scaling(const std::string& word, const std::string& key);
const char* scaling_name(Scaling scaling);

inline constexpr float kInputLimit = 5.0f;

// One modality's statistics: what a model file keeps.
struct Preprocessing {
  Scaling scaling = Scaling::zscore;  // what was done, never automatic
  std::string reason;                 // one line: "zscore (auto: 12 % zeros, negative values)"
  float limit = kInputLimit;
  std::vector<float> mean, scale;  // a value a column

  // Statistics of the training rows, in float64. scaling automatic: norm for non-negative rows that are histograms or bags of words (a common
  // sum or norm, or more than 90 % zeros), else zscore.
  static Preprocessing fit(const Features& train, Scaling scaling);

  // In place. Throws DUET_INVALID_ARGUMENT where the width differs; what names the features.
  void apply(Features& features, const std::string& what) const;
};

// Fits on dataset.train and applies to both splits.
std::array<Preprocessing, kModalities> preprocess(Dataset& dataset, const std::array<Scaling, kModalities>& scaling);

}  // namespace duet::data
