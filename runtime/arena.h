// Memory of a training step: handed out by moving a pointer, taken back all at once, kept for the next step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace duet {

inline constexpr size_t kAlignment = 64;  // a cache line, and the widest SIMD register

struct AlignedDelete {
  void operator()(std::byte* data) const { ::operator delete[](data, std::align_val_t{kAlignment}); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;

// Uninitialised, aligned to kAlignment; never null, not even for 0 bytes.
AlignedBytes allocate_aligned(size_t bytes);

// A bump allocator over a chain of chunks. It grows in the first step and from then on replays: a step whose requests are each at most as
// large as the first step's, one by one, lands in the same or earlier places and so allocates nothing.
class Arena {
 public:
  explicit Arena(size_t first_chunk_bytes = size_t{1} << 20) : first_chunk_bytes_(first_chunk_bytes) {}
  Arena(Arena&&) = default;
  Arena& operator=(Arena&&) = default;

  // Uninitialised, aligned to kAlignment, valid until reset(); never null.
  void* allocate(size_t bytes);

  template <class T>
  T* array(int64_t count) {
    static_assert(std::is_trivially_destructible_v<T>, "the arena runs no destructors");
    return static_cast<T*>(allocate(static_cast<size_t>(count) * sizeof(T)));
  }
  template <class T>
  T* make(T value) {
    return new (array<T>(1)) T(std::move(value));
  }

  // Takes everything back; keeps the memory.
  void reset();

  size_t capacity() const;  // bytes held

 private:
  struct Chunk {
    AlignedBytes data;
    size_t bytes;
  };
  size_t first_chunk_bytes_;
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0, offset_ = 0;  // where the next request goes
};

// One buffer that grows to the largest request: the kernels' workspace. What it held is gone after every request.
class GrowingBuffer {
 public:
  void* request(size_t bytes);
  size_t capacity() const { return bytes_; }

 private:
  AlignedBytes data_;
  size_t bytes_ = 0;
};

}  // namespace duet
