// One modality's values where they lie, in a .npy file or in memory: read row by row in float64, which holds every
// value of the file's type (of 64-bit integers those up to 2^53), so that whatever is computed from them starts from
// what the user saved.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/npy.h"

namespace duet::data {

class FeatureSource {
 public:
  // Beyond this no value is read: sums of any number of rows stay finite below it.
  static constexpr double kLargestValue = 0x1p960;

  // The file's bytes live as long as the source. Throws DUET_STATUS_INVALID_ARGUMENT, naming the file, unless it is
  // two-dimensional with at least one row and one column, in C order where order refuses the other.
  explicit FeatureSource(NpyFile file, FortranOrder order = FortranOrder::refuse);

  const std::string& name() const { return file_.view.name; }
  int64_t rows() const { return file_.view.shape[0]; }
  int64_t columns() const { return file_.view.shape[1]; }
  // u of METHOD.md 6 "Inputs": half the distance from 1 to the next number of the file's type; 0 for integers, which
  // are exact.
  double rounding() const;

  // Row i into out, columns() values. Throws DUET_STATUS_INVALID_ARGUMENT, naming row and column, at a value that is
  // not finite or beyond kLargestValue.
  void read_row(int64_t i, std::span<double> out) const;

 private:
  NpyFile file_;
};

}  // namespace duet::data
