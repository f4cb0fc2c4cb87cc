// What a loss over all pairs is to the drivers (driver_cpu.h, driver_cuda.h): a formula, that is what one pair says of
// its row and of its column, what becomes of a row's sums, and what the loss says back to the pair. A formula holds no
// loop and no memory; the drivers hold those, once a backend. A new loss on pairs is one formula file and one line
// where the losses are listed (contrastive/contrastive_formulas.h).
//
// A formula sees rows alone. A column is a row of the transposed scores: the drivers use the same formula for both, in
// one sweep.
//
// struct Formula {
//   static constexpr int kLogSums;     // log-sum-exps a row, 1 or 2
//   static constexpr int kSums;        // plain sums a row, 0 to 2
//   static constexpr int kLaterSums;   // plain sums of a second sweep, which knows the row's statistics, 0 to 2
//   static constexpr int kStatistics;  // floats a row that forward leaves for backward, at most 3
//
//   // x[k], k < kLogSums: the exponents in nats, kLeftOut where the pair takes no part in that sum.
//   template <class F> DUET_HOST_DEVICE void exponents(const Pair<F>& pair, F* x) const;
//   // to[k], k < kSums.
//   template <class F> DUET_HOST_DEVICE void sums(const Pair<F>& pair, F* to) const;
//   // statistics[k] from what the first sweep has summed; log_sums[k] is -inf where nothing took part.
//   DUET_HOST_DEVICE void close(const double* log_sums, const double* sums, float* statistics) const;
//   // to[k], k < kLaterSums; statistics: the row's.
//   template <class F> DUET_HOST_DEVICE void later_sums(const Pair<F>& pair, const F* statistics, F* to) const;
//   // The row's loss in nats; completes its statistics. later_sums: null where kLaterSums is 0.
//   DUET_HOST_DEVICE double loss(const double* log_sums, const double* sums, const double* later_sums,
//                                float* statistics) const;
//   // The derivatives of the row's loss by what the pair has brought; statistics: the row's.
//   template <class F> DUET_HOST_DEVICE Slope<F> slope(const Pair<F>& pair, const F* statistics) const;
// };
//
// A row that has no loss, having no positive or no negative, closes with statistics that make every slope 0, though
// pairs of it be NaN. The drivers take a pair's slopes times the rows' weights (checked_weight), of weight 0 none,
// and none of a pair that is neither positive nor negative.
//
// F is a number: float on a device, a vector of floats on the CPU. It has + - * / and the functions of number.h.
#if defined(DUET_PAIRS_OPERATION_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_PAIRS_OPERATION_H
#undef DUET_PAIRS_OPERATION_H
#else
#define DUET_PAIRS_OPERATION_H
#endif

#if defined(HWY_TARGET_INCLUDE)
#include <hwy/highway.h>
#endif

#include "kernels/core/host_device.h"
#include "kernels/core/own_pair.h"
#include "kernels/pairs/formula.h"
#include "kernels/pairs/number.h"

DUET_FORMULA_BEGIN

// One pair. positive and negative are 1 or 0; a pair that is neither takes no part.
template <class F>
struct Pair {
  F dot;    // a_i . v_j
  F scale;  // what multiplies it
  F positive, negative;
};

// The derivatives by a pair's dot and, where scale is one number for all pairs, its share of that by scale.
template <class F>
struct Slope {
  F by_dot, by_scale;
};

// Of a loss that reads the score scale times dot alone: by_score, its derivative by that.
template <class F>
DUET_HOST_DEVICE inline Slope<F> slope_of_score(const Pair<F>& pair, F by_score) {
  return {by_score * pair.scale, product_or_zero(by_score, pair.dot)};
}

// What a row's upstream weight counts for: nothing where it is 0, whatever the row holds; NaN where a statistic is NaN
// or inf, as there is no loss then. A statistic of -inf is a sum in which nothing took part.
DUET_HOST_DEVICE inline float checked_weight(float weight, const float* statistics, int count) {
  if (weight == 0) return 0;
  for (int k = 0; k < count; ++k)
    if (!(statistics[k] == -HUGE_VALF)) weight += statistics[k] - statistics[k];
  return weight;
}

DUET_FORMULA_END

#endif  // per target
