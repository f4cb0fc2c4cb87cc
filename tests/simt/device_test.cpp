// The host's side of the device, as kernels/cuda/device.h promises it.
#include "kernels/cuda/device.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <string>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/cuda/launch.h"
#include "kernels/simt/global_memory.h"

namespace duet::cuda {
namespace {

__global__ void add(float* x, float by) { x[threadIdx.x] += by; }
__global__ void divergent(float* x) {
  if (threadIdx.x == 0) __syncthreads();
  if (threadIdx.x == 1) __syncthreads();
  x[threadIdx.x] = 1;
}

constexpr size_t kBytes = 32 * sizeof(float);

struct Buffer {
  explicit Buffer(size_t bytes) : data(static_cast<float*>(allocate(bytes))) {}
  ~Buffer() { release(data); }
  Buffer(const Buffer&) = delete;
  std::vector<float> read() const {
    std::vector<float> values(32);
    copy(values.data(), data, kBytes, nullptr);
    return values;
  }
  float* data;
};

template <class Action>
duet_status status_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.status();
  }
  return DUET_STATUS_OK;
}

// How a child process that does this ends: the signal, or minus its exit status.
template <class Action>
int end_of(Action&& action) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);  // neither doctest's nor a sanitizer's: what they would do differs
    const rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);  // a sanitizer's report of what is planted here
    action();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}
bool read_faults(const float* data) {
  return end_of([&] { static_cast<void>(*static_cast<const volatile float*>(data)); }) == SIGSEGV;
}
bool write_faults(float* data) {
  return end_of([&] { *static_cast<volatile float*>(data) = 1; }) == SIGSEGV;
}

}  // namespace

TEST_CASE("memory is aligned, uninitialised, limited, accounted for") {
  const size_t before = memory_in_use();
  const Buffer memory(kBytes);
  CHECK(memory_in_use() == before + kBytes);
  CHECK(memory_info(0).free_bytes == memory_info(0).total_bytes - static_cast<int64_t>(before + kBytes));
  CHECK(memory_info(0).total_bytes == int64_t{16} << 30);
  CHECK(reinterpret_cast<uintptr_t>(memory.data) % 256 == 0);
  CHECK(std::isnan(memory.read()[31]));
  CHECK(allocate(0) == nullptr);
  CHECK(allocate(0, nullptr) == nullptr);
  release(nullptr);
  release(nullptr, nullptr);
}

TEST_CASE("a host that reads or writes device memory faults; kernels, copies and fills reach it") {
  const Buffer memory(kBytes);
  fill(memory.data, 0, kBytes, nullptr);
  CHECK(read_faults(memory.data));
  CHECK(write_faults(memory.data));
  CHECK(read_faults(memory.data + 31));
  DUET_LAUNCH(add, 1, 32, 0, nullptr)(memory.data, 2.0f);
  CHECK(memory.read() == std::vector<float>(32, 2));
  CHECK(read_faults(memory.data));
  CHECK(status_of([&] { DUET_LAUNCH(divergent, 1, 32, 0, nullptr)(memory.data); }) == DUET_STATUS_CUDA_ERROR);
  CHECK(read_faults(memory.data));  // after a launch that failed too
  {
    const simt::Reach reach;
    CHECK(end_of([&] { *memory.data = 1; }) == 0);
  }
  CHECK(write_faults(memory.data));
}

TEST_CASE("the host reaches pinned and managed memory") {
  for (void* (*const allocate_host)(size_t) : {allocate_pinned, allocate_managed}) {
    const size_t before = memory_in_use();
    auto* const host = static_cast<float*>(allocate_host(kBytes));
    CHECK(reinterpret_cast<uintptr_t>(host) % 256 == 0);
    CHECK(std::isnan(host[31]));
    host[31] = 1;
    DUET_LAUNCH(add, 1, 32, 0, nullptr)(host, 2.0f);
    CHECK(host[31] == 3);
    CHECK(memory_in_use() == before);
    release(host);
    CHECK(allocate_host(0) == nullptr);
  }
}

TEST_CASE("what was released faults, where that costs nothing inside a kernel too") {
  auto* const memory = static_cast<float*>(allocate(kBytes));
  fill(memory, 0, kBytes, nullptr);
  release(memory);
  CHECK(end_of([&] { static_cast<void>(*static_cast<volatile float*>(memory)); }) != 0);
  if (simt::global_memory_has_key()) CHECK(end_of([&] { DUET_LAUNCH(add, 1, 32, 0, nullptr)(memory, 1.0f); }) != 0);
}

