// The partition of work over threads. What a work item is depends on the problem alone and each item writes its own outputs, so that the
// bits do not depend on how many threads there are or which of them takes which item.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "kernels/core/dispatch.h"

namespace duet::cpu {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls body(item, thread) for every item in [0, count); thread < context.threads numbers the caller's scratch. body does not throw.
template <class Body>
void parallel_for(const duet_context& context, int64_t count, Body&& body) {
  const int threads = static_cast<int>(std::min<int64_t>(context.threads, count));
  if (threads <= 1) {
    for (int64_t item = 0; item < count; ++item) body(item, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t item = 0; item < count; ++item) body(item, omp_get_thread_num());
}

// The same over pieces of [0, size), chunk elements each but the last: body(first, count, thread).
template <class Body>
void parallel_chunks(const duet_context& context, int64_t size, int64_t chunk, Body&& body) {
  parallel_for(context, ceil_div(size, chunk), [&](int64_t item, int thread) { body(item * chunk, std::min(chunk, size - item * chunk), thread); });
}

}  // namespace duet::cpu
