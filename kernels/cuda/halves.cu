// A thread owns up to four neighbouring elements of a row of one side; one launch converts all sides of a call.
// Bytes: 2 read and 4 written an element.
// Operations: some 10 an element, less than the bytes take; no products.
#include "kernels/core/halves.h"
#include "kernels/cuda/elementwise.h"

namespace duet::cuda {
namespace {

struct Widen {
  Half half;

  __device__ float value(uint32_t x) const { return half.dtype == DUET_DTYPE_F16 ? widened_f16(x) : widened_bf16(x); }
  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    const uint16_t* const from = half.from + i * half.stride + j;
    float* const to = half.to + i * half.columns + j;
    if constexpr (kWidth == 4) {
      const uint2 four = *reinterpret_cast<const uint2*>(from);
      store<4>(to, {{value(four.x & 0xFFFFu), value(four.x >> 16), value(four.y & 0xFFFFu), value(four.y >> 16)}});
    } else {
      *to = value(*from);
    }
  }
};

struct Side {
  Widen widen;
  ElementTiles tiles;
  bool wide;  // every row is aligned
};
struct Sides {
  Side at[kMostHalves];
};

// The tiles of one side after those of another.
__global__ void __launch_bounds__(kElementThreads) widen_kernel(Sides sides) {
  int64_t tile = blockIdx.x;
  int k = 0;
  while (tile >= sides.at[k].tiles.count) tile -= sides.at[k++].tiles.count;
  const Side& side = sides.at[k];
  if (side.wide)
    for_elements_of_tile<4>(side.tiles, static_cast<unsigned>(tile), side.widen);
  else
    for_elements_of_tile<1>(side.tiles, static_cast<unsigned>(tile), side.widen);
}

Side side_of(Half half) {
  if (half.stride == half.columns) half.columns = half.stride *= half.rows, half.rows = 1;  // one long row
  const bool starts = reinterpret_cast<uintptr_t>(half.from) % (4 * sizeof(uint16_t)) == 0;
  const bool wide = starts && (half.rows == 1 || (half.stride % 4 == 0 && half.columns % 4 == 0));
  return {{half}, element_tiles(half.rows, half.columns, wide ? 4 : 1), wide};
}

}  // namespace

void widen(const duet_context& context, std::span<const Half> halves) {
  Sides sides{};
  int64_t grid = 0;
  for (size_t k = 0; k < halves.size(); ++k) {
    sides.at[k] = side_of(halves[k]);
    grid += sides.at[k].tiles.count;
  }
  DUET_LAUNCH(widen_kernel, grid, kElementThreads, 0, context.stream)(sides);
}

}  // namespace duet::cuda
