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
  DUET_HOST_DEVICE void close(const double* log_sums, const double*, float* statistics) const {
    statistics[kNegatives] = static_cast<float>(log_sums[kNegatives]);
    statistics[kPositives] = static_cast<float>(log_sums[kPositives]);
  }
  template <class F>
  DUET_HOST_DEVICE void later_sums(const Pair<F>&, const F*, F*) const {}
  DUET_HOST_DEVICE double loss(const double* log_sums, const double*, const double*, float*) const {
    const double both = log_sums[kNegatives] + log_sums[kPositives];
    return (both > 0 ? both : 0) + ::log1p(::exp(-::fabs(both)));
  }
  template <class F>
  DUET_HOST_DEVICE Slope<F> slope(const Pair<F>& pair, const F* statistics) const {
    F x[2];
    exponents(pair, x);
    const F active = logistic(statistics[kNegatives] + statistics[kPositives]);
    const F of_negative = active * probability_of(x[kNegatives] - statistics[kNegatives]);
    const F of_positive = active * probability_of(x[kPositives] - statistics[kPositives]);
    const F zero(0.0f);
    const F by_negative = select(pair.negative, of_negative, zero),
            by_positive = select(pair.positive, of_positive, zero);
    const F grow = negative_factor(pair.dot), shrink = positive_factor(pair.dot);
    return {pair.scale * (by_negative * grow - by_positive * shrink),
            by_negative * grow * (pair.dot - F(margin)) + by_positive * shrink * (F(1 - margin) - pair.dot)};
  }
};

DUET_FORMULA_END

#endif  // per target
