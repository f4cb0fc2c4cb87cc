// Shared memory of the running block, and the copies into it that are under way.
#include <sys/mman.h>

#include <cstring>
#include <iterator>
#include <new>
#include <utility>

#include "kernels/simt/machine.h"

#ifdef DUET_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

DUET_SIMT_UNCHECKED_BEGIN
namespace duet::simt {
namespace {

Machine& m = machine;

constexpr size_t kAlign = 128;   // and the gap between arrays, which AddressSanitizer watches
constexpr int kArrayLimit = 64;  // of a block
constexpr size_t kArenaBytes = kSyncBytes + kSharedLimit + (kArrayLimit + 1) * 2 * kAlign;
constexpr size_t kWord = 4;  // what the map of copies under way counts in

struct Array {
  const void* tag;
  char* data;
};
Array arrays[kArrayLimit];
int array_count = 0;
char* dynamic = nullptr;
uint16_t copied_by[kArenaBytes / kWord];  // 1 + the thread whose cp.async is to fill the word
Copy copies[32 * kThreadLimit], *spare_copies = nullptr;
[[maybe_unused]] char* spent = nullptr;  // under ThreadSanitizer: the arena of the last block, which holds the address of the one before

uint16_t* owner_of(const char* shared) { return copied_by + static_cast<size_t>(shared - m.arena) / kWord; }

char* new_arena() {
  void* const memory = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(memory);
}

// NaN and -1, or 3.4e38 and a huge index. They alternate from launch to launch without a period (Thue-Morse), so that a kernel that depends on
// memory it never wrote gives other bits when it is run again.
int poison() { return __builtin_popcountll(m.launches) & 1 ? 0xff : 0x7f; }

char* take(size_t bytes) {
  m.shared_used += bytes;
  if (m.shared_used > kSharedLimit) fail("the block takes ", m.shared_used, " bytes of shared memory, at most ", kSharedLimit);
  char* const data = m.arena + m.arena_used;
  m.arena_used += (bytes + kAlign - 1) / kAlign * kAlign + kAlign;
#ifdef DUET_SIMT_ASAN
  __asan_unpoison_memory_region(data, bytes);
#endif
  const Unseen unseen;
  std::memset(data, poison(), bytes);
  return data;
}

}  // namespace

void begin_shared(size_t dynamic_bytes) {
  if (!spare_copies || m.copies_left_over) {  // at first, and after a block that was given up
    for (Copy& copy : copies) copy.next = &copy == copies ? nullptr : &copy - 1;
    spare_copies = copies + std::size(copies) - 1;
    const Unseen unseen;
    std::memset(copied_by, 0, sizeof copied_by);
    m.copies_left_over = false;
  }
  if (!m.arena) m.arena = new_arena();
  m.arena_used = kSyncBytes;
  m.shared_used = m.static_used = 0;
  array_count = 0;
#ifdef DUET_SIMT_ASAN
  __asan_poison_memory_region(m.arena + kSyncBytes, kArenaBytes - kSyncBytes);
#endif
  dynamic = dynamic_bytes ? take(dynamic_bytes) : nullptr;
}

void end_shared(bool launch_ends) {
#ifdef DUET_SIMT_TSAN  // a block's accesses are not to be taken for the next one's
  if (!launch_ends) *reinterpret_cast<char**>(m.arena + kSyncBytes - sizeof(char*)) = std::exchange(spent, m.arena), m.arena = nullptr;
  while (launch_ends && spent) munmap(std::exchange(spent, *reinterpret_cast<char**>(spent + kSyncBytes - sizeof(char*))), kArenaBytes);
#else
  (void)launch_ends;
#endif
}

void* shared_array(const void* tag, size_t bytes) {
  for (int i = 0; i < array_count; ++i)
    if (arrays[i].tag == tag) return arrays[i].data;
  if (array_count == kArrayLimit) fail("more than ", kArrayLimit, " shared arrays");
  m.static_used += bytes;
  if (m.static_used > kStaticSharedLimit) fail(m.static_used, " bytes of static shared memory, at most ", kStaticSharedLimit);
  arrays[array_count] = {tag, take(bytes)};
  return arrays[array_count++].data;
}

void* shared_dynamic() {
  if (!dynamic) fail("the kernel names dynamic shared memory, the launch gave none");
  return dynamic;
}

bool is_shared(const void* address, size_t bytes) {
  const char* const first = static_cast<const char*>(address);
  return first >= m.arena + kSyncBytes && first + bytes <= m.arena + m.arena_used;
}

void check_aligned(const void* address, size_t bytes, const char* what, Place at) {
  if (reinterpret_cast<uintptr_t>(address) % bytes) fail(what, " at ", at, ": the address ", address, " is not a multiple of ", bytes);
}

// The target is poisoned at once: whoever reads it before the wait, or has not yet read what was there, finds out.
void cp_async(void* shared, const void* global, int bytes, int source_bytes, Place at) {
  check_aligned(shared, static_cast<size_t>(bytes), "cp.async to", at);
  check_aligned(global, static_cast<size_t>(bytes), "cp.async from", at);
  if (!is_shared(shared, static_cast<size_t>(bytes))) fail("cp.async at ", at, ": the target is not in the block's shared memory");
  if (is_shared(global, 1)) fail("cp.async at ", at, ": the source is in shared memory");
  if (source_bytes < 0 || source_bytes > bytes) fail("cp.async at ", at, ": ", source_bytes, " of ", bytes, " bytes");
  Thread& self = *m.self;
  uint16_t* const owner = owner_of(static_cast<char*>(shared));
  for (size_t word = 0; word < static_cast<size_t>(bytes) / kWord; ++word) {
    if (owner[word]) fail("cp.async at ", at, ": a copy of thread ", owner[word] - 1, " to the same place is under way");
    owner[word] = static_cast<uint16_t>(self.number + 1);
  }
  note_write(shared, static_cast<size_t>(bytes));
  {
    const Unseen unseen;
    std::memset(shared, poison(), static_cast<size_t>(bytes));
  }
  Copy* const copy = spare_copies;
  if (!copy) fail("cp.async at ", at, ": more than ", std::size(copies), " copies of the block are under way");
  spare_copies = copy->next;
  *copy = {nullptr, static_cast<char*>(shared), static_cast<const char*>(global), bytes, source_bytes, self.group};
  (self.first_copy ? self.last_copy->next : self.first_copy) = copy;
  self.last_copy = copy;
}

void cp_async_commit() { ++m.self->group; }

void cp_async_wait(int groups_left) {
  Thread& self = *m.self;
  while (self.first_copy && self.first_copy->group < self.group - groups_left) {
    Copy* const copy = self.first_copy;
    const size_t bytes = static_cast<size_t>(copy->bytes), source_bytes = static_cast<size_t>(copy->source_bytes);
    note_read(copy->from, source_bytes);
    note_write(copy->to, bytes);
    const Unseen unseen;
    for (size_t word = 0; word < bytes / kWord; ++word) owner_of(copy->to)[word] = 0;
    std::memcpy(copy->to, copy->from, source_bytes);
    std::memset(copy->to + source_bytes, 0, bytes - source_bytes);
    self.first_copy = copy->next;
    copy->next = spare_copies;
    spare_copies = copy;
  }
}

void check_copies_waited() {
  if (m.self->first_copy) fail("the thread leaves with cp.async copies that it has not waited for");
}

}  // namespace duet::simt
DUET_SIMT_UNCHECKED_END
