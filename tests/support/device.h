// The device that the kernels' tests run on. The same test files make three programs: on the CPU, on the CUDA backend
// under the emulator, and on real hardware; each program's main says here what it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernels/core/context.h"

namespace duet::test {

struct Device {
  duet_device kind = DUET_DEVICE_CPU;
  bool emulated = false;
  int64_t most_operations = INT64_MAX;  // multiply-adds of a test's shape that this run can pay for
  bool every_value = true;              // false: a schedule is what is tested, and values_of gives two
  int64_t small_rows = 0;               // of the contexts' options: which shapes take forms of one launch a pass
  bool repeats =
      true;  // whether a call is made again to compare bits; in a fixed order of the threads it would be the same call
  // Arrays and workspaces of the tests lie in memory that host and device both reach.
  void* (*allocate)(size_t bytes) = nullptr;
  void (*release)(void* data) = nullptr;
  void (*synchronize)() = [] {};
};
inline Device device;

inline bool on_cpu() { return device.kind == DUET_DEVICE_CPU; }

// False for a shape that would take too long here: the emulator runs some million multiply-adds a second.
inline bool affordable(int64_t operations) { return operations <= device.most_operations; }
// The same for an n x m matrix of products of d: a GPU computes whole tiles and whole steps.
inline bool affordable_tiles(int64_t n, int64_t m, int64_t d) {
  const auto padded = [](int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; };
  return affordable(on_cpu() ? n * m * d : padded(n, 128) * padded(m, 128) * padded(d, 32));
}

// The values of a parameter, or the first and the last of them: bounded scores and others go through kernels of their
// own, which every schedule is to see.
template <class T>
std::vector<T> values_of(std::initializer_list<T> values) {
  if (device.every_value) return values;
  return {*values.begin(), *(values.end() - 1)};
}

// Whatever these are, a result's bits are the same; AddressSanitizer sees no more in eight threads than in four. A CUDA
// context takes no notice of them: there a call is just repeated.
inline std::vector<int> thread_counts() {
#ifdef DUET_TEST_UNDER_ASAN
  if (on_cpu()) return {1, 4};
#endif
  if (on_cpu()) return {1, 2, 4, 8};
  return device.repeats ? std::vector<int>{1, 2} : std::vector<int>{1};
}
// All but the first, which the others are compared with.
inline std::vector<int> other_thread_counts() {
  const std::vector<int> counts = thread_counts();
  return {counts.begin() + 1, counts.end()};
}

template <class T>
struct DeviceAllocator {
  using value_type = T;
  DeviceAllocator() = default;
  template <class U>
  DeviceAllocator(const DeviceAllocator<U>&) {}
  T* allocate(size_t count) {
    return device.allocate ? static_cast<T*>(device.allocate(count * sizeof(T))) : std::allocator<T>().allocate(count);
  }
  void deallocate(T* data, size_t count) {
    device.release ? device.release(data) : std::allocator<T>().deallocate(data, count);
  }
  friend bool operator==(const DeviceAllocator&, const DeviceAllocator&) { return true; }
};

}  // namespace duet::test
