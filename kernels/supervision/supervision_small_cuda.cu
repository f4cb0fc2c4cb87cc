// One block does a batch: four threads own a sample, a warp owns a class.
// Bytes a sample of C classes: 8 C of logits twice, 4 C of q; p of the batch lies in shared memory, at most 47 KB.
// Operations: an exponential and a division or two a class, in double; no products.
#include "kernels/cuda/outside.h"
#include "kernels/cuda/rows.h"
#include "kernels/supervision/supervision_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 1024;               // 256 samples at a time
constexpr int kLanes = 4;                    // threads of a sample
constexpr int64_t kSharedBytes = 47 * 1024;  // with the reductions' memory below the 48 KB that every launch may have

int64_t shared_bytes(int64_t samples, int64_t classes) {
  return (samples + 2) * classes * static_cast<int64_t>(sizeof(double));
}

struct AddCounts {
  __device__ SupervisionCounts operator()(const SupervisionCounts& a, const SupervisionCounts& b) const {
    return {a.annotated + b.annotated, a.never_labelled + b.never_labelled, a.agreeing + b.agreeing};
  }
};

// One thread's part of its sample; all threads of a warp call together. classes: 0 where it has no sample.
struct Row {
  const float *a, *v;  // logits
  double* p;
  int64_t classes;
  int lane;

  template <class Body>
  __device__ __forceinline__ void each(Body&& body) const {
    for (int64_t c = lane; c < classes; c += kLanes) body(c);
  }
  template <class Value>
  __device__ __forceinline__ double largest(Value&& value) const {
    double found = -HUGE_VAL;
    each([&](int64_t c) { found = MaxNumber{}(found, value(c)); });
    return warp_reduce<kLanes>(found, MaxNumber{});
  }
  template <class Value>
  __device__ __forceinline__ double sum(Value&& value) const {
    double total = 0;
    each([&](int64_t c) { total += value(c); });
    return warp_sum<kLanes>(total);
  }

  // p_c = softmax_c of the heads' mean; NaN in any logit is NaN in all.
  __device__ __forceinline__ void softmax() const {
    const auto logit = [this](int64_t c) { return 0.5 * (double{a[c]} + v[c]); };
    const double most = largest(logit);
    const double total = sum([&](int64_t c) { return p[c] = exp(logit(c) - most); });
    each([&](int64_t c) { p[c] /= total; });
  }
  // The lowest class of the largest lifted probability (of the probability itself where the lift leaves no mass); -1
  // where they are NaN.
  __device__ __forceinline__ int64_t named_class(const float* logits, const double* log_lift) const {
    const double most = largest([=](int64_t c) { return double{logits[c]}; });
    Candidate lifted{0, -1}, plain{0, -1};
    each([&](int64_t c) {
      lifted = BetterCandidate{}(lifted, Candidate{lifted_logit(logits[c], most, log_lift[c]), c});
      plain = BetterCandidate{}(plain, Candidate{lifted_logit(logits[c], most, 0), c});
    });
    lifted = warp_reduce<kLanes>(lifted, BetterCandidate{});
    if (__any_sync(kAllLanes, lifted.value == -HUGE_VAL)) plain = warp_reduce<kLanes>(plain, BetterCandidate{});
    const bool massless = lifted.value == -HUGE_VAL;
    return class_of({massless ? plain.value : lifted.value, massless ? plain.index : lifted.index});
  }
};

// Calls body(i, has, row) for every sample i, in four threads. The threads of a warp that have no sample call it too,
// without classes.
template <class Body>
__device__ __forceinline__ void for_each_sample(const SupervisionInputs& inputs, double* both, Body&& body) {
  const int64_t samples = inputs.labels.size, classes = inputs.logits_a.columns;
  for (int64_t first = int64_t{warp_of_block()} * (32 / kLanes); first < samples; first += blockDim.x / kLanes) {
    const int64_t i = first + lane_of_warp() / kLanes, row = i < samples ? i : 0;
    body(i, i < samples,
         Row{inputs.logits_a.row(row), inputs.logits_v.row(row), both + row * classes, i < samples ? classes : 0,
             lane_of_warp() % kLanes});
  }
}

// faults: null where the call has already checked labels and ratio.
template <bool kSets>
__global__ void __launch_bounds__(kThreads)
    supervision_kernel(SupervisionInputs inputs, SupervisionState state, SupervisionOutputs outputs, duet_fault* faults,
                       Range<int32_t> labels, Range<float> ratio) {
  DUET_SHARED_DYNAMIC(double, both);
  const int64_t samples = inputs.labels.size, classes = inputs.logits_a.columns;
  double *const lift = both + samples * classes, *const log_lift = lift + classes;
  for_each_sample(inputs, both, [](int64_t, bool, const Row& row) { row.softmax(); });
  if (faults) {
    note_outside(faults, inputs.labels, labels);
    note_outside(faults, inputs.ratio, ratio);
  }
  __syncthreads();
  for (int64_t c = warp_of_block(); c < classes; c += blockDim.x / 32) {
    double sum = 0;
    for (int64_t i = lane_of_warp(); i < samples; i += 32) sum += both[i * classes + c];
    sum = warp_sum(sum);
    if (lane_of_warp() == 0 && samples > 0) move_predicted(inputs, state, c, sum, lift, log_lift);
  }
  __syncthreads();
  SupervisionCounts counts{0, 0, 0};
  for_each_sample(inputs, both, [&](int64_t i, bool has, const Row& row) {
    const int64_t best_a = row.named_class(row.a, log_lift), best_v = row.named_class(row.v, log_lift);
    const bool agree = classes >= kFewestClasses && best_a >= 0 && best_a == best_v;
    const double mass = row.sum([&](int64_t c) { return row.p[c] * lift[c]; });
    const ClassesOfLabel<kSets> of_label(inputs.label_sets, has ? inputs.labels[i] : -1);
    const double count = of_label.count([&](auto&& value) { return row.sum(value); });
    if (!has) return;
    const bool annotated = is_annotated(inputs, i);
    float* const q = outputs.class_q.row(i);
    row.each([&](int64_t c) { q[c] = class_q_of(row.p[c], lift[c], mass, annotated, of_label(c), count); });
    if (row.lane == 0) counts = AddCounts{}(counts, write_sample(inputs, outputs, i, annotated, agree));
  });
  counts = block_reduce(counts, AddCounts{});
  if (threadIdx.x == 0) write_summary(inputs, state, outputs, counts);
}

}  // namespace

bool supervision_is_small(const duet_context& context, int64_t samples, int64_t classes) {
  return samples <= context.small_rows && shared_bytes(samples, classes) <= kSharedBytes;
}

void supervision_small(const duet_context& context, const SupervisionInputs& inputs, const SupervisionState& state,
                       const SupervisionOutputs& outputs) {
  const int64_t samples = inputs.labels.size, classes = inputs.logits_a.columns;
  const int threads = static_cast<int>(std::clamp<int64_t>(ceil_div(samples * kLanes, 32) * 32, 128, kThreads));
  const auto launch = [&](auto sets) {
    DUET_LAUNCH(supervision_kernel<decltype(sets)::value>, 1, threads, shared_bytes(samples, classes), context.stream)
    (inputs, state, outputs, context.faults, label_range(inputs), ratio_range());
  };
  if (inputs.label_sets)
    launch(std::true_type());
  else
    launch(std::false_type());
}

}  // namespace duet::cuda
