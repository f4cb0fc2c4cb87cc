// What annotated rows change of the agreement W (METHOD.md 2).
#pragma once

#include "kernels/core/numbers.h"

namespace duet {

// W of two annotated rows, from the product of their class distributions: 1 where they share a class, else 0; NaN
// stays.
DUET_HOST_DEVICE inline float weight_of_annotated(float product) {
  return product > 0 ? 1.0f : product == product ? 0.0f : product;
}

// Flags of both sides' rows, not 0: annotated. Without data: none is.
struct AnnotatedRows {
  Vector<const float> of_a, of_v;  // n, m; both or neither

  DUET_HOST_DEVICE bool both(int64_t i, int64_t j) const { return of_a[i] != 0 && of_v[j] != 0; }
  // By size: of no rows there is nothing to know.
  DUET_HOST_DEVICE explicit operator bool() const { return of_a.size > 0 && of_v.size > 0; }
};

inline void check_annotated(Arguments& arguments, const duet_const_vector& of_a, const char* name_a,
                            const duet_const_vector& of_v, const char* name_v, int64_t n, int64_t m,
                            AnnotatedRows& to) {
  check_numbers(arguments, of_a, name_a, of_v, name_v, n, m, to.of_a, to.of_v);
}

}  // namespace duet
