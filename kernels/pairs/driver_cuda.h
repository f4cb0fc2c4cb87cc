// The loops of pair operations on the GPU, once for all of them: an operation says what one tile of pairs does; here
// are the blocks of the matrix, the launches, the merges of the tiles' sums and the products of the gradient.
//
// Forward: sweep_forward<T>(context, n, m, block_rows, forward, {&sums...}), where Forward is
//   static constexpr bool kAlone;      // a tile has one product, so that all shared memory may keep its rows
//   int steps() const;                 // of the product whose rows are kept from tile to tile (host)
//   template <class T> __device__ void tile(typename T::Loop& loop, const TilePlace& place, const TilePlace& next)
//   const;
// Backward: sweep_backward<T>(context, n, m, gradient, products, {{&sums, to}...}), where Gradient is
//   template <class T> __device__ void tile(uint32_t* shared, const TilePlace& place) const;   // ends with store_tile
// What becomes of the sums is for_each_position's (cuda/positions.h). All threads of a block call tile together.
#pragma once

#include <initializer_list>

#include "kernels/cuda/agreement_gradient.h"

namespace duet::cuda {

template <class T, class Forward>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) forward_tiles(Forward forward, Walk<T> walk) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  typename T::Loop loop{shared, walk.kept_steps};
  for (int tile = walk.first(); tile < walk.end(); ++tile) forward.template tile<T>(loop, walk, tile);
}

// block_rows: of the blocks that the sums' partial buffers were taken for.
template <class T, class Forward>
void sweep_forward(const duet_context& context, int64_t n, int64_t m, int64_t block_rows, const Forward& forward,
                   std::initializer_list<const SweepSums*> sums = {}) {
  for (const SweepSums* pair : sums) pair->begin(context);
  for_each_block(n, m, block_rows, kForwardColumns, [&](const Block& block) {
    const Walk<T> walk(context, block, forward.steps(), Forward::kAlone);
    DUET_LAUNCH((forward_tiles<T, Forward>), walk.blocks(), T::kThreads, walk.shared_bytes(), context.stream)
    (forward, walk);
    if (sums.size() > 0) merge_sums(context, block, T::kColumns, sums);
  });
}

template <class T, class Gradient>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) gradient_tiles(Gradient gradient, Block block) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  gradient.template tile<T>(shared, tile_of<T>(block, blockIdx.x));
}

// to[0] += the sum of what the tiles said; to without data: not wanted.
struct TileTotal {
  const TileSums* sums;
  Vector<float> to;
};

// products: BlockGradients or DistanceGradients, begun; their block is what the tiles fill.
template <class T, class Gradient, class Products>
void sweep_backward(const duet_context& context, int64_t n, int64_t m, const Gradient& gradient, Products& products,
                    std::initializer_list<TileTotal> totals = {}) {
  for (const TileTotal& total : totals) total.sums->begin(context);
  for_each_block(n, m, kBlockRows, kBackwardColumns, [&](const Block& block) {
    DUET_LAUNCH((gradient_tiles<T, Gradient>), tiles_of<T>(block), T::kThreads, T::kSharedBytes, context.stream)
    (gradient, block);
    products.add(context, block);
  });
  for (const TileTotal& total : totals)
    if (total.to) total.sums->add_to(context, total.to.data);
}

}  // namespace duet::cuda
