// Forward: rows x columns elementwise (kernels/cuda/elementwise.h), one load and one store of 16 bytes a thread; 8 d + 8 bytes a row, so 4096 rows of
// 512 take 17 MB: 3.5 us of bandwidth on an H200 (4.8 TB/s) and as much again to start.
// Backward: a warp owns a row i of the batch. Where an earlier row has the same index it leaves; else it adds all rows with its index, in their
// order, so that an element of grad_source has one writer. Looking for them reads the indices from the caches, B / 32 steps a warp: 4096 rows cost
// 128 steps, some 5 us, over the 12 d bytes a row that the sum itself moves; the search is quadratic, 65536 rows take milliseconds.
#include "kernels/cuda/elementwise.h"
#include "kernels/gather/gather_backends.h"

namespace duet::cuda {
namespace {

struct CopyRows {
  Matrix<const float> source;
  Vector<const int64_t> indices;
  Matrix<float> rows;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    const int64_t index = indices[i];
    Pack<kWidth> value;
    if (index >= 0 && index < source.rows) {
      value = load<kWidth>(source.row(index) + j);
    } else {
      for (int k = 0; k < kWidth; ++k) value.at[k] = __uint_as_float(0x7FC00000u);
    }
    store(rows.row(i) + j, value);
  }
};

struct CopyLabels {
  Vector<const int32_t> source;
  Vector<const int64_t> indices;
  Vector<int32_t> labels;

  template <int kWidth>
  __device__ void at(int64_t, int64_t j) const {
    for (int64_t k = j; k < j + kWidth; ++k) labels[k] = indices[k] >= 0 && indices[k] < source.size ? source[indices[k]] : -1;
  }
};

constexpr int kWarps = 8;  // of a block

template <int kWidth>
__global__ void __launch_bounds__(32 * kWarps)
    add_rows_kernel(Vector<const int64_t> indices, Matrix<const float> grad_rows, Matrix<float> grad_source) {
  constexpr unsigned kAll = 0xFFFFFFFFu;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (i >= indices.size) return;
  const int64_t index = indices[i];
  if (index < 0 || index >= grad_source.rows) return;
  for (int64_t first = 0; first < i; first += 32)
    if (__any_sync(kAll, first + lane < i && indices[first + lane] == index)) return;
  float* const to = grad_source.row(index);
  for (int64_t first = i; first < indices.size; first += 32) {
    unsigned same = __ballot_sync(kAll, first + lane < indices.size && indices[first + lane] == index);
    for (; same; same &= same - 1) {
      const float* const from = grad_rows.row(first + __ffs(static_cast<int>(same)) - 1);
      for (int64_t k = int64_t{lane} * kWidth; k < grad_rows.columns; k += 32 * kWidth) {
        Pack<kWidth> sum = load<kWidth>(to + k);
        const Pack<kWidth> term = load<kWidth>(from + k);
        DUET_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.at[e] += term.at[e];
        store(to + k, sum);
      }
    }
  }
}

}  // namespace

void gather_forward(const duet_context& context, Matrix<const float> source, Vector<const int64_t> indices, Matrix<float> rows) {
  for_each_element(context, rows.rows, rows.columns, false, aligned(source) && aligned(rows), CopyRows{source, indices, rows});
}

void gather_backward(const duet_context& context, Vector<const int64_t> indices, Matrix<const float> grad_rows, Matrix<float> grad_source) {
  if (grad_rows.columns == 0) return;
  const bool wide = aligned(grad_rows) && aligned(grad_source) && grad_rows.columns % 4 == 0;
  const int64_t grid = pieces(indices.size, kWarps);
  if (wide)
    DUET_LAUNCH(add_rows_kernel<4>, grid, 32 * kWarps, 0, context.stream)(indices, grad_rows, grad_source);
  else
    DUET_LAUNCH(add_rows_kernel<1>, grid, 32 * kWarps, 0, context.stream)(indices, grad_rows, grad_source);
}

void gather_labels(const duet_context& context, Vector<const int32_t> source, Vector<const int64_t> indices, Vector<int32_t> labels) {
  for_each_element(context, 1, labels.size, true, false, CopyLabels{source, indices, labels});
}

}  // namespace duet::cuda
