// A block owns 1024 neighbouring elements of one slot, a thread four of them; up to 54 slots go in one launch.
// Bytes an element: AdamW 28, sgd 20; 8 more with a teacher.
// Operations: some 15 an element; no products.
#include "kernels/cuda/elementwise.h"
#include "kernels/optimizer/optimizer_backends.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 4 * kThreads;  // elements of a block
constexpr int kMostSlots = 54;        // 72 bytes each: what the 4 KiB of a kernel's arguments hold beside the factors

struct Slot {
  float* parameter;
  const float* gradient;
  float *first_moment, *second_moment, *teacher;  // second_moment null for sgd; teacher may be null
  int64_t size;
  unsigned first_block;
  float decay, low, high;
  bool wide;  // every array is aligned
};

struct Batch {
  Slot slots[kMostSlots];
  int count = 0;
  int64_t blocks = 0;

  __device__ const Slot& of_block(unsigned block) const {
    int low = 0, high = count;  // the last slot that begins at block or before
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (slots[middle].first_block <= block ? low : high) = middle;
    }
    return slots[low];
  }
};

struct Elements {
  Pack<4> parameter, gradient, first_moment, second_moment, teacher;
};

struct Adamw {
  float beta1, beta2, eps, teacher_momentum;
  const float *rate, *scale;  // scale: of the gradient; null: 1
  const int64_t* step;

  struct Factors {
    float gain1, gain2;  // 1 - beta
    float step_size;     // rate / (1 - beta1^t)
    float root;          // 1 / sqrt(1 - beta2^t)
    float rate_decay;
    float scale;
  };
  __device__ Factors factors(float decay) const {
    const double t = static_cast<double>(*step), r = *rate;
    return {static_cast<float>(1 - double{beta1}),
            static_cast<float>(1 - double{beta2}),
            static_cast<float>(r / (1 - pow(double{beta1}, t))),
            static_cast<float>(1 / sqrt(1 - pow(double{beta2}, t))),
            static_cast<float>(r * decay),
            scale ? *scale : 1};
  }
  __device__ void apply(const Factors& f, Elements& of, int k) const {
    const float g = f.scale * of.gradient.at[k];
    const float m = of.first_moment.at[k] = fmaf(beta1, of.first_moment.at[k], f.gain1 * g);
    const float v = of.second_moment.at[k] = fmaf(beta2, of.second_moment.at[k], f.gain2 * g * g);
    const float theta = fmaf(-f.rate_decay, of.parameter.at[k], of.parameter.at[k]);
    of.parameter.at[k] = theta - f.step_size * m / fmaf(sqrtf(v), f.root, eps);
  }
};

struct Sgd {
  float momentum, teacher_momentum;
  const float *rate, *scale;  // as of Adamw

  struct Factors {
    float rate, decay, scale;
  };
  __device__ Factors factors(float decay) const { return {*rate, decay, scale ? *scale : 1}; }
  __device__ void apply(const Factors& f, Elements& of, int k) const {
    const float g = fmaf(f.decay, of.parameter.at[k], f.scale * of.gradient.at[k]);
    const float b = of.first_moment.at[k] = fmaf(momentum, of.first_moment.at[k], g);
    of.parameter.at[k] = fmaf(-f.rate, b, of.parameter.at[k]);
  }
};

// Loads four elements where wide, else the first count of them. The others are 0.
__device__ Pack<4> read(const float* from, int64_t at, int count, bool wide) {
  if (wide) return load<4>(from + at);
  Pack<4> value;
  DUET_UNROLL
  for (int k = 0; k < 4; ++k) value.at[k] = k < count ? from[at + k] : 0;
  return value;
}
__device__ void write(float* to, int64_t at, const Pack<4>& value, int count, bool wide) {
  if (wide) return store<4>(to + at, value);
  DUET_UNROLL
  for (int k = 0; k < 4; ++k)
    if (k < count) to[at + k] = value.at[k];
}

