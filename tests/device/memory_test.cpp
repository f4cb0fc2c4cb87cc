// The runtime's memory on a device, which the host reaches by copies alone; and a device's contexts.
#include <doctest/doctest.h>

#include <numeric>

#include "tests/device/devices.h"

using namespace duet;
using namespace duet::testing;

namespace {

std::vector<unsigned char> read_bytes(duet_context* context, const void* from, size_t count) {
  std::vector<unsigned char> bytes(count);
  copy_to_host(context, std::span(bytes), static_cast<const unsigned char*>(from));
  return bytes;
}

bool all_are(const std::vector<unsigned char>& bytes, unsigned char value) {
  return std::all_of(bytes.begin(), bytes.end(), [&](unsigned char byte) { return byte == value; });
}

}  // namespace

TEST_CASE("arrays and tensors of a device are written and read by copies, and move with their memory") {
  for (const DeviceOptions& options : {on_cpu(), on_emulator()}) {
    Device device(options);
    std::vector<float> values(1000);
    std::iota(values.begin(), values.end(), -3.0f);
    DeviceArray<float> array(device.context(), std::span<const float>(values));
    CHECK(array.read() == values);
    array.clear();
    CHECK(array.read() == std::vector<float>(1000));
    CHECK(DeviceArray<int64_t>(device.context(), 0).read().empty());

    OwningTensor tensor(device.context(), 40, 25, values);
    CHECK(tensor.read() == values);
    const float* const place = tensor.data();
    OwningTensor moved = std::move(tensor);
    CHECK((moved.data() == place && moved.read() == values && !tensor.tensor()));
    tensor = std::move(moved);
    CHECK(tensor.read() == values);
    OwningTensor graded(3, 5, OwningTensor::Gradient::present, device.context());
    CHECK(graded.read() == std::vector<float>(15));
    const std::vector<float> ones(15, 1.0f);
    copy_to_device(device.context(), graded.tensor().grad, std::span<const float>(ones));
    CHECK(graded.read() == std::vector<float>(15));
    graded.clear_gradient();
    CHECK(all_are(read_bytes(device.context(), graded.tensor().grad, 15 * sizeof(float)), 0));

    PinnedArray<int64_t> pinned(device.context(), 7);
    for (int64_t k = 0; k < 7; ++k) CHECK(pinned[k] == 0);
    const std::vector<int64_t> numbers = {1, 2, 3, 4, 5, 6, 7};
    const DeviceArray<int64_t> of_numbers(device.context(), std::span<const int64_t>(numbers));
    copy_bytes(device.context(), pinned.data(), of_numbers.data(), 7 * sizeof(int64_t));
    succeed(duet_context_synchronize(device.context()));
    for (int64_t k = 0; k < 7; ++k) CHECK(pinned[k] == k + 1);
  }
}

TEST_CASE("an arena of a device clears what it handed out, and joins its pieces") {
  Device device(on_emulator());
  Arena arena(128, device.context());
  const std::vector<size_t> requests = {100, 700, 64, 3000};
  const auto run = [&] {
    std::vector<unsigned char*> places;
    for (const size_t bytes : requests) {
      places.push_back(static_cast<unsigned char*>(arena.allocate(bytes)));
      succeed(duet_memory_fill(device.context(), places.back(), 0xa5, bytes));
    }
    return places;
  };
  std::vector<unsigned char*> places = run();
  // On any of the device's streams.
  for (duet_context* const context : {device.context(), device.branches()[0]}) {
    arena.clear(context);
    succeed(duet_context_synchronize(context));
    for (size_t k = 0; k < requests.size(); ++k)
      CHECK(all_are(read_bytes(device.context(), places[k], requests[k]), 0));
    arena.reset();
    places = run();
  }
  arena.reset();
  arena.allocate(100);
  arena.clear(device.context());
  CHECK(all_are(read_bytes(device.context(), places[0], 100), 0));
  CHECK(all_are(read_bytes(device.context(), places[3], 3000), 0xa5));
  const size_t capacity = arena.capacity();
  arena.join();
  CHECK(arena.capacity() == capacity);
  places = run();
  CHECK(places[3] == places[0] + 256 + 768 + 256);
  simt::reset_device_counts();
  arena.clear(device.context());
  CHECK(simt::device_counts().fills == 1);
  for (size_t k = 0; k < requests.size(); ++k) CHECK(all_are(read_bytes(device.context(), places[k], requests[k]), 0));
}

TEST_CASE("a store of parameters is the same on both devices, and goes there and back") {
  std::vector<std::vector<float>> values;
  for (const DeviceOptions& options : {on_cpu(), on_emulator()}) {
    Device device(options);
    ParameterStore store;
    store.add_uniform("weight", {7, 5}, 1);
    store.add_constant("bias", {7}, 0.25);
    store.add_bounded("scale", 3, 0, 2);
    store.initialise(device.context(), 11);
    values.push_back(store.read(ParameterKind::value));
    CHECK(store.read(ParameterKind::teacher) == values.back());
    CHECK(store.read(ParameterKind::second_moment) == std::vector<float>(values.back().size()));
    std::vector<float> other(values.back().size());
    std::iota(other.begin(), other.end(), 1.0f);
    store.write(ParameterKind::gradient, other);
    CHECK(store.read(ParameterKind::gradient) == other);
    CHECK(store.read(ParameterKind::value) == values.back());
    CHECK(first_not_finite(store, ParameterKind::gradient).empty());
    other[static_cast<size_t>(store.parameter(1).offset) + 4] = -std::numeric_limits<float>::infinity();
    store.write(ParameterKind::gradient, other);
    CHECK(first_not_finite(store, ParameterKind::gradient) == "bias: element 4 is -inf");
    store.clear_gradients();
    CHECK(store.read(ParameterKind::gradient) == std::vector<float>(other.size()));
    CHECK_THROWS_AS(store.write(ParameterKind::value, std::span(other).first(3)), Error);
  }
  CHECK(values[0] == values[1]);
}

TEST_CASE("a device has a stream a branch, and one that notes faults where it captures") {
  Device cpu(on_cpu());
  CHECK((cpu.branches().empty() && cpu.step_context() == cpu.context() && cpu.upload_context() == cpu.context() &&
         !cpu.captures()));
  cpu.clear_fault();
  CHECK(cpu.holds(INT64_MAX));
  Device device(on_emulator());
  CHECK(device.captures());
  CHECK(std::ssize(device.branches()) == Device::kBranches);
  std::vector<duet_context*> contexts(device.branches().begin(), device.branches().end());
  contexts.insert(contexts.end(), {device.context(), device.step_context(), device.upload_context()});
  std::sort(contexts.begin(), contexts.end());
  CHECK(std::adjacent_find(contexts.begin(), contexts.end()) == contexts.end());
  duet_device_facts facts = DUET_DEVICE_FACTS_INIT;
  succeed(duet_device_describe(DUET_DEVICE_CUDA, 0, &facts));
  CHECK(device.holds(facts.free_bytes / 2));
  CHECK_FALSE(device.holds(facts.free_bytes / 2 + 1));
  DeviceOptions limited = on_emulator();
  limited.data_bytes = 1000;
  CHECK(Device(limited).holds(1000));
  CHECK_FALSE(Device(limited).holds(1001));
  DeviceOptions absent = on_emulator();
  absent.index = 99;
  CHECK_THROWS_AS(Device{absent}, Error);
}
