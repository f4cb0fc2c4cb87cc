// One block looks through the values, every thread at each 1024th: 65536 indices are half a megabyte, some 5 us of what
// one SM draws, less than the host's wait for the answer, which the block leaves in the context's pinned memory. Where
// the context notes faults nobody waits: the first one stays.
#include "kernels/cuda/device.h"
#include "kernels/cuda/outside.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 1024;

template <class T>
__global__ void __launch_bounds__(kThreads)
    outside_kernel(Vector<const T> values, Range<T> range, duet_fault* fault, bool notes) {
  if (notes) return note_outside(fault, values, range);
  const int64_t first = first_outside_of_block(values, range);
  if (threadIdx.x > 0) return;
  fault->argument = nullptr;
  if (first < values.size) write_fault(fault, range, values[first], first);
}

}  // namespace

template <class T>
duet_fault first_outside(const duet_context& context, Vector<const T> values, const Range<T>& range) {
  static_assert(sizeof(duet_fault) <= kReportBytes);
  if (values.size == 0) return {};
  const bool notes = context.faults != nullptr;
  if (!notes && capturing(context.stream)) return {};
  auto* const fault = notes ? context.faults : static_cast<duet_fault*>(context.report);
  DUET_LAUNCH(outside_kernel<T>, 1, kThreads, 0, context.stream)(values, range, fault, notes);
  if (notes) return {};
  synchronize(context.stream);
  return *fault;
}

template duet_fault first_outside(const duet_context&, Vector<const int32_t>, const Range<int32_t>&);
template duet_fault first_outside(const duet_context&, Vector<const int64_t>, const Range<int64_t>&);
template duet_fault first_outside(const duet_context&, Vector<const float>, const Range<float>&);

}  // namespace duet::cuda
