// What a context is inside, and the choice of the backend: the last step of every operation after its checks.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernels/core/backend.h"
#include "kernels/core/context.h"
#include "kernels/core/error.h"

namespace duet::cpu {
class ThreadPool;
}

namespace duet {
inline constexpr int64_t kSmallRows = 256;
}

struct duet_context {
  const duet::Backend* backend = nullptr;
  duet_device device = DUET_DEVICE_CPU;
  int32_t device_index = 0;
  int32_t threads = 1;
  int32_t multiprocessors = 0;  // of the CUDA device; sizes grids, never a result's bits
  int64_t shared_bytes = 0;     // of a block there; likewise
  duet_precision precision = DUET_PRECISION_TF32X3;
  void* stream = nullptr;
  duet_fault* faults = nullptr;  // CUDA: where kernels note the first value out of range; null: calls look and wait
  int64_t small_rows = duet::kSmallRows;  // CUDA: the most rows and columns of the forms of one launch a pass; -1: none
  void* report = nullptr;  // CUDA: kReportBytes of pinned memory, where a kernel leaves what the call must tell
  duet::cpu::ThreadPool* pool = nullptr;  // CPU: the threads beside the caller's; null where threads is 1
  uint32_t process = 0;                   // the process_number of the process that it was made in
};

namespace duet {

inline constexpr size_t kReportBytes = 64;

// The forks between the process that made the first context and this one. A child has none of its parent's threads.
inline std::atomic<uint32_t> process_number = 0;

// A context that is checked and whose device is current, while this lives.
class Current {
 public:
  explicit Current(const duet_context* context) {
    require(context != nullptr, "context: null");
    require(context->process == process_number.load(std::memory_order_relaxed),
            "context: expected one made in this process, got one made before fork(), whose threads are the parent's; "
            "make another here");
    backend_ = context->backend;
    before_ = backend_->enter(*context);
  }
  ~Current() { backend_->leave(before_); }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

  const Backend* operator->() const { return backend_; }

 private:
  const Backend* backend_;
  int before_;
};

// Calls cpu() or cuda(). The build system says which backends there are to the files that choose; one that is left out
// is not even referred to.
template <class Cpu, class Cuda>
auto dispatch(const duet_context* context, [[maybe_unused]] Cpu&& cpu, [[maybe_unused]] Cuda&& cuda) {
  const Current current(context);
#if DUET_CUDA_BACKEND
  if (context->device == DUET_DEVICE_CUDA) return cuda();
#endif
#if DUET_CPU_BACKEND
  if (context->device == DUET_DEVICE_CPU) return cpu();
#endif
  throw Error(DUET_STATUS_UNSUPPORTED, "this build has no backend for the context's device");
}

}  // namespace duet

// Declares a function of both backends, duet::cpu::name and duet::cuda::name. Stands in namespace duet.
#define DUET_BACKEND_FUNCTION(Return, name, ...) \
  namespace cpu {                                \
  Return name(__VA_ARGS__);                      \
  }                                              \
  namespace cuda {                               \
  Return name(__VA_ARGS__);                      \
  }
