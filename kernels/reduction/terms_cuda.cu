// Forward is one block: a warp owns a mean, the block one of over 1024 values; backward a block owns 256 values.
// Bytes: 8 a value forward, 12 backward.
// Operations: one multiply-add in double a value; no products.
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/warp.h"
#include "kernels/reduction/reduction_backends.h"
#include "kernels/reduction/reduction_formula.h"

namespace duet::cuda {
namespace {

constexpr int kMostMeans = 64;  // of a call: 48 bytes each of the 4 KiB that a kernel's arguments may occupy
constexpr int kLoads = 8;       // loads that a thread has in flight
constexpr int64_t kWarpMean = 4 * kLoads * 32;

int checked_count(int64_t means) {
  if (means > kMostMeans)
    throw Error(DUET_STATUS_UNSUPPORTED,
                text("inputs.mean_count: at most ", kMostMeans, " on a CUDA device, got ", means));
  return static_cast<int>(means);
}

const float* floats(const duet_const_vector& view) { return static_cast<const float*>(view.data); }

struct Mean {
  const float *values, *weights, *divisor;  // weights and divisor may be null
  int64_t size;

  __device__ double over() const { return divisor_of({divisor, 1}, size); }
  // The sum of one of `threads` threads, over its values in order.
  __device__ double sum(int thread, int threads) const {
    double total = 0;
    for (int64_t i = thread; i < size; i += int64_t{kLoads} * threads) {
      float value[kLoads], weight[kLoads];
      DUET_UNROLL
      for (int e = 0; e < kLoads; ++e) {
        const int64_t at = i + int64_t{e} * threads;
        value[e] = at < size ? values[at] : 0;
        weight[e] = at < size ? (weights ? weights[at] : 1) : 0;
      }
      DUET_UNROLL
      for (int e = 0; e < kLoads; ++e) total = with_term(total, weight[e], value[e]);
    }
    return total;
  }
};

struct Terms {
  Mean means[kMostMeans];
  const float* weights[kMostMeans];     // of the terms; each has a mean of its own
  unsigned char first[kMostMeans + 1];  // first mean of each term; the entry after the last is the number of means
  int count, mean_count;

  explicit Terms(const TermsInputs& inputs) : count(0), mean_count(checked_count(inputs.mean_count)) {
    for (int m = 0; m < mean_count; ++m) {
      const duet_mean& mean = inputs.means[m];
      means[m] = {floats(mean.values), floats(mean.weights), floats(mean.divisor), mean.values.size};
    }
    int mean = 0;
    for (; count < inputs.term_count; ++count) {
      weights[count] = floats(inputs.terms[count].weight);
      first[count] = static_cast<unsigned char>(mean);
      mean += static_cast<int>(inputs.terms[count].means);
    }
    first[count] = static_cast<unsigned char>(mean);
  }
};

constexpr int kForwardThreads = 1024;

__global__ void __launch_bounds__(kForwardThreads) terms_kernel(Terms terms, float* losses, float* total) {
  DUET_SHARED(float, means, [kMostMeans]);
  DUET_SHARED(float, weights, [kMostMeans]);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  if (thread < terms.count) weights[thread] = *terms.weights[thread];
  for (int m = warp_of_block(); m < terms.mean_count; m += threads / 32) {
    const Mean& mean = terms.means[m];
    if (mean.size > kWarpMean) continue;
    const double over = mean.over(), sum = warp_sum(mean.sum(lane_of_warp(), 32));
    if (lane_of_warp() == 0) means[m] = mean_of(sum, over);
  }
  for (int m = 0; m < terms.mean_count; ++m) {
    const Mean& mean = terms.means[m];
    if (mean.size <= kWarpMean) continue;
    const double over = mean.over(), sum = block_sum(mean.sum(thread, threads));
    if (thread == 0) means[m] = mean_of(sum, over);
  }
  __syncthreads();
  if (thread > 0) return;
  double sum = 0;
  for (int k = 0; k < terms.count; ++k) {
    const int m = terms.first[k];
    const float loss = terms.first[k + 1] - m == 2 ? half_of_both(means[m], means[m + 1]) : means[m];
    if (losses) losses[k] = loss;
    sum = with_term(sum, weights[k], loss);
  }
  *total = static_cast<float>(sum);
}

constexpr int kBackwardThreads = 256;

// The gradients in the order in which they are added, that is from the last mean to the first.
struct Gradients {
  // What the term has of this mean: its only value, the mean, half of the mean.
  enum Kind : unsigned char { scalar, one, half };
  struct One {
    float* grad;
    const float *weights, *divisor, *term_weight;
    int64_t size;
    unsigned first_block;  // a gradient that has occurred before has its blocks at its first place
    signed char next;      // the next place of the same gradient; -1: none
    Kind kind;
  } at[kMostMeans];
  const float* grad_total;
  int count = 0;
  int64_t blocks = 0;

