#include <cuda_runtime.h>

#include "kernels/core/error.h"
#include "kernels/cuda/device.h"

namespace duet::cuda {
namespace {

template <class... Parts>
void check(cudaError_t status, const Parts&... what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // taken: the next call shall not report it again
  throw Error(status == cudaErrorMemoryAllocation ? DUET_OUT_OF_MEMORY : DUET_CUDA_ERROR,
              text(what..., ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")"));
}

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

__global__ void presence_kernel() {}

std::string shortage(size_t bytes) {
  size_t available = 0, total = 0;
  if (cudaMemGetInfo(&available, &total) != cudaSuccess) return text("allocating ", bytes, " bytes");
  return text("allocating ", bytes, " bytes, ", available, " of ", total, " are free");
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

DeviceFacts device_facts(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "facts of device ", device);
  const auto attribute = [&](cudaDeviceAttr name) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, name, device), "facts of device ", device);
    return value;
  };
  DeviceFacts facts;
  facts.name = properties.name;
  facts.capability = properties.major * 10 + properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  facts.l2_bytes = properties.l2CacheSize;
  facts.shared_bytes_of_block = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  facts.shared_bytes_of_multiprocessor = static_cast<int64_t>(properties.sharedMemPerMultiprocessor);
  facts.clock_khz = attribute(cudaDevAttrClockRate);
  facts.memory_clock_khz = attribute(cudaDevAttrMemoryClockRate);
  facts.memory_bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth);
  check(cudaDriverGetVersion(&facts.driver_version), "driver version");
  check(cudaRuntimeGetVersion(&facts.runtime_version), "runtime version");
  return facts;
}

bool runs_on(int device) {
  const DeviceScope current(device);
  cudaFuncAttributes attributes;
  const cudaError_t status = cudaFuncGetAttributes(&attributes, presence_kernel);
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();  // taken: the next call shall not report it again
    return false;
  }
  check(status, "looking for this build's code on device ", device);
  return true;
}

size_t memory_in_use() {
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "memory in use");
  return total - available;
}

DeviceScope::DeviceScope(int device) {
  check(cudaGetDevice(&before_), "current device");
  if (device != before_) check(cudaSetDevice(device), "device ", device);
}
DeviceScope::~DeviceScope() {
  int now = before_;
  if (cudaGetDevice(&now) == cudaSuccess && now != before_) cudaSetDevice(before_);
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (bytes == 0) return memory;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status != cudaSuccess) check(status, shortage(bytes));
  return memory;
}
void* allocate_managed(size_t bytes) {
  void* memory = nullptr;
  if (bytes == 0) return memory;
  const cudaError_t status = cudaMallocManaged(&memory, bytes);
  if (status != cudaSuccess) check(status, shortage(bytes));
  return memory;
}
void* allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  if (bytes != 0) check(cudaMallocHost(&memory, bytes), "allocating ", bytes, " bytes of pinned host memory");
  return memory;
}
void release(void* memory) noexcept {
  if (cudaFree(memory) != cudaSuccess) cudaGetLastError();
}
void release_pinned(void* memory) noexcept {
  if (cudaFreeHost(memory) != cudaSuccess) cudaGetLastError();
}

void copy(void* to, const void* from, size_t bytes, void* stream) {
  if (bytes != 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "copying ", bytes, " bytes");
}
void fill(void* to, int byte, size_t bytes, void* stream) {
  if (bytes != 0) check(cudaMemsetAsync(to, byte, bytes, stream_of(stream)), "filling ", bytes, " bytes");
}
void synchronize(void* stream) { check(cudaStreamSynchronize(stream_of(stream)), "waiting for a stream"); }
void synchronize_device() { check(cudaDeviceSynchronize(), "waiting for the device"); }
bool capturing(void* stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_of(stream), &status), "asking a stream whether it is being captured");
  return status != cudaStreamCaptureStatusNone;
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  handle_ = stream;
}
Stream::~Stream() {
  if (handle_) cudaStreamDestroy(stream_of(handle_));
}

Event::Event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "creating an event");
  handle_ = event;
}
Event::~Event() {
  if (handle_) cudaEventDestroy(static_cast<cudaEvent_t>(handle_));
}
void Event::record(void* stream) { check(cudaEventRecord(static_cast<cudaEvent_t>(handle_), stream_of(stream)), "recording an event"); }
void Event::wait() { check(cudaEventSynchronize(static_cast<cudaEvent_t>(handle_)), "waiting for an event"); }
void Event::wait(void* stream) const { check(cudaStreamWaitEvent(stream_of(stream), static_cast<cudaEvent_t>(handle_), 0), "making a stream wait"); }
float Event::elapsed_ms(const Event& start) const {
  float elapsed = 0;
  check(cudaEventElapsedTime(&elapsed, static_cast<cudaEvent_t>(start.handle_), static_cast<cudaEvent_t>(handle_)), "time between two events");
  return elapsed;
}

void begin_capture(void* stream) { check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal), "beginning a capture"); }
Graph end_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &graph), "ending a capture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "instantiating a graph");
  return Graph(executable);
}
Graph::~Graph() {
  if (handle_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle_));
}
void Graph::replay(void* stream) const { check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(handle_), stream_of(stream)), "replaying a graph"); }

}  // namespace duet::cuda
