// The agreement of METHOD.md 2 for the spot checks of distillation and contrastive: pos_ij of one row or one column,
// paired.
#pragma once

#include "bench/verify.h"

namespace duet::bench {

// W with the trust of the other side, which is the non-anchor; the own pair (global indices equal) counts 1.
inline double positive_weight(const float* anchor_class, const float* other_class, int64_t classes, double other_trust,
                              bool own_pair) {
  return own_pair ? 1 : dot(anchor_class, other_class, classes) * other_trust;
}

inline Doubles positive_weights(const Floats& anchor_class, int64_t anchor, const Floats& other_class,
                                const Floats& other_trust) {
  Doubles out;
  for (int64_t j = 0; j < other_class.rows(); ++j)
    out.push_back(positive_weight(anchor_class.row(anchor), other_class.row(j), other_class.columns(), other_trust[j],
                                  anchor == j));
  return out;
}

inline double sum(const Doubles& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

}  // namespace duet::bench
