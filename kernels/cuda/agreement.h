// Agreement of classes (METHOD.md 2) over a tile on the GPU, W_ij = q^a_i . q^v_j or, of two annotated rows, whether
// they share a class, and the sums over a row's or
// column's positives that the losses make of it (accumulate_positives); agreement_gradient.h has the backward pass.
//
// W is formed in registers, 8 or 32 of a thread's elements at a time, by plain multiply-adds in float32 whatever the
// precision: it is small beside d, and a logarithm is taken of it. Classes lie packed in groups of 4, all rows of a
// group one after another: 8 rows are 128 bytes, and a thread reaches all its rows from one address. Own pairs have pos
// = 1 whatever their trust: their W is 0 here and whoever sums adds them by hand, or leaves them out. Rows of one group
// have pos = 1 whatever their trust too: what has such pairs is told by kGroups, and what has annotated rows, with
// groups or without, by kAnnotated.
#pragma once

#include <type_traits>

#include "kernels/core/annotated.h"
#include "kernels/cuda/positions.h"
#include "kernels/cuda/scores.h"

namespace duet::cuda {

struct AgreementView {
  const float4 *class_a, *class_v;         // groups x packed_rows, 0 past the end
  int64_t rows_a, rows_v;                  // packed_rows
  int groups;                              // 0: without classes, and then own pairs are the only positives
  const float2 *trust_a, *trust_v;         // t and t log2 t; 0 past the end
  bool grouped;                            // rows have groups
  const int32_t *group_a, *group_v;        // packed_rows each, where grouped; equal numbers are one group
  bool annotated;                          // rows have flags, and groups too, of which all may be none
  const float *annotated_a, *annotated_v;  // packed_rows each, where annotated; 0 past the end
  bool paired;                             // own pairs stand apart
  bool excluded;                           // and take no part
  int64_t own;                             // row i and column i + own are one pair
  int64_t n, m;

  // Whether there are positives beside own pairs.
  __host__ __device__ bool has_others() const { return groups > 0 || grouped; }
};

// body(std::bool_constant, std::bool_constant) with whether there are groups and whether there are annotated rows,
// which have groups too: their kernels are apart, so that others need no registers for them.
template <class Body>
void with_items(const AgreementView& agreement, Body&& body) {
  if (agreement.annotated)
    body(std::true_type(), std::true_type());
  else if (agreement.grouped)
    body(std::true_type(), std::false_type());
  else
    body(std::false_type(), std::false_type());
}

// What an agreement may have beside classes and pairs.
struct AgreementItems {
  Vector<const int32_t> group_a, group_v;  // n, m, below 0: of no group; without data: no groups
  bool exclude_own = false;
  AnnotatedRows annotated = {};
};

class AgreementRows {
 public:
  // grouped, annotated: whether prepare will be given groups, and annotated rows.
  AgreementRows(Workspace& workspace, int64_t n, int64_t m, int64_t classes, bool grouped = false,
                bool annotated = false);

  // Classes without data: none. Trust without data: 1.
  void prepare(const duet_context& context, Matrix<const float> class_a, Matrix<const float> class_v,
               Vector<const float> trust_a, Vector<const float> trust_v, bool paired, int64_t first_row,
               int64_t first_column, const AgreementItems& items = {});
  const AgreementView& view() const { return view_; }

 private:
  AgreementView view_;
  float4 *class_a_ = nullptr, *class_v_ = nullptr;
  float2 *trust_a_ = nullptr, *trust_v_ = nullptr;
  int32_t *group_a_ = nullptr, *group_v_ = nullptr;
  float *annotated_a_ = nullptr, *annotated_v_ = nullptr;
};

__device__ __forceinline__ float2 trust_terms(float t) { return make_float2(t, t == 0 ? 0 : t * log2f(t)); }

// What a positive of weight W and score s adds to the sums, W and cross, of a row whose other side has this trust: pos
// and pos (log2 pos - s), or without entropy pos (-s). pos log pos = t W log W + W t log t.
template <bool kEntropy>
__device__ __forceinline__ float positive_cross(float w, float score) {
  float log = 0;
  if constexpr (kEntropy) log = w > 0 ? __log2f(w) : 0;
  return w * (log - score);
}
template <bool kEntropy>
__device__ __forceinline__ void add_positive(float2& sums, float2 trust, float w, float cross) {
  sums = make_float2(fmaf(trust.x, w, sums.x), fmaf(trust.x, cross, sums.y));
  if constexpr (kEntropy) sums.y = fmaf(trust.y, w, sums.y);
}

// Where a tile's own pairs lie: row r and column r + offset.
struct OwnPairs {
  bool any;
  int offset;

