// The forward pass over small pairs: a thread a row of the other side makes the scores of a block's own rows, then a
// warp a row takes them in (Finish).
#pragma once

#include "kernels/cuda/small_pairs.h"

namespace duet::cuda {

// to[r][j] = factor times the product of own row r and the other side's row j after settle(j, products), rounded as it
// stands (scale_dots()). All threads of the block.
template <class Settle>
__device__ __forceinline__ void fill_products(SmallPart& part, const SmallOperand& of, const SmallPlace& place,
                                              float factor, float (*to)[kMostSmallRows], Settle&& settle) {
  for (int first = 0; first < of.other.rows; first += kSmallThreads) {
    float dots[kSmallOwners] = {};
    add_products(part, of, place, first, dots);
    const int j = first + static_cast<int>(threadIdx.x);
    if (j >= of.other.rows) continue;
    settle(j, dots);
    DUET_UNROLL
    for (int r = 0; r < kSmallOwners; ++r) to[r][j] = __fmul_rn(dots[r], factor);
  }
}
__device__ __forceinline__ void fill_products(SmallPart& part, const SmallOperand& of, const SmallPlace& place,
                                              float factor, float (*to)[kMostSmallRows]) {
  fill_products(part, of, place, factor, to, [](int, float(&)[kSmallOwners]) {});
}

// One own row of the forward pass, in the hands of a warp: all lanes call, all get the result. Sums over the other
// side's rows but the own pair: float32 over a lane's 8 at most, double over the lanes.
struct SmallRow {
  const float *scores, *teacher, *weights;  // of count rows; null: none
  const float* trust;                       // of the other side; null: 1
  int count, own;                           // own: the pair's row, -1 where there is none
  const SmallSide* side;
  int32_t group;  // the row's own; below 0: none
  bool excluded;  // the own pair is no part

  template <class Body>
  __device__ __forceinline__ void for_others(Body&& body) const {
    for (int j = lane_of_warp(); j < count; j += 32)
      if (j != own) body(j);
  }
  __device__ static double2 total(float2 sums) {
    return warp_reduce(make_double2(sums.x, sums.y),
                       [](double2 a, double2 b) { return make_double2(a.x + b.x, a.y + b.y); });
  }
  // sum 2^x, and with kCross sum 2^x (x - y), y the scores.
  template <bool kCross>
  __device__ RunningSum exponentials(const float* x) const {
    float largest = -INFINITY;
    for_others([&](int j) { largest = fmaxf(largest, x[j]); });
    const float shift = finite_or_zero(warp_reduce(largest, MaxNumber()));
    float2 sums{};
    for_others([&](int j) {
      const float e = ptx::exp2(x[j] - shift);
      sums.x += e;
      if constexpr (kCross) sums.y = fmaf(e, x[j] - scores[j], sums.y);
    });
    const double2 all = total(sums);
    return {shift, all.x, all.y};
  }
  // sum pos and, in nats, sum pos (log pos - s) or without entropy sum pos (-s).
  template <bool kEntropy>
  __device__ OtherPositives positives() const {
    if (weights == nullptr && group < 0) return {0, 0};
    float2 sums{};
    for_others([&](int j) {
      const bool one_item = side->in_group(group, j);
      const float w = one_item ? 1 : weights ? weights[j] : 0;
      add_positive<kEntropy>(sums, trust_terms(trust && !one_item ? trust[j] : 1), w,
                             positive_cross<kEntropy>(w, scores[j]));
    });
    const double2 all = total(sums);
    return {all.x, all.y * kLn2};
  }
  // others: over x. No lane needs another.
  __device__ OwnAndOthers parts(const float* x, const RunningSum& others) const {
    if (own < 0 || excluded) return {0, others.log(), false};
    return {x[own] * kLn2, others.log(), true};
  }
};

// Finish: kTeacher; factor(scalars), of the scores; operator()(side, i, row, scalars), what a warp makes of own row i.
template <class Finish, bool kAnnotated>
__global__ void __launch_bounds__(kSmallThreads, kSmallBlocks) small_forward_kernel(SmallPairs pairs, Finish finish) {
  DUET_SHARED(SmallPart, part, [1]);
  DUET_SHARED(float, products, [Finish::kTeacher ? 3 : 2][kSmallOwners][kMostSmallRows]);
  const SmallPlace place = place_of(pairs);
  const SmallSide& of = pairs.sides[place.side];
  const SmallScalars scalars = scalars_of(pairs);
  const bool has_classes = of.classes.own.columns > 0;
  if (has_classes)
    fill_products(part[0], of.classes, place, 1, products[1], [&](int j, float(&weights)[kSmallOwners]) {
      if constexpr (kAnnotated) settle_weights(of, place, j, weights);
    });
  if constexpr (Finish::kTeacher)
    fill_products(part[0], of.teacher, place, scalars.teacher_scale * kLog2E, products[2]);
  fill_products(part[0], of.student, place, Finish::factor(scalars), products[0]);
  __syncthreads();
  const int r = warp_of_block();
  if (r >= place.rows) return;
  SmallRow row{products[0][r],
               nullptr,
               has_classes ? products[1][r] : nullptr,
               of.trust_other,
               static_cast<int>(of.student.other.rows),
               -1,
               &of,
               of.group(place.first + r),
               pairs.excluded};
  if constexpr (Finish::kTeacher) row.teacher = products[2][r];
  const int64_t partner = place.first + r + of.to_partner;
  if (pairs.paired && partner >= 0 && partner < row.count) row.own = static_cast<int>(partner);
  finish(place.side, place.first + r, row, scalars);
}

template <class Finish>
void small_forward(const duet_context& context, SmallPairs pairs, bool columns, const Finish& finish) {
  const int64_t blocks = pairs.cut(true, columns);
  with_annotated(pairs, [&](auto annotated) {
    DUET_LAUNCH((small_forward_kernel<Finish, decltype(annotated)::value>), blocks, kSmallThreads, 0, context.stream)
    (pairs, finish);
  });
}

}  // namespace duet::cuda
