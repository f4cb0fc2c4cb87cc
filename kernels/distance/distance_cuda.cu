// A block of threads owns a tile of distances and walks along a row of tiles; backward it owns one of dL/dD.
// Bytes: packed operands from L2, D stored once; backward dL/dD and D read once, and packed as G and G^T.
// Products: forward one, backward two. PLAN.md has the figures.
#include "kernels/distance/distance_backends.h"
#include "kernels/distance/distance_gradient_cuda.h"
#include "kernels/pairs/driver_cuda.h"

namespace duet::cuda {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const DistanceInputs& in)
      : rows(workspace, context.precision, in.metric, in.x.rows, in.y.rows, in.x.columns),
        gradients(workspace, context.precision, in.metric, in.x.rows, in.y.rows, in.x.columns) {}

  DistanceRows rows;
  DistanceGradients gradients;
};

struct DistanceForward {
  static constexpr bool kAlone = true;
  DistanceView rows;
  Matrix<float> to;

  int steps() const { return rows.x.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values values;
    fill_distances<T>(loop, rows, place, walk.place(tile + 1), values);
    T::store(values, to.data + place.first_row * to.stride + place.first_column, to.stride, place.rows, place.columns);
  }
};

// dL/dD in the tile's values, D as it lies in memory.
template <class T>
struct StoredDistances {
  const float* corner;  // of the tile; null: not known
  int64_t stride;
  int rows, columns;

  struct Column {
    const StoredDistances& of;
    int column;
    __device__ __forceinline__ PairGradient operator()(int r, float g) const {
      const bool stored = of.corner && T::row(r) < of.rows && column < of.columns;
      return {stored ? __ldg(of.corner + T::row(r) * of.stride + column) : 1, g};
    }
  };
  __device__ __forceinline__ Column column(int c) const { return {*this, T::column(c)}; }
};

struct StoredGradient {
  DistanceView rows;
  Matrix<const float> distances, grad_distances;
  DistanceGradientView out;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    typename T::Values values;
    T::load(grad_distances.data + place.first_row * grad_distances.stride + place.first_column, grad_distances.stride,
            place.rows, place.columns, 0, values);
    const float* corner =
        distances.data ? distances.data + place.first_row * distances.stride + place.first_column : nullptr;
    store_gradient<T>(shared, rows, out, place, StoredDistances<T>{corner, distances.stride, place.rows, place.columns},
                      values);
  }
};

}  // namespace

size_t distance_workspace(const duet_context& context, const DistanceInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void distance_forward(const duet_context& context, const DistanceInputs& inputs, Matrix<float> distances,
                      const duet_workspace& workspace) {
  if (distances.rows == 0 || distances.columns == 0) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.rows.prepare(context, inputs.x, inputs.y);
  const DistanceForward forward{scratch.rows.view(), distances};
  with_single_tile(context, [&](auto tile) {
    using T = decltype(tile);
    sweep_forward<T>(context, distances.rows, distances.columns, Walk<T>::kRows, forward);
  });
}

void distance_backward(const duet_context& context, const DistanceInputs& inputs, Matrix<const float> distances,
                       Matrix<const float> grad_distances, Matrix<float> grad_x, Matrix<float> grad_y,
                       const duet_workspace& workspace, const float* unless_zero) {
  if (grad_distances.rows == 0 || grad_distances.columns == 0 || (!grad_x && !grad_y)) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.rows.prepare(context, inputs.x, inputs.y);
  scratch.gradients.begin(context, scratch.rows, inputs.x, inputs.y, grad_x, grad_y, unless_zero);
  const StoredGradient gradient{scratch.rows.view(), distances, grad_distances, scratch.gradients.view()};
  with_precision(context.precision, [&](auto precision) {  // half tiles: no product here, and half the registers
    sweep_backward<DualTile<decltype(precision)::value>>(context, inputs.x.rows, inputs.y.rows, gradient,
                                                         scratch.gradients);
  });
  scratch.gradients.finish(context);
}

}  // namespace duet::cuda
