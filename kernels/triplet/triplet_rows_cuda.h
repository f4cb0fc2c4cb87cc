// The triplets of a block of anchors from their distances (METHOD.md 3): what triplet_cuda.cu asks of the kernels.
#pragma once

#include "kernels/cuda/row_blocks.h"
#include "kernels/triplet/triplet_backends.h"

namespace duet::cuda {

// What a pass writes; without data: not wanted.
struct TripletOutputs {
  Vector<float> row_loss, row_active;
  Matrix<float> grad_x, grad_y;
  const float *active = nullptr, *grad_loss = nullptr;  // null: the gradient of sum row_loss

  bool gradient() const { return grad_x || grad_y; }
};

// A block's rows. Where a gradient is wanted, g becomes scale dL/dD, scale = grad_loss / active (0 where active is 0,
// and then nobody reads g), or 1 where active is null.
struct TripletRows {
  Matrix<const float> distances;   // rows x m
  Matrix<float> g;                 // rows x m; holds the agreement on entry where classes decide
  RelationNumbers numbers;         // of the rows; own is known without labels and groups too
  const float *trust_x, *trust_y;  // rows, m; null: 1
  bool paired;
  float margin;
  float *row_loss, *row_active;  // rows; null in backward
  const float *active, *grad_loss;

  DUET_HOST_DEVICE TripletRows part(int64_t first, int64_t count) const {
    const auto from = [first](auto* pointer) { return pointer ? pointer + first : pointer; };
    TripletRows out = *this;
    out.distances = distances.part(first, 0, count, distances.columns);
    if (g) out.g = g.part(first, 0, count, g.columns);
    out.numbers = numbers.part(first), out.trust_x = from(trust_x);
    out.row_loss = from(row_loss), out.row_active = from(row_active);
    return out;
  }
};

// All rows of a call, of which distances and g hold the first ones or all.
inline TripletRows rows_of(const TripletInputs& in, const TripletOutputs& to, Matrix<const float> distances,
                           Matrix<float> g) {
  TripletRows rows{};
  rows.distances = distances;
  rows.g = g;
  rows.numbers = in.numbers();
  rows.trust_x = in.trust_x.data, rows.trust_y = in.trust_y.data;
  rows.paired = in.paired;
  rows.margin = in.margin;
  rows.row_loss = to.row_loss.data, rows.row_active = to.row_active.data;
  rows.active = to.active, rows.grad_loss = to.grad_loss;
  return rows;
}

struct TripletDraws {
  Matrix<const float> distances;  // rows x m, Euclidean
  MiningDraw draw;
  int64_t dimension;
  uint64_t first_element;  // of the first row, as RowDraw has it
};

// What rows too long for shared memory take besides their keys.
struct LongTriplets {
  LongRows rows;
  float *positive, *negative;  // weights in sorted order
  double* below;               // 3 sums for each run of sorted columns, and one more

  LongTriplets(Workspace& workspace, const duet_context& context, const TripletInputs& in);
};

void triplets_all_rows(const duet_context& context, const TripletRows& rows, bool soft, bool gradient,
                       const LongTriplets& longer);
void triplets_mined_rows(const duet_context& context, const TripletRows& rows, duet_triplet_mining mining,
                         bool gradient, const TripletDraws& draws, const LongTriplets& longer);

__device__ inline double triplet_scale(const TripletRows& rows) {
  if (rows.active == nullptr) return 1;
  return *rows.active == 0 ? 0 : static_cast<double>(*rows.grad_loss) / *rows.active;
}

// One thread writes what a row came to.
__device__ inline void write_triplet_sums(const TripletRows& rows, int64_t row, double loss, double active) {
  if (threadIdx.x != 0 || rows.row_loss == nullptr) return;
  rows.row_loss[row] = static_cast<float>(loss);
  rows.row_active[row] = static_cast<float>(active);
}

// Whether a row is settled without its triplets, and then writes it: NaN where NaN decides anything about it (nan, of
// any thread), 0 where the anchor has no trust. For whole blocks.
__device__ inline bool settle_triplets(const TripletRows& rows, int64_t row, bool nan, float trust, bool gradient) {
  const bool has_nan = __syncthreads_or(nan) != 0;
  if (!has_nan && trust != 0) return false;
  const float value = has_nan ? NAN : 0.0f;
  for (int64_t j = threadIdx.x; gradient && j < rows.distances.columns; j += blockDim.x) rows.g.row(row)[j] = value;
  write_triplet_sums(rows, row, value, value);
  return true;
}

}  // namespace duet::cuda
