// Float32 values in memory, or in a file that is used as memory (runtime/files/paged_memory.h).
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <utility>
#include <vector>

#include "runtime/files/paged_memory.h"

namespace duet::data {

class Values {
 public:
  Values() = default;
  explicit Values(size_t count) : own_(count) {}  // zeros
  explicit Values(PagedMemory memory) : paged_(std::move(memory)) {}
  Values(std::vector<float> values) : own_(std::move(values)) {}
  Values(std::initializer_list<float> values) : own_(values) {}
  Values(Values&&) noexcept = default;
  Values& operator=(Values&&) noexcept = default;
  // A copy lies in memory.
  Values(const Values& other) : own_(other.begin(), other.end()) {}
  Values& operator=(const Values& other) { return *this = Values(other); }
  ~Values() = default;

  // Null where they lie in memory.
  PagedMemory* paged() { return is_paged() ? &paged_ : nullptr; }
  const PagedMemory* paged() const { return is_paged() ? &paged_ : nullptr; }

  size_t size() const { return is_paged() ? paged_.bytes().size() / sizeof(float) : own_.size(); }
  bool empty() const { return size() == 0; }
  float* data() { return is_paged() ? in_file() : own_.data(); }
  const float* data() const { return is_paged() ? in_file() : own_.data(); }
  float* begin() { return data(); }
  float* end() { return data() + size(); }
  const float* begin() const { return data(); }
  const float* end() const { return data() + size(); }
  float& operator[](size_t k) { return data()[k]; }
  float operator[](size_t k) const { return data()[k]; }

  friend bool operator==(const Values& a, const Values& b) { return std::ranges::equal(a, b); }

 private:
  bool is_paged() const { return paged_.mapping().size() > 0; }
  float* in_file() const { return reinterpret_cast<float*>(paged_.bytes().data()); }

  std::vector<float> own_;
  PagedMemory paged_;
};

}  // namespace duet::data
