#include "runtime/files/reading_limit.h"

#include <utility>

namespace duet {
namespace {

thread_local const ReadingLimit* current = nullptr;

}  // namespace

ReadingLimit::ReadingLimit(uint64_t most, std::filesystem::path folder)
    : most_(most), folder_(std::move(folder)), before_(std::exchange(current, this)) {}
ReadingLimit::~ReadingLimit() { current = before_; }

const std::filesystem::path* ReadingLimit::folder_for(uint64_t bytes) {
  return current && bytes > current->most_ ? &current->folder_ : nullptr;
}

ReadBytes::ReadBytes(uint64_t bytes) {
  if (const std::filesystem::path* const folder = ReadingLimit::folder_for(bytes))
    paged_ = PagedMemory(bytes, *folder);
  else
    own_.resize(bytes);
}

void ReadBytes::made(uint64_t end) {
  constexpr uint64_t kBlock = uint64_t{16} << 20;  // enough for a disk to be busy with
  if (!mapping() || end - settled_ < kBlock) return;
  paged_.settle(settled_, end);
  settled_ = end;
}

}  // namespace duet
