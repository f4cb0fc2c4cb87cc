// Decoupled contrastive loss (METHOD.md 5.6; Yeh et al., arXiv 2110.06848): InfoNCE whose denominator is without the
// positives, log sum_n e^s_in - mean_p s_ip. Without a negative or without a positive the loss and its gradient are 0.
#if defined(DUET_DECOUPLED_FORMULA_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_DECOUPLED_FORMULA_H
#undef DUET_DECOUPLED_FORMULA_H
#else
#define DUET_DECOUPLED_FORMULA_H
#endif

#include "kernels/pairs/operation.h"

DUET_FORMULA_BEGIN

struct DecoupledFormula {
  static constexpr int kLogSums = 1, kSums = 2, kLaterSums = 0, kStatistics = 2;
  enum { kNegatives = 0, kShare = 1 };  // log sum_n e^s_in; 1 / the number of positives, 0 where the row has no loss

  template <class F>
  DUET_HOST_DEVICE void exponents(const Pair<F>& pair, F* x) const {
    x[0] = select(pair.negative, pair.scale * pair.dot, F(kLeftOut));
  }
  template <class F>
  DUET_HOST_DEVICE void sums(const Pair<F>& pair, F* to) const {
    to[0] = pair.positive;
    to[1] = select(pair.positive, pair.scale * pair.dot, F(0.0f));
  }
  DUET_HOST_DEVICE void close(const double* log_sums, const double* sums, float* statistics) const {
    const bool takes_part = sums[0] > 0 && log_sums[0] != -HUGE_VAL;
    statistics[kNegatives] = takes_part ? static_cast<float>(log_sums[0]) : -HUGE_VALF;
    statistics[kShare] = takes_part ? static_cast<float>(1 / sums[0]) : 0;
  }
  template <class F>
  DUET_HOST_DEVICE void later_sums(const Pair<F>&, const F*, F*) const {}
  DUET_HOST_DEVICE double loss(const double* log_sums, const double* sums, const double*, float* statistics) const {
    return statistics[kShare] == 0 ? 0 : log_sums[0] - sums[1] / sums[0];
  }
  template <class F>
  DUET_HOST_DEVICE Slope<F> slope(const Pair<F>& pair, const F* statistics) const {
    const F share = statistics[kShare], score = pair.scale * pair.dot;
    const F of_negative = select(share, probability_of(score - statistics[kNegatives]), F(0.0f));
    return slope_of_score(pair, select(pair.negative, of_negative, select(pair.positive, F(0.0f) - share, F(0.0f))));
  }
};

DUET_FORMULA_END

#endif  // per target
