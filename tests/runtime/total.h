// A loss as training makes one: its terms' weighted total (METHOD.md 6.11).
#pragma once

#include <initializer_list>

#include "runtime/ops.h"

namespace duet::test {

inline Tensor total(Tape& tape, std::initializer_list<ops::LossTerm> terms) {
  return ops::loss_terms(tape, std::span<const ops::LossTerm>(terms.begin(), terms.size())).total;
}

// weight times a scalar.
inline ops::LossTerm times(const Tensor& weight, const Tensor& scalar) { return {weight, {scalar, {}, {}}, {}}; }

}  // namespace duet::test
