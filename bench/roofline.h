// The machine's limit: what any pass of given operations and bytes takes at least here.
#pragma once

#include "bench/bench.h"

namespace duet::bench {

struct Roofline {
  double flops_per_s = 0;  // CPU: fused multiply-adds in registers, two operations each; CUDA: a large product in the
                           // context's precision
  double bytes_per_s = 0;  // a copy past the cache, bytes read plus bytes written

  // Inputs that stay in the cache can beat the second term, on small shapes alone.
  double limit_s(const Cost& cost) const { return std::max(cost.flops / flops_per_s, cost.bytes / bytes_per_s); }
};

}  // namespace duet::bench
