// One modality's values where they lie, in a file or in memory: read row by row in float64, which holds every value of
// the file's type (of 64-bit integers those up to 2^53), so that whatever is computed from them starts from what the
// user saved.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/stored_array.h"

namespace duet::data {

// What becomes of a time axis, the t of an array n x t x d, as VGGish and Inception give a row a second. Where there
// are more axes between n and d, as of a picture's places, t is their product.
//   mean, max  d columns: over the times
//   first      d columns: those of the first time
//   flatten    t d columns, one time after another
enum class Pooling { mean, max, first, flatten };

// "mean", "max", "first", "flatten"; another word throws DUET_STATUS_INVALID_ARGUMENT and names key.
Pooling parse_pooling(const std::string& word, const std::string& key);
const char* pooling_name(Pooling pooling);

class FeatureSource {
 public:
  // Beyond this no value is read: sums of any number of rows stay finite below it.
  static constexpr double kLargestValue = 0x1p960;

  // The array's memory lives as long as the source. Throws DUET_STATUS_INVALID_ARGUMENT, naming the array, unless it
  // has numbers, two dimensions or more and at least one row and one column; and for flatten of several axes in Fortran
  // order, which would come out in another order.
  explicit FeatureSource(StoredArray array, Pooling pooling = Pooling::mean);

  const std::string& name() const { return array_.view.name; }
  int64_t rows() const { return array_.view.rows(); }
  int64_t columns() const { return columns_; }
  // u of METHOD.md 6 "Inputs": half the distance from 1 to the next number of the file's type; 0 for integers, which
  // are exact. Means over times have that of float64 then.
  double rounding() const;
  // "mean over 10 times", "mean over 10 x 7 x 7 places"; "" without a time axis.
  std::string pooled() const;

  // Throws DUET_STATUS_IO_ERROR, naming the array, where its values lie in a mapped file that has changed since.
  void require_unchanged() const {
    if (array_.mapping) array_.mapping->require_unchanged(name());
  }
  // Row i into out, columns() values. Throws DUET_STATUS_INVALID_ARGUMENT, naming row, column and, where there is one,
  // time, at a value that is not finite or beyond kLargestValue.
  void read_row(int64_t i, std::span<double> out) const;

  // Where the array lies in a file, what was read of it leaves the process's memory: to be called each rows_at_once()
  // rows. Else nothing is done.
  void release() const {
    if (array_.mapping) array_.mapping->release(0, array_.mapping->size());
  }
  int64_t rows_at_once() const;

 private:
  [[noreturn]] void refuse(int64_t row, int64_t time, int64_t column) const;
  double value(int64_t row, int64_t time, int64_t column) const;

  StoredArray array_;
  Pooling pooling_;
  int64_t times_ = 1, width_ = 0, columns_ = 0;             // width_: d
  int64_t row_step_ = 0, time_step_ = 0, column_step_ = 0;  // in elements
};

}  // namespace duet::data
