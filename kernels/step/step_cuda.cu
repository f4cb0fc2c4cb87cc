// A call is one block.
// Bytes: begin reads a slot in the host's memory (1 KB for 128 indices); decide moves a few hundred.
// Operations: none that count; no products.
#include "kernels/cuda/launch.h"
#include "kernels/step/step_backends.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ void copy_all(const T* from, int64_t size, T* to) {
  for (int64_t k = threadIdx.x; k < size; k += kThreads) to[k] = from[k];
}

__global__ void __launch_bounds__(kThreads) begin_step_kernel(StepMail mail, int64_t* begun, StepTaken taken) {
  const int64_t slot = slot_of(*begun, mail.slots);
  copy_all(mail.values.row(slot), taken.values.size, taken.values.data);
  copy_all(mail.integers.row(slot), taken.integers.size, taken.integers.data);
  copy_all(mail.indices.row(slot), taken.indices.size, taken.indices.data);
  __syncthreads();
  if (threadIdx.x == 0) ++*begun;
}

__global__ void __launch_bounds__(kThreads)
    decide_kernel(StepDecision decision, StepCounters counters, StepReport report, const duet_fault* faults) {
  DUET_SHARED(int64_t, decided, [2]);  // the verdict, the slot
  if (threadIdx.x == 0) {
    bool reason = false;
    for (int k = 0; k < decision.reason_count; ++k) reason = reason || holds(decision.reasons[k]);
    const bool fault = faults != nullptr && faults->argument != nullptr;
    const float total = *decision.total;
    const duet_step_verdict verdict = verdict_of({*counters.failed != 0, fault, reason, total - total == 0});
    *report.apply = verdict == DUET_STEP_VERDICT_CHANGES;
    *counters.updates += verdict == DUET_STEP_VERDICT_CHANGES;
    if (verdict == DUET_STEP_VERDICT_NOT_FINITE || verdict == DUET_STEP_VERDICT_FAULT)
      *counters.failed = *counters.begun;
    const int64_t slot = slot_of(*counters.begun - 1, report.verdicts.rows);
    if (report.faults) report.faults[slot] = fault ? *faults : duet_fault{};
    *report.verdicts.row(slot) = verdict;
    decided[0] = verdict;
    decided[1] = slot;
  }
  __syncthreads();
  if (decided[0] == DUET_STEP_VERDICT_CHANGES)
    for (int k = 0; k < decision.move_count; ++k)
      copy_all(decision.moves[k].from, decision.moves[k].size, decision.moves[k].to);
  __syncthreads();  // a reported value may have been moved
  float* to = report.values.row(decided[1]);
  for (int k = 0; k < decision.reported_count; ++k) {
    copy_all(decision.reported[k].from, decision.reported[k].size, to);
    to += decision.reported[k].size;
  }
}

__global__ void scale_kernel(const float* logarithm, float* scale) {
  *scale = static_cast<float>(exp(double{*logarithm}));
}
__global__ void scale_backward_kernel(const float* scale, const float* grad_scale, float* grad_logarithm) {
  *grad_logarithm += *grad_scale * *scale;
}

}  // namespace

void step_begin(const duet_context& context, const StepMail& mail, int64_t* begun, const StepTaken& taken) {
  DUET_LAUNCH(begin_step_kernel, 1, kThreads, 0, context.stream)(mail, begun, taken);
}

void step_decide(const duet_context& context, const StepDecision& decision, const StepCounters& counters,
                 const StepReport& report) {
  DUET_LAUNCH(decide_kernel, 1, kThreads, 0, context.stream)(decision, counters, report, context.faults);
}

void step_scale_forward(const duet_context& context, const float* logarithm, float* scale) {
  DUET_LAUNCH(scale_kernel, 1, 1, 0, context.stream)(logarithm, scale);
}
void step_scale_backward(const duet_context& context, const float* scale, const float* grad_scale,
                         float* grad_logarithm) {
  DUET_LAUNCH(scale_backward_kernel, 1, 1, 0, context.stream)(scale, grad_scale, grad_logarithm);
}

}  // namespace duet::cuda
