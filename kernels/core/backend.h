// What core/ asks of a backend: a context's parts, memory, streams. cpu/backend_cpu.cpp and cuda/backend_cuda.cpp
// answer, and kernels/backends.cpp says which of them this build holds; core/ names neither. All of it throws Error.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/context.h"
#include "kernels/core/devices.h"

namespace duet {

class Backend {
 public:
  // How many devices there are, at least one, or Error with the reason why there is none.
  virtual int32_t device_count() const = 0;
  // facts: zeros but for its struct_size; index is below the count.
  virtual void describe(int32_t index, duet_device_facts& facts) const = 0;
  // The SIMD target, or null where that is no question.
  virtual const char* simd_target() const = 0;

  // Completes a context that holds its options: a thread pool, a device's facts, memory of its own. allowed_threads:
  // what the affinity mask and the cgroup's quota allow.
  virtual void open(duet_context& context, int32_t allowed_threads) const = 0;
  // made_here: in the process that made it; what lives in the parent alone is not a child's to give back.
  virtual void close(duet_context& context, bool made_here) const noexcept = 0;
  // Makes the context's device current and returns the one that was; leave() makes that current again.
  virtual int enter(const duet_context& context) const = 0;
  virtual void leave(int before) const noexcept = 0;

  // Memory that the context's kernels reach, and memory of the host for copies that do not wait: memory.h.
  virtual void* allocate(const duet_context& context, size_t bytes) const = 0;
  virtual void release(const duet_context& context, void* data) const = 0;
  virtual void fill(const duet_context& context, void* data, int32_t byte, size_t bytes) const = 0;
  virtual void copy(const duet_context& context, void* to, const void* from, size_t bytes) const = 0;
  virtual void* allocate_pinned(size_t bytes) const = 0;
  virtual void release_pinned(void* data) const = 0;
  virtual void synchronize(const duet_context& context) const = 0;

  // Streams, events and graphs: stream.h. An event or a graph is a handle of this backend; the CPU's are null.
  virtual void* create_stream(int32_t device_index) const = 0;
  virtual void destroy_stream(void* stream) const noexcept = 0;
  virtual void* create_event() const = 0;
  virtual void destroy_event(void* event) const noexcept = 0;
  virtual void record_event(const duet_context& context, void* event) const = 0;
  virtual void await_event(const duet_context& context, void* event) const = 0;
  virtual bool event_done(void* event) const = 0;
  virtual void wait_for_event(void* event) const = 0;
  virtual void begin_graph(const duet_context& context) const = 0;
  virtual void* end_graph(const duet_context& context) const = 0;
  virtual void abandon_graph(const duet_context& context) const noexcept = 0;
  virtual void graph_shape(void* graph, int64_t* nodes, int64_t* longest_path) const = 0;
  virtual void launch_graph(const duet_context& context, void* graph) const = 0;
  virtual void destroy_graph(void* graph) const noexcept = 0;

  // Of a profiler's time line, of the calling thread.
  virtual void begin_range(const char* name) const = 0;
  virtual void end_range() const = 0;

 protected:
  ~Backend() = default;
};

// The backend of a device, or null where this build lacks it.
const Backend* backend_of(duet_device device);

}  // namespace duet
