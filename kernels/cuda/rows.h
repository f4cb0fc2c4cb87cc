// Work on whole rows: 32 threads own a row of up to 2048 elements, 256 a longer one. Sums are in double, in an order
// that the row's length fixes: each thread its own elements, then a butterfly of the warp, then the warps in order.
#pragma once

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/warp.h"

namespace duet::cuda {

inline constexpr int kRowThreads = 256;  // of a block
inline constexpr int64_t kWarpRow = 2048;

// The kTeam threads that own the same row; all of them call together.
template <int kTeam>
struct RowTeam {
  static_assert(kTeam == 32 || kTeam == kRowThreads);

  // Of which row, and which of its threads.
  __device__ static int64_t row() { return int64_t{blockIdx.x} * (kRowThreads / kTeam) + threadIdx.x / kTeam; }
  __device__ static int thread() { return static_cast<int>(threadIdx.x % kTeam); }

  template <class Value, class Operation>
  __device__ static Value reduce(Value value, Operation operation) {
    if constexpr (kTeam == 32)
      return warp_reduce(value, operation);
    else
      return block_reduce(value, operation);
  }
  __device__ static double sum(double value) { return reduce(value, Sum{}); }

  // The sum of term(k) over a row of columns elements, handed out kWidth at a time: term(k) is that of k ... k + kWidth
  // - 1.
  template <int kWidth, class Term>
  __device__ static double sum_over(int64_t columns, Term&& term) {
    double total = 0;
    for (int64_t k = int64_t{thread()} * kWidth; k < columns; k += kTeam * kWidth) total += term(k);
    return sum(total);
  }
  template <int kWidth, class Body>
  __device__ static void each(int64_t columns, Body&& body) {
    for (int64_t k = int64_t{thread()} * kWidth; k < columns; k += kTeam * kWidth) body(k);
  }
};

// body.run<Team, kWidth>(i) by the team of every row i. Three blocks an SM leave a thread 80 registers; with four,
// exponentials in double spill.
template <int kTeam, int kWidth, class Body>
__global__ void __launch_bounds__(kRowThreads, 3) rows_kernel(int64_t rows, Body body) {
  const int64_t i = RowTeam<kTeam>::row();
  if (i < rows) body.template run<RowTeam<kTeam>, kWidth>(i);
}

// wide: every row is aligned and has a multiple of 4 columns.
template <class Body>
void for_each_row(const duet_context& context, int64_t rows, int64_t columns, bool wide, const Body& body) {
  const bool warp = columns <= kWarpRow;
  const int64_t grid = warp ? ceil_div(rows, kRowThreads / 32) : rows;
  if (warp && wide)
    DUET_LAUNCH((rows_kernel<32, 4, Body>), grid, kRowThreads, 0, context.stream)(rows, body);
  else if (warp)
    DUET_LAUNCH((rows_kernel<32, 1, Body>), grid, kRowThreads, 0, context.stream)(rows, body);
  else if (wide)
    DUET_LAUNCH((rows_kernel<kRowThreads, 4, Body>), grid, kRowThreads, 0, context.stream)(rows, body);
  else
    DUET_LAUNCH((rows_kernel<kRowThreads, 1, Body>), grid, kRowThreads, 0, context.stream)(rows, body);
}

}  // namespace duet::cuda