  __device__ bool operator()(int row, int column) const { return column == row + offset; }
};
template <class T>
__device__ __forceinline__ OwnPairs own_pairs(bool paired, int64_t own, const TilePlace& place) {
  const int64_t offset = place.first_row + own - place.first_column;
  if (!paired || offset <= -kTileRows || offset >= T::kColumns) return {false, 0};
  return {true, static_cast<int>(offset)};
}
template <class T>
__device__ __forceinline__ OwnPairs own_pairs(const AgreementView& agreement, const TilePlace& place) {
  return own_pairs<T>(agreement.paired, agreement.own, place);
}

// The own pairs of the tile, of scores or probabilities, become this value.
template <class T>
__device__ __forceinline__ void replace_own(const OwnPairs& own_pair, float value, typename T::Values& values) {
  if (!own_pair.any) return;
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) {
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c)
      if (own_pair(T::row(r), T::column(c))) values(r, c) = value;
  }
}

// own[i] = the score of row i with its own column, where that lies in the tile, which from then on is without it.
template <class T>
__device__ __forceinline__ void store_own_scores(const OwnPairs& own_pair, const TilePlace& place,
                                                 typename T::Values& scores, float* own) {
  if (!own_pair.any) return;
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) {
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c)
      if (own_pair(T::row(r), T::column(c)) && T::row(r) < place.rows && T::column(c) < place.columns) {
        own[place.first_row + T::row(r)] = scores(r, c);
        scores(r, c) = kOutside;
      }
  }
}

// One direction when all tiles have been merged: the own pair's score beside the sums over the others, and the sums
// over other positives.
struct Direction {
  const RunningSum* positives;  // sum pos and sum pos (log2 pos - s); null: no others
  bool paired, excluded;
  int64_t to_partner,
      partners;    // element i is paired with i + to_partner of the other side, which has `partners` elements
  int64_t to_row;  // own scores lie at their row, i + to_row

  __device__ OtherPositives others(int64_t i) const {
    if (!positives) return {0, 0};
    return {positives[i].sum, positives[i].cross * kLn2};
  }
  // own: what store_own_scores wrote; sum: of the others.
  __device__ OwnAndOthers parts(int64_t i, const float* own, const RunningSum& sum) const {
    const int64_t partner = i + to_partner;
    if (!paired || partner < 0 || partner >= partners) return {0, sum.log(), false};
    const double others = partners == 1 ? -INFINITY : sum.log();
    if (excluded) return {0, others, false};
    return {own[i + to_row] * kLn2, others, true};
  }
};
inline Direction row_direction(const AgreementView& agreement, const SweepSums* positives) {
  return {positives ? positives->rows() : nullptr, agreement.paired, agreement.excluded, agreement.own, agreement.m, 0};
}
inline Direction column_direction(const AgreementView& agreement, const SweepSums* positives) {
  return {positives ? positives->columns() : nullptr,
          agreement.paired,
          agreement.excluded,
          -agreement.own,
          agreement.n,
          -agreement.own};
}

// Which of a thread's pairs are of one group: a bit each, so that the passes over a tile read it without memory.
template <class T, bool kGroups>
class TileGroups {
 public:
  __device__ __forceinline__ TileGroups(const AgreementView&, const TilePlace&) {}
  __device__ __forceinline__ bool operator()(int, int) const { return false; }
};
template <class T>
class TileGroups<T, true> {
 public:
  __device__ __forceinline__ TileGroups(const AgreementView& agreement, const TilePlace& place) {
    int32_t of_row[T::kThreadRows];
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) of_row[r] = agreement.group_a[place.first_row + T::row(r)];
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const int32_t of_column = agreement.group_v[place.first_column + T::column(c)];
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        const int k = r * T::kThreadColumns + c;
        bits_[k / 32] |= of_row[r] == of_column ? 1u << k % 32 : 0;
      }
    }
  }
  // The pair of the thread's row r and column c.
  __device__ __forceinline__ bool operator()(int r, int c) const {
    const int k = r * T::kThreadColumns + c;
    return bits_[k / 32] >> k % 32 & 1;
  }

 private:
  unsigned bits_[T::kValues / 32] = {};
};

