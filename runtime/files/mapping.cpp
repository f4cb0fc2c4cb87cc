#include "runtime/files/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet {
namespace {

// What the handler of SIGBUS reads: it may take no lock and no memory. A mapping beyond the table has no line.
constexpr int kSlots = 64;
constexpr size_t kLongestLine = 1024;
struct Slot {
  std::atomic<uintptr_t> begin = 0, end = 0;  // end 0: free
  std::array<char, kLongestLine> line{};
  size_t length = 0;
};
std::array<Slot, kSlots> slots;
std::mutex slots_mutex;
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

int take_slot(const std::byte* start, const std::byte* end, const std::string& what) {
  const std::string line = "duet: " + printable(what) + "\n";
  const std::lock_guard lock(slots_mutex);
  for (int k = 0; k < kSlots; ++k) {
    Slot& slot = slots[static_cast<size_t>(k)];
    if (slot.end != 0) continue;
    slot.length = std::min(line.size(), slot.line.size());
    std::copy_n(line.begin(), slot.length, slot.line.begin());
    slot.line[slot.length - 1] = '\n';
    slot.begin = reinterpret_cast<uintptr_t>(start);
    slot.end = reinterpret_cast<uintptr_t>(end);
    return k;
  }
  return -1;
}

void on_bus_error(int number, siginfo_t* info, void*) {
  constexpr int kExitFailure = 1;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Slot& slot : slots) {
    if (info->si_code != BUS_ADRERR || address < slot.begin || address >= slot.end) continue;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, slot.line.data(), slot.length);
    ::_exit(kExitFailure);
  }
  std::signal(number, SIG_DFL);
  std::raise(number);  // it ends the program when this handler has returned, until when it is blocked
}

// Size and time of the last write; zeros where the system does not tell.
std::array<int64_t, 3> state_of(int descriptor) {
  struct stat facts = {};
  if (::fstat(descriptor, &facts) != 0) return {};
  return {facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec};
}

uint64_t page_bytes() { return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace

Mapping::Mapping(int descriptor, uint64_t offset, uint64_t length, bool writable, const std::string& what) {
  if (length == 0) return;  // the system maps nothing of length 0
  const uint64_t before = offset % page_bytes();
  void* const start = ::mmap(nullptr, before + length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                             descriptor, static_cast<off_t>(offset - before));
  if (start == MAP_FAILED && (errno == ENOMEM || errno == EAGAIN)) throw std::bad_alloc();
  if (start == MAP_FAILED)
    throw Error(DUET_STATUS_IO_ERROR,
                text(what, ": it cannot be mapped (", std::generic_category().message(errno), ")"));
  start_ = static_cast<std::byte*>(start);
  data_ = start_ + before;
  size_ = length;
  slot_ = take_slot(start_, data_ + size_, what);
  if (!writable) {
    descriptor_ = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    state_ = state_of(descriptor_);
  }
}

Mapping::~Mapping() {
  if (slot_ >= 0) slots[static_cast<size_t>(slot_)].end = 0;
  if (descriptor_ >= 0) ::close(descriptor_);
  if (start_) ::munmap(start_, static_cast<size_t>(data_ - start_) + size_);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      start_(std::exchange(other.start_, nullptr)),
      slot_(std::exchange(other.slot_, -1)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      state_(other.state_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(start_, other.start_);
  std::swap(slot_, other.slot_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(state_, other.state_);
  return *this;
}

void Mapping::require_unchanged(const std::string& name) const {
  if (descriptor_ >= 0 && state_of(descriptor_) != state_)
    throw Error(DUET_STATUS_IO_ERROR, text(name, ": changed while it was read"));
}

void Mapping::advise(uint64_t begin, uint64_t end, int advice) const {
  end = std::min(end, size_);
  if (begin >= end) return;
  std::byte* const first = data_ + begin;
  const uint64_t before = static_cast<uint64_t>(first - start_) % page_bytes();
  ::madvise(first - before, end - begin + before, advice);
}

void Mapping::release(uint64_t begin, uint64_t end) const { advise(begin, end, MADV_DONTNEED); }
void Mapping::fetch(uint64_t begin, uint64_t end) const { advise(begin, end, MADV_WILLNEED); }
void Mapping::expect_order() const { advise(0, size_, MADV_SEQUENTIAL); }
void Mapping::expect_no_order() const { advise(0, size_, MADV_RANDOM); }

void report_broken_mappings() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace duet
