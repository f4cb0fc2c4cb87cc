// Class distributions of annotated rows, which have one class or several, among others.
#pragma once

#include "tests/support/arrays.h"

namespace duet::test {

// A flag for each row of classes, 1 with this probability; such a row gets equal shares of some of its classes.
inline Floats annotate(Draw& draw, Floats& classes, double share) {
  Floats flags(classes.rows(), 1);
  for (int64_t i = 0; i < classes.rows(); ++i) {
    flags.at(i) = draw.uniform(0, 1) < share ? 1 : 0;
    if (flags.at(i) == 0 || classes.columns() == 0) continue;
    const int64_t certain = draw.integer(0, classes.columns() - 1);
    double count = 0;
    for (int64_t c = 0; c < classes.columns(); ++c) {
      classes.at(i, c) = c == certain || draw.uniform(0, 1) < 0.3 ? 1 : 0;
      count += classes.at(i, c);
    }
    for (int64_t c = 0; c < classes.columns(); ++c) classes.at(i, c) = static_cast<float>(classes.at(i, c) / count);
  }
  return flags;
}

}  // namespace duet::test
