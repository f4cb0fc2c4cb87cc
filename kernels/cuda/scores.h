// Scores scale a_i.v_j of one pair of operands on the GPU, and their sums of exponentials along rows and columns
// (METHOD.md 4 and 5).
//
// Tiles hold scores in units of log 2, so that an exponential is one ex2; nats come back where a loss is written. Where
// the rows are so short that no score exceeds kBoundedScore, which the longest row of either side tells before the
// sweep, every shift is 0: no maxima. Else (a temperature near 0.01 or below, wild norms) the tile's maxima say whether
// one shift serves all of it or every row and column has its own.
//
// A tile's sums go to partial buffers, a place for every tile of a block; merge_sums adds them in the order of the
// tiles to sums that are carried in double, so that a row of 10^5 columns keeps its last digits. Host:
//   SweepSums sums(workspace, n, m, tile_columns, ...);  sums.begin(context);  a launch a block, then
//   merge_sums(context, block, tile_columns, {&sums});    pairs/driver_cuda.h does all three
#pragma once

#include <initializer_list>

#include "kernels/core/constants.h"
#include "kernels/core/own_pair.h"
#include "kernels/cuda/sweep.h"

namespace duet::cuda {

inline constexpr float kOutside = kLeftOut;  // a score outside the matrix

struct ScoreView {
  Packed a, v;
  const float* scale;
  const float* longest;  // the norms of the longest row of a and of v

  __device__ float factor() const { return *scale * kLog2E; }
  __device__ bool bounded() const { return fabsf(*scale) * longest[0] * longest[1] <= kBoundedScore; }  // NaN: no
};

// longest[0] = the largest of a, longest[1] = that of v, NaN where one is; norms of rows, or squares. 0 of no rows.
void store_longest(const duet_context& context, Vector<const float> a, Vector<const float> v, float* longest);

class ScoreRows {
 public:
  ScoreRows(Workspace& workspace, duet_precision precision, int64_t n, int64_t m, int64_t d);

  void prepare(const duet_context& context, Matrix<const float> a, Matrix<const float> v, Vector<const float> scale);
  const ScoreView& view() const { return view_; }

 private:
  ScoreView view_;
  float *norm_a_, *norm_v_, *longest_;
};

// The product of a tile's dots, for a loop of several.
template <class T>
__device__ __forceinline__ typename T::Operands dots_of(const ScoreView& scores, const TilePlace& place,
                                                        bool keeps_rows = false) {
  return operands_of<T>(scores.a, scores.v, place, keeps_rows);
}
// values = the dots of one tile alone. All threads of the block.
template <class T>
__device__ __forceinline__ void fill_dots(uint32_t* shared, const ScoreView& scores, const TilePlace& place,
                                          typename T::Values& values) {
  T::multiply(shared, operands_of<T>(scores.a, scores.v, place), values);
}
// The dots of one tile, its scores from now on. Rounded as they stand: a product fused into what follows would lie
// beside its own shift, by e^2000 where scores are near 10^10.
template <class T>
__device__ __forceinline__ void scale_dots(float factor, const TilePlace& place, typename T::Values& values) {
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) {
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) values(r, c) = __fmul_rn(values(r, c), factor);
  }
  T::fill_outside(place.rows, place.columns, kOutside, values);
}

// What the tiles of a block said of one direction, element position of tile at [tile * stride + position].
struct SumPartials {
  float* shift;  // null: every shift is 0
  float* sum;    // of 2^{x - shift}, or of anything where there is no shift
  float* cross;  // of the same times something; null: not wanted
  int64_t stride;
};

// Both directions' partial buffers.
struct SweepPartials {
  SumPartials rows, columns;
};

// A sum under way: sum 2^reference and cross 2^reference. Double's range means that the reference hardly ever has to
// move.
struct RunningSum {
  double reference, sum, cross;

