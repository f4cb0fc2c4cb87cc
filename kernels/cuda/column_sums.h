// Sums over the rows of a matrix, a few a column, in double. A block of 256 threads owns 32 columns of a run of
// neighbouring rows: thread (r, c) takes every eighth row of its column, then the eight are added in order; runs are
// fixed by the shape and merged in order by a second launch.
#pragma once

#include "kernels/cuda/elementwise.h"

namespace duet::cuda {

struct ColumnRuns {
  static constexpr int kColumns = 32, kLanes = 8;  // of a block: columns, and rows at a time
  static constexpr int64_t kLeastRows = 256,
                           kMost = 64;  // a run's rows, runs: enough blocks to fill the device, few enough to merge

  int64_t rows, columns, rows_a_run, runs;

  ColumnRuns(int64_t r, int64_t c)
      : rows(r), columns(c), rows_a_run(std::max(kLeastRows, ceil_div(r, kMost))), runs(ceil_div(r, rows_a_run)) {}
  // Doubles of scratch for sums of so many terms; a single run needs none.
  int64_t partials(int terms) const { return runs > 1 ? runs * terms * columns : 0; }
};

template <int kTerms>
struct ColumnTerms {
  double at[kTerms];
};

// The sums of column j over the rows first ... end - 1, in the block's threads of the first lane; j may lie past the
// last column. All threads call.
template <int kTerms, class Terms>
__device__ ColumnTerms<kTerms> run_sums(int64_t first, int64_t end, int64_t j, int64_t columns, const Terms& terms) {
  constexpr int kColumns = ColumnRuns::kColumns, kLanes = ColumnRuns::kLanes;
  DUET_SHARED(double, sums, [kTerms][kLanes][kColumns]);
  const int lane = static_cast<int>(threadIdx.x / kColumns), column = static_cast<int>(threadIdx.x % kColumns);
  ColumnTerms<kTerms> mine{};
  if (j < columns)
    for (int64_t i = first + lane; i < end; i += kLanes) {
      const ColumnTerms<kTerms> term = terms(i, j);
      DUET_UNROLL
      for (int t = 0; t < kTerms; ++t) mine.at[t] += term.at[t];
    }
  DUET_UNROLL
  for (int t = 0; t < kTerms; ++t) sums[t][lane][column] = mine.at[t];
  __syncthreads();
  if (lane != 0) return mine;
  DUET_UNROLL
  for (int t = 0; t < kTerms; ++t) {
    DUET_UNROLL
    for (int l = 1; l < kLanes; ++l) mine.at[t] += sums[t][l][column];
  }
  return mine;
}

// terms(i, j): what element (i, j) adds to its column's sums. finish(j, sums): takes them.
template <int kTerms, class Terms, class Finish>
__global__ void __launch_bounds__(ColumnRuns::kColumns* ColumnRuns::kLanes)
    column_sums_kernel(ColumnRuns cut, Terms terms, Finish finish, double* partials) {
  const unsigned across = static_cast<unsigned>(ceil_div(cut.columns, ColumnRuns::kColumns));
  const int64_t run = blockIdx.x / across,
                j = int64_t{blockIdx.x % across} * ColumnRuns::kColumns + threadIdx.x % ColumnRuns::kColumns;
  const int64_t end = (run + 1) * cut.rows_a_run < cut.rows ? (run + 1) * cut.rows_a_run : cut.rows;
  const ColumnTerms<kTerms> sums = run_sums<kTerms>(run * cut.rows_a_run, end, j, cut.columns, terms);
  if (threadIdx.x >= ColumnRuns::kColumns || j >= cut.columns) return;
  if (cut.runs == 1) return finish(j, sums);
  DUET_UNROLL
  for (int t = 0; t < kTerms; ++t) partials[(run * kTerms + t) * cut.columns + j] = sums.at[t];
}

template <int kTerms, class Finish>
__global__ void __launch_bounds__(kElementThreads)
    column_merge_kernel(ColumnRuns cut, Finish finish, const double* partials) {
  const int64_t j = int64_t{blockIdx.x} * kElementThreads + threadIdx.x;
  if (j >= cut.columns) return;
  ColumnTerms<kTerms> total{};
  for (int64_t run = 0; run < cut.runs; ++run) {
    DUET_UNROLL
    for (int t = 0; t < kTerms; ++t) total.at[t] += partials[(run * kTerms + t) * cut.columns + j];
  }
  finish(j, total);
}

// No rows: finish is not called.
template <int kTerms, class Terms, class Finish>
void column_sums(const duet_context& context, const ColumnRuns& cut, const Terms& terms, const Finish& finish,
                 double* partials) {
  const int64_t grid = cut.runs * ceil_div(cut.columns, ColumnRuns::kColumns);
  DUET_LAUNCH((column_sums_kernel<kTerms, Terms, Finish>), grid, ColumnRuns::kColumns * ColumnRuns::kLanes, 0,
              context.stream)
  (cut, terms, finish, partials);
  if (cut.runs <= 1) return;
  DUET_LAUNCH((column_merge_kernel<kTerms, Finish>), ceil_div(cut.columns, kElementThreads), kElementThreads, 0,
              context.stream)
  (cut, finish, partials);
}

}  // namespace duet::cuda
