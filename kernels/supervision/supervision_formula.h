// The class that a head names, and the weight of the pair term, the same on both backends.
#pragma once

#include <math.h>

#include "kernels/supervision/supervision_backends.h"

namespace duet {

// A class with its lifted logit.
struct Candidate {
  double value;
  int64_t index;  // -1: none
};

// The lowest class of the largest value wins; NaN beats all.
struct BetterCandidate {
  DUET_HOST_DEVICE Candidate operator()(const Candidate& a, const Candidate& b) const {
    if (a.index < 0 || b.index < 0) return a.index < 0 ? b : a;
    if (a.value != a.value || b.value != b.value) return a.value != a.value ? a : b;
    if (a.value != b.value) return a.value > b.value ? a : b;
    return a.index < b.index ? a : b;
  }
};

// The logarithm of p lift, up to an offset that all classes of the row share. No exponential is computed: without lift
// the order is exactly that of the logits, however small their differences are. NaN where the row holds NaN or +inf, or
// nothing but -inf.
DUET_HOST_DEVICE inline double lifted_logit(float logit, double largest, double log_lift) {
  return double{logit} - largest + log_lift;
}

// The number of classes below which the agreement of two heads is no evidence.
inline constexpr int64_t kFewestClasses = 2;

// The class of the best candidate; -1 where its value is NaN.
DUET_HOST_DEVICE inline int64_t class_of(const Candidate& found) {
  return found.value != found.value ? -1 : found.index;
}

// METHOD.md 6.4: the factor of a class's probability, from its share among the labelled samples and u.
DUET_HOST_DEVICE inline double lift_of(const SupervisionInputs& inputs, double prior, double u) {
  if (!inputs.lift) return 1;
  if (prior == 0 && u == 0) return 0;  // a class that is neither labelled nor predicted
  return prior / u > inputs.largest_lift ? inputs.largest_lift : prior / u;
}

// q_c of an annotated sample, `classes` being the number of its label's classes (is_of_label).
DUET_HOST_DEVICE inline double annotated_q(bool is_of_label, double classes) { return is_of_label ? 1 / classes : 0; }

// METHOD.md 6.10: w, and the weight of a sample as row and as column of L_pair.
DUET_HOST_DEVICE inline double pair_weight_of(const SupervisionInputs& inputs, double concord) {
  const double square = concord * concord, fourth = square * square, rest = 1 - inputs.generality;
  return inputs.pair_weight_scale * (1 + 2 * inputs.unread) * ((1 - concord) + rest * rest * (fourth * fourth));
}
DUET_HOST_DEVICE inline float anchor_weight_of(const SupervisionInputs& inputs, int32_t label) {
  return label < 0 ? 1 : static_cast<float>(inputs.unread * inputs.unread);
}

}  // namespace duet