  Gradients(const TermsInputs& inputs, const float* upstream, const duet_vector* grads) : grad_total(upstream) {
    int64_t m = checked_count(inputs.mean_count);
    for (int64_t k = inputs.term_count - 1; k >= 0; --k) {
      const duet_term& term = inputs.terms[k];
      for (const int64_t first = m - term.means; m > first; --m) {
        const duet_mean& mean = inputs.means[m - 1];
        const Kind kind = term.means == 2 ? half : is_scalar(mean) ? scalar : one;
        if (grads[m - 1].size > 0) add(grads[m - 1], mean, floats(term.weight), kind);
      }
    }
  }

 private:
  void add(const duet_vector& grad, const duet_mean& mean, const float* term_weight, Kind kind) {
    at[count] = {static_cast<float*>(grad.data),
                 floats(mean.weights),
                 floats(mean.divisor),
                 term_weight,
                 grad.size,
                 static_cast<unsigned>(blocks),
                 -1,
                 kind};
    int place = 0;
    while (place < count && !(at[place].grad == grad.data && at[place].next < 0)) ++place;
    if (place < count)
      at[place].next = static_cast<signed char>(count);
    else
      blocks += ceil_div(grad.size, kBackwardThreads);
    ++count;
  }
};

__global__ void __launch_bounds__(kBackwardThreads) terms_backward_kernel(Gradients gradients) {
  int place = 0;
  while (place + 1 < gradients.count && gradients.at[place + 1].first_block <= blockIdx.x) ++place;
  const int64_t i = int64_t{blockIdx.x - gradients.at[place].first_block} * kBackwardThreads + threadIdx.x;
  if (i >= gradients.at[place].size) return;
  float* const to = gradients.at[place].grad + i;
  float grad = *to;
  const float upstream = *gradients.grad_total;
  for (; place >= 0; place = gradients.at[place].next) {
    const Gradients::One& mean = gradients.at[place];
    const float weight = *mean.term_weight;
    if (mean.kind == Gradients::scalar) {
      grad = with_share(grad, upstream, weight);
      continue;
    }
    const double over = divisor_of({mean.divisor, 1}, mean.size);
    if (over == 0) continue;
    float of_mean = with_share(0, upstream, weight);
    if (mean.kind == Gradients::half) of_mean = with_share(0, of_mean, kHalf);
    grad = with_share(grad, of_mean / over, mean.weights ? mean.weights[i] : 1);
  }
  *to = grad;
}

}  // namespace

void terms_forward(const duet_context& context, const TermsInputs& inputs, Vector<float> losses, Vector<float> total) {
  const Terms terms(inputs);
  int64_t longest = 0;
  for (int m = 0; m < terms.mean_count; ++m) longest = std::max(longest, terms.means[m].size);
  const int threads = longest > kWarpMean ? kForwardThreads : std::clamp(32 * terms.mean_count, 32, kForwardThreads);
  static_assert(sizeof(Terms) <= 4096 - 16);
  DUET_LAUNCH(terms_kernel, 1, threads, 0, context.stream)(terms, losses.data, total.data);
}

void terms_backward(const duet_context& context, const TermsInputs& inputs, Vector<const float> grad_total,
                    const duet_vector* grad_values) {
  const Gradients gradients(inputs, grad_total.data, grad_values);
  static_assert(sizeof(Gradients) <= 4096);
  DUET_LAUNCH(terms_backward_kernel, gradients.blocks, kBackwardThreads, 0, context.stream)(gradients);
}

}  // namespace duet::cuda
