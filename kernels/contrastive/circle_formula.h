// Circle loss (METHOD.md 5.7; Sun et al., arXiv 2002.10857), s = a_i . v_j of unit rows, gamma = scale, m = margin:
// log(1 + sum_n e^(gamma [s_in + m]_+ (s_in - m)) sum_p e^(-gamma [1 + m - s_ip]_+ (s_ip - 1 + m))). The factors [.]_+
// weigh a pair by how far it is from its optimum; they are constants to the gradient by s, as in the paper. Without a
// negative or without a positive the loss and its gradient are 0.
#if defined(DUET_CIRCLE_FORMULA_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CIRCLE_FORMULA_H
#undef DUET_CIRCLE_FORMULA_H
#else
#define DUET_CIRCLE_FORMULA_H
#endif

#include "kernels/pairs/operation.h"

DUET_FORMULA_BEGIN

struct CircleFormula {
  static constexpr int kLogSums = 2, kSums = 0, kLaterSums = 0, kStatistics = 2;
  enum { kNegatives = 0, kPositives = 1 };  // the log-sum-exps of either factor

  float margin;

  template <class F>
  DUET_HOST_DEVICE F negative_factor(F dot) const {
    return positive_part(dot + F(margin));
  }
  template <class F>
  DUET_HOST_DEVICE F positive_factor(F dot) const {
    return positive_part(F(1 + margin) - dot);
  }
  template <class F>
  DUET_HOST_DEVICE void exponents(const Pair<F>& pair, F* x) const {
    const F of_negative = negative_factor(pair.dot) * (pair.dot - F(margin));
    const F of_positive = positive_factor(pair.dot) * (F(1 - margin) - pair.dot);
    x[kNegatives] = select(pair.negative, pair.scale * of_negative, F(kLeftOut));
    x[kPositives] = select(pair.positive, pair.scale * of_positive, F(kLeftOut));
  }
  template <class F>
  DUET_HOST_DEVICE void sums(const Pair<F>&, F*) const {}
  DUET_HOST_DEVICE static bool takes_part(const double* log_sums) {
    return log_sums[kNegatives] != -HUGE_VAL && log_sums[kPositives] != -HUGE_VAL;
  }
  DUET_HOST_DEVICE void close(const double* log_sums, const double*, float* statistics) const {
    const bool there = takes_part(log_sums);
    statistics[kNegatives] = there ? static_cast<float>(log_sums[kNegatives]) : -HUGE_VALF;
    statistics[kPositives] = there ? static_cast<float>(log_sums[kPositives]) : -HUGE_VALF;
  }
  template <class F>
  DUET_HOST_DEVICE void later_sums(const Pair<F>&, const F*, F*) const {}
  DUET_HOST_DEVICE double loss(const double* log_sums, const double*, const double*, float*) const {
    if (!takes_part(log_sums)) return 0;
    const double both = log_sums[kNegatives] + log_sums[kPositives];
    return (both > 0 ? both : 0) + ::log1p(::exp(-::fabs(both)));
  }
  // Of a positive's or a negative's part in its sum; x: the exponent, less the log-sum-exp.
  template <class F>
  DUET_HOST_DEVICE static F share(F part, F active, F x) {
    return select(active, select(part, active * probability_of(x), F(0.0f)), F(0.0f));
  }
  template <class F>
  DUET_HOST_DEVICE Slope<F> slope(const Pair<F>& pair, const F* statistics) const {
    F x[2];
    exponents(pair, x);
    const F active = logistic(statistics[kNegatives] + statistics[kPositives]);
    const F of_negative = share(pair.negative, active, x[kNegatives] - statistics[kNegatives]);
    const F of_positive = share(pair.positive, active, x[kPositives] - statistics[kPositives]);
    const F grow = product_or_zero(of_negative, negative_factor(pair.dot));
    const F shrink = product_or_zero(of_positive, positive_factor(pair.dot));
    const F by_scale = product_or_zero(grow, pair.dot - F(margin)) + product_or_zero(shrink, F(1 - margin) - pair.dot);
    return {pair.scale * (grow - shrink), by_scale};
  }
};

DUET_FORMULA_END

#endif  // per target
