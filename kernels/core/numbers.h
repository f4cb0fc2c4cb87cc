// Numbers that both sides of an operation on pairs of rows have, or neither: labels, groups, flags.
#pragma once

#include "kernels/core/arguments.h"

namespace duet {

// n and m of T; a side without rows has none to give. Without data where neither side gives them.
template <class T>
void check_numbers(Arguments& arguments, const duet_const_vector& of_a, const char* name_a,
                   const duet_const_vector& of_v, const char* name_v, int64_t n, int64_t m, Vector<const T>& to_a,
                   Vector<const T>& to_v) {
  const auto there = [](const duet_const_vector& view) { return view.data != nullptr || view.size != 0; };
  if (!there(of_a) && !there(of_v)) return;
  to_a = arguments.vector<const T>(of_a, name_a, n, n == 0 ? Need::optional : Need::required);
  to_v = arguments.vector<const T>(of_v, name_v, m, m == 0 ? Need::optional : Need::required);
}

}  // namespace duet
