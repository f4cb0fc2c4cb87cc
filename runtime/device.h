// A device to work on: its contexts and streams, made together. Tensors, tapes and stores of it must not outlive it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/duet.h"
#include "runtime/memory.h"

namespace duet {

struct DeviceOptions {
  duet_device kind = DUET_DEVICE_CPU;
  int64_t threads = 0;  // CPU; 0: what affinity mask and cgroup allow
  int32_t index = 0;    // CUDA
  duet_precision precision = DUET_PRECISION_TF32X3;
  int64_t small_rows = 0;  // of duet_context_options
  void* stream = nullptr;  // CUDA: the stream of context() and step_context(), borrowed; null: one of its own
  // CUDA: bytes that a data set may take of the device's memory; a larger one stays on the host and is sent batch by
  // batch. 0: half of what is free.
  int64_t data_bytes = 0;
};

class Device {
 public:
  // Both encoders of the student and of the teacher run side by side, three streams beside the first, and what nobody
  // waits for on one more.
  static constexpr int kBranches = 4;

  // Throws Error: DUET_STATUS_UNSUPPORTED where there is no such device.
  explicit Device(const DeviceOptions& options = {});
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceOptions& options() const { return options_; }
  // Calls of it look at indices and labels, and wait for that.
  duet_context* context() const { return context_.get(); }
  // The same stream; calls of it note the first fault instead, and so can be captured. Of the CPU: context() itself.
  duet_context* step_context() const { return step_context_ ? step_context_.get() : context(); }
  // Contexts like step_context() on streams of their own. Of the CPU: none.
  std::span<duet_context* const> branches() const { return branches_; }
  // A stream for what is sent to the device beside the work on it. Of the CPU: context().
  duet_context* upload_context() const { return upload_context_ ? upload_context_.get() : context(); }
  // Whether a data set of so many bytes may lie in the device's memory.
  bool holds(int64_t bytes) const;
  // Whether sequences of calls are captured and replayed.
  bool captures() const { return options_.kind == DUET_DEVICE_CUDA; }
  // The fault that step_context() and branches() have noted becomes none.
  void clear_fault();

 private:
  struct DestroyContext {
    void operator()(duet_context* context) const { duet_context_destroy(context); }
  };
  using Context = std::unique_ptr<duet_context, DestroyContext>;
  struct Stream {
    Stream(duet_device device, int32_t index);
    ~Stream();
    Stream(Stream&& other) noexcept : device(other.device), handle(std::exchange(other.handle, nullptr)) {}
    duet_device device;
    void* handle = nullptr;
  };

  Context make_context(void* stream, duet_fault* faults) const;
  void* make_stream();

  DeviceOptions options_;
  std::vector<Stream> streams_;
  Context context_;
  DeviceArray<duet_fault> fault_;
  Context step_context_, upload_context_;
  std::vector<Context> branch_contexts_;
  std::vector<duet_context*> branches_;
};

// Names what this thread does while it lives in a profiler's time line.
class ProfilerRange {
 public:
  explicit ProfilerRange(const char* name) { duet_range_begin(name); }
  ~ProfilerRange() { duet_range_end(); }
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

}  // namespace duet
