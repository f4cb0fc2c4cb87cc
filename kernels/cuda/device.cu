#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/graph_shape.h"

namespace duet::cuda {
namespace {

template <class... Parts>
void check(cudaError_t status, const Parts&... what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // taken: the next call shall not report it again
  throw Error(status == cudaErrorMemoryAllocation ? DUET_STATUS_OUT_OF_MEMORY : DUET_STATUS_CUDA_ERROR,
              text(what..., ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")"));
}

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

__global__ void presence_kernel() {}

std::string shortage(size_t bytes) {
  size_t available = 0, total = 0;
  if (cudaMemGetInfo(&available, &total) != cudaSuccess) return text("allocating ", bytes, " bytes");
  return text("allocating ", bytes, " bytes, ", available, " of ", total, " are free");
}

// Of the current device: ours, so that the host program's own is left as it is; null where the device has none. For the
// life of the program.
cudaMemPool_t pool() {
  static std::mutex one_at_a_time;
  static std::map<int, cudaMemPool_t> pools;
  int device = 0;
  check(cudaGetDevice(&device), "current device");
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (const auto made = pools.find(device); made != pools.end()) return made->second;
  int supported = 0;
  check(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device), "facts of device ", device);
  cudaMemPool_t made = nullptr;
  if (supported) {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    check(cudaMemPoolCreate(&made, &properties), "making a memory pool");
    uint64_t keeps =
        UINT64_MAX;  // whatever was released: a step must not go to the driver for what the last one gave back
    const cudaError_t status = cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &keeps);
    if (status != cudaSuccess) cudaMemPoolDestroy(made);
    check(status, "making a memory pool");
  }
  return pools[device] = made;
}

struct Captured {
  cudaGraph_t graph;
  cudaGraphExec_t executable;
};
const Captured& captured_of(void* graph) { return *static_cast<const Captured*>(graph); }

struct Devices {
  int count = 0;
  std::string reason;
};
// Asked once: without a driver every call fails, the count is left as it was, and cudaGetLastError says so for ever.
const Devices& devices() {
  static const Devices found = [] {
    Devices devices;
    const cudaError_t status = cudaGetDeviceCount(&devices.count);
    if (status == cudaSuccess && devices.count > 0) return devices;
    cudaGetLastError();  // taken: the next call shall not report it again
    devices.count = 0;
    devices.reason = status == cudaSuccess ? "the driver shows no device"
                                           : text(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
    return devices;
  }();
  return found;
}

}  // namespace

int device_count() { return devices().count; }
std::string no_device_reason() { return devices().reason; }

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
MemoryInfo memory_info(int device) {
  const DeviceScope current(device);
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "memory of device ", device);
  return {static_cast<int64_t>(available), static_cast<int64_t>(total)};
}

int make_current(int device) {
  int before = 0;
  check(cudaGetDevice(&before), "current device");
  if (device != before) check(cudaSetDevice(device), "device ", device);
  return before;
}
void make_current_again(int before) noexcept {
  int now = before;
  if (cudaGetDevice(&now) == cudaSuccess && now != before) cudaSetDevice(before);
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (bytes == 0) return memory;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status != cudaSuccess) check(status, shortage(bytes));
  return memory;
}
// CUDA would make a node of the graph of it, and memory that only that graph knows.
static void refuse_while_captured(void* stream, const char* what) {
  if (capturing(stream)) throw Error(DUET_STATUS_CUDA_ERROR, text(what, ": the stream is being captured"));
}
void* allocate(size_t bytes, void* stream) {
  void* memory = nullptr;
  if (bytes == 0) return memory;
  refuse_while_captured(stream, "allocating");
  const cudaMemPool_t from = pool();
  if (!from) return allocate(bytes);
  const cudaError_t status = cudaMallocFromPoolAsync(&memory, bytes, from, stream_of(stream));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(DUET_STATUS_OUT_OF_MEMORY, shortage(bytes));
  }
  check(status, "allocating ", bytes, " bytes");
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
void release(void* memory, void* stream) {
  if (memory) refuse_while_captured(stream, "releasing");
  if (memory) check(pool() ? cudaFreeAsync(memory, stream_of(stream)) : cudaFree(memory), "releasing memory");
}
void release_pinned(void* memory) noexcept {
  if (cudaFreeHost(memory) != cudaSuccess) cudaGetLastError();
}

