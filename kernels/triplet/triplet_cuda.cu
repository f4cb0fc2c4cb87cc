// Owns nothing itself: it puts the kernels of a block of rows on the stream, distances, agreement, rows, gradients.
// Bytes: 64 MB of distances and 64 MB of agreement or dL/dD a block, whatever n; they stay in L2 in part.
// Products: distances, agreement where classes decide, and two for the gradients. PLAN.md has the figures.
#include "kernels/cuda/warp.h"
#include "kernels/distance/distance_backends.h"
#include "kernels/triplet/triplet_rows_cuda.h"
#include "kernels/triplet/triplet_small_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const TripletInputs& in)
      : height(block_rows(in.x.rows, in.y.rows)),
        draws(in.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED),
        distances(workspace.take_matrix<float>(height, in.y.rows)),
        g(workspace.take_matrix<float>(height, in.y.rows)),
        euclidean(workspace.take_matrix<float>(draws ? height : 0, in.y.rows)),
        longer(workspace, context, in) {
    const auto needed = [&](const duet_context& with, Matrix<const float> x, Matrix<const float> y,
                            duet_metric metric) {
      return distance_workspace(with, {x.part(0, 0, height, x.columns), y, metric});
    };
    tile_bytes = needed(context, in.x, in.y, in.metric);
    if (draws) tile_bytes = std::max(tile_bytes, needed(context, in.x, in.y, DUET_METRIC_EUCLIDEAN));
    if (in.soft) tile_bytes = std::max(tile_bytes, needed(exact(context), in.class_x, in.class_y, DUET_METRIC_INNER));
    tiles = workspace.take<char>(static_cast<int64_t>(tile_bytes));
  }

  static duet_context exact(duet_context context) {
    context.precision = DUET_PRECISION_FP32;
    return context;
  }
  duet_workspace tile_workspace() const { return {tiles, tile_bytes}; }

  int64_t height;
  bool draws;
  Matrix<float> distances, g, euclidean;  // of a block
  LongTriplets longer;
  void* tiles;
  size_t tile_bytes;
};

// A block a row of g, which holds the products of classes of the rows from first on: becomes W.
__global__ void __launch_bounds__(kThreads) settle_agreement(AnnotatedRows annotated, int64_t first, Matrix<float> g) {
  const int64_t i = blockIdx.x;
  for (int64_t j = threadIdx.x; j < g.columns; j += kThreads)
    if (annotated.both(first + i, j)) g.row(i)[j] = weight_of_annotated(g.row(i)[j]);
}

void run_in_tiles(const duet_context& context, const TripletInputs& in, const TripletOutputs& to,
                  const duet_workspace& workspace) {
  Workspace pieces(workspace);
  const Scratch scratch(pieces, context, in);
  const int64_t m = in.y.rows, d = in.x.columns;
  const bool gradient = to.gradient();
  const TripletRows all = rows_of(in, to, {}, {});
  for_each_row_block(in.x.rows, scratch.height, [&](int64_t first, int64_t count) {
    const auto x = in.x.part(first, 0, count, d);
    const auto distances = scratch.distances.part(0, 0, count, m), g = scratch.g.part(0, 0, count, m);
    TripletRows rows = all.part(first, count);
    rows.distances = distances, rows.g = g;
    distance_forward(context, {x, in.y, in.metric}, distances, scratch.tile_workspace());
    if (in.soft)
      distance_forward(Scratch::exact(context),
                       {in.class_x.part(first, 0, count, in.class_x.columns), in.class_y, DUET_METRIC_INNER}, g,
                       scratch.tile_workspace());
    if (in.annotated) DUET_LAUNCH(settle_agreement, count, kThreads, 0, context.stream)(in.annotated, first, g);
    TripletDraws draws{};
    if (scratch.draws) {
      const auto euclidean = scratch.euclidean.part(0, 0, count, m);
      distance_forward(context, {x, in.y, DUET_METRIC_EUCLIDEAN}, euclidean, scratch.tile_workspace());
      const auto global = static_cast<uint64_t>(in.first_row + first),
                 total = static_cast<uint64_t>(in.draw.total_columns);
      draws = {euclidean, in.draw, d, global * total + static_cast<uint64_t>(in.first_column)};
    }
    if (in.mining == DUET_TRIPLET_MINING_ALL)
      triplets_all_rows(context, rows, in.soft, gradient, scratch.longer);
    else
      triplets_mined_rows(context, rows, in.mining, gradient, draws, scratch.longer);
    if (!gradient) return;
    const auto grad_x = to.grad_x ? to.grad_x.part(first, 0, count, d) : Matrix<float>{};
    distance_backward(context, {x, in.y, in.metric}, distances, g, grad_x, to.grad_y, scratch.tile_workspace(),
                      to.active);  // T = 0 where it is 0
  });
}

