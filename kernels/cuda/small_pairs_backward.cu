// A warp owns the sums of the scale, a warp those of the bias.
// Bytes: at most 64 doubles each, 1 KB.
// Products: none; it runs only where one of the two is learned.
#include "kernels/cuda/small_pairs_backward.h"

namespace duet::cuda {
namespace {

struct ScalarSums {
  const double* sums[2];
  float* total[2];
};

__global__ void __launch_bounds__(64) small_sums_kernel(ScalarSums of, int count) {
  const int which = warp_of_block();
  double sum = 0;
  for (int k = lane_of_warp(); k < count; k += 32) sum += of.sums[which][k];
  sum = warp_sum(sum);
  if (lane_of_warp() == 0 && of.total[which] != nullptr) *of.total[which] += static_cast<float>(sum);
}

}  // namespace

void SmallSums::add_to(const duet_context& context, float* scale_total, float* bias_total) const {
  DUET_LAUNCH(small_sums_kernel, 1, 64, 0, context.stream)
  (ScalarSums{{scale, bias}, {scale_total, bias_total}}, static_cast<int>(count_));
}

}  // namespace duet::cuda
