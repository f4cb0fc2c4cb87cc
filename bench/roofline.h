// The machine's limit: what any pass of given operations and bytes takes at least here.
#pragma once

#include "bench/bench.h"

namespace duet::bench {

struct Roofline {
  double flops_per_s = 0;  // fused multiply-adds in registers, two operations each
  double bytes_per_s = 0;  // a copy past the cache, bytes read plus bytes written

  // Inputs that stay in the cache can beat the second term, on small shapes alone.
  double limit_s(const Cost& cost) const { return std::max(cost.flops / flops_per_s, cost.bytes / bytes_per_s); }
};

// Measured over all threads of the context, best of several tries: about 0.2 s.
Roofline measure_roofline(const duet_context& context);

}  // namespace duet::bench
