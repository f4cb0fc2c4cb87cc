#include "kernels/distance/distance_backends.h"
#include "kernels/distance/distance_gradient_cpu.h"

namespace duet::cpu {
namespace {

// Rows 4 KB apart would share the few places of one set of the cache.
int64_t block_stride(const Sweep& sweep) { return sweep.block_columns() + 16; }

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const DistanceInputs& in)
      : sweep(in.x.rows, in.y.rows, Sweep::kWide),
        tiles(workspace, in.metric, in.x.rows, in.y.rows, in.x.columns),
        gradients(workspace, in.metric, in.x.rows, in.y.rows, in.x.columns, sweep.block_rows(), sweep.block_columns()),
        g(workspace.take_matrix<float>(sweep.block_rows(), block_stride(sweep))),
        products(workspace.take_matrix<float>(context.threads * sweep.tile_rows(), sweep.tile_columns())) {}

  Sweep sweep;
  DistanceTiles tiles;
  DistanceGradients gradients;
  Matrix<float> g;         // one block of dL/dD
  Matrix<float> products;  // a tile for each thread
};

}  // namespace

size_t distance_workspace(const duet_context& context, const DistanceInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void distance_forward(const duet_context& context, const DistanceInputs& inputs, Matrix<float> distances,
                      const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.tiles.prepare(context, inputs.x, inputs.y);
  constexpr int64_t kCacheElements = int64_t{1}
                                     << 20;  // 4 MB: a smaller result is likely to be read from the cache next
  const bool past_cache = distances.rows * distances.columns > kCacheElements;
  scratch.sweep.run(
      context,
      [&](const Tile& tile, int thread) {
        const auto out = distances.part(tile.first_row, tile.first_column, tile.rows, tile.columns);
        if (past_cache)
          scratch.tiles.store(tile.first_row, tile.first_column,
                              scratch.products.part(thread * scratch.sweep.tile_rows(), 0, tile.rows, tile.columns),
                              out);
        else
          scratch.tiles.fill(tile.first_row, tile.first_column, out);
      },
      [](const Block&) {});
}

void distance_backward(const duet_context& context, const DistanceInputs& inputs, Matrix<const float> distances,
                       Matrix<const float> grad_distances, Matrix<float> grad_x, Matrix<float> grad_y,
                       const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.tiles.prepare(context, inputs.x, inputs.y);
  scratch.gradients.begin(scratch.tiles, grad_x, grad_y);
  scratch.sweep.run(
      context,
      [&](const Tile& tile, int) {
        const auto g = scratch.g.part(tile.block_row, tile.block_column, tile.rows, tile.columns);
        Matrix<const float> values;
        if (distances) values = distances.part(tile.first_row, tile.first_column, tile.rows, tile.columns);
        scratch.gradients.take_tile(tile, values,
                                    grad_distances.part(tile.first_row, tile.first_column, tile.rows, tile.columns), g);
      },
      [&](const Block& block) {
        scratch.gradients.add_block(context, block, scratch.g.part(0, 0, block.rows, block.columns));
      });
  scratch.gradients.finish(context);
}

}  // namespace duet::cpu
