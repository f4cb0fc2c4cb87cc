// The partition of work over threads. What a work item is depends on the problem alone and each item writes its own
// outputs, so that the bits do not depend on how many threads there are or which of them runs which item.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "kernels/core/ceil_div.h"
#include "kernels/core/dispatch.h"

namespace duet::cpu {

// One item of a parallel loop, whose body is the closure.
using ItemCall = void (*)(void* closure, int64_t item, int thread) noexcept;

// parallel_for on several threads; defined in thread_pool.cpp.
void run_items(ThreadPool& pool, int64_t count, ItemCall call, void* closure);

// Calls body(item, thread) for every item in [0, count); thread < min(context.threads, count) numbers the caller's
// scratch. body must not throw, must not contain a parallel loop, and must not wait for another item, which may run
// after it. The first such loop of a context starts its threads: it throws DUET_STATUS_OUT_OF_MEMORY, before any item,
// where a thread cannot be started. A context without a pool has one thread.
template <class Body>
void parallel_for(const duet_context& context, int64_t count, Body&& body) {
  if (context.pool == nullptr || count <= 1) {
    for (int64_t item = 0; item < count; ++item) body(item, 0);
    return;
  }
  using Closure = std::remove_reference_t<Body>;
  void* closure = const_cast<void*>(static_cast<const void*>(std::addressof(body)));
  run_items(
      *context.pool, count,
      [](void* own, int64_t item, int thread) noexcept { (*static_cast<Closure*>(own))(item, thread); }, closure);
}

// The same over pieces of [0, size), chunk elements each but the last: body(first, count, thread).
template <class Body>
void parallel_chunks(const duet_context& context, int64_t size, int64_t chunk, Body&& body) {
  parallel_for(context, ceil_div(size, chunk),
               [&](int64_t item, int thread) { body(item * chunk, std::min(chunk, size - item * chunk), thread); });
}

}  // namespace duet::cpu
