// Runs the kernels' tests on a GPU. DUET_TEST_OPERATIONS limits a test's shapes (multiply-adds), for runs under
// compute-sanitizer.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "kernels/cuda/device.h"
#include "tests/support/device.h"
#include "tests/support/run.h"

namespace {

constexpr int kSkipped = 77;  // what CTest takes for "skipped"

// The tests make tens of thousands of small arrays, and giving managed memory back waits for the device: what was
// released is kept for the next array of its size. DUET_TEST_EXACT: every array has its own allocation, so that
// compute-sanitizer sees where it ends.
class Pool {
 public:
  void* allocate(size_t bytes) {
    if (bytes == 0) bytes = 1;
    std::vector<void*>& spare = spare_[bytes];
    void* data = nullptr;
    if (!spare.empty()) {
      data = spare.back();
      spare.pop_back();
    } else {
      data = duet::cuda::allocate_managed(bytes);
    }
    size_of_[data] = bytes;
    return data;
  }
  void release(void* data) {
    if (data == nullptr) return;
    const auto found = size_of_.find(data);
    if (exact_)
      duet::cuda::release(data);
    else
      spare_[found->second].push_back(data);
    size_of_.erase(found);
  }

 private:
  const bool exact_ = std::getenv("DUET_TEST_EXACT") != nullptr;
  std::map<size_t, std::vector<void*>> spare_;
  std::map<void*, size_t> size_of_;
};

Pool& pool() {
  static Pool* const pool = new Pool;  // arrays of static storage may outlive main
  return *pool;
}

}  // namespace

int main(int argc, char** argv) {
  if (duet::cuda::device_count() == 0) {
    std::printf("skipped: no CUDA device\n");
    return kSkipped;
  }
  duet::test::device.kind = DUET_DEVICE_CUDA;
  if (const char* operations = std::getenv("DUET_TEST_OPERATIONS"))
    duet::test::device.most_operations = std::stoll(operations);
  duet::test::device.allocate = [](size_t bytes) { return pool().allocate(bytes); };
  duet::test::device.release = [](void* data) { pool().release(data); };
  duet::test::device.synchronize = duet::cuda::synchronize_device;
  doctest::Context context(argc, argv);
  return duet::test::run_tests(context);
}
