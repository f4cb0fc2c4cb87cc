// Finds, whatever the schedule and the values: a read of shared memory that the block has not written, and two accesses
// to a word, one of them a write, that nothing orders. Kernels compiled by g++ with -fsanitize=thread call __tsan_* at
// every access; here is what they call, libtsan is not linked. Nothing else names this file: it is part of a program
// only where such kernels are.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include "kernels/simt/machine.h"

namespace duet::simt {
namespace {

Machine& m = machine;

// Where an access stands in the source: the address behind the call, or, of what the emulator does itself, a line
// (above kLine) and a file's name.
using Where = uint64_t;
constexpr int kLine = 48;

struct Seen {
  Where where = 0;
  uint32_t time = 0;  // 0: there was none
  uint16_t thread = 0;
  bool atomic = false;
};
enum class Content : uint32_t { none, under_way, written };  // under_way: of a cp.async that was not waited for
// What is known of 4 bytes. Readers: the last, the last other one of its warp (of its block, in global memory), the
// last of another warp (block).
struct Word {
  Seen write, read, sibling, stranger;
  Content content = Content::none;  // of shared memory, where the write is this block's
  uint32_t released = 0;  // up to this time the accesses of blocks whose fences stand before their atomics here
  uint64_t address = 0;   // of global memory
};

Word shared_words[2 * kSharedLimit / 4];
constexpr size_t kGlobalWords = size_t{1} << 28;  // words a GiB apart share one, and forget each other

Word& word_of(uint64_t address, bool shared) {
  static Word* const global_words = [] {
    void* const memory = mmap(nullptr, kGlobalWords * sizeof(Word), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return static_cast<Word*>(memory);
  }();
  if (shared) return shared_words[shared_offset(reinterpret_cast<void*>(address)) / 4];
  Word& word = global_words[address / 4 % kGlobalWords];
  if (word.address != address) word = {{}, {}, {}, {}, Content::none, 0, address};
  return word;
}

bool of_this_warp(const Seen& seen) { return seen.thread / kLanes == m.self->number / kLanes; }

// Whether what the running thread does now comes after it.
bool ordered(const Seen& before, bool shared) {
  if (before.time < m.block_begun) return shared || before.time < m.acquired;
  if (before.thread == m.self->number || before.time < m.barrier_opened) return true;
  return of_this_warp(before) && before.time < m.self->warp->ordered;
}

std::string place(Where where) {
  if (where >> kLine)
    return text(
        Place{reinterpret_cast<const char*>(where & ((Where{1} << kLine) - 1)), static_cast<int>(where >> kLine)});
  Dl_info program{};
  dladdr(reinterpret_cast<void*>(where), &program);
  std::string found = "an unknown place";
  // The call stands before the address. The outer lines are those into which the first was inlined: the emulator's own
  // are not what was asked.
  FILE* const pipe = popen(text("addr2line -i -e '", program.dli_fname, "' ", std::hex,
                                where - 1 - reinterpret_cast<uint64_t>(program.dli_fbase))
                               .c_str(),
                           "r");
  char line[512];
  while (pipe && std::fgets(line, sizeof line, pipe)) {
    found = line;
    found.resize(found.find_first_of(" \n"));
    if (found.find("/kernels/simt/") == std::string::npos) break;
  }
  while (pipe && std::fgets(line, sizeof line, pipe)) continue;
  if (pipe) pclose(pipe);
  return found;
}

void check_ordered(const Seen& before, const char* what_before, const char* what, Where where, bool shared) {
  if (ordered(before, shared)) return;
  fail("race: ", what, shared ? " of shared memory at " : " of global memory at ", place(where), ", and ", what_before,
       " by thread ", before.thread, before.time < m.block_begun ? " of another block at " : " at ",
       place(before.where), ", with nothing between that orders them");
}

void check_word(uint64_t address, bool shared, Access access, Where where) {
  Word& word = word_of(address, shared);
  const bool atomic = access == Access::atomic, writes = access != Access::read;
  const char* const what = atomic ? "an atomic" : writes ? "a write" : "a read";
  const Seen now{where, m.now, static_cast<uint16_t>(m.self->number), atomic};
  if (!atomic || !word.write.atomic)
    check_ordered(word.write, word.write.atomic ? "an atomic" : "a write", what, where, shared);
  if (shared) {
    if (word.write.time < m.block_begun) word.content = Content::none;
    const bool lands = access == Access::write && word.write.thread == now.thread;
    if (word.content == Content::under_way && !lands)
      fail(what, " of shared memory at ", place(where), ": the cp.async at ", place(word.write.where),
           " was not waited for");
    if (word.content == Content::none && (atomic || !writes))
      fail(what, " of shared memory at ", place(where), ": the block has not written it");
  }
  if (writes) {
    for (const Seen* const reader : {&word.read, &word.sibling, &word.stranger})
      check_ordered(*reader, "a read", what, where, shared);
    word.write = now;
    word.content = access == Access::starts_copy ? Content::under_way : Content::written;
  } else {
    const bool near = shared ? of_this_warp(word.read) : word.read.time >= m.block_begun;
    if (!near || word.read.thread != now.thread) (near ? word.sibling : word.stranger) = word.read;
    word.read = now;
  }
  if (atomic && !shared) {
    m.seen = std::max(m.seen, word.released);
    word.released = std::max(word.released, m.fenced);
  }
}

void check(const void* first, size_t bytes, Access access, Where where) {
  if (!m.kernel || m.self == &m.host) return;
  const uint64_t from = reinterpret_cast<uint64_t>(first);
  if (from - reinterpret_cast<uint64_t>(m.self->stack) < m.self->stack_bytes || is_stack(first))
    return;  // its own mostly
  const bool shared = is_shared(first, 1);
  for (uint64_t word = from / 4 * 4; word < from + bytes; word += 4) check_word(word, shared, access, where);
}

[[maybe_unused]] const bool is_linked =
    (checker = [](const void* address, size_t bytes, Access access, Place at) {
      check(address, bytes, access, static_cast<Where>(at.line) << kLine | reinterpret_cast<Where>(at.file));
    }) != nullptr;

}  // namespace
}  // namespace duet::simt

#define DUET_SIMT_CHECK(bytes, access) \
  duet::simt::check(address, bytes, duet::simt::Access::access, reinterpret_cast<uint64_t>(__builtin_return_address(0)))
#define DUET_SIMT_HOOKS(bytes)                                             \
  void __tsan_read##bytes(void* address) { DUET_SIMT_CHECK(bytes, read); } \
  void __tsan_write##bytes(void* address) { DUET_SIMT_CHECK(bytes, write); }
// The operation alone: touch_atomic has told of it.
#define DUET_SIMT_ATOMIC_HOOKS(type, bits)                                    \
  type __tsan_atomic##bits##_load(const volatile void* address, int) {        \
    return *static_cast<const volatile type*>(address);                       \
  }                                                                           \
  void __tsan_atomic##bits##_store(volatile void* address, type value, int) { \
    *static_cast<volatile type*>(address) = value;                            \
  }
extern "C" {
DUET_SIMT_HOOKS(1)
DUET_SIMT_HOOKS(2)
DUET_SIMT_HOOKS(4)
DUET_SIMT_HOOKS(8)
DUET_SIMT_HOOKS(16)
DUET_SIMT_ATOMIC_HOOKS(uint32_t, 32)
DUET_SIMT_ATOMIC_HOOKS(uint64_t, 64)
void __tsan_read_range(void* address, unsigned long bytes) { DUET_SIMT_CHECK(bytes, read); }
void __tsan_write_range(void* address, unsigned long bytes) { DUET_SIMT_CHECK(bytes, write); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_init() {}
}
