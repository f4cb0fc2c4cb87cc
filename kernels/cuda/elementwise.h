// Elementwise work on matrices: a block of 256 threads owns a tile of them, each thread four neighbouring elements of
// one row (16 bytes a load where rows are aligned for it, else one by one). Matrices whose rows follow each other
// without a gap are one long row.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/core/ceil_div.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/cuda/launch.h"

namespace duet::cuda {

inline constexpr int kElementThreads = 256;

template <class T>
bool contiguous(Matrix<T> x) {
  return x.stride == x.columns || x.rows <= 1;
}
inline bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }
// Every row starts at a multiple of 16 bytes.
template <class T>
bool aligned(Matrix<T> x) {
  return aligned(x.data) && (x.stride % 4 == 0 || x.rows <= 1);
}

// kWidth neighbouring elements, 1 or 4.
template <int kWidth>
struct Pack {
  float at[kWidth];
};
template <int kWidth>
__device__ __forceinline__ Pack<kWidth> load(const float* from) {
  if constexpr (kWidth == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    return {{v.x, v.y, v.z, v.w}};
  } else {
    return {{*from}};
  }
}
template <int kWidth>
__device__ __forceinline__ void store(float* to, const Pack<kWidth>& value) {
  if constexpr (kWidth == 4)
    *reinterpret_cast<float4*>(to) = float4{value.at[0], value.at[1], value.at[2], value.at[3]};
  else
    *to = value.at[0];
}

// How a matrix is cut into tiles: lanes threads across (a power of two), 256 / lanes rows down.
struct ElementTiles {
  int64_t rows, columns, count;  // count: of tiles; a launch refuses 2^31 blocks, and with them what across cannot say
  unsigned across;               // tiles in a row of tiles
  int lanes_log2;
};
// width: the neighbouring elements of a thread. rows and columns are 1 or more.
inline ElementTiles element_tiles(int64_t rows, int64_t columns, int width) {
  int lanes_log2 = 0;
  while ((width << lanes_log2) < columns && (1 << lanes_log2) < kElementThreads) ++lanes_log2;
  const int64_t across = ceil_div(columns, int64_t{width} << lanes_log2),
                down = ceil_div(rows, kElementThreads >> lanes_log2);
  return {rows, columns, across * down, static_cast<unsigned>(across), lanes_log2};
}

// body.at<kWidth>(i, j) for the elements of one tile, by a block of kElementThreads.
template <int kWidth, class Body>
__device__ void for_elements_of_tile(const ElementTiles& tiles, unsigned tile, const Body& body) {
  const unsigned thread = threadIdx.x, lanes = 1u << tiles.lanes_log2;
  const int64_t i = int64_t{tile / tiles.across} * (kElementThreads >> tiles.lanes_log2) + (thread >> tiles.lanes_log2);
  const int64_t j = (int64_t{tile % tiles.across} * lanes + (thread & (lanes - 1))) * kWidth;
  if (i >= tiles.rows || j >= tiles.columns) return;
  if (j + kWidth <= tiles.columns) return body.template at<kWidth>(i, j);
  for (int64_t k = j; k < tiles.columns; ++k) body.template at<1>(i, k);
}

template <int kWidth, class Body>
__global__ void __launch_bounds__(kElementThreads) elements_kernel(ElementTiles tiles, Body body) {
  for_elements_of_tile<kWidth>(tiles, blockIdx.x, body);
}

// body.at<kWidth>(i, j) for every element (i, j) ... (i, j + kWidth - 1) of rows x columns once. flat: whatever body
// touches is contiguous; then i is 0 and j runs over rows * columns. wide: every row is aligned.
template <class Body>
void for_each_element(const duet_context& context, int64_t rows, int64_t columns, bool flat, bool wide,
                      const Body& body) {
  if (rows == 0 || columns == 0) return;
  if (flat) columns *= rows, rows = 1;
  const ElementTiles tiles = element_tiles(rows, columns, wide ? 4 : 1);
  if (wide)
    DUET_LAUNCH((elements_kernel<4, Body>), tiles.count, kElementThreads, 0, context.stream)(tiles, body);
  else
    DUET_LAUNCH((elements_kernel<1, Body>), tiles.count, kElementThreads, 0, context.stream)(tiles, body);
}

}  // namespace duet::cuda