// How many of a thread's rows are formed at a time: what the registers allow.
template <class T>
inline constexpr int kRowsOfSums = 32 / T::kThreadColumns;
template <class T>
inline constexpr int kRowsOfGradient = 8 / T::kThreadColumns;

// weights[r][c] = W of row first + r and column c of the thread's. Without classes 0.
template <class T, bool kAnnotated = false, int kRows>
__device__ __forceinline__ void fill_weights(const AgreementView& agreement, const TilePlace& place, int first,
                                             float (&weights)[kRows][T::kThreadColumns]) {
  DUET_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) weights[r][c] = 0;
  }
  const float4* a = agreement.class_a + (agreement.groups > 0 ? place.first_row + T::row(first) : 0);
  const float4* v = agreement.class_v + (agreement.groups > 0 ? place.first_column + T::column(0) : 0);
  DUET_NO_UNROLL  // the registers are needed for the tile
      for (int group = 0; group < agreement.groups; ++group, a += agreement.rows_a, v += agreement.rows_v) {
    float4 of_a[kRows];
    DUET_UNROLL
    for (int r = 0; r < kRows; ++r) of_a[r] = __ldg(a + 8 * r);
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const float4 of_v = __ldg(v + 8 * (c >> 1) + (c & 1));
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        weights[r][c] = fmaf(of_a[r].x, of_v.x, weights[r][c]);
        weights[r][c] = fmaf(of_a[r].y, of_v.y, weights[r][c]);
        weights[r][c] = fmaf(of_a[r].z, of_v.z, weights[r][c]);
        weights[r][c] = fmaf(of_a[r].w, of_v.w, weights[r][c]);
      }
    }
  }
  if constexpr (kAnnotated) {
    bool of_row[kRows];
    DUET_UNROLL
    for (int r = 0; r < kRows; ++r) of_row[r] = __ldg(agreement.annotated_a + place.first_row + T::row(first + r)) != 0;
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const bool of_column = __ldg(agreement.annotated_v + place.first_column + T::column(c)) != 0;
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (of_row[r] && of_column) weights[r][c] = weight_of_annotated(weights[r][c]);
    }
  }
}

// For every row and column of a tile of scores s: sum = sum pos, cross = sum pos (log2 pos - s), or without entropy sum
// pos (-s); own pairs left out. All threads of the block.
template <class T, bool kEntropy, bool kGroups = false, bool kAnnotated = false>
__device__ __forceinline__ void accumulate_positives(uint32_t* shared, const AgreementView& agreement,
                                                     const TilePlace& place, const OwnPairs& own_pair,
                                                     const typename T::Values& scores, const SweepPartials& to) {
  constexpr int kRows = kRowsOfSums<T>;
  const TileGroups<T, kGroups> one_group(agreement, place);
  float2 of_row[T::kThreadRows] = {}, of_column[T::kThreadColumns] = {};
  DUET_UNROLL
  for (int first = 0; first < T::kThreadRows; first += kRows) {
    float weights[kRows][T::kThreadColumns];
    fill_weights<T, kAnnotated>(agreement, place, first, weights);
    float2 trust_a[kRows];
    DUET_UNROLL
    for (int r = 0; r < kRows; ++r) trust_a[r] = agreement.trust_a[place.first_row + T::row(first + r)];
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const float2 trust_v = agreement.trust_v[place.first_column + T::column(c)];
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        float w = weights[r][c];
        if (one_group(first + r, c)) w = 0;
        if (own_pair.any && own_pair(T::row(first + r), T::column(c))) w = 0;
        const float cross = positive_cross<kEntropy>(w, scores(first + r, c));
        add_positive<kEntropy>(of_row[first + r], trust_v, w, cross);
        add_positive<kEntropy>(of_column[c], trust_a[r], w, cross);
      }
    }
  }
  // pos = 1 of one group, in a pass of its own, which needs fewer registers than another trust for each pair.
  DUET_UNROLL
  for (int r = 0; kGroups && r < T::kThreadRows; ++r) {
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      if (!one_group(r, c) || (own_pair.any && own_pair(T::row(r), T::column(c)))) continue;
      of_row[r] = make_float2(of_row[r].x + 1, of_row[r].y - scores(r, c));
      of_column[c] = make_float2(of_column[c].x + 1, of_column[c].y - scores(r, c));
    }
  }
  store_plain_sums<T>(shared, place, of_row, of_column, to);
}

}  // namespace duet::cuda
