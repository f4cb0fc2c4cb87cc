// Labels that stand for sets of classes (METHOD.md 2), for host and device.
#pragma once

#include "kernels/core/arguments.h"
#include "kernels/core/host_device.h"

namespace duet {

// Row s holds the classes of label s: bit c % 32 of word c / 32 is class c.
struct LabelSets {
  Matrix<const int32_t> words;  // S x w; empty: a label is a class

  DUET_HOST_DEVICE explicit operator bool() const { return words.rows > 0 && words.columns > 0; }
  // Whether label s is a row of the table.
  DUET_HOST_DEVICE bool has(int32_t s) const { return s >= 0 && s < words.rows; }
  DUET_HOST_DEVICE bool holds(int32_t s, int64_t c) const {
    return static_cast<uint32_t>(words.row(s)[c / 32]) >> (c % 32) & 1;
  }
  DUET_HOST_DEVICE bool share(int32_t s, int32_t t) const {
    const int32_t *const a = words.row(s), *const b = words.row(t);
    int32_t both = 0;
    for (int64_t k = 0; k < words.columns; ++k) both |= a[k] & b[k];
    return both != 0;
  }
  // Whether two labels are alike: equal and not negative, or of the table and with a class in common.
  DUET_HOST_DEVICE bool alike(int32_t s, int32_t t) const {
    return s >= 0 && (s == t || (has(s) && has(t) && share(s, t)));
  }
};

// A table of any shape; empty where it was not given.
inline LabelSets check_label_sets(Arguments& arguments, const duet_const_matrix& view, const char* name) {
  return {arguments.matrix<const int32_t>(view, name, kAny, kAny, Need::optional)};
}

}  // namespace duet
