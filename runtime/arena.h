// Memory of a training step: handed out by moving a pointer, taken back all at once, kept for the next step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/memory.h"

namespace duet {

// A bump allocator over a chain of chunks of a context's memory. It grows in the first step and from then on replays: a
// step whose requests are each at most as large as the first step's, one by one, lands in the same or earlier places
// and so allocates nothing.
class Arena {
 public:
  static constexpr size_t kFirstChunk = size_t{1} << 20;
  // context: whose memory, and it must outlive the arena; null: the host's.
  explicit Arena(size_t first_chunk_bytes = kFirstChunk, duet_context* context = nullptr)
      : first_chunk_bytes_(first_chunk_bytes), context_(context) {}
  Arena(Arena&&) = default;
  Arena& operator=(Arena&&) = default;

  // Uninitialised, aligned to kAlignment, valid until reset(); never null.
  void* allocate(size_t bytes);

  template <class T>
  T* array(int64_t count) {
    static_assert(std::is_trivially_destructible_v<T>, "the arena runs no destructors");
    return static_cast<T*>(allocate(static_cast<size_t>(count) * sizeof(T)));
  }
  // Of the host's memory.
  template <class T>
  T* make(T value) {
    return new (array<T>(1)) T(std::move(value));
  }

  // Every byte handed out since reset() becomes 0, in the order of the stream of context, one of the arena's device.
  void clear(duet_context* context) const;
  // Takes everything back; keeps the memory.
  void reset();
  // Takes everything back, and makes one chunk of several, so that clear() is one fill.
  void join();

  size_t capacity() const;  // bytes held

 private:
  size_t first_chunk_bytes_;
  duet_context* context_;
  std::vector<Memory> chunks_;
  size_t chunk_ = 0, offset_ = 0;  // where the next request goes
};

// One buffer that grows to the largest request: the kernels' workspace. What it held is gone after every request.
class GrowingBuffer {
 public:
  explicit GrowingBuffer(duet_context* context = nullptr) : context_(context) {}
  void* request(size_t bytes);
  size_t capacity() const { return memory_.bytes(); }

 private:
  duet_context* context_;
  Memory memory_;
};

}  // namespace duet
