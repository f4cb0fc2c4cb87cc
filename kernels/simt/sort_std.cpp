// kernels/cuda/sort.h where the kernels run on the CPU. The answer is left where CUB may leave it too: in the spare
// rows.
#include <algorithm>

#include "kernels/cuda/sort.h"
#include "kernels/simt/simt.h"

namespace duet::cuda {

size_t sort_rows_bytes(const duet_context&, int64_t, int64_t) { return 1; }

uint64_t* sort_rows(const duet_context& context, uint64_t* keys, uint64_t* spare, int64_t rows, int64_t columns, void*,
                    size_t) {
  if (rows > kMostSortedRows)
    throw Error(DUET_STATUS_INTERNAL_ERROR, text("sort_rows: ", rows, " rows, at most ", kMostSortedRows));
  simt::submit(context.stream, [=] {
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(keys + row * columns, columns, spare + row * columns);
      std::sort(spare + row * columns, spare + (row + 1) * columns);
    }
  });
  return spare;
}

}  // namespace duet::cuda