  static __host__ __device__ RunningSum none() { return {-INFINITY, 0, 0}; }
  __device__ void add(double shift, double more, double more_cross) {
    if (more == 0 && more_cross == 0)
      return;                       // whatever its shift, which would carry away what small numbers there are
    constexpr double kReach = 256;  // sums may grow by 2^256 over the reference, far from double's 2^1023
    if (!(shift <= reference + kReach)) {
      const double down = ::exp2(reference - shift);  // 0 for the first tile
      sum *= down;
      cross *= down;
      reference = shift;
    }
    const double up = shift == reference ? 1 : ::exp2(shift - reference);
    sum += more * up;
    cross += more_cross * up;
  }
  __device__ void add(const RunningSum& other) {
    if (other.reference > -INFINITY) add(other.reference, other.sum, other.cross);
  }
  __device__ double log() const { return reference * kLn2 + ::log(sum); }  // in nats
};

enum class Shift { no, yes };
enum class Cross { no, yes };
enum class Directions { rows, both };

class SweepSums {
 public:
  // Directions::rows: the columns have no sums. block_rows: of the blocks that are swept (driver_cuda.h).
  SweepSums(Workspace& workspace, int64_t n, int64_t m, int tile_columns, Shift shift, Cross cross,
            Directions directions = Directions::both, int64_t block_rows = kBlockRows);

  void begin(const duet_context& context) const;
  const SweepPartials& partials() const { return partials_; }
  Directions directions() const { return directions_; }
  bool empty() const { return n_ == 0; }
  RunningSum* rows() const { return rows_; }
  RunningSum* columns() const { return columns_; }

 private:
  int64_t n_, m_;
  Directions directions_;
  SweepPartials partials_{};
  RunningSum *rows_ = nullptr, *columns_ = nullptr;
};

// The sums of a finished block, both directions of up to three SweepSums; what was taken for no rows is passed over.
void merge_sums(const duet_context& context, const Block& block, int tile_columns,
                std::initializer_list<const SweepSums*> sums);

struct SumPairs {
  __device__ float2 operator()(float2 a, float2 b) const { return make_float2(a.x + b.x, a.y + b.y); }
};

// A shift that leaves infinities and NaN to the exponentials.
__device__ __forceinline__ float finite_or_zero(float largest) { return fabsf(largest) <= kLargestFloat ? largest : 0; }

// The areas of shared memory that the sums of a tile use: shifts of rows and columns, then (two each) sums of rows and
// columns. A function that has written one is followed by two barriers before the next writes it.
enum Area { kRowShiftArea = 0, kColumnShiftArea = 1, kRowSumArea = 2, kColumnSumArea = 4 };

__device__ __forceinline__ void write_sum(const SumPartials& to, int tile, int position, float2 total, float shift) {
  const int64_t at = tile * to.stride + position;
  to.sum[at] = total.x;
  if (to.cross) to.cross[at] = total.y;
  if (to.shift) to.shift[at] = shift;
}

__device__ __forceinline__ float2 pair_of(float sum) { return make_float2(sum, 0); }
__device__ __forceinline__ float2 pair_of(float2 sums) { return sums; }

// A thread's sums, one number or two a row and a column, to the partial buffers; the shifts belong to the tile's row or
// column k. All threads of the block.
template <class T, class Sums, class Add, class RowShift, class ColumnShift>
__device__ __forceinline__ void store_sums(uint32_t* shared, const TilePlace& place, Sums (&of_row)[T::kThreadRows],
                                           Sums (&of_column)[T::kThreadColumns], Add add, const SweepPartials& to,
                                           const RowShift& row_shift, const ColumnShift& column_shift) {
  const int k = static_cast<int>(threadIdx.x);
  const Sums* row_sums = T::reduce_rows(T::template area<Sums>(shared, kRowSumArea), of_row, add);
  if (k < place.rows) write_sum(to.rows, place.column_tile, place.block_row + k, pair_of(row_sums[k]), row_shift(k));
  const Sums* column_sums = T::reduce_columns(T::template area<Sums>(shared, kColumnSumArea), of_column, add);
  if (k < place.columns)
    write_sum(to.columns, place.row_tile, place.block_column + k, pair_of(column_sums[k]), column_shift(k));
}
// The same of sums without a shift.
template <class T>
__device__ __forceinline__ void store_plain_sums(uint32_t* shared, const TilePlace& place,
                                                 float2 (&of_row)[T::kThreadRows],
                                                 float2 (&of_column)[T::kThreadColumns], const SweepPartials& to) {
  const auto none = [](int) { return 0.0f; };
  store_sums<T>(shared, place, of_row, of_column, SumPairs(), to, none, none);
}

