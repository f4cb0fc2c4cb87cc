#include "kernels/core/halves.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace duet::cpu {
namespace {

// Elements of a work item: some ten microseconds, which outweighs the cost of handing it to a thread.
constexpr int64_t kChunk = 1 << 15;

template <class Widened>
void widen_side(const duet_context& context, const Half& half, Widened widened) {
  const int64_t columns = half.from.columns;
  parallel_chunks(context, half.from.rows, std::max<int64_t>(kChunk / columns, 1),
                  [&](int64_t first, int64_t count, int) {
                    for (int64_t i = first; i < first + count; ++i) {
                      const uint16_t* const from = half.from.row(i);
                      float* const to = half.to.row(i);
                      for (int64_t j = 0; j < columns; ++j) to[j] = widened(from[j]);
                    }
                  });
}

}  // namespace

void widen(const duet_context& context, std::span<const Half> halves) {
  for (const Half& half : halves)
    if (half.dtype == DUET_DTYPE_F16)
      widen_side(context, half, [](uint16_t x) { return widened_f16(x); });
    else
      widen_side(context, half, [](uint16_t x) { return widened_bf16(x); });
}

}  // namespace duet::cpu
