// A mean is one block of 1024 threads, its gradient elementwise; a sum of scalars has one thread a scalar.
// Bytes: 4 to 8 a value forward, 8 to 12 backward.
// Operations: one multiply-add in double a value, in an order that the size fixes; no products.
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/warp.h"
#include "kernels/reduction/reduction_backends.h"
#include "kernels/reduction/reduction_formula.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 1024;

__global__ void __launch_bounds__(kThreads)
    mean_kernel(Vector<const float> values, Vector<const float> weights, Vector<const float> divisor, float* loss) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < values.size; i += kThreads)
    sum = with_term(sum, weights ? weights[i] : 1, values[i]);
  const double total = block_sum(sum);
  if (threadIdx.x > 0) return;
  *loss = mean_of(total, divisor_of(divisor, values.size));
}

struct MeanBackward {
  Vector<const float> weights, divisor;
  const float* grad_loss;
  Vector<float> grad_values;

  template <int kWidth>
  __device__ void at(int64_t, int64_t j) const {
    const double over = divisor_of(divisor, grad_values.size);
    if (over == 0) return;
    const double share = *grad_loss / over;
    Pack<kWidth> grad = load<kWidth>(grad_values.data + j), weight;
    for (int k = 0; k < kWidth; ++k) weight.at[k] = 1;
    if (weights) weight = load<kWidth>(weights.data + j);
    DUET_UNROLL
    for (int k = 0; k < kWidth; ++k) grad.at[k] = with_share(grad.at[k], share, weight.at[k]);
    store(grad_values.data + j, grad);
  }
};

// Two pointers a scalar fill most of the 4 KiB that a kernel's arguments may occupy.
constexpr int kMostScalars = 240;

// Term: float of gradients to add to, const float of what is read.
template <class Term>
struct Scalars {
  struct One {
    Term* term;  // or the gradient to add to; null: none
    const float* weight;
  } at[kMostScalars];
  int count;

  Scalars(const VectorView<Term>* terms, const duet_const_vector* weights, int64_t given)
      : count(static_cast<int>(given)) {
    if (given > kMostScalars)
      throw Error(DUET_STATUS_UNSUPPORTED, text("count: at most ", kMostScalars, " on a CUDA device, got ", given));
    for (int k = 0; k < count; ++k)
      at[k] = {static_cast<Term*>(terms[k].data), static_cast<const float*>(weights[k].data)};
  }
};

constexpr int kScalarThreads = 256;
static_assert(kScalarThreads >= kMostScalars);

__global__ void __launch_bounds__(kScalarThreads) scalars_kernel(Scalars<const float> scalars, float* total) {
  DUET_SHARED(double, products, [kScalarThreads]);
  const int k = static_cast<int>(threadIdx.x);
  products[k] = k < scalars.count ? with_term(0, *scalars.at[k].weight, *scalars.at[k].term) : 0;
  __syncthreads();
  if (k > 0) return;
  double sum = 0;
  for (int i = 0; i < scalars.count; ++i) sum += products[i];
  *total = static_cast<float>(sum);
}

__global__ void __launch_bounds__(kScalarThreads)
    scalars_backward_kernel(Scalars<float> scalars, const float* grad_total) {
  const int k = static_cast<int>(threadIdx.x);
  if (k >= scalars.count || scalars.at[k].term == nullptr) return;
  for (int i = 0; i < k; ++i)
    if (scalars.at[i].term == scalars.at[k].term) return;
  float grad = *scalars.at[k].term;
  const float upstream = *grad_total;
  for (int i = k; i < scalars.count; ++i)
    if (scalars.at[i].term == scalars.at[k].term) grad = with_share(grad, upstream, *scalars.at[i].weight);
  *scalars.at[k].term = grad;
}

}  // namespace

void weighted_mean_forward(const duet_context& context, Vector<const float> values, Vector<const float> weights,
                           Vector<const float> divisor, Vector<float> loss) {
  DUET_LAUNCH(mean_kernel, 1, kThreads, 0, context.stream)(values, weights, divisor, loss.data);
}

void weighted_mean_backward(const duet_context& context, Vector<const float> weights, Vector<const float> divisor,
                            Vector<const float> grad_loss, Vector<float> grad_values) {
  const bool wide = aligned(grad_values.data) && (!weights || aligned(weights.data));
  for_each_element(context, 1, grad_values.size, true, wide,
                   MeanBackward{weights, divisor, grad_loss.data, grad_values});
}

void weighted_sum_forward(const duet_context& context, const duet_const_vector* terms, const duet_const_vector* weights,
                          int64_t count, Vector<float> total) {
  DUET_LAUNCH(scalars_kernel, 1, kScalarThreads, 0, context.stream)
  (Scalars<const float>(terms, weights, count), total.data);
}

void weighted_sum_backward(const duet_context& context, const duet_const_vector* weights, int64_t count,
                           Vector<const float> grad_total, const duet_vector* grad_terms) {
  if (count == 0) return;
  DUET_LAUNCH(scalars_backward_kernel, 1, kScalarThreads, 0, context.stream)
  (Scalars<float>(grad_terms, weights, count), grad_total.data);
}

}  // namespace duet::cuda
