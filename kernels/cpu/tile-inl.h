// How the per-target files walk along the rows of a tile.
#if defined(DUET_CPU_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_TILE_INL_H_
#undef DUET_CPU_TILE_INL_H_
#else
#define DUET_CPU_TILE_INL_H_
#endif

#include <type_traits>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

inline constexpr FloatTag kTag;

// body(first column, last) for every vector of a row; last is true where lanes past the row's end must not count.
template <class Body>
HWY_INLINE void for_each_vector(int64_t columns, Body&& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kTag));
  int64_t j = 0;
  for (; j + lanes <= columns; j += lanes) body(j, std::false_type());
  if (j < columns) body(j, std::true_type());
}

template <class Last>
HWY_INLINE FloatVector counted(FloatVector x, int64_t remaining, Last) {
  if constexpr (Last::value) return hn::IfThenElseZero(hn::FirstN(kTag, static_cast<size_t>(remaining)), x);
  return x;
}

inline void fill(float* to, int64_t count, float value) {
  for (int64_t k = 0; k < count; ++k) to[k] = value;
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
