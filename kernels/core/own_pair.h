// A softmax whose own pair is kept apart from the others (METHOD.md 5): what loss and gradient make of the two, without
// 1 - p of a confident p.
//
// With s the own pair's score, L the log-sum-exp of the other scores and x = s - L, its log-odds: P = sigmoid(x), 1 - P
// = sigmoid(-x), lse - s = softplus(-x). A row whose own pair is not among its columns has x = -inf; where there is
// nothing else x = inf. Everything is in nats.
#pragma once

#include <math.h>

#include "kernels/core/constants.h"
#include "kernels/core/host_device.h"

namespace duet {

// What a weight counts for in a row (or column) with this log-sum-exp: nothing where it is 0, whatever the row holds;
// NaN in all its columns where there is a weight but no softmax.
DUET_HOST_DEVICE inline float checked_weight(float weight, float log_sum) {
  return weight == 0 ? 0 : weight + (log_sum - log_sum);
}

// A score that is left out of a sum, e^it being nothing beside any other's, while its difference with any of them is
// finite.
inline constexpr float kLeftOut = -1e37f;

// One row or one column. Others of less than a quarter of kLeftOut are none: what was left out is all there is.
struct OwnAndOthers {
  double own, others;  // s, not read where there is none; L, -inf where there are none
  bool has_own;
  double log_odds;  // x
  double decay;     // e^-|x|
  double own_loss;  // log(1 + e^-|x|): -log P where x > 0
  double lse;

  OwnAndOthers() = default;  // unset
  DUET_HOST_DEVICE OwnAndOthers(double own_score, double log_sum_of_others, bool there)
      : own(own_score), others(log_sum_of_others < kLeftOut / 4 ? -HUGE_VAL : log_sum_of_others), has_own(there) {
    const bool without = !has_own || own == -HUGE_VAL, alone = others == -HUGE_VAL;
    log_odds = without ? -HUGE_VAL : own == HUGE_VAL ? static_cast<double>(NAN) : own - others;
    decay = ::exp(-::fabs(log_odds));
    // Within 1e-8 of itself: log alone, a third of log1p's time, where 1 + e^-|x| has the digits for it.
    own_loss = decay < 1e-8 ? decay : ::log(1 + decay);
    lse = without ? others : alone ? own : (own > others ? own : others) + own_loss;
  }

  // P and 1 - P.
  DUET_HOST_DEVICE double own_share() const { return (log_odds < 0 ? decay : 1) / (1 + decay); }
  DUET_HOST_DEVICE double other_share() const { return (log_odds < 0 ? 1 : decay) / (1 + decay); }
};

// Sums over a row's other positives.
struct OtherPositives {
  double weight;  // sum pos
  double cross;   // sum pos (-s), or with entropy sum pos (log pos - s)
};

// Whether a row with this N, sum pos with the own pair, has a target. A sum below the smallest normal float counts as
// none, because its reciprocal would be infinite; NaN has one, so that it shows.
DUET_HOST_DEVICE inline bool has_target(float weight) { return !(weight < kSmallestNormal); }

DUET_HOST_DEVICE inline double not_below_zero(double value) { return value < 0 ? 0 : value; }  // NaN stays

// Cross-entropy of a row against its normalised positives; with entropy KL(What || P). own_positive: the own pair
// counts as one with pos = 1.
DUET_HOST_DEVICE inline double target_loss(const OwnAndOthers& row, bool own_positive, const OtherPositives& positives,
                                           bool entropy) {
  const double total = positives.weight + (own_positive ? 1 : 0);
  if (own_positive && row.log_odds > 0) {  // everything relative to the own pair, which cancels by itself
    const double rest = positives.weight == 0 ? 0 : (positives.cross + positives.weight * row.own) / total;
    return not_below_zero(row.own_loss + rest - (entropy ? ::log1p(positives.weight) : 0));
  }
  const double cross = positives.cross - (own_positive ? row.own : 0);
  return not_below_zero(cross / total + row.lse - (entropy ? ::log(total) : 0));
}

// KL(P' || P), t of the teacher; mean: of t - s over the others, weighted by P'.
DUET_HOST_DEVICE inline double teacher_loss(const OwnAndOthers& student, const OwnAndOthers& teacher, double mean) {
  const double difference = teacher.own - student.own;
  const double own = teacher.own_share(), others = teacher.other_share();
  if (teacher.log_odds > 0 && student.log_odds > 0) {
    const double rest = others == 0 ? 0 : others * (mean - difference);
    return not_below_zero(rest + student.own_loss - teacher.own_loss);
  }
  const double of_own = own == 0 ? 0 : own * difference, of_others = others == 0 ? 0 : others * mean;
  return not_below_zero(of_own + of_others - teacher.lse + student.lse);
}

DUET_HOST_DEVICE inline double sigmoid(double x) { return 1 / (1 + ::exp(-x)); }

// P - T of the own pair, x its log-odds; of a confident P from what is left to the others, others_of_target = 1 - T.
DUET_HOST_DEVICE inline double own_difference(double x, double target, double others_of_target) {
  return x > 0 ? others_of_target - sigmoid(-x) : sigmoid(x) - target;
}
// The same against the agreement, where the own pair is a positive and N = sum pos.
DUET_HOST_DEVICE inline double own_against_positives(double x, double positives) {
  return own_difference(x, 1 / positives, (positives - 1) / positives);
}
// And against a teacher's P', by its log-odds.
DUET_HOST_DEVICE inline double own_against_teacher(double x, double teacher) {
  return own_difference(x, sigmoid(teacher), sigmoid(-teacher));
}

}  // namespace duet
