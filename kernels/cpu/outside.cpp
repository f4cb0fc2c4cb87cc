#include "kernels/core/outside.h"

namespace duet::cpu {

template <class T>
duet_fault first_outside(Vector<const T> values, const Range<T>& range) {
  for (int64_t i = 0; i < values.size; ++i)
    if (!range.holds(values[i]))
      return {range.name, range.is_scalar ? -1 : i, static_cast<double>(values[i]), static_cast<double>(range.low),
              static_cast<double>(range.high)};
  return {};
}

template duet_fault first_outside(Vector<const int32_t>, const Range<int32_t>&);
template duet_fault first_outside(Vector<const int64_t>, const Range<int64_t>&);
template duet_fault first_outside(Vector<const float>, const Range<float>&);

}  // namespace duet::cpu
