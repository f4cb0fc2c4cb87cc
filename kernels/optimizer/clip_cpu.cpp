#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/optimizer/optimizer_backends.h"

namespace duet::cpu {
namespace {

constexpr int64_t kChunk = 16384;  // elements of a work item, all of one slot
constexpr int kLanes = 16;         // running sums of an item, whatever the processor's vectors

double sum_of_squares(const float* values, int64_t count) {
  double lanes[kLanes] = {};
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const double value = values[k + lane];
      lanes[lane] += value * value;
    }
  for (; k < count; ++k) lanes[0] += double{values[k]} * double{values[k]};
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

size_t gradient_clip_workspace(const OptimizerSlots& slots) {
  Workspace measured;
  measured.take<double>(slots.gradient_chunks(kChunk));
  return measured.used();
}

void gradient_clip(const duet_context& context, const OptimizerSlots& slots, float limit, Vector<float> norm,
                   Vector<float> scale, Workspace scratch) {
  const int64_t chunks = slots.gradient_chunks(kChunk);
  double* const parts = scratch.take<double>(chunks);
  parallel_for(context, chunks, [&](int64_t item, int) {
    int64_t left = item;
    for (int64_t s = 0;; ++s) {
      const duet_const_vector& gradient = slots.slots[s].gradient;
      const int64_t own = ceil_div(gradient.size, kChunk);
      if (left >= own) {
        left -= own;
        continue;
      }
      const int64_t first = left * kChunk;
      parts[item] =
          sum_of_squares(static_cast<const float*>(gradient.data) + first, std::min(kChunk, gradient.size - first));
      return;
    }
  });
  double sum = 0;
  for (int64_t item = 0; item < chunks; ++item) sum += parts[item];
  const double length = std::sqrt(sum);
  norm[0] = static_cast<float>(length);
  scale[0] = clip_factor(length, limit);
}

}  // namespace duet::cpu
