// A block of threads owns an anchor, then, in a second launch, a row of either gradient.
// Bytes: each block reads all of y and its classes from L2; dL/dD of the batch goes to the workspace and back.
// Products: the row's distances and agreement, in float32, one pass each. PLAN.md has the figures.
#include <algorithm>

#include "kernels/distance/distance_small_cuda.h"
#include "kernels/triplet/triplet_all_cuda.h"
#include "kernels/triplet/triplet_mined_cuda.h"
#include "kernels/triplet/triplet_small_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;
[[maybe_unused]] constexpr int kBlocks =
    2;  // blocks an SM: 256 rows are two for each of 128, and with more, registers would spill
// Every block reads all rows of the other side: 256 x 256 rows of 512 elements are 134 MB from the second-level cache,
// 25 us, less than the launches of the tiles.
constexpr int64_t kMostColumns = 512;

struct Anchors {
  TripletRows rows;  // of the whole batch
  Matrix<const float> x, y, class_x, class_y;
  AnnotatedRows annotated;
  duet_metric metric;
  float near, near_euclidean;   // closeness()
  Matrix<float> distances;      // where the gradients read them; without data: they do not
  double *length_x, *length_y;  // of the rows, likewise; cosine
  MiningDraw draw;              // distance_weighted, with the index of its first element
  uint64_t first_element;
  int size;  // of a row's sort
};

constexpr bool sorts(duet_triplet_mining mining) {
  return mining == DUET_TRIPLET_MINING_ALL || mining == DUET_TRIPLET_MINING_SEMIHARD;
}

DUET_HOST_DEVICE constexpr size_t key_bytes(duet_triplet_mining mining, int size) {
  return mining == DUET_TRIPLET_MINING_ALL        ? all_row_bytes(size)
         : mining == DUET_TRIPLET_MINING_SEMIHARD ? spread<uint64_t>(size) * sizeof(uint64_t)
                                                  : 0;
}

// Keys and what goes with them; distances, dL/dD and Euclidean distances of the row; the row; its classes.
size_t shared_bytes(const TripletInputs& in, int size) {
  const int64_t columns = in.y.rows * (in.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED ? 3 : 2);
  const int64_t row = DistanceRow::floats(in.metric, in.x.columns) + (in.soft ? in.class_x.columns : 0);
  return key_bytes(in.mining, size) + static_cast<size_t>(columns + row) * sizeof(float);
}

// g becomes the anchor's W from the products of its classes. All threads of the block.
__device__ void settle_row(const AnnotatedRows& annotated, int64_t i, int64_t m, float* g) {
  __syncthreads();
  for (int64_t j = threadIdx.x; j < m; j += kThreads)
    if (annotated.both(i, j)) g[j] = weight_of_annotated(g[j]);
}

template <duet_triplet_mining kMining, bool kSoft, Relating kRelating, bool kGradient, bool kAnnotated>
__global__ void __launch_bounds__(kThreads, kBlocks) small_triplets_kernel(Anchors in) {
  DUET_SHARED_DYNAMIC(uint64_t, keys);
  const int64_t i = blockIdx.x, m = in.y.rows, d = in.x.columns;
  float* const distances =
      reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(keys) + key_bytes(kMining, in.size));
  float *const g = distances + m, *const euclidean = g + m;
  float *const shared_row = euclidean + (kMining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED ? m : 0),
               *const classes = shared_row + DistanceRow::floats(in.metric, d);
  for (int64_t c = threadIdx.x; kSoft && c < in.class_x.columns; c += kThreads) classes[c] = in.class_x.row(i)[c];
  DistanceRow anchor(in.metric, in.near, shared_row, in.x.row(i), d);
  distances_of_row(anchor, in.y, distances, i == 0 ? in.length_y : nullptr);
  if (in.length_x != nullptr && threadIdx.x == 0) in.length_x[i] = anchor.length;
  if constexpr (kSoft) products_of_row(classes, in.class_y, g);
  if constexpr (kAnnotated) settle_row(in.annotated, i, m, g);
  TripletRows row = in.rows.part(i, 1);
  row.distances = {distances, 1, m, m};
  row.g = {g, 1, m, m};
  TripletDraws draws{};
  if constexpr (kMining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) {
    anchor.as_euclidean(in.near_euclidean);
    distances_of_row(anchor, in.y, euclidean, nullptr);
    draws = {{euclidean, 1, m, m},
             in.draw,
             d,
             in.first_element + static_cast<uint64_t>(i) * static_cast<uint64_t>(in.draw.total_columns)};
  }
  __syncthreads();
  if constexpr (kMining == DUET_TRIPLET_MINING_ALL)
    all_of_row<kSoft, kRelating, kGradient, 1>(row, 0, keys, in.size);
  else
    mined_row<kMining, kRelating>(row, 0, draws, kGradient,
                                  [&](const Anchor<kRelating>& of) { return sort_negatives(of, keys, in.size); });
  if constexpr (kGradient) {
    __syncthreads();
    for (int64_t j = threadIdx.x; j < m; j += kThreads) {
      in.rows.g.row(i)[j] = g[j];
      if (in.distances) in.distances.row(i)[j] = distances[j];
    }
  }
}

