#include "runtime/arena.h"

#include <algorithm>

namespace duet {

AlignedBytes allocate_aligned(size_t bytes) { return AlignedBytes(new (std::align_val_t{kAlignment}) std::byte[std::max<size_t>(bytes, 1)]); }

void* Arena::allocate(size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (chunk_ < chunks_.size() && chunks_[chunk_].bytes - offset_ < bytes) {
    ++chunk_;
    offset_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    const size_t larger = chunks_.empty() ? first_chunk_bytes_ : 2 * chunks_.back().bytes;
    const size_t size = std::max(larger, bytes);
    chunks_.push_back({allocate_aligned(size), size});
  }
  void* given = chunks_[chunk_].data.get() + offset_;
  offset_ += bytes;
  return given;
}

void Arena::reset() { chunk_ = 0, offset_ = 0; }

size_t Arena::capacity() const {
  size_t total = 0;
  for (const Chunk& chunk : chunks_) total += chunk.bytes;
  return total;
}

void* GrowingBuffer::request(size_t bytes) {
  if (!data_ || bytes > bytes_) {
    // Twice the request: kernels choose their tiles by shape, so a somewhat smaller batch can ask for somewhat more.
    data_.reset();
    data_ = allocate_aligned(2 * bytes);
    bytes_ = 2 * bytes;
  }
  return data_.get();
}

}  // namespace duet
