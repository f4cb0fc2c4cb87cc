// The host's side of the device, as kernels/cuda/device.h promises it.
#include "kernels/cuda/device.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

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

}  // namespace duet::cuda
