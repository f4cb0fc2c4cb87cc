// The host's side of the emulated device. Work is done when it is put on a stream, unless the stream is being captured: then it is kept, and done
// when the graph is replayed. Device memory is the host's, poisoned, and limited.
#include "kernels/cuda/device.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/simt/simt.h"

namespace duet {
namespace {

using Work = std::vector<std::function<void()>>;
struct EmulatedStream {
  std::unique_ptr<Work> captured;  // null: not being captured
};
struct EmulatedEvent {
  bool recorded = false;
  std::chrono::steady_clock::time_point at;
};

constexpr size_t kMemory = size_t{16} << 30;
constexpr size_t kHeader = 256;  // before each allocation: its size; and its alignment
std::atomic<size_t> in_use{0};
simt::PlayedDevice played;

EmulatedStream* stream_of(void* stream) { return static_cast<EmulatedStream*>(stream); }
EmulatedEvent& event_of(void* event) { return *static_cast<EmulatedEvent*>(event); }

// A host that waits on a stream that is being captured would wait forever.
void refuse_while_captured(void* stream, const char* what) {
  if (cuda::capturing(stream)) throw Error(DUET_CUDA_ERROR, text(what, ": the stream is being captured"));
}

}  // namespace

namespace simt {
const PlayedDevice& played_device() { return played; }
void play(const PlayedDevice& device) { played = device; }

void submit(void* stream, std::function<void()> work) {
  if (cuda::capturing(stream))
    stream_of(stream)->captured->push_back(std::move(work));
  else
    work();
}
}  // namespace simt

namespace cuda {

int device_count() { return 1; }

DeviceFacts device_facts(int device) {
  if (device != 0) throw Error(DUET_CUDA_ERROR, text("facts of device ", device, ": the emulator has one, 0"));
  DeviceFacts facts;
  facts.name = "emulator";
  facts.capability = played.capability;
  facts.multiprocessors = simt::kMultiprocessors;
  facts.memory_bytes = kMemory;
  facts.shared_bytes_of_block = facts.shared_bytes_of_multiprocessor = static_cast<int64_t>(played.shared_bytes);
  return facts;
}

bool runs_on(int) { return played.has_code; }

size_t memory_in_use() { return in_use; }

DeviceScope::DeviceScope(int device) : before_(0) {
  if (device != 0) throw Error(DUET_CUDA_ERROR, text("device ", device, ": the emulator has one, 0"));
}
DeviceScope::~DeviceScope() = default;

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  if (bytes > kMemory - in_use || posix_memalign(&memory, kHeader, kHeader + bytes) != 0)
    throw Error(DUET_OUT_OF_MEMORY, text("allocating ", bytes, " bytes, ", kMemory - in_use, " of ", kMemory, " are free"));
  in_use += bytes;
  std::memcpy(memory, &bytes, sizeof bytes);
  char* const data = static_cast<char*>(memory) + kHeader;
  std::memset(data, 0xff, bytes);  // NaN, -1
  return data;
}
void* allocate_managed(size_t bytes) { return allocate(bytes); }
void* allocate_pinned(size_t bytes) { return allocate(bytes); }
void release(void* memory) noexcept {
  if (!memory) return;
  char* const start = static_cast<char*>(memory) - kHeader;
  size_t bytes = 0;
  std::memcpy(&bytes, start, sizeof bytes);
  in_use -= bytes;
  std::free(start);
}
void release_pinned(void* memory) noexcept { release(memory); }

void copy(void* to, const void* from, size_t bytes, void* stream) {
  if (bytes != 0) simt::submit(stream, [=] { std::memmove(to, from, bytes); });
}
void fill(void* to, int byte, size_t bytes, void* stream) {
  if (bytes != 0) simt::submit(stream, [=] { std::memset(to, byte, bytes); });
}
void synchronize(void* stream) { refuse_while_captured(stream, "waiting for a stream"); }
void synchronize_device() {}
bool capturing(void* stream) { return stream && stream_of(stream)->captured; }

Stream::Stream() : handle_(new EmulatedStream) {}
Stream::~Stream() { delete stream_of(handle_); }

Event::Event() : handle_(new EmulatedEvent) {}
Event::~Event() { delete static_cast<EmulatedEvent*>(handle_); }
void Event::record(void* stream) {
  simt::submit(stream, [event = static_cast<EmulatedEvent*>(handle_)] { *event = {true, std::chrono::steady_clock::now()}; });
}
void Event::wait() {}
void Event::wait(void*) const {}
float Event::elapsed_ms(const Event& start) const {
  const EmulatedEvent &from = event_of(start.handle_), &to = event_of(handle_);
  if (!from.recorded || !to.recorded) throw Error(DUET_CUDA_ERROR, "time between two events: one was never recorded");
  return std::chrono::duration<float, std::milli>(to.at - from.at).count();
}

void begin_capture(void* stream) {
  if (!stream) throw Error(DUET_CUDA_ERROR, "beginning a capture: the default stream cannot be captured");
  refuse_while_captured(stream, "beginning a capture");
  stream_of(stream)->captured = std::make_unique<Work>();
}
Graph end_capture(void* stream) {
  if (!capturing(stream)) throw Error(DUET_CUDA_ERROR, "ending a capture: none was begun");
  return Graph(stream_of(stream)->captured.release());
}
Graph::~Graph() { delete static_cast<Work*>(handle_); }
void Graph::replay(void* stream) const {
  simt::submit(stream, [graph = static_cast<const Work*>(handle_)] {
    for (const auto& step : *graph) step();
  });
}

}  // namespace cuda
}  // namespace duet
