// Sorts rows of keys that are too long for shared memory (kernels/cuda/block_sort.h has the others). Behind this seam
// stands CUB, and a twin of std algorithms where the kernels run on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/dispatch.h"

namespace duet::cuda {

// The most rows of a call. With more segments CUB brings their sizes to the host and waits, which a stream that is
// captured does not allow; 300 is the least of its limits (cub/device/dispatch/tuning).
inline constexpr int64_t kMostSortedRows = 300;

// Bytes of temporary memory that sort_rows needs; at most 2^31 - 1 keys in all.
size_t sort_rows_bytes(const duet_context& context, int64_t rows, int64_t columns);

// Sorts each row of keys (rows x columns, contiguous), rising, on the context's stream. spare is as large; returns
// whichever of the two holds the sorted rows, the other is scratch.
uint64_t* sort_rows(const duet_context& context, uint64_t* keys, uint64_t* spare, int64_t rows, int64_t columns,
                    void* temporary, size_t bytes);

}  // namespace duet::cuda
