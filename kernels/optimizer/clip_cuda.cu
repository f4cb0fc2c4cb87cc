// A block owns 4096 neighbouring elements of one slot's gradient, then one block owns the blocks' sums; up to 160 slots
// go in one launch.
// Bytes an element: 4.
// Operations: one multiply-add in double an element, in an order that the sizes fix; no products.
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/warp.h"
#include "kernels/optimizer/optimizer_backends.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 16 * kThreads;  // elements of a block
constexpr int kMostGradients = 160;    // 24 bytes each: most of the 4 KiB of a kernel's arguments

struct Gradients {
  struct One {
    const float* values;
    int64_t size;
    int64_t first_block;
  } at[kMostGradients];
  int count = 0;
  int64_t blocks = 0;
};

__global__ void __launch_bounds__(kThreads) squares_kernel(Gradients gradients, double* parts) {
  const int64_t block = blockIdx.x;
  int low = 0, high = gradients.count;  // the last gradient that begins at block or before
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (gradients.at[middle].first_block <= block ? low : high) = middle;
  }
  const typename Gradients::One& own = gradients.at[low];
  const int64_t first = (block - own.first_block) * kChunk;
  double sum = 0;
  for (int k = static_cast<int>(threadIdx.x); k < kChunk && first + k < own.size; k += kThreads) {
    const double value = own.values[first + k];
    sum += value * value;
  }
  const double total = block_sum(sum);
  if (threadIdx.x == 0) parts[block] = total;
}

__global__ void __launch_bounds__(kThreads)
    factor_kernel(const double* parts, int64_t count, float limit, float* norm, float* scale) {
  double sum = 0;
  for (int64_t k = threadIdx.x; k < count; k += kThreads) sum += parts[k];
  const double length = sqrt(block_sum(sum));
  if (threadIdx.x > 0) return;
  *norm = static_cast<float>(length);
  *scale = clip_factor(length, limit);
}

}  // namespace

size_t gradient_clip_workspace(const OptimizerSlots& slots) {
  Workspace measured;
  measured.take<double>(slots.gradient_chunks(kChunk));
  return measured.used();
}

void gradient_clip(const duet_context& context, const OptimizerSlots& slots, float limit, Vector<float> norm,
                   Vector<float> scale, Workspace scratch) {
  static_assert(sizeof(Gradients) + sizeof(double*) <= 4096 - 16);
  const int64_t parts_count = slots.gradient_chunks(kChunk);
  double* const parts = scratch.take<double>(parts_count);
  Gradients gradients;
  int64_t done = 0;  // blocks of the launches so far
  const auto launch = [&] {
    if (gradients.count == 0) return;
    DUET_LAUNCH(squares_kernel, gradients.blocks, kThreads, 0, context.stream)(gradients, parts + done);
    done += gradients.blocks;
    gradients.count = 0, gradients.blocks = 0;
  };
  for (int64_t s = 0; s < slots.count; ++s) {
    const duet_const_vector& gradient = slots.slots[s].gradient;
    if (gradient.size == 0) continue;
    if (gradients.count == kMostGradients) launch();
    gradients.at[gradients.count++] = {static_cast<const float*>(gradient.data), gradient.size, gradients.blocks};
    gradients.blocks += ceil_div(gradient.size, kChunk);
  }
  launch();
  DUET_LAUNCH(factor_kernel, 1, kThreads, 0, context.stream)(parts, parts_count, limit, norm.data, scale.data);
}

}  // namespace duet::cuda
