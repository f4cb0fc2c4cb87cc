// A stack of its own for every emulated thread, the switch between them, and what the sanitizers must be told. The
// build defines DUET_SIMT_ASAN or DUET_SIMT_TSAN for the emulator's sources, which are themselves not compiled for
// ThreadSanitizer: it shall see the kernels.
#pragma once

#include <cstddef>

#ifdef DUET_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
void __tsan_read_range(void* address, unsigned long bytes);
void __tsan_write_range(void* address, unsigned long bytes);
}
#endif

namespace duet::simt {

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's; stays with the stack, to make one costs 50 us
  void* identity = nullptr;    // ThreadSanitizer's, likewise
};

// The program's own stack, as a fiber to come back to.
void adopt_host(Fiber& host);
// Gives the fiber stack number `slot`; its first switch enters `entry`, which never returns.
void prepare(Fiber& fiber, int slot, void (*entry)());
// The first thing that an entered fiber does.
void entered(Fiber& self, Fiber& host);
void switch_fiber(Fiber& from, Fiber& to);
// Of any fiber.
bool is_stack(const void* address);

// What happened before release(p) happened before what follows acquire(p). `abandon`, called by the host, is the
// release of a fiber that was given up in the middle of its work, whose frames go. Unseen: accesses that the emulator
// makes in a thread's name, through code that is checked.
void abandon(Fiber& fiber, Fiber& host, void* address);
#ifdef DUET_SIMT_TSAN
inline void release(void* address) { __tsan_release(address); }
inline void acquire(void* address) { __tsan_acquire(address); }
struct Unseen {
  Unseen() { __tsan_ignore_thread_begin(); }
  ~Unseen() { __tsan_ignore_thread_end(); }
};
#else
inline void release(void*) {}
inline void acquire(void*) {}
struct Unseen {
  Unseen() {}
};
#endif

}  // namespace duet::simt
