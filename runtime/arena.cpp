#include "runtime/arena.h"

#include <algorithm>

namespace duet {

void* Arena::allocate(size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (chunk_ < chunks_.size() && chunks_[chunk_].bytes() - offset_ < bytes) {
    ++chunk_;
    offset_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    const size_t larger = chunks_.empty() ? first_chunk_bytes_ : 2 * chunks_.back().bytes();
    chunks_.emplace_back(context_, std::max({larger, bytes, kAlignment}));
  }
  void* given = chunks_[chunk_].get() + offset_;
  offset_ += bytes;
  return given;
}

void Arena::clear(duet_context* context) const {
  for (size_t k = 0; k < chunks_.size() && k <= chunk_; ++k) {
    const size_t bytes = k < chunk_ ? chunks_[k].bytes() : offset_;
    if (bytes > 0) fill_zero(context, chunks_[k].get(), bytes);
  }
}

void Arena::reset() { chunk_ = 0, offset_ = 0; }

void Arena::join() {
  reset();
  if (chunks_.size() < 2) return;
  const size_t bytes = capacity();
  chunks_.clear();
  chunks_.emplace_back(context_, bytes);
}

size_t Arena::capacity() const {
  size_t total = 0;
  for (const Memory& chunk : chunks_) total += chunk.bytes();
  return total;
}

void* GrowingBuffer::request(size_t bytes) {
  if (!memory_ || bytes > memory_.bytes()) {
    // Twice the request: kernels choose their tiles by shape, so a somewhat smaller batch can ask for somewhat more.
    memory_ = Memory();
    memory_ = Memory(context_, std::max(2 * bytes, kAlignment));
  }
  return memory_.get();
}

}  // namespace duet
