#include "kernels/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#include "kernels/simt/simt.h"

#ifndef __x86_64__
#include <ucontext.h>
#endif
#ifdef DUET_SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef DUET_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void __tsan_read_range(void* address, unsigned long bytes);
void __tsan_write_range(void* address, unsigned long bytes);
}
#endif

DUET_SIMT_UNCHECKED_BEGIN
namespace duet::simt {
namespace {

// Address space alone: a page is backed when a thread first reaches it. Sanitizers make frames several times larger.
#if defined(DUET_SIMT_ASAN) || defined(DUET_SIMT_TSAN)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 128 * 1024;
#endif
constexpr size_t kGuardBytes = 4096;
constexpr size_t kColour = 320;  // successive stack tops differ by this: at the same offset in their pages they would share a few sets of the cache

constexpr int kSlots = kSlotSets * kThreadLimit;

char* stack_of(int slot) {
  static char* const stacks = [] {
    const size_t each = kStackBytes + kGuardBytes;
    void* const memory = mmap(nullptr, each * kSlots, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    for (int i = 0; i < kSlots; ++i) mprotect(static_cast<char*>(memory) + i * each, kGuardBytes, PROT_NONE);
    return static_cast<char*>(memory);
  }();
  return stacks + static_cast<size_t>(slot) * (kStackBytes + kGuardBytes) + kGuardBytes;
}

#ifdef DUET_SIMT_TSAN
void* identities[kSlots];
#endif

}  // namespace

#ifdef __x86_64__
// Saves what a call preserves, exchanges the stacks, restores.
extern "C" __attribute__((naked, noinline)) void duet_simt_exchange(void** /*save*/, void* /*load*/) {
  asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}
#endif

void adopt_host(Fiber& host) {
  host = Fiber{};  // the launch may come from another thread than the last
#ifdef DUET_SIMT_TSAN
  host.identity = __tsan_get_current_fiber();
#endif
#ifndef __x86_64__
  static ucontext_t context;
  host.stack_pointer = &context;
#endif
}

__attribute__((no_sanitize("address"))) void prepare(Fiber& fiber, int slot, void (*entry)()) {
  fiber.stack = stack_of(slot);
  fiber.stack_bytes = kStackBytes;
#ifdef DUET_SIMT_TSAN
  void*& mine = identities[slot];
  if (!mine) mine = __tsan_create_fiber(0);
  fiber.identity = mine;
#endif
#ifdef __x86_64__
  const uintptr_t top = reinterpret_cast<uintptr_t>(fiber.stack) + kStackBytes - 64 - static_cast<size_t>(slot % 12) * kColour;
  void** pointer = reinterpret_cast<void**>(top & ~uintptr_t{63});
  *--pointer = nullptr;  // where entry would return to; keeps the alignment that a call leaves
  *--pointer = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--pointer = nullptr;
  fiber.stack_pointer = pointer;
#else
  static ucontext_t contexts[kSlots];
  ucontext_t& context = contexts[slot];
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack;
  context.uc_stack.ss_size = kStackBytes;
  makecontext(&context, entry, 0);
  fiber.stack_pointer = &context;
#endif
}

__attribute__((no_sanitize("address"))) void entered([[maybe_unused]] Fiber& self, [[maybe_unused]] Fiber& host) {
#ifdef DUET_SIMT_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &bytes);
  if (!host.stack) {  // the first fiber comes from the host's stack
    host.stack = const_cast<char*>(static_cast<const char*>(bottom));
    host.stack_bytes = bytes;
  }
#endif
}

__attribute__((no_sanitize("address"), noinline)) void switch_fiber(Fiber& from, Fiber& to) {
#ifdef DUET_SIMT_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef DUET_SIMT_TSAN
  __tsan_switch_to_fiber(to.identity, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef __x86_64__
  duet_simt_exchange(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(static_cast<ucontext_t*>(from.stack_pointer), static_cast<ucontext_t*>(to.stack_pointer));
#endif
#ifdef DUET_SIMT_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

#ifdef DUET_SIMT_TSAN
void conclude(Fiber& fiber, void* address) {
  __tsan_switch_to_fiber(fiber.identity, __tsan_switch_to_fiber_no_sync);
  __tsan_release(address);
}
void abandon(Fiber& fiber) {
  for (void*& identity : identities)
    if (identity == fiber.identity) identity = nullptr;
  __tsan_destroy_fiber(fiber.identity);
}
#else
void conclude(Fiber&, void*) {}
void abandon(Fiber&) {}
#endif

#ifdef DUET_SIMT_TSAN
void release(void* address) { __tsan_release(address); }
void acquire(void* address) { __tsan_acquire(address); }
void note_write(void* address, size_t bytes) { __tsan_write_range(address, bytes); }
void note_read(const void* address, size_t bytes) { __tsan_read_range(const_cast<void*>(address), bytes); }
Unseen::Unseen() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
Unseen::~Unseen() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
void release(void*) {}
void acquire(void*) {}
void note_write(void*, size_t) {}
void note_read(const void*, size_t) {}
Unseen::Unseen() {}
Unseen::~Unseen() {}
#endif

}  // namespace duet::simt
DUET_SIMT_UNCHECKED_END
