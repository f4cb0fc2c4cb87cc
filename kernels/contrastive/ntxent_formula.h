// NT-Xent with several positives (METHOD.md 5.8): sum_p log(1 + N_i e^-s_ip), N_i = sum_n e^s_in. Every positive meets
// all negatives and no other positive. N is known after a first sweep alone, so a second one sums over the positives.
// Without a negative or without a positive the loss and its gradient are 0.
#if defined(DUET_NTXENT_FORMULA_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_NTXENT_FORMULA_H
#undef DUET_NTXENT_FORMULA_H
#else
#define DUET_NTXENT_FORMULA_H
#endif

#include "kernels/pairs/operation.h"

DUET_FORMULA_BEGIN

struct NtXentFormula {
  static constexpr int kLogSums = 1, kSums = 0, kLaterSums = 2, kStatistics = 2;
  enum { kNegatives = 0, kShare = 1 };  // log N; sum_p N / (N + e^s_ip), what the negatives together are pushed by

  template <class F>
  DUET_HOST_DEVICE void exponents(const Pair<F>& pair, F* x) const {
    x[0] = select(pair.negative, pair.scale * pair.dot, F(kLeftOut));
  }
  template <class F>
  DUET_HOST_DEVICE void sums(const Pair<F>&, F*) const {}
  DUET_HOST_DEVICE void close(const double* log_sums, const double*, float* statistics) const {
    statistics[kNegatives] = static_cast<float>(log_sums[0]);
  }
  template <class F>
  DUET_HOST_DEVICE void later_sums(const Pair<F>& pair, const F* statistics, F* to) const {
    const F x = statistics[kNegatives] - pair.scale * pair.dot, zero(0.0f);
    to[0] = select(pair.positive, softplus(x), zero);
    to[1] = select(pair.positive, logistic(x), zero);
  }
  DUET_HOST_DEVICE double loss(const double* log_sums, const double*, const double* later_sums,
                               float* statistics) const {
    const bool has_negatives = log_sums[0] != -HUGE_VAL;
    statistics[kShare] = has_negatives ? static_cast<float>(later_sums[1]) : 0;
    if (statistics[kShare] == 0) statistics[kNegatives] = -HUGE_VALF;  // every slope is 0 then
    return has_negatives ? later_sums[0] : 0;
  }
  template <class F>
  DUET_HOST_DEVICE Slope<F> slope(const Pair<F>& pair, const F* statistics) const {
    const F score = pair.scale * pair.dot, zero(0.0f), share = statistics[kShare];
    const F of_positive = zero - logistic(statistics[kNegatives] - score);
    const F of_negative = share * probability_of(score - statistics[kNegatives]);
    const F of_pair = select(pair.negative, of_negative, select(pair.positive, of_positive, zero));
    return slope_of_score(pair, select(share, of_pair, zero));
  }
};

DUET_FORMULA_END

#endif  // per target
