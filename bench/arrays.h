// Arrays for benchmarks, 64-byte aligned and contiguous, in the host's memory and, on a CUDA device, in its own; and
// the seeded draws that fill them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>

#include "kernels/core/sized.h"
#include "kernels/duet.h"

namespace duet::bench {

// The memory that the benchmarks' calls work on where that is not the host's; main chooses. Copies are done when they
// return.
struct DeviceMemory {
  void* (*allocate)(size_t bytes) = nullptr;
  void (*release)(void* data) = nullptr;
  void (*copy)(void* to, const void* from, size_t bytes) = nullptr;
  size_t (*in_use)() = nullptr;  // by the device's own accounting
};
inline DeviceMemory device_memory;

// What of it was in use when all but the workspace of a benchmark had been taken, and at most while its calls were
// under way; 0 on the host.
struct MemoryInUse {
  size_t before = 0, during = 0;
};
inline MemoryInUse memory_in_use;
inline void note_memory_in_use(size_t MemoryInUse::*when) {
  if (device_memory.in_use) memory_in_use.*when = std::max(memory_in_use.*when, device_memory.in_use());
}

inline double past_cache_bytes = 64.0 * 1024 * 1024;  // so many bytes read once push out what was there before

// Bytes on the device; null where the host's memory is what the calls work on.
class DeviceBytes {
 public:
  DeviceBytes() = default;
  explicit DeviceBytes(size_t bytes)
      : data_(device_memory.allocate ? device_memory.allocate(bytes) : nullptr, device_memory.release) {}
  void* get() const { return data_.get(); }

 private:
  std::unique_ptr<void, void (*)(void*)> data_{nullptr, [](void*) {}};
};

// rows x columns of T, zero to begin with: gradients may be added into, and every page has been touched before anything
// is timed. On a device the values are where they were asked for last: row() and [] bring them to the host, matrix()
// and vector() to the device.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(int64_t rows, int64_t columns = 1)
      : rows_(rows), columns_(columns), data_(allocate(rows * columns), std::free), device_(bytes_allocated()) {}

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t size() const { return rows_ * columns_; }
  double bytes() const { return static_cast<double>(size()) * sizeof(T); }
  T* row(int64_t i) const { return on_host() + i * columns_; }
  T& operator[](int64_t i) const { return on_host()[i]; }

  duet_matrix matrix() const { return {on_device(), rows_, columns_, columns_, dtype()}; }
  duet_vector vector() const { return {on_device(), size(), dtype()}; }

 private:
  static constexpr duet_dtype dtype() {
    if constexpr (std::is_same_v<T, float>) return DUET_DTYPE_F32;
    if constexpr (std::is_same_v<T, int32_t>) return DUET_DTYPE_I32;
    if constexpr (std::is_same_v<T, uint32_t>) return DUET_DTYPE_U32;
    return DUET_DTYPE_I64;
  }
  static size_t padded(int64_t count) { return (static_cast<size_t>(count) * sizeof(T) + 127) / 64 * 64; }
  static T* allocate(int64_t count) {
    void* data = std::aligned_alloc(64, padded(count));
    if (data == nullptr) throw std::bad_alloc();
    return static_cast<T*>(std::memset(data, 0, padded(count)));
  }
  size_t bytes_allocated() const { return padded(size()); }
  T* on_host() const {
    if (at_device_) device_memory.copy(data_.get(), device_.get(), bytes_allocated());
    at_device_ = false;
    return data_.get();
  }
  T* on_device() const {
    if (device_.get() == nullptr) return data_.get();
    if (!at_device_) device_memory.copy(device_.get(), data_.get(), bytes_allocated());
    at_device_ = true;
    return static_cast<T*>(device_.get());
  }

  int64_t rows_ = 0, columns_ = 0;
  std::unique_ptr<T, decltype(&std::free)> data_{nullptr, std::free};
  DeviceBytes device_;
  mutable bool at_device_ = false;
};

using Floats = Array<float>;
using Ints = Array<int32_t>;
using Longs = Array<int64_t>;
using Words = Array<uint32_t>;

// Bytes moved at least: every array that is passed, once.
template <class... Arrays>
double bytes_of(const Arrays&... arrays) {
  return (0.0 + ... + arrays.bytes());
}

// Workspace of the bytes that an operation asked for.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(size_t bytes) : bytes_(bytes) {
    note_memory_in_use(&MemoryInUse::before);
    device_ = DeviceBytes(bytes + 1);
    if (device_.get() == nullptr) host_ = Floats(static_cast<int64_t>(bytes / sizeof(float) + 1));
  }
  size_t bytes() const { return bytes_; }
  duet_workspace view() const { return {device_.get() ? device_.get() : host_.row(0), bytes_}; }

 private:
  size_t bytes_ = 0;
  DeviceBytes device_;
  Floats host_;
};

class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}

  double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(engine_() % static_cast<uint64_t>(std::max<int64_t>(1, bound)));
  }

  // Past the first 16 million the same again: drawing n x m of them would take longer than timing what reads them.
  Floats uniforms(int64_t rows, int64_t columns, double low, double high) {
    constexpr int64_t kDrawn = 16'777'259;
    Floats out(rows, columns);
    float* const to = out.row(0);
    for (int64_t k = 0; k < out.size(); ++k)
      to[k] = k < kDrawn ? static_cast<float>(low + (high - low) * static_cast<double>(engine_() >> 40) * 0x1p-24)
                         : to[k - kDrawn];
    return out;
  }
  Floats normals(int64_t rows, int64_t columns, double deviation = 1) {
    Floats out(rows, columns);
    std::normal_distribution<float> normal(0, static_cast<float>(deviation));
    for (int64_t k = 0; k < out.size(); ++k) out[k] = normal(engine_);
    return out;
  }
  // Embeddings as METHOD.md 6.1 makes them.
  Floats unit_rows(int64_t rows, int64_t columns) {
    Floats out = normals(rows, columns);
    for (int64_t i = 0; i < rows; ++i) {
      double square = 0;
      for (int64_t k = 0; k < columns; ++k) square += double{out.row(i)[k]} * out.row(i)[k];
      for (int64_t k = 0; k < columns; ++k)
        out.row(i)[k] = static_cast<float>(out.row(i)[k] / std::sqrt(std::max(square, 1e-30)));
    }
    return out;
  }
  Ints labels(int64_t size, int64_t classes) {
    Ints out(size);
    for (int64_t i = 0; i < size; ++i) out[i] = static_cast<int32_t>(below(classes));
    return out;
  }
  // Class distributions, half of them one-hot as annotated samples have them (METHOD.md 2).
  Floats distributions(int64_t rows, int64_t classes) {
    Floats out = uniforms(rows, classes, -2, 2);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t pick = below(classes);
      const bool hot = uniform(0, 1) < 0.5;
      double sum = 0;
      for (int64_t c = 0; c < classes; ++c) sum += out.row(i)[c] = hot ? float(c == pick) : std::exp(out.row(i)[c]);
      for (int64_t c = 0; c < classes; ++c) out.row(i)[c] = static_cast<float>(out.row(i)[c] / sum);
    }
    return out;
  }
  Floats coins(int64_t size, float heads, float tails) {
    Floats out(size);
    for (int64_t i = 0; i < size; ++i) out[i] = uniform(0, 1) < 0.5 ? heads : tails;
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

inline Floats scalar(double value) {
  Floats out(1);
  out[0] = static_cast<float>(value);
  return out;
}
inline Longs whole_scalar(int64_t value) {
  Longs out(1);
  out[0] = value;
  return out;
}

}  // namespace duet::bench
