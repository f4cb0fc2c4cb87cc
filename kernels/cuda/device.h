// The host's side of a device: memory, streams, events, captured graphs, facts. Implemented for CUDA in device.cu and
// for the emulator in simt/device.cpp, without a CUDA header here. Everything works on the current device (DeviceScope
// chooses it) and throws Error: DUET_STATUS_OUT_OF_MEMORY where memory is short, DUET_STATUS_CUDA_ERROR otherwise. A
// stream is a cudaStream_t as void*; null is the default stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace duet::cuda {

struct DeviceFacts {
  std::string name;
  int capability = 0;  // 90 for 9.0
  int multiprocessors = 0;
  int64_t memory_bytes = 0, l2_bytes = 0;
  int64_t shared_bytes_of_block = 0, shared_bytes_of_multiprocessor = 0;
  int clock_khz = 0, memory_clock_khz = 0, memory_bus_bits = 0;
  int driver_version = 0, runtime_version = 0;  // 13000 for 13.0
  bool emulated = false;
};
int device_count();              // 0 where there is no device or no driver; asked once
std::string no_device_reason();  // why there is none; empty where there is one
DeviceFacts device_facts(int device);
// Whether this build holds machine code for the device; facts alone do not say.
bool runs_on(int device);
// Shared memory that a block must be able to have, which is what sm_86, sm_89 and sm_120 give. Where a kernel takes
// more, its launch has another form for the devices that give less: narrower tiles (sweep.h), fewer of a walk's rows
// kept, shorter rows sorted (triplet_all_cuda.cu).
inline constexpr int64_t kLeastSharedBytes = 99 * 1024;
size_t memory_in_use();  // of the current device, whoever took it, by the device's own accounting
struct MemoryInfo {
  int64_t free_bytes = 0, total_bytes = 0;
};
MemoryInfo memory_info(int device);

// Makes a device current and returns the one that was; make_current_again() gives the host program its own back.
int make_current(int device);
void make_current_again(int before) noexcept;

class DeviceScope {
 public:
  explicit DeviceScope(int device) : before_(make_current(device)) {}
  ~DeviceScope() { make_current_again(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_;
};

// The host reads and writes memory of `allocate` by `copy` and `fill` alone; on the emulator whatever else it does with
// it faults. The pool keeps what was released for the next allocation; a device without pools takes and gives back at
// once, and waits. Both forms stand outside of captures, but that with a stream asks no more than that this stream is
// not captured.
void* allocate(size_t bytes);  // of the device, aligned to 256; null for 0 bytes
void* allocate(size_t bytes,
               void* stream);              // the same from the device's pool, usable by what comes later on the stream
void* allocate_managed(size_t bytes);      // the host reads and writes it too, between synchronize and the next launch
void* allocate_pinned(size_t bytes);       // of the host, for copies that do not wait
void release(void* memory) noexcept;       // of allocate without a stream, or allocate_managed
void release(void* memory, void* stream);  // of allocate with a stream; what is on this stream may still use it
void release_pinned(void* memory) noexcept;

// In the order of the stream; either end on the host or the device. Of 0 bytes nothing is done or captured.
void copy(void* to, const void* from, size_t bytes, void* stream);
void fill(void* to, int byte, size_t bytes, void* stream);
void synchronize(void* stream);
void synchronize_device();
bool capturing(void* stream);

class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  void* get() const { return handle_; }
  // Gives the stream away; destroy() ends such a one.
  void* release() { return std::exchange(handle_, nullptr); }
  static void destroy(void* stream) noexcept;

 private:
  void* handle_;
};

// Names what the host does while it lives, for a profiler's time line (NVTX; nothing on the emulator). Ranges of a
// thread lie one in another.
class ProfilerRange {
 public:
  explicit ProfilerRange(const char* name);
  ~ProfilerRange();
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  void record(void* stream);
  void wait();                                 // the host, until the recorded work is done
  void wait(void* stream) const;               // the stream
  bool done() const;                           // whether the recorded work is; true where nothing was recorded
  float elapsed_ms(const Event& start) const;  // both recorded and done

 private:
  void* handle_;
};

// Of a graph's nodes: kernels, copies, fills, and whatever else CUDA counts.
struct GraphShape {
  int64_t nodes = 0;
  int64_t longest_path = 0;  // the nodes on the longest chain in which each depends on the one before
  int64_t kernels = 0, copies = 0, fills = 0;
};

// Work recorded instead of done: between begin_capture and end_capture everything put on the stream (not the default
// one) becomes a graph. A stream that waits for an event recorded in the capture joins it: what is put on it is a
// parallel branch, until the first stream waits for an event recorded after it, which it must. Meanwhile the thread
// neither waits, nor asks an event, nor takes or gives memory outside of a stream's pool.
class Graph {
 public:
  explicit Graph(void* handle) : handle_(handle) {}
  ~Graph();
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  void replay(void* stream) const;  // not a captured one
  GraphShape shape() const;

 private:
  void* handle_;
};
void begin_capture(void* stream);
// In the thread that began it. Throws DUET_STATUS_CUDA_ERROR where a branch was not joined, or where the thread did
// meanwhile what it must not.
Graph end_capture(void* stream);
void abandon_capture(void* stream) noexcept;  // where there is one; what was recorded is gone

}  // namespace duet::cuda
