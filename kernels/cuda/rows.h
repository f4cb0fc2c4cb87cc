// Work on whole rows: 32 threads own a row of up to 2048 elements, 256 a longer one. Sums are in double, in an order that the row's length fixes:
// each thread its own elements, then a butterfly of the warp, then the warps in order.
#pragma once

#include "kernels/cuda/elementwise.h"

namespace duet::cuda {

inline constexpr int kRowThreads = 256;  // of a block
inline constexpr int64_t kWarpRow = 2048;

struct Add {
  __device__ double operator()(double a, double b) const { return a + b; }
};
struct Larger {  // passes over NaN
  __device__ double operator()(double a, double b) const { return a > b || b != b ? a : b; }
};

// The kTeam threads that own the same row; all of them call together.
template <int kTeam>
struct RowTeam {
  static_assert(kTeam == 32 || kTeam == kRowThreads);

  // Of which row, and which of its threads.
  __device__ static int64_t row() { return int64_t{blockIdx.x} * (kRowThreads / kTeam) + threadIdx.x / kTeam; }
  __device__ static int thread() { return static_cast<int>(threadIdx.x % kTeam); }

  template <class Operation>
  __device__ static double reduce(double value, Operation operation) {
    DUET_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) value = operation(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
    if constexpr (kTeam > 32) {
      DUET_SHARED(double, warps, [kTeam / 32]);
      __syncthreads();  // whatever was read from warps before is read
      if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
      __syncthreads();
      value = warps[0];
      DUET_UNROLL
      for (int w = 1; w < kTeam / 32; ++w) value = operation(value, warps[w]);
    }
    return value;
  }
  __device__ static double sum(double value) { return reduce(value, Add()); }

  // The sum of term(k) over a row of columns elements, handed out kWidth at a time: term(k) is that of k ... k + kWidth - 1.
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

// Body::run<kTeam, kWidth>(i) by the team of every row i.
template <int kTeam, int kWidth, class Body>
__global__ void __launch_bounds__(kRowThreads) rows_kernel(int64_t rows, Body body) {
  const int64_t i = RowTeam<kTeam>::row();
  if (i < rows) body.template run<RowTeam<kTeam>, kWidth>(i);
}

// wide: every row is aligned and has a multiple of 4 columns.
template <class Body>
void for_each_row(const duet_context& context, int64_t rows, int64_t columns, bool wide, const Body& body) {
  const bool warp = columns <= kWarpRow;
  const int64_t grid = warp ? pieces(rows, kRowThreads / 32) : rows;
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
