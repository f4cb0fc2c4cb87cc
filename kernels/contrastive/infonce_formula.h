// InfoNCE with the positives of a relation (METHOD.md 5.3): cross-entropy of a row's softmax over all that takes part
// against 1 / |P| on each of its |P| positives. With L_n and L_p the log-sum-exps of negatives and of positives it is
// softplus(L_n - L_p) + L_p - mean_p s_p, where of one positive the last two are the same number. A row without a
// positive has loss and gradient 0; one without a negative has the entropy of its target against its own softmax.
#if defined(DUET_INFONCE_FORMULA_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_INFONCE_FORMULA_H
#undef DUET_INFONCE_FORMULA_H
#else
#define DUET_INFONCE_FORMULA_H
#endif

#include "kernels/pairs/operation.h"

DUET_FORMULA_BEGIN

struct InfoNceFormula {
  static constexpr int kLogSums = 2, kSums = 2, kLaterSums = 0, kStatistics = 3;
  enum { kNegatives = 0, kPositives = 1 };  // L_n, L_p
  enum { kCount = 0, kScores = 1 };         // |P|, sum_p s_p
  // The log-sum-exp of all; 1 / |P|, 0 where the row has no loss; L_n - L_p.
  enum { kAll = 0, kShare = 1, kNegativeOdds = 2 };

  template <class F>
  DUET_HOST_DEVICE void exponents(const Pair<F>& pair, F* x) const {
    const F score = pair.scale * pair.dot, none(kLeftOut);
    x[kNegatives] = select(pair.negative, score, none);
    x[kPositives] = select(pair.positive, score, none);
  }
  template <class F>
  DUET_HOST_DEVICE void sums(const Pair<F>& pair, F* to) const {
    to[kCount] = pair.positive;
    to[kScores] = select(pair.positive, pair.scale * pair.dot, F(0.0f));
  }
  // All positives together stand for the own pair, which is kept apart from the others.
  DUET_HOST_DEVICE static OwnAndOthers parts(const double* log_sums) {
    return OwnAndOthers(log_sums[kPositives], log_sums[kNegatives], true);
  }
  DUET_HOST_DEVICE void close(const double* log_sums, const double* sums, float* statistics) const {
    const bool takes_part = sums[kCount] > 0;
    const OwnAndOthers of = parts(log_sums);
    statistics[kAll] = takes_part ? static_cast<float>(of.lse) : -HUGE_VALF;
    statistics[kShare] = takes_part ? static_cast<float>(1 / sums[kCount]) : 0;
    statistics[kNegativeOdds] = takes_part ? static_cast<float>(-of.log_odds) : -HUGE_VALF;
  }
  template <class F>
  DUET_HOST_DEVICE void later_sums(const Pair<F>&, const F*, F*) const {}
  DUET_HOST_DEVICE double loss(const double* log_sums, const double* sums, const double*, float* statistics) const {
    if (statistics[kShare] == 0) return 0;
    const double of_all = target_loss(parts(log_sums), true, {0, 0}, false);
    return sums[kCount] == 1 ? of_all : of_all + not_below_zero(log_sums[kPositives] - sums[kScores] / sums[kCount]);
  }
  // P less the target. Of one positive that is -(1 - P), which the odds give without a difference.
  template <class F>
  DUET_HOST_DEVICE Slope<F> slope(const Pair<F>& pair, const F* statistics) const {
    const F share = statistics[kShare], zero(0.0f), one(1.0f);
    const F p = probability_of(pair.scale * pair.dot - statistics[kAll]);
    const F of_positive = select(one - share, p - share, zero - logistic(statistics[kNegativeOdds]));
    const F of_pair = select(pair.negative, p, select(pair.positive, of_positive, zero));
    return slope_of_score(pair, select(share, of_pair, zero));
  }
};

DUET_FORMULA_END

#endif  // per target
