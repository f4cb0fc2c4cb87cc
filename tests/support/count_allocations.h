// Counts a program's allocations, for the one file of it that includes this: at malloc and its kin, which operator new
// goes through. The program's own definitions stand before the C library's. Sanitizers bring theirs, and there is
// nothing to count then.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#if defined(__GLIBC__) && !defined(DUET_TEST_UNDER_ASAN) && !defined(DUET_TEST_UNDER_TSAN)
#define DUET_TEST_COUNTS_ALLOCATIONS

namespace {
std::atomic<bool> counting = false;
std::atomic<int64_t> allocations = 0;
// Whether an allocation of this thread is one to count, where a program counts some alone.
bool (*is_counted)() = nullptr;
void count() {
  if (counting.load(std::memory_order_relaxed) && (!is_counted || is_counted()))
    allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

__attribute__((visibility("default"))) void* malloc(size_t bytes) noexcept { return count(), __libc_malloc(bytes); }
__attribute__((visibility("default"))) void* calloc(size_t items, size_t bytes) noexcept {
  return count(), __libc_calloc(items, bytes);
}
__attribute__((visibility("default"))) void* realloc(void* data, size_t bytes) noexcept {
  return count(), __libc_realloc(data, bytes);
}
__attribute__((visibility("default"))) void* memalign(size_t alignment, size_t bytes) noexcept {
  return count(), __libc_memalign(alignment, bytes);
}
__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  return count(), __libc_memalign(alignment, bytes);
}
__attribute__((visibility("default"))) int posix_memalign(void** data, size_t alignment, size_t bytes) noexcept {
  count();
  *data = __libc_memalign(alignment, bytes);
  return *data ? 0 : ENOMEM;
}
}
#endif