__global__ void __launch_bounds__(kThreads) clear_rows(Matrix<float> rows) {
  const int64_t i = blockIdx.x;
  for (int64_t k = threadIdx.x; k < rows.columns; k += kThreads) rows.row(i)[k] = 0;
}

// A block a row of x, then of y.
__global__ void __launch_bounds__(kThreads)
    add_scaled(const float* active, const float* grad_loss, TripletSums x, TripletSums y) {
  if (*active == 0) return;  // T = 0 (METHOD.md 3)
  const auto factor = static_cast<float>(static_cast<double>(*grad_loss) / *active);
  const bool is_x = blockIdx.x < x.grad.rows;
  const TripletSums of = is_x ? x : y;
  const int64_t i = is_x ? blockIdx.x : blockIdx.x - x.grad.rows;
  for (int64_t k = threadIdx.x; k < of.grad.columns; k += kThreads) of.grad.row(i)[k] += factor * of.sum.row(i)[k];
}

// One block.
__global__ void __launch_bounds__(1024)
    sum_rows(Vector<const float> row_loss, Vector<const float> row_active, float* loss, float* active) {
  double total = 0, weight = 0;
  for (int64_t i = threadIdx.x; i < row_loss.size; i += blockDim.x) total += row_loss[i], weight += row_active[i];
  total = block_sum(total);
  weight = block_sum(weight);
  if (threadIdx.x != 0) return;
  *loss = weight == 0 ? 0.0f : static_cast<float>(total / weight);
  *active = static_cast<float>(weight);
}

}  // namespace

size_t triplet_workspace(const duet_context& context, const TripletInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return std::max(measure.used(), small_triplets_workspace(inputs));
}

void triplet_forward(const duet_context& context, const TripletInputs& inputs, Vector<float> row_loss,
                     Vector<float> row_active, Matrix<float> sum_x, Matrix<float> sum_y,
                     const duet_workspace& workspace) {
  const TripletOutputs to{row_loss, row_active, sum_x, sum_y};
  if (is_small(context, inputs)) return small_triplets(context, inputs, to, workspace);
  for (const Matrix<float>& sum : {sum_x, sum_y})
    if (sum) DUET_LAUNCH(clear_rows, sum.rows, kThreads, 0, context.stream)(sum);
  run_in_tiles(context, inputs, to, workspace);
}

void triplet_backward(const duet_context& context, const TripletInputs& inputs, Vector<const float> active,
                      Vector<const float> grad_loss, Matrix<float> grad_x, Matrix<float> grad_y,
                      const duet_workspace& workspace) {
  if (!grad_x && !grad_y) return;
  const TripletOutputs to{{}, {}, grad_x, grad_y, active.data, grad_loss.data};
  if (is_small(context, inputs)) return small_triplets(context, inputs, to, workspace);
  run_in_tiles(context, inputs, to, workspace);
}

void triplet_add_gradient(const duet_context& context, Vector<const float> active, Vector<const float> grad_loss,
                          const TripletSums& x, const TripletSums& y) {
  DUET_LAUNCH(add_scaled, x.grad.rows + y.grad.rows, kThreads, 0, context.stream)(active.data, grad_loss.data, x, y);
}

void triplet_loss(const duet_context& context, Vector<const float> row_loss, Vector<const float> row_active,
                  Vector<float> loss, Vector<float> active) {
  DUET_LAUNCH(sum_rows, 1, row_loss.size > kThreads ? 1024 : kThreads, 0, context.stream)
  (row_loss, row_active, loss.data, active.data);
}

}  // namespace duet::cuda
