// The host's side of the device, as kernels/cuda/device.h promises it.
#include "kernels/cuda/device.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/cuda/launch.h"

namespace duet::cuda {
namespace {

__global__ void add(float* x, float by) { x[threadIdx.x] += by; }

struct Buffer {
  explicit Buffer(size_t bytes) : data(static_cast<float*>(allocate(bytes))) {}
  ~Buffer() { release(data); }
  float* data;
};

template <class Action>
duet_status status_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.status();
  }
  return DUET_OK;
}

}  // namespace

TEST_CASE("memory is aligned, uninitialised, limited, accounted for") {
  const size_t before = memory_in_use();
  const Buffer memory(64 * sizeof(float));
  CHECK(memory_in_use() == before + 64 * sizeof(float));
  CHECK(reinterpret_cast<uintptr_t>(memory.data) % 256 == 0);
  CHECK(std::isnan(memory.data[63]));
  CHECK(allocate(0) == nullptr);
  release(nullptr);
}

TEST_CASE("out of device memory is an error that says what was asked for and what is free") {
  for (const size_t bytes : {size_t{1} << 40, ~size_t{0}}) {
    try {
      allocate(bytes);
      FAIL("allocated");
    } catch (const Error& error) {
      CHECK(error.status() == DUET_OUT_OF_MEMORY);
      CHECK(std::string(error.what()).find(text("allocating ", bytes, " bytes, ")) != std::string::npos);
      CHECK(std::string(error.what()).find(" are free") != std::string::npos);
    }
  }
}

TEST_CASE("a stream does copies, fills and launches in order, an event takes the time") {
  const Stream stream;
  const Buffer memory(32 * sizeof(float));
  Event start, end;
  start.record(stream.get());
  fill(memory.data, 0, 32 * sizeof(float), stream.get());
  DUET_LAUNCH(add, 1, 32, 0, stream.get())(memory.data, 2.0f);
  std::vector<float> host(32);
  copy(host.data(), memory.data, 32 * sizeof(float), stream.get());
  end.record(stream.get());
  synchronize(stream.get());
  CHECK(host == std::vector<float>(32, 2));
  CHECK(end.elapsed_ms(start) >= 0);
  CHECK(status_of([&] { Event().elapsed_ms(start); }) == DUET_CUDA_ERROR);
}

TEST_CASE("a captured graph does nothing until it is replayed, then everything each time") {
  const Stream stream;
  const Buffer memory(32 * sizeof(float));
  fill(memory.data, 0, 32 * sizeof(float), stream.get());
  begin_capture(stream.get());
  CHECK(capturing(stream.get()));
  float by = 1;
  DUET_LAUNCH(add, 1, 32, 0, stream.get())(memory.data, by);
  by = 10;  // arguments are taken when the launch is recorded
  DUET_LAUNCH(add, 1, 32, 0, stream.get())(memory.data, by);
  CHECK(status_of([&] { synchronize(stream.get()); }) == DUET_CUDA_ERROR);
  const Graph graph = end_capture(stream.get());
  CHECK(!capturing(stream.get()));
  CHECK(memory.data[31] == 0);
  graph.replay(stream.get());
  graph.replay(stream.get());
  synchronize(stream.get());
  CHECK(memory.data[0] == 22);
  CHECK(memory.data[31] == 22);
  CHECK(status_of([] { begin_capture(nullptr); }) == DUET_CUDA_ERROR);
  CHECK(status_of([&] { end_capture(stream.get()); }) == DUET_CUDA_ERROR);
}

TEST_CASE("facts, and devices that are not there") {
  CHECK(device_count() == 1);
  CHECK(device_facts(0).multiprocessors == 3);
  CHECK(device_facts(0).shared_bytes_of_block == 227 * 1024);
  CHECK(status_of([] { device_facts(1); }) == DUET_CUDA_ERROR);
  CHECK(status_of([] { DeviceScope(1); }) == DUET_CUDA_ERROR);
}

TEST_CASE("a context takes the devices that the kernels run on, and refuses the others with the reason") {
  struct Played {
    explicit Played(const simt::PlayedDevice& device) { simt::play(device); }
    ~Played() { simt::play({}); }
  };
  const auto create = [] {
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.device = DUET_CUDA;
    duet_context* context = nullptr;
    const duet_status status = duet_context_create(&options, &context);
    CHECK((context != nullptr) == (status == DUET_OK));
    duet_context_destroy(context);
    return status;
  };
  const size_t before = memory_in_use();
  for (const simt::PlayedDevice& device : {simt::PlayedDevice{80, 163 * 1024, true}, {87, 163 * 1024, true}, {90, 227 * 1024, true}}) {
    const Played played(device);
    CHECK(create() == DUET_OK);
  }
  for (const int capability : {86, 89, 120}) {  // code for sm_80 runs on the first two, but their blocks have less shared memory
    const Played played({capability, 99 * 1024, capability != 120});
    CHECK(create() == DUET_UNSUPPORTED);
    CHECK(std::string(duet_last_error()) == text("context_create: options.device_index: emulator (compute capability ", capability / 10, ".",
                                                 capability % 10, ") gives a block 101376 bytes of shared memory, the kernels need 166912"));
  }
  const Played played({100, 227 * 1024, false});
  CHECK(create() == DUET_UNSUPPORTED);
  CHECK(std::string(duet_last_error()) ==
        "context_create: options.device_index: emulator (compute capability 10.0) is none that this build holds code for");
  CHECK(memory_in_use() == before);
}

TEST_CASE("a launch that asks for more shared memory than the played device gives is refused") {
  simt::play({86, 99 * 1024, true});
  const Buffer memory(32 * sizeof(float));
  CHECK(status_of([&] { DUET_LAUNCH(add, 1, 32, 100 * 1024, nullptr)(memory.data, 1.0f); }) == DUET_CUDA_ERROR);
  CHECK(status_of([&] { DUET_LAUNCH(add, 1, 32, 99 * 1024, nullptr)(memory.data, 1.0f); }) == DUET_OK);
  simt::play({});
}

}  // namespace duet::cuda