template <class Rule>
__global__ void __launch_bounds__(kThreads) step_kernel(Batch batch, Rule rule, const int32_t* apply) {
  DUET_SHARED(typename Rule::Factors, shared_factors, [1]);
  const Slot& slot = batch.of_block(blockIdx.x);
  const int64_t at = int64_t{blockIdx.x - slot.first_block} * kChunk + 4 * threadIdx.x, left = slot.size - at;
  const int count = left >= 4 ? 4 : static_cast<int>(left);  // 0 or less: none
  const bool wide = slot.wide && count == 4;
  const bool applies = apply == nullptr || *apply != 0;
  Elements of{};
  if (count > 0) {
    of.parameter = read(slot.parameter, at, count, wide);
    of.gradient = read(slot.gradient, at, count, wide);
    of.first_moment = read(slot.first_moment, at, count, wide);
    if (slot.second_moment) of.second_moment = read(slot.second_moment, at, count, wide);
    if (slot.teacher) of.teacher = read(slot.teacher, at, count, wide);
  }
  if (threadIdx.x == 0) shared_factors[0] = rule.factors(slot.decay);
  __syncthreads();
  if (count <= 0 || !applies) return;
  const typename Rule::Factors factors = shared_factors[0];
  const float gain = static_cast<float>(1 - double{rule.teacher_momentum});
  DUET_UNROLL
  for (int k = 0; k < 4; ++k) {
    rule.apply(factors, of, k);
    of.teacher.at[k] =
        clamped(fmaf(rule.teacher_momentum, of.teacher.at[k], gain * of.parameter.at[k]), slot.low, slot.high);
    of.parameter.at[k] = clamped(of.parameter.at[k], slot.low, slot.high);
  }
  write(slot.parameter, at, of.parameter, count, wide);
  write(slot.first_moment, at, of.first_moment, count, wide);
  if (slot.second_moment) write(slot.second_moment, at, of.second_moment, count, wide);
  if (slot.teacher) write(slot.teacher, at, of.teacher, count, wide);
}

template <class Rule>
void run(const duet_context& context, const Batch& batch, const Rule& rule, Vector<const int32_t> apply) {
  static_assert(sizeof(Batch) + sizeof(Rule) + sizeof(void*) <= 4096 - 16);
  DUET_LAUNCH(step_kernel<Rule>, batch.blocks, kThreads, 0, context.stream)(batch, rule, apply.data);
}

enum class SecondMoment { used, unused };

template <class Rule>
void step_all(const duet_context& context, const OptimizerSlots& slots, SecondMoment second_moment, float decay,
              const Rule& rule) {
  constexpr int64_t kMostBlocks = int64_t{1} << 30;
  Batch batch;
  for (int64_t s = 0; s < slots.count; ++s) {
    const duet_optimizer_slot& given = slots.slots[s];
    const int64_t size = given.parameter.size, blocks = ceil_div(size, kChunk);
    if (size == 0) continue;
    if (batch.count == kMostSlots || (batch.count > 0 && batch.blocks + blocks > kMostBlocks)) {
      run(context, batch, rule, slots.apply);
      batch.count = 0, batch.blocks = 0;
    }
    const auto data = [](const duet_vector& view) { return static_cast<float*>(view.data); };
    float* const second = second_moment == SecondMoment::used ? data(given.second_moment) : nullptr;
    const bool wide = aligned(given.parameter.data) && aligned(given.gradient.data) &&
                      aligned(given.first_moment.data) && aligned(second) && aligned(given.teacher.data);
    batch.slots[batch.count++] = {data(given.parameter),
                                  static_cast<const float*>(given.gradient.data),
                                  data(given.first_moment),
                                  second,
                                  data(given.teacher),
                                  size,
                                  static_cast<unsigned>(batch.blocks),
                                  slots.decay(s, decay),
                                  slots.low(s),
                                  slots.high(s),
                                  wide};
    batch.blocks += blocks;
  }
  run(context, batch, rule, slots.apply);
}

}  // namespace

void adamw_step(const duet_context& context, const OptimizerSlots& slots, const duet_adamw_inputs& options,
                Vector<const float> learning_rate, Vector<const int64_t> step) {
  step_all(context, slots, SecondMoment::used, options.decay,
           Adamw{options.beta1, options.beta2, options.eps, options.teacher_momentum, learning_rate.data,
                 slots.gradient_scale.data, step.data});
}

void sgd_step(const duet_context& context, const OptimizerSlots& slots, const duet_sgd_inputs& options,
              Vector<const float> learning_rate) {
  step_all(context, slots, SecondMoment::unused, options.decay,
           Sgd{options.momentum, options.teacher_momentum, learning_rate.data, slots.gradient_scale.data});
}

}  // namespace duet::cuda
