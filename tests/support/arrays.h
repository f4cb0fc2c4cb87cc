// Arrays for tests: a guard band on both sides, rows that may be longer than their columns, outputs filled with NaN
// before a call.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "kernels/core/sized.h"
#include "kernels/duet.h"
#include "tests/support/device.h"

namespace duet::test {

using duet::sized;

using Doubles = std::vector<double>;  // a row-major matrix of the reference, its shape known from the context

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// rows x columns of T; padding extra elements after each row. The guard bands and the padding must survive every call.
template <class T>
class Array {
 public:
  Array(int64_t rows, int64_t columns, int64_t padding = 0)
      : rows_(rows), columns_(columns), stride_(columns + padding) {
    all_.assign(static_cast<size_t>(rows * stride_ + 2 * kGuard), guard());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) at(i, j) = poison();
  }
  Array(const Array&) = default;
  Array(Array&&) = default;
  Array& operator=(const Array&) = default;
  ~Array() { CHECK_MESSAGE(guards_hold(), "a call wrote outside its array"); }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  T* data() { return all_.data() + kGuard; }
  const T* data() const { return all_.data() + kGuard; }
  T& at(int64_t i, int64_t j = 0) { return data()[i * stride_ + j]; }
  T at(int64_t i, int64_t j = 0) const { return data()[i * stride_ + j]; }

  Array& fill(double value) {
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t j = 0; j < columns_; ++j) at(i, j) = static_cast<T>(value);
    return *this;
  }
  Array& assign(const Doubles& values) {
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t j = 0; j < columns_; ++j) at(i, j) = static_cast<T>(values[static_cast<size_t>(i * columns_ + j)]);
    return *this;
  }
  // The values as the reference takes them.
  Doubles values() const {
    Doubles out;
    out.reserve(static_cast<size_t>(rows_ * columns_));
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t j = 0; j < columns_; ++j) out.push_back(static_cast<double>(at(i, j)));
    return out;
  }
  bool same_bits(const Array& other) const {
    return std::memcmp(all_.data(), other.all_.data(), all_.size() * sizeof(T)) == 0;
  }

  duet_matrix matrix() { return {data(), rows_, columns_, stride_, dtype()}; }
  duet_matrix part(int64_t i, int64_t j, int64_t rows, int64_t columns) {
    return {&at(i, j), rows, columns, stride_, dtype()};
  }
  duet_vector vector() {  // an array of one column without padding
    REQUIRE(columns_ == 1);
    REQUIRE(stride_ == 1);
    return {data(), rows_, dtype()};
  }

 private:
  static constexpr int64_t kGuard = 64;
  static T guard() { return static_cast<T>(-12345); }
  static T poison() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::quiet_NaN();
    return static_cast<T>(0x5A5A5A5A);
  }
  static duet_dtype dtype() {
    if constexpr (std::is_same_v<T, float>) return DUET_DTYPE_F32;
    if constexpr (std::is_same_v<T, double>) return DUET_DTYPE_F64;
    if constexpr (std::is_same_v<T, int32_t>) return DUET_DTYPE_I32;
    if constexpr (std::is_same_v<T, uint32_t>) return DUET_DTYPE_U32;
    return DUET_DTYPE_I64;
  }
  bool guards_hold() const {
    if (all_.empty()) return true;  // moved from
    for (int64_t k = 0; k < kGuard; ++k)
      if (all_[static_cast<size_t>(k)] != guard() || all_[all_.size() - 1 - static_cast<size_t>(k)] != guard())
        return false;
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t j = columns_; j < stride_; ++j)
        if (data()[i * stride_ + j] != guard()) return false;
    return true;
  }

  int64_t rows_, columns_, stride_;
  std::vector<T, DeviceAllocator<T>> all_;
};

// Compiled in arrays.cpp.
extern template class Array<float>;
extern template class Array<double>;
extern template class Array<int32_t>;
extern template class Array<uint32_t>;
extern template class Array<int64_t>;

using Floats = Array<float>;
using Ints = Array<int32_t>;
using Longs = Array<int64_t>;

// Workspace of exactly the bytes asked for, guarded behind.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  duet_workspace view() const { return {const_cast<Line*>(data_.data()), bytes_}; }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  size_t bytes_;
  std::vector<Line, DeviceAllocator<Line>> data_;
};

// On the device under test; stream null: on its default stream.
class Context {
 public:
  explicit Context(int threads = 2, duet_precision precision = DUET_PRECISION_TF32X3, void* stream = nullptr);
  ~Context();
  Context(const Context&) = delete;
  operator duet_context*() const { return context_; }

 private:
  duet_context* context_ = nullptr;
};

// A call that must succeed; its error's text is shown where it does not.
#define SUCCEED_CALL(call)                                         \
  do {                                                             \
    const duet_status status_ = (call);                            \
    REQUIRE_MESSAGE(status_ == DUET_STATUS_OK, duet_last_error()); \
    duet::test::device.synchronize();                              \
  } while (false)

// A call that must fail with this status and a text that contains this.
#define FAIL_CALL(call, expected_status, part)                                     \
  do {                                                                             \
    CHECK((call) == (expected_status));                                            \
    CHECK_MESSAGE(std::string(duet_last_error()).find(part) != std::string::npos,  \
                  std::string(duet_last_error()) << " lacks \"" << (part) << '"'); \
  } while (false)

// Seeded draws for inputs.
class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  double uniform(double low, double high);
  double normal();
  int64_t integer(int64_t low, int64_t high);

  Floats normals(int64_t rows, int64_t columns, double deviation = 1, int64_t padding = 0);
  Floats unit_rows(int64_t rows, int64_t columns, int64_t padding = 0);
  Ints labels(int64_t size, int64_t classes, double unlabelled = 0);
  // Rows of probabilities; about half of them one-hot, as METHOD.md 2 has them.
  Floats distributions(int64_t rows, int64_t classes);
  Floats choice(int64_t rows, const std::vector<double>& values);

 private:
  std::mt19937_64 engine_;
};

}  // namespace duet::test
