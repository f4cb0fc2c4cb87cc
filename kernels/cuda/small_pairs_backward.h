// The backward pass over small pairs: scores again, d loss/d score of a pair in its thread (Form), then the product
// with the other side's rows, which are still there where one part holds them all. d loss/d scale and d loss/d bias are
// a sum a block of rows, added by a second launch where they are wanted.
#pragma once

#include "kernels/cuda/agreement_gradient.h"
#include "kernels/cuda/small_pairs.h"

namespace duet::cuda {

// What the blocks of rows say of the scalars.
class SmallSums {
 public:
  SmallSums(Workspace& workspace, int64_t n)
      : scale(workspace.take<double>(SmallPairs::blocks_of(n))),
        bias(workspace.take<double>(SmallPairs::blocks_of(n))),
        count_(SmallPairs::blocks_of(n)) {}

  // Each total[0] += the sum, or null.
  void add_to(const duet_context& context, float* scale_total, float* bias_total) const;

  double *scale, *bias;

 private:
  int64_t count_;
};

template <class Form>
struct SmallBackward {
  SmallPairs pairs;
  Form form;
  Matrix<float> grad[2];           // of a side; without data: not wanted
  const float* grad_factor[2];     // of what is added there; null: 1
  double *scale_sums, *bias_sums;  // a number a block of rows; null: not wanted
};

// Form: kTeacher; Terms, what a row of either side is to its pairs, and terms(side, i, trust); of_pair(dot, teacher's
// dot, W, own terms, the other's, scalars), d loss/d score; kOwnApart: at its own pair each of the two adds own(side,
// i) instead, or nothing where own pairs are excluded, and make_one_item(own terms, the other's) lets W = 1 of rows of
// one group count whatever their trust; else W is 1 at own pairs.
template <class Form, bool kAnnotated>
__global__ void __launch_bounds__(kSmallThreads, kSmallBlocks) small_backward_kernel(SmallBackward<Form> to) {
  DUET_SHARED(SmallPart, part, [1]);
  DUET_SHARED(typename Form::Terms, own_terms, [kSmallOwners]);
  DUET_SHARED(double, own_parts, [kSmallOwners][2]);
  DUET_SHARED(int32_t, own_groups, [kSmallOwners]);
  DUET_SHARED(float4, gradients, [kMostSmallRows]);  // d loss/d dot, of the own rows with one of the other side
  DUET_SHARED(float, second_half, [kSmallOwners][kSmallDepth]);
  const SmallPlace place = place_of(to.pairs);
  const SmallSide& of = to.pairs.sides[place.side];
  const Matrix<float> grad = to.grad[place.side];
  const float* factor = to.grad_factor[place.side];
  const bool multiplies = grad && !points_to_zero(factor), sums = place.side == 0 && to.scale_sums != nullptr;
  if (!multiplies && !sums) return;
  const SmallScalars scalars = scalars_of(to.pairs);
  const int thread = static_cast<int>(threadIdx.x), count = static_cast<int>(of.student.other.rows);
  const bool has_classes = of.classes.own.columns > 0;
  begin_part(part[0], has_classes ? of.classes : Form::kTeacher ? of.teacher : of.student, place, 0, 0);
  const int64_t first_partner = place.first + of.to_partner;
  if (thread < kSmallOwners) {
    const typename Form::Terms terms =
        thread < place.rows ? to.form.terms(place.side, place.first + thread, of.trust_own) : typename Form::Terms{};
    own_terms[thread] = terms;
    own_groups[thread] = thread < place.rows ? of.group(place.first + thread) : -1;
  }
  if constexpr (Form::kOwnApart) {
    // In double, a thousand cycles and more under the first part's way: both sides of all pairs in a warp of their own.
    const int at = thread - 32, r = at / 2;
    if (to.pairs.paired && !to.pairs.excluded && at >= 0 && r < place.rows && first_partner + r >= 0 &&
        first_partner + r < count) {
      const bool of_partner = at % 2 != 0;
      own_parts[r][at % 2] =
          to.form.own(of_partner ? 1 - place.side : place.side, (of_partner ? first_partner : place.first) + r);
    }
  }
  __syncthreads();
  float scale_sum = 0, bias_sum = 0;
  for (int first = 0; first < count; first += kSmallThreads) {
    float dots[kSmallOwners] = {}, teacher[kSmallOwners] = {}, weights[kSmallOwners] = {};
    const bool begun = first == 0;
    add_products(part[0], of.classes, place, first, weights, begun && has_classes);
    if constexpr (Form::kTeacher) add_products(part[0], of.teacher, place, first, teacher, begun && !has_classes);
    add_products(part[0], of.student, place, first, dots, begun && !has_classes && !Form::kTeacher);
    const int j = first + thread;
    if (j >= count) continue;
    if constexpr (kAnnotated) settle_weights(of, place, j, weights);
    const typename Form::Terms terms = to.form.terms(1 - place.side, j, of.trust_other);
    int own_row = -1;
    DUET_UNROLL
    for (int r = 0; r < kSmallOwners; ++r)
      if (to.pairs.paired && r < place.rows && first_partner + r == j) own_row = r;
    float g[kSmallOwners];
    DUET_UNROLL
    for (int r = 0; r < kSmallOwners; ++r) {
      const bool is_own = r == own_row;
      float of_pair = 0;
      if constexpr (Form::kOwnApart) {
        typename Form::Terms of_own = own_terms[r], of_other = terms;
        const bool one_item = of.in_group(own_groups[r], j);
        if (one_item) Form::make_one_item(of_own, of_other);
        of_pair = to.form.of_pair(dots[r], teacher[r], one_item ? 1 : weights[r], of_own, of_other, scalars);
        if (is_own) of_pair = to.pairs.excluded ? 0 : static_cast<float>(own_parts[r][0] + own_parts[r][1]);
      } else {
        of_pair = to.form.of_pair(dots[r], teacher[r], is_own ? 1 : weights[r], own_terms[r], terms, scalars);
      }
      if (r >= place.rows) of_pair = 0;
      scale_sum = of_pair == 0 ? scale_sum : fmaf(of_pair, dots[r], scale_sum);  // the dot may be infinite
      bias_sum += of_pair;
      g[r] = of_pair * scalars.scale;
    }
    gradients[j] = make_float4(g[0], g[1], g[2], g[3]);
  }
  if (sums) {
    const double2 total = block_reduce(make_double2(scale_sum, bias_sum),
                                       [](double2 a, double2 b) { return make_double2(a.x + b.x, a.y + b.y); });
    if (thread == 0) to.scale_sums[blockIdx.x] = total.x, to.bias_sums[blockIdx.x] = total.y;
  }
  if (!multiplies) return;
  __syncthreads();
  // Thread k and thread 64 + k multiply element k of the part's rows, a half of the rows each.
  const int k = thread % kSmallDepth, half = thread / kSmallDepth;
  const int64_t columns = of.student.own.columns;
  const bool kept = count <= kSmallThreads && columns <= kSmallDepth;
  for (int64_t first_k = 0; first_k < columns; first_k += kSmallDepth) {
    const int depth = depth_at(columns, first_k);
    float sum[kSmallOwners] = {};
    for (int first = 0; first < count; first += kSmallThreads) {
      if (!kept) fill_part(part[0], of.student, place, first, first_k);
      const int end = k < depth ? min((half + 1) * kSmallDepth, count - first) : 0;
      for (int j = half * kSmallDepth; j < end; ++j) {
        const float4 g = gradients[first + j];
        const float other = part[0].other[j][k];
        sum[0] = fmaf(g.x, other, sum[0]);
        sum[1] = fmaf(g.y, other, sum[1]);
        sum[2] = fmaf(g.z, other, sum[2]);
        sum[3] = fmaf(g.w, other, sum[3]);
      }
    }
    if (half == 1) {
      DUET_UNROLL
      for (int r = 0; r < kSmallOwners; ++r) second_half[r][k] = sum[r];
    }
    __syncthreads();
    if (half == 1 || k >= depth) continue;
    const float times = factor ? *factor : 1;
    DUET_UNROLL
    for (int r = 0; r < kSmallOwners; ++r)
      if (r < place.rows) grad.row(place.first + r)[first_k + k] += times * (sum[r] + second_half[r][k]);
  }
}

// grad_a, grad_v, scale and bias += their gradients; without data or null: not wanted.
template <class Form>
void small_backward(const duet_context& context, SmallBackward<Form> to, const SmallSums& sums, float* scale,
                    float* bias) {
  const SmallOperand& student = to.pairs.sides[0].student;
  if (student.own.rows == 0 || student.other.rows == 0) return;
  const bool wants_sums = scale != nullptr || bias != nullptr;
  if (wants_sums) to.scale_sums = sums.scale, to.bias_sums = sums.bias;
  const int64_t blocks = to.pairs.cut(bool(to.grad[0]) || wants_sums, bool(to.grad[1]));
  with_annotated(to.pairs, [&](auto annotated) {
    DUET_LAUNCH((small_backward_kernel<Form, decltype(annotated)::value>), blocks, kSmallThreads, 0, context.stream)
    (to);
  });
  if (wants_sums) sums.add_to(context, scale, bias);
}

// The Form of softmaxes. WeightOf: the gradient weights of a row or a column (agreement.h).
template <class WeightOf, bool kWithTeacher>
struct SmallSoftmax {
  static constexpr bool kTeacher = kWithTeacher, kOwnApart = true;
  using Terms = GradientWeightTerms;
  WeightOf of[2];  // rows, columns

  __device__ __forceinline__ Terms terms(int side, int64_t i, const float* trust) const {
    GradientWeight weight = of[side](i);
    weight.trust = trust ? trust[i] : 1;
    return gradient_weight_terms(weight, false);
  }
  static __device__ __forceinline__ void make_one_item(Terms& own, Terms& other) { own.factor.w = other.factor.w = 1; }
  __device__ __forceinline__ float of_pair(float dot, float teacher, float w, const Terms& own, const Terms& other,
                                           const SmallScalars& scalars) const {
    return score_gradient<false, kTeacher>(dot * (scalars.scale * kLog2E), teacher * (scalars.teacher_scale * kLog2E),
                                           w, own, other);
  }
  __device__ __forceinline__ double own(int side, int64_t i) const { return of[side].own(i); }
};

}  // namespace duet::cuda
