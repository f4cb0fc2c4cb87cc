// Numbers that both sides of an operation on pairs of rows have, or neither: labels, groups.
#pragma once

#include "kernels/core/arguments.h"

namespace duet {

// int32 of n and m elements; a side without rows has none to give. Without data where neither side gives them.
inline void check_numbers(Arguments& arguments, const duet_const_vector& of_a, const char* name_a,
                          const duet_const_vector& of_v, const char* name_v, int64_t n, int64_t m,
                          Vector<const int32_t>& to_a, Vector<const int32_t>& to_v) {
  const auto there = [](const duet_const_vector& view) { return view.data != nullptr || view.size != 0; };
  if (!there(of_a) && !there(of_v)) return;
  to_a = arguments.vector<const int32_t>(of_a, name_a, n, n == 0 ? Need::optional : Need::required);
  to_v = arguments.vector<const int32_t>(of_v, name_v, m, m == 0 ? Need::optional : Need::required);
}

}  // namespace duet
