// CUB's DeviceSegmentedSort behind kernels/cuda/sort.h: DeviceSegmentedRadixSort spills registers on sm_90a, this one
// does not. A file of its own, outside the spill gate, because the instantiations are CUB's.
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_segmented_sort.cuh>

#include "kernels/core/error.h"
#include "kernels/cuda/sort.h"

namespace duet::cuda {
namespace {

struct RowStart {
  int64_t columns;
  __host__ __device__ int64_t operator()(int64_t row) const { return row * columns; }
};

uint64_t* run(const duet_context& context, uint64_t* keys, uint64_t* spare, int64_t rows, int64_t columns,
              void* temporary, size_t& bytes) {
  cub::DoubleBuffer<uint64_t> buffers(keys, spare);
  const auto starts = thrust::make_transform_iterator(thrust::make_counting_iterator(int64_t{0}), RowStart{columns});
  const cudaError_t status = cub::DeviceSegmentedSort::SortKeys(temporary, bytes, buffers, rows * columns, rows, starts,
                                                                starts + 1, static_cast<cudaStream_t>(context.stream));
  if (status != cudaSuccess) throw Error(DUET_STATUS_CUDA_ERROR, text("sort_rows: ", cudaGetErrorString(status)));
  return buffers.Current();
}

}  // namespace

size_t sort_rows_bytes(const duet_context& context, int64_t rows, int64_t columns) {
  size_t bytes = 0;
  run(context, nullptr, nullptr, rows, columns, nullptr, bytes);
  return bytes;
}

uint64_t* sort_rows(const duet_context& context, uint64_t* keys, uint64_t* spare, int64_t rows, int64_t columns,
                    void* temporary, size_t bytes) {
  return run(context, keys, spare, rows, columns, temporary, bytes);
}

}  // namespace duet::cuda
