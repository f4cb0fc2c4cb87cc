#include "kernels/simt/fiber.h"

#include <sys/mman.h>

#include <new>

#include "kernels/simt/simt.h"

#ifndef __x86_64__
#include <ucontext.h>
#endif
#ifdef DUET_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace duet::simt {
namespace {

// Address space alone: a page is backed when a thread first reaches it. Sanitizers make frames several times larger.
constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 4096;
constexpr size_t kStackStep = kStackBytes + kGuardBytes;
constexpr size_t kColour = 320;  // successive stack tops differ by this: at the same offset in their pages they would
                                 // share a few sets of the cache
constexpr int kColours = 12;

char* stacks() {
  static char* const first = [] {
    void* const memory = mmap(nullptr, kStackStep * kThreadLimit, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    for (int i = 0; i < kThreadLimit; ++i)
      mprotect(static_cast<char*>(memory) + i * kStackStep, kGuardBytes, PROT_NONE);
    return static_cast<char*>(memory);
  }();
  return first;
}

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
  host.stack = nullptr;  // the launch may come from another thread than the last
#ifdef DUET_SIMT_TSAN
  host.identity = __tsan_get_current_fiber();
#endif
#ifndef __x86_64__
  static ucontext_t context;
  host.stack_pointer = &context;
#endif
}

__attribute__((no_sanitize("address"))) void prepare(Fiber& fiber, int slot, void (*entry)()) {
  fiber.stack = stacks() + static_cast<size_t>(slot) * kStackStep + kGuardBytes;
  fiber.stack_bytes = kStackBytes;
#ifdef DUET_SIMT_TSAN
  if (!fiber.identity) fiber.identity = __tsan_create_fiber(0);
#endif
#ifdef DUET_SIMT_ASAN
  // A thread never returns from its first functions: what AddressSanitizer holds of their frames is of the thread
  // before.
  constexpr size_t kFirstFrames = 4096 + kColours * kColour;
  __asan_unpoison_memory_region(fiber.stack + kStackBytes - kFirstFrames, kFirstFrames);
#endif
#ifdef __x86_64__
  const uintptr_t top =
      reinterpret_cast<uintptr_t>(fiber.stack) + kStackBytes - 64 - static_cast<size_t>(slot % kColours) * kColour;
  void** pointer = reinterpret_cast<void**>(top & ~uintptr_t{63});
  *--pointer = nullptr;  // where entry would return to; keeps the alignment that a call leaves
  *--pointer = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--pointer = nullptr;
  fiber.stack_pointer = pointer;
#else
  static ucontext_t contexts[kThreadLimit];
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

bool is_stack(const void* address) {
  return static_cast<size_t>(static_cast<const char*>(address) - stacks()) < kStackStep * kThreadLimit;
}

void abandon([[maybe_unused]] Fiber& fiber, [[maybe_unused]] Fiber& host, [[maybe_unused]] void* address) {
#ifdef DUET_SIMT_ASAN
  __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);
#endif
#ifdef DUET_SIMT_TSAN
  __tsan_switch_to_fiber(fiber.identity, __tsan_switch_to_fiber_no_sync);
  __tsan_release(address);
  __tsan_switch_to_fiber(host.identity, __tsan_switch_to_fiber_no_sync);
  __tsan_destroy_fiber(fiber.identity);
  fiber.identity = nullptr;
#endif
}

}  // namespace duet::simt
