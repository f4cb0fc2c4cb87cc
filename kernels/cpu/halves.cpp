#include "kernels/core/halves.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/halves.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// Loops that the compiler turns into each target's vectors: the formulas are those that CUDA has.
template <class Widened>
HWY_INLINE void widen_row(const uint16_t* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t count, Widened widened) {
  for (int64_t k = 0; k < count; ++k) to[k] = widened(from[k]);
}

void widen_rows(const Half& half, int64_t first, int64_t count) {
  for (int64_t i = first; i < first + count; ++i) {
    const uint16_t* const from = half.from + i * half.stride;
    float* const to = half.to + i * half.columns;
    if (half.dtype == DUET_DTYPE_F16)
      widen_row(from, to, half.columns, [](uint32_t x) HWY_ATTR { return widened_f16(x); });
    else
      widen_row(from, to, half.columns, [](uint32_t x) HWY_ATTR { return widened_bf16(x); });
  }
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {

HWY_EXPORT(widen_rows);

// Elements of a work item: some microseconds, which outweighs the cost of handing it to a thread.
constexpr int64_t kChunk = 1 << 15;

}  // namespace

void widen(const duet_context& context, std::span<const Half> halves) {
  for (const Half& half : halves)
    parallel_chunks(context, half.rows, std::max<int64_t>(kChunk / half.columns, 1),
                    [&](int64_t first, int64_t count, int) {
                      HWY_DYNAMIC_DISPATCH(widen_rows)
                      (half, first, count);
                    });
}

}  // namespace duet::cpu
#endif
