// While a step computes, the rows of the next one come into memory, where features lie in a file. No number depends on
// it.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "data/dataset.h"

namespace duet {

class Prefetch {
 public:
  // features: of the training split, borrowed. Where some lie in a file a thread is started, and the system is told
  // that their rows are read in no order.
  explicit Prefetch(const std::array<data::Features, data::kModalities>& features);
  ~Prefetch();  // what is still to be read is given up
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  // Whether fetch() does something.
  bool works() const { return thread_.joinable(); }
  // These rows will be read soon. What is left of the rows before them is given up: their step has begun.
  void fetch(std::span<const int64_t> rows);

 private:
  void work();
  void read(const std::vector<int64_t>& rows, int64_t order);

  const std::array<data::Features, data::kModalities>& features_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<int64_t> wanted_;      // of the last order
  std::atomic<int64_t> orders_ = 0;  // changed under the mutex alone
  std::atomic<bool> ends_ = false;   // likewise
  std::thread thread_;
};

}  // namespace duet
