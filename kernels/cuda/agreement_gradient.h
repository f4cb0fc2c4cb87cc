// d loss/d score of a tile on the GPU, softmax and target together (form_gradient), from the weights of its rows and
// columns; and sums of a number of every tile.
#pragma once

#include "kernels/cuda/agreement.h"

namespace duet::cuda {

// Backward: the weights of a row's or a column's parts of the gradient.
//   d loss/d score = student (P as it sees it) + teacher (P') - target pos, the weights with their signs
// factor holds the weights and the trust; shift the log-sum-exps, in units of log 2, or infinity where the direction
// does not take part. Where scores are bounded, e^-lse is in the weight and shift not looked at.
struct GradientWeightTerms {
  float4 factor;  // student, teacher, target, trust
  float2 shift;   // student, teacher
};
// packed_rows each, weights 0 past the end.
struct GradientWeightRows {
  float4* factor;
  float2* shift;
};
struct GradientWeightView {
  GradientWeightRows rows, columns;
  float* own;  // d loss/d score of row i with its own column, where that is in the matrix
};

class GradientWeights {
 public:
  GradientWeights(Workspace& workspace, int64_t n, int64_t m)
      : view_{{workspace.take<float4>(packed_rows(n)), workspace.take<float2>(packed_rows(n))},
              {workspace.take<float4>(packed_rows(m)), workspace.take<float2>(packed_rows(m))},
              workspace.take<float>(packed_rows(n))} {}
  const GradientWeightView& view() const { return view_; }

 private:
  GradientWeightView view_;
};

// A row's or column's factors from its log-sum-exps in nats; teacher weight 0 and lse 0 where there is none. The
// weights are checked_weight()'s: where there is a weight and no softmax, NaN. So e^min(x, 0) may drop a NaN: a
// probability is at most 1 however its log-sum-exp was rounded, and what has no weight adds nothing though its score be
// NaN or infinite.
struct GradientWeight {
  float student_log_sum, student, teacher_log_sum, teacher, target, trust;
};
__device__ __forceinline__ float probability(float x) { return ptx::exp2(fminf(x, 0)); }
__device__ __forceinline__ GradientWeightTerms gradient_weight_terms(const GradientWeight& given, bool bounded) {
  const auto weight = [&](float weight, float log_sum) {
    return bounded && weight != 0 ? static_cast<float>(weight * ::exp(-static_cast<double>(log_sum))) : weight;
  };
  const auto shift = [&](float weight, float log_sum) { return weight == 0 ? INFINITY : log_sum * kLog2E; };
  return {make_float4(weight(given.student, given.student_log_sum), weight(given.teacher, given.teacher_log_sum),
                      given.target, given.trust),
          make_float2(shift(given.student, given.student_log_sum), shift(given.teacher, given.teacher_log_sum))};
}
// d loss/d score of a pair that is no own pair, its scores s and with kTeacher t in units of log 2; of bounded scores
// no shift is looked at.
template <bool kBounded, bool kTeacher>
__device__ __forceinline__ float score_gradient(float s, float t, float w, const GradientWeightTerms& row,
                                                const GradientWeightTerms& column) {
  const auto softmax_part = [](float x, float row_shift, float column_shift, float of_row, float of_column) {
    if constexpr (kBounded)
      return ptx::exp2(x) * (of_row + of_column);
    else
      return probability(x - row_shift) * of_row + probability(x - column_shift) * of_column;
  };
  float g = softmax_part(s, row.shift.x, column.shift.x, row.factor.x, column.factor.x);
  if constexpr (kTeacher) g += softmax_part(t, row.shift.y, column.shift.y, row.factor.y, column.factor.y);
  return g - w * fmaf(row.factor.z, column.factor.w, column.factor.z * row.factor.w);
}

// dots: in a_i.v_j of the student, out d loss/d dot, 0 outside the matrix. Returns the thread's sum of d loss/d score
// times dot.
template <class T, bool kBounded, bool kTeacher, bool kGroups = false, bool kAnnotated = false>
__device__ __forceinline__ float form_gradient(const AgreementView& agreement, const GradientWeightView& weights_of,
                                               const TilePlace& place, float scale, float teacher_factor,
                                               typename T::Values& dots, const typename T::Values& teacher) {
  constexpr int kRows = kRowsOfGradient<T>;
  const float factor = scale * kLog2E;
  const OwnPairs own_pair = own_pairs<T>(agreement, place);
  const bool whole = place.rows == kTileRows && place.columns == T::kColumns;
  float sum = 0;
  DUET_UNROLL
  for (int first = 0; first < T::kThreadRows; first += kRows) {
    float weights[kRows][T::kThreadColumns];
    fill_weights<T, kAnnotated>(agreement, place, first, weights);
    GradientWeightTerms row[kRows] = {};
    float own_gradient[kRows];
    int32_t group_a[kRows] = {};
    DUET_UNROLL
    for (int r = 0; kGroups && r < kRows; ++r) group_a[r] = agreement.group_a[place.first_row + T::row(first + r)];
    DUET_UNROLL
    for (int r = 0; r < kRows; ++r) {
      own_gradient[r] = own_pair.any ? weights_of.own[place.first_row + T::row(first + r)] : 0;
      row[r].factor = weights_of.rows.factor[place.first_row + T::row(first + r)];
      if constexpr (!kBounded) row[r].shift = weights_of.rows.shift[place.first_row + T::row(first + r)];
    }
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      GradientWeightTerms column{};
      column.factor = weights_of.columns.factor[place.first_column + T::column(c)];
      if constexpr (!kBounded) column.shift = weights_of.columns.shift[place.first_column + T::column(c)];
      int32_t group_v = 0;
      if constexpr (kGroups) group_v = agreement.group_v[place.first_column + T::column(c)];
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const float dot = dots(first + r, c);
        float t = 0;
        if constexpr (kTeacher) t = teacher(first + r, c) * teacher_factor;
        float w = weights[r][c];
        GradientWeightTerms of_row = row[r], of_column = column;
        if (kGroups && group_a[r] == group_v) w = of_row.factor.w = of_column.factor.w = 1;
        float g = score_gradient<kBounded, kTeacher>(dot * factor, t, w, of_row, of_column);
        if (own_pair.any && own_pair(T::row(first + r), T::column(c))) g = own_gradient[r];
        if (!whole && (T::row(first + r) >= place.rows || T::column(c) >= place.columns)) g = 0;
        sum = g == 0 ? sum : fmaf(g, dot, sum);  // the dot may be infinite
        dots(first + r, c) = g * scale;
      }
    }
  }
  return sum;
}

