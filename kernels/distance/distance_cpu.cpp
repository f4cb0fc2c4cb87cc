#include "kernels/distance/distance_backends.h"
#include "kernels/distance/distance_gradient_cpu.h"
#include "kernels/pairs/driver_cpu.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const DistanceInputs& in)
      : sweep(in.x.rows, in.y.rows, Sweep::kWide),
        tiles(workspace, in.metric, in.x.rows, in.y.rows, in.x.columns),
        gradients(workspace, context, in.metric, in.x.rows, in.y.rows, in.x.columns, sweep.block_rows(),
                  sweep.block_columns()),
        gradient(workspace, sweep),
        products(workspace.take_matrix<float>(context.threads * sweep.tile_rows(), sweep.tile_columns())) {}

  Sweep sweep;
  DistanceTiles tiles;
  DistanceGradients gradients;
  ScoreGradient gradient;  // of dL/dD
  Matrix<float> products;  // a tile for each thread
};

struct Backward {
  const duet_context& context;
  Matrix<const float> distances, grad_distances;
  Scratch& scratch;

  void pack(const Block&) {}
  double form(const Tile& tile, int, Matrix<float> gradient) {
    const auto part = [&](Matrix<const float> of) {
      return of.part(tile.first_row, tile.first_column, tile.rows, tile.columns);
    };
    scratch.gradients.take_tile(tile, distances ? part(distances) : distances, part(grad_distances), gradient);
    return 0;  // there is no scale
  }
  void add(const Block& block, Matrix<float> gradient) { scratch.gradients.add_block(context, block, gradient); }
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
  pairs_backward(context, scratch.sweep, scratch.gradient, Backward{context, distances, grad_distances, scratch});
  scratch.gradients.finish(context);
}

}  // namespace duet::cpu
