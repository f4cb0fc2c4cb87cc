// ReLU and dropout of vectors, for the kernels here and for the layers that end in them. Compiled once a SIMD target.
#if defined(DUET_ACTIVATION_RELU_DROPOUT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_ACTIVATION_RELU_DROPOUT_INL_H
#undef DUET_ACTIVATION_RELU_DROPOUT_INL_H
#else
#define DUET_ACTIVATION_RELU_DROPOUT_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/activation/relu_dropout_cpu.h"
#include "kernels/cpu/elements-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/philox-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// max(x, 0), NaN kept.
template <class D>
HWY_INLINE hn::Vec<D> relu(D d, hn::Vec<D> x) {
  return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x);
}
// `passed` where y > 0, y where y is NaN, else 0.
template <class D>
HWY_INLINE hn::Vec<D> where_positive(D d, hn::Vec<D> y, hn::Vec<D> passed) {
  return hn::IfThenElse(hn::IsNaN(y), y, hn::IfThenElseZero(hn::Gt(y, hn::Zero(d)), passed));
}

// value / keep_probability, or 0 where its word is below the threshold.
template <class D>
HWY_INLINE hn::Vec<D> drop(D d, const DropoutDraw& draw, const uint32_t* words, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> du;
  const auto dropped = hn::RebindMask(d, hn::Lt(hn::LoadU(du, words), hn::Set(du, draw.threshold)));
  return hn::IfThenZeroElse(dropped, hn::Div(value, hn::Set(d, draw.keep_probability)));
}

// Calls body(start, count, words) for pieces of the elements from number `first` on. words[k] is the random word of
// element first + start + k. words lies in a buffer that stays in the first-level cache.
template <class Body>
HWY_INLINE void for_each_drawn(const DropoutDraw& draw, uint64_t first, int64_t count, Body&& body) {
  constexpr int64_t kPiece = 1024;
  HWY_ALIGN uint32_t words[kPiece + 4 * kPhiloxGroup];
  for (int64_t start = 0; start < count;) {
    const uint64_t element = first + static_cast<uint64_t>(start);
    const int64_t skip = static_cast<int64_t>(element % 4), piece = std::min(kPiece - skip, count - start);
    philox_blocks(draw.seed, draw.stream, draw.step, element / 4, ceil_div(skip + piece, 4), words);
    body(start, piece, words + skip);
    start += piece;
  }
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
