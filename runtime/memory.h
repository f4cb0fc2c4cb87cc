// Memory that a context's kernels reach, as objects: the host's for a CPU context, the device's for CUDA. What lies in
// a device's memory is read and written by kernels and copies alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/duet.h"

namespace duet {

inline constexpr size_t kAlignment =
    256;  // the most that a product asks of its operands: where an array lies in a step changes none of its bits

// Uninitialised bytes of a context, which must outlive them; without a context the host's. Never null but where nothing
// was asked for.
class Memory {
 public:
  Memory() = default;
  Memory(duet_context* context, size_t bytes);
  ~Memory() { release(); }
  Memory(Memory&& other) noexcept
      : context_(other.context_), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Memory& operator=(Memory&& other) noexcept;

  std::byte* get() const { return static_cast<std::byte*>(data_); }
  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  void release() noexcept;

  duet_context* context_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// In the order of the context's stream; without a context at once, on the host.
void fill_zero(duet_context* context, void* data, size_t bytes);
void copy_bytes(duet_context* context, void* to, const void* from, size_t bytes);

// Returns when the values are there.
template <class T>
void copy_to_host(duet_context* context, std::span<T> to, const T* from) {
  copy_bytes(context, to.data(), from, to.size_bytes());
  succeed(duet_context_synchronize(context));
}
// Returns when the values are there.
template <class T>
void copy_to_device(duet_context* context, T* to, std::span<const T> from) {
  copy_bytes(context, to, from.data(), from.size_bytes());
  if (context) succeed(duet_context_synchronize(context));
}

// An array of a context.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  // Uninitialised.
  DeviceArray(duet_context* context, int64_t size)
      : context_(context), memory_(context, static_cast<size_t>(size) * sizeof(T)), size_(size) {}
  DeviceArray(duet_context* context, std::span<const T> values) : DeviceArray(context, std::ssize(values)) {
    copy_to_device(context, data(), values);
  }

  T* data() const { return reinterpret_cast<T*>(memory_.get()); }
  int64_t size() const { return size_; }
  void clear() { fill_zero(context_, data(), static_cast<size_t>(size_) * sizeof(T)); }
  // Waits for what was put on the context's stream.
  std::vector<T> read() const {
    std::vector<T> values(static_cast<size_t>(size_));
    copy_to_host(context_, std::span(values), static_cast<const T*>(data()));
    return values;
  }

 private:
  duet_context* context_ = nullptr;
  Memory memory_;
  int64_t size_ = 0;
};

// An array of the host that a context's device reads and writes without waiting; zeros at first.
template <class T>
class PinnedArray {
 public:
  PinnedArray(duet_context* context, int64_t size) : context_(context), size_(size) {
    void* data = nullptr;
    succeed(duet_pinned_allocate(context, static_cast<size_t>(size) * sizeof(T), &data));
    data_ = static_cast<T*>(data);
    for (int64_t k = 0; k < size; ++k) data_[k] = T{};
  }
  ~PinnedArray() { duet_pinned_release(context_, data_); }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;

  T* data() const { return data_; }
  T& operator[](int64_t k) const { return data_[k]; }
  int64_t size() const { return size_; }

 private:
  duet_context* context_;
  T* data_ = nullptr;
  int64_t size_;
};

}  // namespace duet