struct Scratch {
  Matrix<float> g, distances;   // n x m
  double *length_x, *length_y;  // null but of cosine

  Scratch(Workspace& workspace, const TripletInputs& in)
      : g(workspace.take_matrix<float>(in.x.rows, in.y.rows)),
        distances(in.metric == DUET_METRIC_SQEUCLIDEAN ? Matrix<float>{}
                                                       : workspace.take_matrix<float>(in.x.rows, in.y.rows)),
        length_x(in.metric == DUET_METRIC_COSINE ? workspace.take<double>(in.x.rows) : nullptr),
        length_y(in.metric == DUET_METRIC_COSINE ? workspace.take<double>(in.y.rows) : nullptr) {}
};

bool fits(const TripletInputs& in) {
  return std::max(in.x.rows, in.y.rows) <= kMostSmallPairs &&
         std::max(in.x.columns, in.class_x.columns) <= kMostColumns;
}

template <duet_triplet_mining kMining, bool kSoft, bool kAnnotated = false>
void mine(const duet_context& context, const Anchors& anchors, bool gradient, size_t shared) {
  with_relating(anchors.rows.numbers, [&](auto relating) {
    constexpr Relating kRelating = decltype(relating)::value;
    if constexpr (!kSoft || kRelating != Relating::sets) {  // which are of labels
      if (gradient)
        DUET_LAUNCH((small_triplets_kernel<kMining, kSoft, kRelating, true, kAnnotated>), anchors.x.rows, kThreads,
                    shared, context.stream)
      (anchors);
      else DUET_LAUNCH((small_triplets_kernel<kMining, kSoft, kRelating, false, kAnnotated>), anchors.x.rows, kThreads,
                       shared, context.stream)(anchors);
    }
  });
}

}  // namespace

bool is_small(const duet_context& context, const TripletInputs& in) {
  return std::max(in.x.rows, in.y.rows) <= context.small_rows && fits(in);
}

size_t small_triplets_workspace(const TripletInputs& in) {
  Workspace measure;
  if (fits(in)) Scratch(measure, in);
  return measure.used();
}

void small_triplets(const duet_context& context, const TripletInputs& in, const TripletOutputs& to,
                    const duet_workspace& workspace) {
  Workspace pieces(workspace);
  const Scratch scratch(pieces, in);
  const int64_t d = in.x.columns;
  const auto near = [&](duet_metric metric) { return closeness(metric, static_cast<double>(d)); };
  Anchors anchors{};
  anchors.rows = rows_of(in, to, {}, scratch.g);
  anchors.x = in.x, anchors.y = in.y, anchors.class_x = in.class_x, anchors.class_y = in.class_y;
  anchors.annotated = in.annotated;
  anchors.metric = in.metric, anchors.near = near(in.metric), anchors.near_euclidean = near(DUET_METRIC_EUCLIDEAN);
  anchors.distances = scratch.distances, anchors.length_x = scratch.length_x, anchors.length_y = scratch.length_y;
  anchors.size = sorts(in.mining) ? sort_size(in.y.rows) : 0;
  if (in.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) {
    anchors.draw = in.draw;
    anchors.first_element = static_cast<uint64_t>(in.first_row) * static_cast<uint64_t>(in.draw.total_columns) +
                            static_cast<uint64_t>(in.first_column);
  }
  const size_t shared = shared_bytes(in, anchors.size);
  switch (in.mining) {
    case DUET_TRIPLET_MINING_HARD:
      mine<DUET_TRIPLET_MINING_HARD, false>(context, anchors, to.gradient(), shared);
      break;
    case DUET_TRIPLET_MINING_SEMIHARD:
      mine<DUET_TRIPLET_MINING_SEMIHARD, false>(context, anchors, to.gradient(), shared);
      break;
    case DUET_TRIPLET_MINING_DISTANCE_WEIGHTED:
      mine<DUET_TRIPLET_MINING_DISTANCE_WEIGHTED, false>(context, anchors, to.gradient(), shared);
      break;
    default:
      if (!in.soft)
        mine<DUET_TRIPLET_MINING_ALL, false>(context, anchors, to.gradient(), shared);
      else if (in.annotated)
        mine<DUET_TRIPLET_MINING_ALL, true, true>(context, anchors, to.gradient(), shared);
      else
        mine<DUET_TRIPLET_MINING_ALL, true>(context, anchors, to.gradient(), shared);
  }
  if (!to.gradient()) return;
  small_distance_gradients(context, {in.x, in.y, in.metric, scratch.distances, scratch.g, scratch.length_x,
                                     scratch.length_y, to.grad_x, to.grad_y, to.active != nullptr, to.active});
}

}  // namespace duet::cuda
