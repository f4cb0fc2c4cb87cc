// A sum of exponentials carried from tile to tile as sum * e^reference, in double. The sums within a tile are short, so
// float32 is enough there; here a row of 10^5 columns must keep its last digits. With the range of double the reference
// hardly ever has to move.
#pragma once

#include <cmath>
#include <limits>

namespace duet::cpu {

// e^{from - to}, cached while both stay unchanged, because along a tile with one shift every row needs the same value.
class ShiftFactor {
 public:
  double operator()(double from, double to) {
    if (from != from_ || to != to_) {
      value_ = std::exp(from - to);
      from_ = from, to_ = to;
    }
    return value_;
  }

 private:
  double from_ = std::numeric_limits<double>::quiet_NaN(), to_ = from_, value_ = 0;
};

struct LogSum {
  double reference = -std::numeric_limits<double>::infinity();
  double sum = 0;    // of e^{score - reference}
  double cross = 0;  // of e^{score - reference} times any factor

  // Adds a tile's sums, which are relative to shift.
  void add(double shift, double tile_sum, double tile_cross, ShiftFactor& factor) {
    constexpr double kReach = 200;  // sums may grow by e^200 over the reference, far from double's e^709
    if (!(shift <= reference + kReach)) {
      const double down = std::exp(reference - shift);  // 0 for the first tile
      sum *= down;
      cross *= down;
      reference = shift;
    }
    const double up = factor(shift, reference);
    sum += tile_sum * up;
    cross += tile_cross * up;
  }

  // The same where every shift and the reference are 0.
  void add(double tile_sum, double tile_cross) {
    sum += tile_sum;
    cross += tile_cross;
  }
  // Adds the sum of rows, or columns, that come after these. Relative to the larger reference no sum grows beyond the
  // number of its terms, however many are added.
  void add(const LogSum& right, ShiftFactor& factor) {
    if (right.reference == reference) return add(right.sum, right.cross);
    if (right.reference < reference) {
      const double down = shrink(right.reference, reference, factor);
      add(right.sum * down, right.cross * down);
    } else {
      const double down = shrink(reference, right.reference, factor);
      *this = {right.reference, sum * down + right.sum, cross * down + right.cross};
    }
  }
  // e^{from - to}, from < to; 0 without an exponential where it rounds to that.
  static double shrink(double from, double to, ShiftFactor& factor) { return from - to < -746 ? 0 : factor(from, to); }
  double log() const { return reference + std::log(sum); }
};

}  // namespace duet::cpu
