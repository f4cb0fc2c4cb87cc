#include <algorithm>
#include <memory>
#include <optional>

#include "kernels/core/backend.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/stream.h"
#include "kernels/cuda/device.h"

namespace duet::cuda {
namespace {

// The calling thread's ranges.
struct Ranges {
  std::optional<ProfilerRange> open[DUET_MOST_RANGES];
  int depth = 0;
};
thread_local Ranges ranges;

Event& on_device(void* event) {
  require(event != nullptr, "event: expected one of a CUDA context, got one of a CPU context");
  return *static_cast<Event*>(event);
}

class CudaBackend final : public Backend {
 public:
  int32_t device_count() const override {
    const int32_t count = cuda::device_count();
    if (count == 0) throw Error(DUET_STATUS_CUDA_ERROR, "no CUDA device on this machine: " + no_device_reason());
    return count;
  }
  void describe(int32_t index, duet_device_facts& facts) const override {
    const DeviceFacts given = device_facts(index);
    const MemoryInfo memory = memory_info(index);
    given.name.copy(facts.name, std::min(given.name.size(), sizeof facts.name - 1));
    facts.capability = given.capability;
    facts.multiprocessors = given.multiprocessors;
    facts.memory_bytes = memory.total_bytes;
    facts.free_bytes = memory.free_bytes;
    facts.shared_bytes_of_block = given.shared_bytes_of_block;
    facts.driver_version = given.driver_version;
    facts.emulated = given.emulated;
  }
  const char* simd_target() const override { return nullptr; }

  void open(duet_context& context, int32_t) const override {
    const int devices = cuda::device_count();
    if (devices == 0) throw Error(DUET_STATUS_UNSUPPORTED, "options.device: no CUDA device on this machine");
    require(context.device_index >= 0 && context.device_index < devices, "options.device_index: expected 0 to ",
            devices - 1, ", got ", context.device_index);
    const DeviceFacts facts = device_facts(context.device_index);
    const auto refuse = [&](const auto&... why) {
      throw Error(DUET_STATUS_UNSUPPORTED, text("options.device_index: ", facts.name, " (compute capability ",
                                                facts.capability / 10, ".", facts.capability % 10, ") ", why...));
    };
    if (facts.shared_bytes_of_block < kLeastSharedBytes)
      refuse("gives a block ", facts.shared_bytes_of_block, " bytes of shared memory, the kernels need ",
             kLeastSharedBytes);
    if (!runs_on(context.device_index)) refuse("is none that this build holds code for");
    context.multiprocessors = facts.multiprocessors;
    context.shared_bytes = facts.shared_bytes_of_block;
    const DeviceScope scope(context.device_index);
    context.report = cuda::allocate_pinned(kReportBytes);
  }
  void close(duet_context& context, bool made_here) const noexcept override {
    if (made_here) cuda::release_pinned(context.report);
  }
  int enter(const duet_context& context) const override { return make_current(context.device_index); }
  void leave(int before) const noexcept override { make_current_again(before); }

  void* allocate(const duet_context& context, size_t bytes) const override {
    return cuda::allocate(bytes, context.stream);
  }
  void release(const duet_context& context, void* data) const override { cuda::release(data, context.stream); }
  void fill(const duet_context& context, void* data, int32_t byte, size_t bytes) const override {
    cuda::fill(data, byte, bytes, context.stream);
  }
  void copy(const duet_context& context, void* to, const void* from, size_t bytes) const override {
    cuda::copy(to, from, bytes, context.stream);
  }
  void* allocate_pinned(size_t bytes) const override { return bytes == 0 ? nullptr : cuda::allocate_pinned(bytes); }
  void release_pinned(void* data) const override { cuda::release_pinned(data); }
  void synchronize(const duet_context& context) const override { cuda::synchronize(context.stream); }

  void* create_stream(int32_t device_index) const override {
    const DeviceScope scope(device_index);
    return Stream().release();
  }
  void destroy_stream(void* stream) const noexcept override { Stream::destroy(stream); }
  void* create_event() const override { return new Event(); }
  void destroy_event(void* event) const noexcept override { delete static_cast<Event*>(event); }
  void record_event(const duet_context& context, void* event) const override {
    on_device(event).record(context.stream);
  }
  void await_event(const duet_context& context, void* event) const override { on_device(event).wait(context.stream); }
  bool event_done(void* event) const override { return on_device(event).done(); }
  void wait_for_event(void* event) const override { on_device(event).wait(); }
  void begin_graph(const duet_context& context) const override { begin_capture(context.stream); }
  void* end_graph(const duet_context& context) const override {
    return std::make_unique<Graph>(end_capture(context.stream)).release();
  }
  void abandon_graph(const duet_context& context) const noexcept override {
    if (context.stream) abandon_capture(context.stream);
  }
  void graph_shape(void* graph, int64_t* nodes, int64_t* longest_path) const override {
    const GraphShape shape = static_cast<Graph*>(graph)->shape();
    if (nodes) *nodes = shape.nodes;
    if (longest_path) *longest_path = shape.longest_path;
  }
  void launch_graph(const duet_context& context, void* graph) const override {
    static_cast<Graph*>(graph)->replay(context.stream);
  }
  void destroy_graph(void* graph) const noexcept override { delete static_cast<Graph*>(graph); }

  void begin_range(const char* name) const override {
    if (name && ranges.depth < DUET_MOST_RANGES) ranges.open[ranges.depth].emplace(name);
    ++ranges.depth;
  }
  void end_range() const override {
    if (ranges.depth == 0) return;
    --ranges.depth;
    if (ranges.depth < DUET_MOST_RANGES) ranges.open[ranges.depth].reset();
  }
};

}  // namespace

const Backend& backend() {
  static const CudaBackend instance;
  return instance;
}

}  // namespace duet::cuda