void copy(void* to, const void* from, size_t bytes, void* stream) {
  if (bytes != 0)
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "copying ", bytes, " bytes");
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
Stream::~Stream() { destroy(handle_); }
void Stream::destroy(void* stream) noexcept {
  if (stream) cudaStreamDestroy(stream_of(stream));
}

ProfilerRange::ProfilerRange(const char* name) { nvtxRangePushA(name); }
ProfilerRange::~ProfilerRange() { nvtxRangePop(); }

Event::Event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "creating an event");
  handle_ = event;
}
Event::~Event() {
  if (handle_) cudaEventDestroy(static_cast<cudaEvent_t>(handle_));
}
void Event::record(void* stream) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(handle_), stream_of(stream)), "recording an event");
}
void Event::wait() { check(cudaEventSynchronize(static_cast<cudaEvent_t>(handle_)), "waiting for an event"); }
void Event::wait(void* stream) const {
  check(cudaStreamWaitEvent(stream_of(stream), static_cast<cudaEvent_t>(handle_), 0), "making a stream wait");
}
bool Event::done() const {
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(handle_));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // taken: the next call shall not report it
    return false;
  }
  check(status, "asking an event");
  return true;
}
float Event::elapsed_ms(const Event& start) const {
  float elapsed = 0;
  check(cudaEventElapsedTime(&elapsed, static_cast<cudaEvent_t>(start.handle_), static_cast<cudaEvent_t>(handle_)),
        "time between two events");
  return elapsed;
}

void begin_capture(void* stream) {
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal), "beginning a capture");
}
Graph end_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &graph), "ending a capture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  if (status != cudaSuccess) cudaGraphDestroy(graph);
  check(status, "instantiating a graph");
  return Graph(new Captured{graph, executable});
}
void abandon_capture(void* stream) noexcept {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaGraph_t graph = nullptr;
  if (cudaStreamIsCapturing(stream_of(stream), &status) == cudaSuccess && status != cudaStreamCaptureStatusNone) {
    cudaStreamEndCapture(stream_of(stream), &graph);
    if (graph) cudaGraphDestroy(graph);
  }
  cudaGetLastError();
}
Graph::~Graph() {
  if (!handle_) return;
  cudaGraphExecDestroy(captured_of(handle_).executable);
  cudaGraphDestroy(captured_of(handle_).graph);
  delete static_cast<Captured*>(handle_);
}
void Graph::replay(void* stream) const {
  check(cudaGraphLaunch(captured_of(handle_).executable, stream_of(stream)), "replaying a graph");
}

GraphShape Graph::shape() const {
  const cudaGraph_t graph = captured_of(handle_).graph;
  constexpr const char* kWhat = "asking for a graph's shape";
  size_t node_count = 0, edge_count = 0;
  check(cudaGraphGetNodes(graph, nullptr, &node_count), kWhat);
  std::vector<cudaGraphNode_t> nodes(node_count);
  check(cudaGraphGetNodes(graph, nodes.data(), &node_count), kWhat);
  const auto edges_of = [&](cudaGraphNode_t* from, cudaGraphNode_t* to) {
#if CUDART_VERSION >= 13000
    check(cudaGraphGetEdges(graph, from, to, nullptr, &edge_count), kWhat);
#else
    check(cudaGraphGetEdges(graph, from, to, &edge_count), kWhat);
#endif
  };
  edges_of(nullptr, nullptr);
  std::vector<cudaGraphNode_t> from(edge_count), to(edge_count);
  if (edge_count > 0) edges_of(from.data(), to.data());

  GraphShape shape;
  shape.nodes = static_cast<int64_t>(node_count);
  std::map<cudaGraphNode_t, int64_t> numbers;
  for (size_t i = 0; i < node_count; ++i) {
    numbers[nodes[i]] = static_cast<int64_t>(i);
    cudaGraphNodeType type;
    check(cudaGraphNodeGetType(nodes[i], &type), kWhat);
    shape.kernels += type == cudaGraphNodeTypeKernel;
    shape.copies += type == cudaGraphNodeTypeMemcpy;
    shape.fills += type == cudaGraphNodeTypeMemset;
  }
  std::vector<std::pair<int64_t, int64_t>> edges(edge_count);
  for (size_t i = 0; i < edge_count; ++i) edges[i] = {numbers.at(from[i]), numbers.at(to[i])};
  shape.longest_path = longest_path(shape.nodes, edges);
  return shape;
}

}  // namespace duet::cuda