// sum 2^x along the rows and columns of a tile of scores x, and with kCross sum 2^x (x - y) for the scores y; both are
// called with (r, c). Bounded scores have the shift 0. Else one shift, the tile's largest score, and so one exponential
// an element, serves rows and columns where all their maxima lie within kWidestShift of it; else every row and every
// column has its own maximum, and an element two exponentials. All threads of the block.
template <class T, bool kCross, class X, class Y>
__device__ __forceinline__ void accumulate_exponentials(uint32_t* shared, const TilePlace& place, bool bounded,
                                                        const X& x, const Y& y, const SweepPartials& to) {
  using Sums = std::conditional_t<kCross, float2, float>;
  using Add = std::conditional_t<kCross, SumPairs, Sum>;
  const float *largest_of_row = nullptr, *largest_of_column = nullptr;
  float shift = 0;
  bool common = true;
  if (!bounded) {
    float of_row[T::kThreadRows], of_column[T::kThreadColumns];
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      of_row[r] = x(r, 0);
      DUET_UNROLL
      for (int c = 1; c < T::kThreadColumns; ++c) of_row[r] = fmaxf(of_row[r], x(r, c));
    }
    largest_of_row = T::reduce_rows(T::template area<float>(shared, kRowShiftArea), of_row, MaxNumber());
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      of_column[c] = x(0, c);
      DUET_UNROLL
      for (int r = 1; r < T::kThreadRows; ++r) of_column[c] = fmaxf(of_column[c], x(r, c));
    }
    largest_of_column = T::reduce_columns(T::template area<float>(shared, kColumnShiftArea), of_column, MaxNumber());
    float high = -INFINITY, low = INFINITY;  // of finite maxima; every warp finds the same
    const auto widen = [&](float largest) {
      const bool finite = fabsf(largest) <= kLargestFloat;
      high = finite ? fmaxf(high, largest) : high;
      low = finite ? fminf(low, largest) : low;
    };
    for (int k = T::lane(); k < place.rows; k += 32) widen(largest_of_row[k]);
    for (int k = T::lane(); k < place.columns; k += 32) widen(largest_of_column[k]);
    high = warp_max(high);
    shift = finite_or_zero(high);
    common = high - warp_min(low) <= kWidestShift * kLog2E;
  }
  Sums of_row[T::kThreadRows] = {}, of_column[T::kThreadColumns] = {};
  const auto add = [](Sums& sums, float e, float difference) {
    if constexpr (kCross)
      sums = make_float2(sums.x + e, fmaf(e, difference, sums.y));
    else
      sums += e;
  };
  const auto difference = [&](int r, int c) { return kCross ? x(r, c) - y(r, c) : 0; };
  if (common) {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        const float e = ptx::exp2(x(r, c) - shift);
        add(of_row[r], e, difference(r, c));
        add(of_column[c], e, difference(r, c));
      }
    }
  } else {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const float of = finite_or_zero(largest_of_row[T::row(r)]);
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) add(of_row[r], ptx::exp2(x(r, c) - of), difference(r, c));
    }
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const float of = finite_or_zero(largest_of_column[T::column(c)]);
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) add(of_column[c], ptx::exp2(x(r, c) - of), difference(r, c));
    }
  }
  const auto shift_of = [&](const float* largest, int k) { return common ? shift : finite_or_zero(largest[k]); };
  store_sums<T>(
      shared, place, of_row, of_column, Add(), to, [&](int k) { return shift_of(largest_of_row, k); },
      [&](int k) { return shift_of(largest_of_column, k); });
}

}  // namespace duet::cuda
