// Where the processor has protection keys, the memory carries one, and a thread opens it to itself by a register: some
// 20 ns a launch, and what was released faults even inside a kernel. Elsewhere mprotect opens all that lies in use, to
// every thread, at some 20 ns a page that was touched.
#include "kernels/simt/global_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

#ifdef DUET_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace duet::simt {
namespace {

// Address space alone: so much more than may be in use that holes between blocks do not exhaust it.
constexpr size_t kRange = 4 * kGlobalBytes;
constexpr size_t kGap = 256;  // at least, behind each block: AddressSanitizer watches it

struct Block {
  size_t bytes, span;  // asked for; with the gap, in whole pages
};

struct GlobalMemory {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  char* first = nullptr;
  // -1: none, the memory is opened by mprotect. DUET_SIMT_KEYS=off is for the tests of that.
  int key = -1;
  std::mutex mutex;
  std::map<size_t, size_t> free;  // bytes by offset; neighbours are one, the last reaches to the end
  std::map<void*, Block> live;
  size_t in_use = 0;
  int open = 0;  // by how many, where there is no key

  GlobalMemory() {
    void* const range = mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) throw std::bad_alloc();
    first = static_cast<char*>(range);
    free[page] = kRange - page;  // what is before the first block faults too
    const char* const keys = std::getenv("DUET_SIMT_KEYS");
    if (!keys || std::strcmp(keys, "off") != 0) key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  }
  size_t end() const { return std::prev(free.end())->first; }  // of what lies in use, as an offset
  bool give(char* data, size_t span) {
    if (key >= 0) return pkey_mprotect(data, span, PROT_READ | PROT_WRITE, key) == 0;
    return mprotect(data, span, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
  }
  void open_all(int protection) {
    if (end() > page && mprotect(first + page, end() - page, protection) != 0) throw std::bad_alloc();
  }
};

GlobalMemory& memory() {
  static GlobalMemory* const only = new GlobalMemory;  // for ever: statics of the program may release theirs at its end
  return *only;
}

}  // namespace

void* allocate_global(size_t bytes) {
  GlobalMemory& m = memory();
  char* data = nullptr;
  size_t span = 0;
  {
    const std::lock_guard<std::mutex> lock(m.mutex);
    if (bytes > kGlobalBytes - m.in_use) return nullptr;
    span = (bytes + kGap + m.page - 1) / m.page * m.page;
    // The last hole stays, so that end() has one.
    const auto hole = std::find_if(m.free.begin(), m.free.end(), [&](const auto& of) { return of.second > span; });
    if (hole == m.free.end()) return nullptr;
    const auto [offset, room] = *hole;
    data = m.first + offset;
    if (!m.give(data, span)) return nullptr;
    m.free.erase(hole);
    m.free[offset + span] = room - span;
    m.live[data] = {bytes, span};
    m.in_use += bytes;
  }
#ifdef DUET_SIMT_ASAN
  __asan_unpoison_memory_region(data, bytes);
  __asan_poison_memory_region(data + bytes, span - bytes);
#endif
  const Reach reach;
  std::memset(data, 0xff, bytes);
  return data;
}

bool release_global(void* address) {
  GlobalMemory& m = memory();
  const std::lock_guard<std::mutex> lock(m.mutex);
  const auto found = m.live.find(address);
  if (found == m.live.end()) return false;
  const Block block = found->second;
  m.live.erase(found);
  m.in_use -= block.bytes;
#ifdef DUET_SIMT_ASAN
  __asan_poison_memory_region(address, block.span);
#endif
  madvise(address, block.span, MADV_DONTNEED);
  mprotect(address, block.span, PROT_NONE);
  auto hole = m.free.emplace(static_cast<char*>(address) - m.first, block.span).first;
  if (const auto after = std::next(hole); after != m.free.end() && hole->first + hole->second == after->first) {
    hole->second += after->second;
    m.free.erase(after);
  }
  if (hole != m.free.begin()) {
    if (const auto before = std::prev(hole); before->first + before->second == hole->first) {
      before->second += hole->second;
      m.free.erase(hole);
    }
  }
  return true;
}

size_t global_in_use() {
  GlobalMemory& m = memory();
  const std::lock_guard<std::mutex> lock(m.mutex);
  return m.in_use;
}

bool global_memory_has_key() { return memory().key >= 0; }

Reach::Reach() : before_(0) {
  ++reaches;
  GlobalMemory& m = memory();
  if (m.key >= 0) {
    before_ = pkey_get(m.key);
    pkey_set(m.key, 0);
    return;
  }
  const std::lock_guard<std::mutex> lock(m.mutex);
  if (m.open == 0) m.open_all(PROT_READ | PROT_WRITE);
  ++m.open;
}
Reach::~Reach() {
  --reaches;
  GlobalMemory& m = memory();
  if (m.key >= 0) {
    pkey_set(m.key, static_cast<unsigned>(before_));
    return;
  }
  const std::lock_guard<std::mutex> lock(m.mutex);
  if (--m.open == 0) m.open_all(PROT_NONE);
}

}  // namespace duet::simt
