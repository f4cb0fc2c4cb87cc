// A run of neighbouring elements a vector at a time. Compiled once a SIMD target.
#if defined(DUET_CPU_ELEMENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_ELEMENTS_INL_H_
#undef DUET_CPU_ELEMENTS_INL_H_
#else
#define DUET_CPU_ELEMENTS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Calls at(d, k) for every vector of count elements. Elements that do not fill a vector go one by one through the same
// operations.
template <class At>
HWY_INLINE void over_elements(int64_t count, At&& at) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes) at(d, k);
  for (; k < count; ++k) at(one, k);
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
