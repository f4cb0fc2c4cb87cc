// A stack of its own for every emulated thread, and the switch between them, as the sanitizers need to be told of it.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DUET_SIMT_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define DUET_SIMT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define DUET_SIMT_ASAN 1
#endif

// The race checker shall see the kernels, not the emulator: its sources stand between these two.
#ifdef DUET_SIMT_TSAN
#define DUET_SIMT_UNCHECKED_BEGIN _Pragma("clang attribute push(__attribute__((disable_sanitizer_instrumentation)), apply_to = function)")
#define DUET_SIMT_UNCHECKED_END _Pragma("clang attribute pop")
#else
#define DUET_SIMT_UNCHECKED_BEGIN
#define DUET_SIMT_UNCHECKED_END
#endif

namespace duet::simt {

// Sets of stacks and identities, taken by turns: a race between neighbouring blocks is not hidden by a thread that was in both.
#ifdef DUET_SIMT_TSAN
constexpr int kSlotSets = 2;
#else
constexpr int kSlotSets = 1;
#endif

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's; stays with the stack, to make one costs 50 us
  void* identity = nullptr;    // ThreadSanitizer's
};

// The program's own stack, as a fiber to come back to.
void adopt_host(Fiber& host);
// Gives the fiber stack and identity number `slot`; its first switch enters `entry`, which never returns.
void prepare(Fiber& fiber, int slot, void (*entry)());
// The first thing that an entered fiber does.
void entered(Fiber& self, Fiber& host);
void switch_fiber(Fiber& from, Fiber& to);
// A fiber given up in the middle of its work, called from the fiber that gives up: what it did so far happened before acquire(address).
void conclude(Fiber& fiber, void* address);
// Its identity cannot be used again; called from the host.
void abandon(Fiber& fiber);

// For the race checker: what happened before release(p) happened before what follows acquire(p).
void release(void* address);
void acquire(void* address);
void note_write(void* address, size_t bytes);
// Accesses that the emulator makes in a thread's name, through code that is checked.
struct Unseen {
  Unseen();
  ~Unseen();
};

}  // namespace duet::simt
