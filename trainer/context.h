// The kernels' context as an object of this floor.
#pragma once

#include <memory>

#include "kernels/core/error.h"
#include "kernels/duet.h"

namespace duet {

struct DestroyContext {
  void operator()(duet_context* context) const { duet_context_destroy(context); }
};
using Context = std::unique_ptr<duet_context, DestroyContext>;

// threads 0: what affinity mask and cgroup allow.
inline Context make_context(int64_t threads) {
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = static_cast<int32_t>(threads);
  duet_context* made = nullptr;
  succeed(duet_context_create(&options, &made));
  return Context(made);
}

}  // namespace duet
