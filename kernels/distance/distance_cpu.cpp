#include <algorithm>
#include <cstring>

#include "kernels/distance/distance_backends.h"
#include "kernels/distance/distance_gradient.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const DistanceInputs& in)
      : sweep(in.x.rows, in.y.rows),
        tiles(workspace, in.metric, in.x.rows, in.y.rows, in.x.columns),
        gradients(workspace, in.metric, in.x.rows, in.y.rows, in.x.columns),
        g(workspace.take_matrix<float>(sweep.block_rows(), sweep.block_columns())) {}

  Sweep sweep;
  DistanceTiles tiles;
  DistanceGradients gradients;
  Matrix<float> g;  // one block of dL/dD
};

}  // namespace

size_t distance_workspace(const duet_context&, const DistanceInputs& inputs) {
  Workspace measure;
  Scratch(measure, inputs);
  return measure.used();
}

void distance_forward(const duet_context& context, const DistanceInputs& inputs, Matrix<float> distances, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, inputs);
  scratch.tiles.prepare(context, inputs.x, inputs.y);
  scratch.sweep.run(
      context,
      [&](const Tile& tile, int) {
        scratch.tiles.fill(tile.first_row, tile.first_column, distances.part(tile.first_row, tile.first_column, tile.rows, tile.columns));
      },
      [](const Block&) {});
}

void distance_backward(const duet_context& context, const DistanceInputs& inputs, Matrix<const float> distances, Matrix<const float> grad_distances,
                       Matrix<float> grad_x, Matrix<float> grad_y, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, inputs);
  scratch.tiles.prepare(context, inputs.x, inputs.y);
  scratch.gradients.begin(scratch.tiles, grad_x, grad_y);
  scratch.sweep.run(
      context,
      [&](const Tile& tile, int) {
        const auto g = scratch.g.part(tile.block_row, tile.block_column, tile.rows, tile.columns);
        for (int64_t i = 0; i < tile.rows; ++i)
          std::memcpy(g.row(i), grad_distances.row(tile.first_row + i) + tile.first_column, sizeof(float) * tile.columns);
        Matrix<const float> values;
        if (distances) values = distances.part(tile.first_row, tile.first_column, tile.rows, tile.columns);
        scratch.gradients.take_tile(tile, values, g);
      },
      [&](const Block& block) { scratch.gradients.add_block(context, block, scratch.g.part(0, 0, block.rows, block.columns)); });
  scratch.gradients.finish(context);
}

}  // namespace duet::cpu