#ifdef DUET_TEST_UNDER_ASAN
TEST_CASE("AddressSanitizer sees a kernel that leaves a block of device memory") {
  const Buffer memory(kBytes), page(2 * 4096);
  CHECK(end_of([&] { DUET_LAUNCH(add, 1, 32, 0, nullptr)(memory.data, 1.0f); }) == 0);
  CHECK(end_of([&] { DUET_LAUNCH(add, 1, 33, 0, nullptr)(memory.data, 1.0f); }) != 0);
  CHECK(end_of([&] { DUET_LAUNCH(add, 1, 1, 0, nullptr)(memory.data - 1, 1.0f); }) != 0);
  CHECK(end_of([&] { DUET_LAUNCH(add, 1, 1, 0, nullptr)(page.data + 2 * 4096 / sizeof(float), 1.0f); }) != 0);
  CHECK(end_of([&] { DUET_LAUNCH(add, 1, 1, 0, nullptr)(page.data - 1, 1.0f); }) != 0);
}
#endif

TEST_CASE("the memory between two blocks and after their release is one") {
  std::vector<void*> blocks;
  for (int i = 0; i < 5; ++i) blocks.push_back(allocate(10000));
  void* const first = blocks[1];
  for (const size_t i : {1, 3, 2}) release(blocks[i]);
  void* const large = allocate(30000);
  CHECK(large == first);
  release(large);
  void* const small = allocate(1);
  CHECK(small == first);
  for (void* const block : {blocks[0], small, blocks[4]}) release(block);
}

TEST_CASE("out of device memory is an error that says what was asked for and what is free") {
  const Stream stream;
  for (const size_t bytes : {size_t{1} << 40, ~size_t{0}}) {
    for (const bool pooled : {false, true}) {
      try {
        pooled ? allocate(bytes, stream.get()) : allocate(bytes);
        FAIL("allocated");
      } catch (const Error& error) {
        CHECK(error.status() == DUET_STATUS_OUT_OF_MEMORY);
        CHECK(std::string(error.what()) == text("allocating ", bytes, " bytes, ", memory_info(0).free_bytes, " of ",
                                                memory_info(0).total_bytes, " are free"));
      }
    }
  }
}

TEST_CASE("memory of the pool is taken and released in the order of a stream") {
  const Stream stream;
  const size_t before = memory_in_use();
  auto* const memory = static_cast<float*>(allocate(kBytes, stream.get()));
  CHECK(reinterpret_cast<uintptr_t>(memory) % 256 == 0);
  CHECK(memory_in_use() == before + kBytes);
  fill(memory, 0, kBytes, stream.get());
  CHECK(read_faults(memory));
  release(memory, stream.get());
  CHECK(memory_in_use() == before);
  float on_the_host = 0;
  CHECK(status_of([&] { release(&on_the_host, stream.get()); }) == DUET_STATUS_CUDA_ERROR);
}

TEST_CASE("a stream does copies, fills and launches in order, an event takes the time") {
  const Stream stream;
  const Buffer memory(kBytes);
  Event start, end;
  const ProfilerRange named("a stream's work");
  CHECK(start.done());  // nothing was recorded
  start.record(stream.get());
  fill(memory.data, 0, kBytes, stream.get());
  DUET_LAUNCH(add, 1, 32, 0, stream.get())(memory.data, 2.0f);
  std::vector<float> host(32);
  copy(host.data(), memory.data, kBytes, stream.get());
  end.record(stream.get());
  synchronize(stream.get());
  CHECK(host == std::vector<float>(32, 2));
  CHECK(end.done());
  CHECK(end.elapsed_ms(start) >= 0);
  CHECK(status_of([&] { Event().elapsed_ms(start); }) == DUET_STATUS_CUDA_ERROR);
}

