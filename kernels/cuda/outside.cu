// One block looks through the values, every thread at each 1024th: 65536 indices are half a megabyte, some 5 us of what one SM draws, less than the
// host's wait for the answer, which the block leaves in the context's pinned memory.
#include "kernels/core/outside.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/warp.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 1024;

template <class T>
__global__ void __launch_bounds__(kThreads) outside_kernel(Vector<const T> values, T low, T high, Outside<T>* found) {
  int64_t first = values.size;
  for (int64_t i = threadIdx.x; i < values.size && first == values.size; i += kThreads)
    if (!(values[i] >= low && values[i] <= high)) first = i;
  first = block_min(first);
  if (threadIdx.x > 0) return;
  found->position = first < values.size ? first : -1;
  found->value = first < values.size ? values[first] : T{};
}

}  // namespace

template <class T>
Outside<T> first_outside(const duet_context& context, Vector<const T> values, T low, T high) {
  static_assert(sizeof(Outside<T>) <= kReportBytes);
  if (values.size == 0 || capturing(context.stream)) return {};
  auto* const found = static_cast<Outside<T>*>(context.report);
  DUET_LAUNCH(outside_kernel<T>, 1, kThreads, 0, context.stream)(values, low, high, found);
  synchronize(context.stream);
  return *found;
}

template Outside<int32_t> first_outside(const duet_context&, Vector<const int32_t>, int32_t, int32_t);
template Outside<int64_t> first_outside(const duet_context&, Vector<const int64_t>, int64_t, int64_t);
template Outside<float> first_outside(const duet_context&, Vector<const float>, float, float);

}  // namespace duet::cuda
