// The host's side of the emulated device. Work is done when it is put on a stream, unless the stream is being captured:
// then it is kept, and done when the graph is replayed (capture.cpp). Device memory is out of the host's reach,
// poisoned, and limited (global_memory.cpp).
#include "kernels/cuda/device.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/graph_shape.h"
#include "kernels/simt/capture.h"
#include "kernels/simt/global_memory.h"
#include "kernels/simt/simt.h"

namespace duet {
namespace {

using simt::EmulatedEvent, simt::EmulatedStream, simt::Nodes, simt::Task;

constexpr size_t kPinnedAlignment = 256;
simt::PlayedDevice played;
simt::DeviceCounts counts;

EmulatedStream* stream_of(void* stream) { return static_cast<EmulatedStream*>(stream); }
EmulatedEvent& event_of(void* event) { return *static_cast<EmulatedEvent*>(event); }

void count(int64_t& of) { std::atomic_ref<int64_t>(of).fetch_add(1, std::memory_order_relaxed); }

void refuse(const char* what, const char* why) { throw Error(DUET_STATUS_CUDA_ERROR, text(what, ": ", why)); }
// What would wait for ever, or what CUDA takes for a danger to the capture.
void refuse_while_captured(void* stream, const char* what) {
  if (cuda::capturing(stream)) refuse(what, "the stream is being captured");
}
void refuse_while_capturing(const char* what) {
  if (simt::captures_here()) refuse(what, "this thread captures a stream");
}
void refuse_captured(const EmulatedEvent& event, const char* what) {
  if (event.capture) refuse(what, "the event was recorded in a capture");
}
// DUET_SIMT_LOST_AFTER=n: the replay of a graph after n of them loses the device, as a fault of its hardware does. From
// then on it does nothing that it is asked for; what is released is forgotten.
std::atomic<bool> is_lost = false;
void lose_when_due() {
  static const char* const after = std::getenv("DUET_SIMT_LOST_AFTER");
  static std::atomic<int64_t> left = after ? std::atoll(after) : 0;
  if (after && left.fetch_sub(1) <= 0) is_lost = true;
}
void refuse_when_lost(const char* what) {
  if (is_lost) refuse(what, "the device is lost");
}
void require_first(int device, const char* what) {
  if (device != 0) throw Error(DUET_STATUS_CUDA_ERROR, text(what, device, ": the emulator has one, 0"));
}

// Memory of the host, so that AddressSanitizer sees the last of it.
void* allocate_host(size_t bytes, const char* what) {
  if (bytes == 0) return nullptr;
  refuse_while_capturing("allocating");
  void* memory = nullptr;
  if (posix_memalign(&memory, kPinnedAlignment, bytes) != 0)
    throw Error(DUET_STATUS_OUT_OF_MEMORY, text("allocating ", bytes, " bytes of ", what));
  std::memset(memory, 0xff, bytes);
  count(counts.allocations);
  return memory;
}
void release_any(void* memory) noexcept {
  if (!memory) return;
  if (simt::captures_here()) simt::break_captures_here("memory was released meanwhile");
  if (!simt::release_global(memory)) std::free(memory);
  count(counts.releases);
}
void* allocate_global(size_t bytes) {
  if (bytes == 0) return nullptr;
  refuse_when_lost("allocating");
  void* const memory = simt::allocate_global(bytes);
  if (!memory) {
    const size_t available = simt::kGlobalBytes - simt::global_in_use();
    throw Error(DUET_STATUS_OUT_OF_MEMORY,
                text("allocating ", bytes, " bytes, ", available, " of ", simt::kGlobalBytes, " are free"));
  }
  count(counts.allocations);
  return memory;
}

}  // namespace

namespace simt {
const PlayedDevice& played_device() { return played; }
void play(const PlayedDevice& device) { played = device; }
const DeviceCounts& device_counts() { return counts; }
void reset_device_counts() { counts = {}; }

void submit(void* stream, std::function<void()> work, Task task) {
  if (cuda::capturing(stream)) {
    stream_of(stream)->add(task, std::move(work));
    return;
  }
  refuse_when_lost(task == Task::kernel ? "launching a kernel" : task == Task::copy ? "copying" : "filling memory");
  {
    const Reach reach;
    work();
  }
  count(task == Task::kernel ? counts.launches : task == Task::copy ? counts.copies : counts.fills);
}
}  // namespace simt

namespace cuda {

int device_count() { return 1; }
std::string no_device_reason() { return ""; }

DeviceFacts device_facts(int device) {
  require_first(device, "facts of device ");
  DeviceFacts facts;
  facts.name = "emulator";
  facts.emulated = true;
  facts.capability = played.capability;
  facts.multiprocessors = simt::kMultiprocessors;
  facts.memory_bytes = simt::kGlobalBytes;
  facts.shared_bytes_of_block = facts.shared_bytes_of_multiprocessor = static_cast<int64_t>(played.shared_bytes);
  return facts;
}

bool runs_on(int) { return played.has_code; }

size_t memory_in_use() { return simt::global_in_use(); }
MemoryInfo memory_info(int device) {
  require_first(device, "memory of device ");
  return {static_cast<int64_t>(simt::kGlobalBytes - simt::global_in_use()), static_cast<int64_t>(simt::kGlobalBytes)};
}

int make_current(int device) {
  require_first(device, "device ");
  return 0;
}
void make_current_again(int) noexcept {}

void* allocate(size_t bytes) {
  refuse_while_capturing("allocating");
  return allocate_global(bytes);
}
void* allocate(size_t bytes, void* stream) {
  refuse_while_captured(stream, "allocating");
  return allocate_global(bytes);
}
void* allocate_managed(size_t bytes) { return allocate_host(bytes, "managed memory"); }
void* allocate_pinned(size_t bytes) { return allocate_host(bytes, "pinned host memory"); }
void release(void* memory) noexcept { release_any(memory); }
void release(void* memory, void* stream) {
  refuse_while_captured(stream, "releasing");
  if (!memory) return;
  if (!simt::release_global(memory)) refuse("releasing", "this is not the device's memory");
  refuse_when_lost("releasing");
  count(counts.releases);
}
void release_pinned(void* memory) noexcept { release_any(memory); }

void copy(void* to, const void* from, size_t bytes, void* stream) {
  if (bytes == 0) return;
  simt::submit(
      stream, [=] { std::memmove(to, from, bytes); }, Task::copy);
}
void fill(void* to, int byte, size_t bytes, void* stream) {
  if (bytes == 0) return;
  simt::submit(
      stream, [=] { std::memset(to, byte, bytes); }, Task::fill);
}
void synchronize(void* stream) {
  refuse_while_captured(stream, "waiting for a stream");
  refuse_while_capturing("waiting for a stream");
  refuse_when_lost("waiting for a stream");
  count(counts.waits);
}
void synchronize_device() {
  refuse_while_capturing("waiting for the device");
  refuse_when_lost("waiting for the device");
  count(counts.waits);
}
bool capturing(void* stream) { return stream && stream_of(stream)->captured(); }

Stream::Stream() : handle_(new EmulatedStream) {}
Stream::~Stream() { destroy(handle_); }
void Stream::destroy(void* stream) noexcept { delete stream_of(stream); }

ProfilerRange::ProfilerRange(const char*) {}
ProfilerRange::~ProfilerRange() = default;

Event::Event() : handle_(new EmulatedEvent) {}
Event::~Event() { delete static_cast<EmulatedEvent*>(handle_); }
void Event::record(void* stream) {
  EmulatedEvent& event = event_of(handle_);
  event = {};
  if (capturing(stream)) {
    event.capture = stream_of(stream)->capture;
    event.front = stream_of(stream)->front;
  } else {
    event.recorded = true;
    event.at = std::chrono::steady_clock::now();
  }
}
void Event::wait() {
  refuse_captured(event_of(handle_), "waiting for an event");
  refuse_while_capturing("waiting for an event");
  refuse_when_lost("waiting for an event");
  count(counts.waits);
}
void Event::wait(void* stream) const {
  constexpr const char* kWhat = "making a stream wait";
  const EmulatedEvent& event = event_of(handle_);
  if (!event.capture) {
    if (capturing(stream))
      refuse(kWhat, "the stream is being captured, and the event was not recorded in that capture");
    return;
  }
  if (!stream) refuse(kWhat, "the default stream cannot be captured");
  if (event.capture->over) refuse(kWhat, "the event was recorded in a capture that is over");
  EmulatedStream& waiting = *stream_of(stream);
  if (!waiting.captured())
    waiting.enter(event.capture, event.front);
  else if (waiting.capture == event.capture)
    waiting.front.join(event.front);
  else
    refuse(kWhat, "stream and event are in two captures");
}
bool Event::done() const {
  refuse_captured(event_of(handle_), "asking an event");
  refuse_while_capturing("asking an event");
  refuse_when_lost("asking an event");
  return true;
}
float Event::elapsed_ms(const Event& start) const {
  const EmulatedEvent &from = event_of(start.handle_), &to = event_of(handle_);
  if (!from.recorded || !to.recorded)
    throw Error(DUET_STATUS_CUDA_ERROR, "time between two events: one was never recorded");
  return std::chrono::duration<float, std::milli>(to.at - from.at).count();
}

void begin_capture(void* stream) {
  if (!stream) refuse("beginning a capture", "the default stream cannot be captured");
  refuse_while_captured(stream, "beginning a capture");
  stream_of(stream)->begin();
}
Graph end_capture(void* stream) {
  if (!stream) refuse("ending a capture", "none was begun");
  return Graph(new Nodes(stream_of(stream)->finish()));
}
void abandon_capture(void* stream) noexcept {
  if (!capturing(stream)) return;
  try {
    stream_of(stream)->finish();
  } catch (const Error&) {  // that it cannot be finished is why it is given up
  }
}
Graph::~Graph() { delete static_cast<Nodes*>(handle_); }
void Graph::replay(void* stream) const {
  refuse_while_captured(stream, "replaying a graph");
  lose_when_due();
  refuse_when_lost("replaying a graph");
  const simt::Reach reach;
  simt::replay(*static_cast<const Nodes*>(handle_));
  count(counts.graph_launches);
}
GraphShape Graph::shape() const {
  const Nodes& nodes = *static_cast<const Nodes*>(handle_);
  GraphShape shape;
  shape.nodes = static_cast<int64_t>(nodes.size());
  std::vector<std::pair<int64_t, int64_t>> edges;
  for (int64_t i = 0; i < shape.nodes; ++i) {
    const simt::Node& node = nodes[static_cast<size_t>(i)];
    for (const int64_t before : node.after) edges.emplace_back(before, i);
    ++(node.task == Task::kernel ? shape.kernels : node.task == Task::copy ? shape.copies : shape.fills);
  }
  shape.longest_path = longest_path(shape.nodes, edges);
  return shape;
}

}  // namespace cuda
}  // namespace duet
