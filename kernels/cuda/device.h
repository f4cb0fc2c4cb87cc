// The host's side of a device: memory, streams, events, captured graphs, facts. Implemented for CUDA in device.cu and for the emulator in
// simt/device.cpp, without a CUDA header here. Everything works on the current device (DeviceScope chooses it) and throws Error: DUET_OUT_OF_MEMORY
// where memory is short, DUET_CUDA_ERROR otherwise. A stream is a cudaStream_t as void*; null is the default stream.
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
};
int device_count();  // 0 where there is no device or no driver
DeviceFacts device_facts(int device);
// Whether this build holds machine code for the device; facts alone do not say.
bool runs_on(int device);
// Shared memory that a block must be able to have: every kernel's, static and dynamic together, stays within what sm_80 gives (tile_layout.h and
// triplet_all_cuda.cu assert it of the largest ones). A device that gives more gets more of a walk's rows kept (sweep.h).
inline constexpr int64_t kLeastSharedBytes = 163 * 1024;
size_t memory_in_use();  // of the current device, whoever took it, by the device's own accounting

// Makes a device current and gives the host program its own back.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_;
};

void* allocate(size_t bytes);          // of the device, aligned to 256; null for 0 bytes
void* allocate_managed(size_t bytes);  // the host reads and writes it too, between synchronize and the next launch
void* allocate_pinned(size_t bytes);   // of the host, for copies that do not wait
void release(void* memory) noexcept;   // of allocate or allocate_managed
void release_pinned(void* memory) noexcept;

// In the order of the stream; either end on the host or the device.
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

 private:
  void* handle_;
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
  float elapsed_ms(const Event& start) const;  // both recorded and done

 private:
  void* handle_;
};

// Work recorded instead of done: between begin_capture and end_capture everything put on the stream (not the default one) becomes a graph.
class Graph {
 public:
  explicit Graph(void* handle) : handle_(handle) {}
  ~Graph();
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  void replay(void* stream) const;

 private:
  void* handle_;
};
void begin_capture(void* stream);
Graph end_capture(void* stream);

}  // namespace duet::cuda