// Every row's or column's weights: weight_of(i) gives those of element i < count, its trust apart (null: 1); past the
// end 0. view: whose bounded() the tiles ask.
template <class View, class WeightOf>
struct StoreGradientWeights {
  GradientWeightRows to;
  int64_t count;
  const float* trust;
  View view;
  WeightOf weight_of;

  __device__ void operator()(int64_t i) const {
    GradientWeight weight{};
    if (i < count) {
      weight = weight_of(i);
      weight.trust = trust ? trust[i] : 1;
    }
    const GradientWeightTerms terms = gradient_weight_terms(weight, view.bounded());
    to.factor[i] = terms.factor;
    to.shift[i] = terms.shift;
  }
};
template <class View, class WeightOf>
void store_gradient_weights(const duet_context& context, const GradientWeightRows& to, int64_t count,
                            Vector<const float> trust, const View& view, const WeightOf& weight_of) {
  for_each_position(context, packed_rows(count),
                    StoreGradientWeights<View, WeightOf>{to, count, trust.data, view, weight_of});
}

// Every row's gradient of its own pair: rows.own(i) + columns.own(j), where that pair is in the matrix and takes part.
template <class WeightOf>
struct StoreOwnGradients {
  float* own;
  bool excluded;
  int64_t columns_there, to_partner;
  WeightOf rows, columns;

  __device__ void operator()(int64_t i) const {
    const int64_t j = i + to_partner;
    own[i] = !excluded && j >= 0 && j < columns_there ? static_cast<float>(rows.own(i) + columns.own(j)) : 0;
  }
};
template <class WeightOf>
void store_own_gradients(const duet_context& context, const GradientWeightView& weights, const AgreementView& agreement,
                         const WeightOf& rows, const WeightOf& columns) {
  if (!agreement.paired) return;
  for_each_position(
      context, agreement.n,
      StoreOwnGradients<WeightOf>{weights.own, agreement.excluded, agreement.m, agreement.own, rows, columns});
}

// A number of every tile of a block, summed over the blocks in place and over the places in the end: sums in an order
// that the shapes decide.
class TileSums {
 public:
  TileSums(Workspace& workspace, int64_t n, int64_t m, int tile_columns);

  void begin(const duet_context& context) const { fill(context, sums_, count_, 0.0); }
  double* data() const { return sums_; }
  void add_to(const duet_context& context, float* total) const;  // total[0] += the sum

 private:
  int64_t count_;
  double* sums_;
};
// sum: a thread's part of its tile's number. All threads of the block.
__device__ __forceinline__ void add_tile_sum(double* sums, float sum) {
  const double total = block_sum(static_cast<double>(sum));
  if (threadIdx.x == 0) sums[blockIdx.x] += total;
}

}  // namespace duet::cuda