TEST_CASE("the emulator counts what the host asks of the device") {
  const auto counted = [](auto&& body) {
    simt::reset_device_counts();
    body();
    const simt::DeviceCounts& n = simt::device_counts();
    return std::vector<int64_t>{n.launches, n.graph_launches, n.copies, n.fills, n.allocations, n.releases, n.waits};
  };
  using Counts = std::vector<int64_t>;
  const Stream stream, other;
  Event event;
  const Buffer memory(kBytes);
  float host[32] = {};
  const auto work = [&] {
    DUET_LAUNCH(add, 1, 32, 0, stream.get())(memory.data, 1.0f);
    DUET_LAUNCH(add, 1, 32, 0, stream.get())(memory.data, 1.0f);
    DUET_LAUNCH(add, 0, 32, 0, stream.get())(memory.data, 1.0f);  // of no block
    copy(host, memory.data, kBytes, stream.get());
    copy(host, memory.data, 0, stream.get());
    fill(memory.data, 0, kBytes, stream.get());
    fill(memory.data, 0, 0, stream.get());
  };
  CHECK(counted(work) == Counts{2, 0, 1, 1, 0, 0, 0});
  CHECK(counted([&] {
          Graph graph(nullptr);
          begin_capture(stream.get());
          work();
          graph = end_capture(stream.get());
          graph.replay(stream.get());
          graph.replay(stream.get());
        }) == Counts{0, 2, 0, 0, 0, 0, 0});
  CHECK(counted([&] {
          for (void* const block : {allocate(1), allocate_managed(1), allocate_pinned(1), allocate(0)}) release(block);
          release(allocate(1, stream.get()), stream.get());
        }) == Counts{0, 0, 0, 0, 4, 4, 0});
  CHECK(counted([&] {
          synchronize(stream.get());
          synchronize_device();
          event.record(stream.get());
          event.wait();
          event.wait(other.get());
          event.done();
        }) == Counts{0, 0, 0, 0, 0, 0, 3});
  CHECK(counted([&] { status_of([&] { DUET_LAUNCH(divergent, 1, 32, 0, nullptr)(memory.data); }); }) == Counts(7));
}

TEST_CASE("facts, and devices that are not there") {
  CHECK(device_count() == 1);
  CHECK(no_device_reason().empty());
  CHECK(device_facts(0).multiprocessors == 3);
  CHECK(device_facts(0).shared_bytes_of_block == 227 * 1024);
  CHECK(status_of([] { device_facts(1); }) == DUET_STATUS_CUDA_ERROR);
  CHECK(status_of([] { memory_info(1); }) == DUET_STATUS_CUDA_ERROR);
  CHECK(status_of([] { DeviceScope(1); }) == DUET_STATUS_CUDA_ERROR);
}

TEST_CASE("a context takes the devices that the kernels run on, and refuses the others with the reason") {
  struct Played {
    explicit Played(const simt::PlayedDevice& device) { simt::play(device); }
    ~Played() { simt::play({}); }
  };
  const auto create = [] {
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.device = DUET_DEVICE_CUDA;
    duet_context* context = nullptr;
    const duet_status status = duet_context_create(&options, &context);
    CHECK((context != nullptr) == (status == DUET_STATUS_OK));
    duet_context_destroy(context);
    return status;
  };
  const size_t before = memory_in_use();
  CHECK(simt::kLeastDevice.shared_bytes == kLeastSharedBytes);
  for (const simt::PlayedDevice& device : {simt::kLeastDevice,
                                           simt::PlayedDevice{80, 163 * 1024, true},
                                           {87, 163 * 1024, true},
                                           {89, 99 * 1024, true},
                                           {90, 227 * 1024, true},
                                           {100, 227 * 1024, true},
                                           {120, 99 * 1024, true}}) {
    const Played played(device);
    CHECK(create() == DUET_STATUS_OK);
  }
  {
    const Played played({75, 64 * 1024, true});
    CHECK(create() == DUET_STATUS_UNSUPPORTED);
    CHECK(std::string(duet_last_error()) ==
          "context_create: options.device_index: emulator (compute capability 7.5) gives a block 65536 bytes of "
          "shared memory, the kernels need 101376");
  }
  const Played played({110, 227 * 1024, false});
  CHECK(create() == DUET_STATUS_UNSUPPORTED);
  CHECK(std::string(duet_last_error()) ==
        "context_create: options.device_index: emulator (compute capability 11.0) is none that this build holds code "
        "for");
  CHECK(memory_in_use() == before);
}

TEST_CASE("a launch that asks for more shared memory than the played device gives is refused") {
  simt::play(simt::kLeastDevice);
  const Buffer memory(kBytes);
  CHECK(status_of([&] { DUET_LAUNCH(add, 1, 32, 100 * 1024, nullptr)(memory.data, 1.0f); }) == DUET_STATUS_CUDA_ERROR);
  CHECK(status_of([&] { DUET_LAUNCH(add, 1, 32, 99 * 1024, nullptr)(memory.data, 1.0f); }) == DUET_STATUS_OK);
  simt::play({});
}

}  // namespace duet::cuda
