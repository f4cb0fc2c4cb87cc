#include "runtime/memory.h"

#include <cstring>
#include <new>

namespace duet {
namespace {

constexpr std::align_val_t kHostAlignment{kAlignment};  // as the contexts' memory has it

}  // namespace

Memory::Memory(duet_context* context, size_t bytes) : context_(context), bytes_(bytes) {
  if (bytes == 0) return;
  if (context)
    succeed(duet_memory_allocate(context, bytes, &data_));
  else
    data_ = ::operator new(bytes, kHostAlignment);
}

Memory& Memory::operator=(Memory&& other) noexcept {
  if (this == &other) return *this;
  release();
  context_ = other.context_;
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

// A device that fails here has failed before, and said so.
void Memory::release() noexcept {
  if (data_ == nullptr) return;
  if (context_)
    duet_memory_release(context_, data_);
  else
    ::operator delete(data_, kHostAlignment);
  data_ = nullptr;
}

void fill_zero(duet_context* context, void* data, size_t bytes) {
  if (context)
    succeed(duet_memory_fill(context, data, 0, bytes));
  else if (bytes > 0)
    std::memset(data, 0, bytes);
}

void copy_bytes(duet_context* context, void* to, const void* from, size_t bytes) {
  if (context)
    succeed(duet_memory_copy(context, to, from, bytes));
  else if (bytes > 0)
    std::memcpy(to, from, bytes);
}

}  // namespace duet
