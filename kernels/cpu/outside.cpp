#include "kernels/core/outside.h"

namespace duet::cpu {

template <class T>
Outside<T> first_outside(Vector<const T> values, T low, T high) {
  for (int64_t i = 0; i < values.size; ++i)
    if (!(values[i] >= low && values[i] <= high)) return {i, values[i]};
  return {};
}

template Outside<int32_t> first_outside(Vector<const int32_t>, int32_t, int32_t);
template Outside<int64_t> first_outside(Vector<const int64_t>, int64_t, int64_t);
template Outside<float> first_outside(Vector<const float>, float, float);

}  // namespace duet::cpu
