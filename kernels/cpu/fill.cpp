#include "kernels/cpu/fill.h"

#include <cstring>

#include "kernels/cpu/parallel.h"

namespace duet::cpu {

void fill(const duet_context& context, void* data, int32_t byte, size_t bytes) {
  if (bytes == 0) return;
  constexpr int64_t kChunk =
      128 * 1024;  // bytes of a work item: some 5 us, several times what handing it to a second thread costs
  parallel_chunks(context, static_cast<int64_t>(bytes), kChunk, [&](int64_t first, int64_t count, int) {
    std::memset(static_cast<char*>(data) + first, byte, static_cast<size_t>(count));
  });
}

}  // namespace duet::cpu
