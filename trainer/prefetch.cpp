#include "trainer/prefetch.h"

#include <unistd.h>

#include <system_error>

#include "kernels/core/blocked_signals.h"

namespace duet {

Prefetch::Prefetch(const std::array<data::Features, data::kModalities>& features) : features_(features) {
  bool paged = false;
  for (const data::Features& side : features_) {
    if (!side.values.paged()) continue;
    side.values.paged()->mapping().expect_no_order();
    paged = true;
  }
  if (!paged) return;
  const BlockedSignals blocked;
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {  // no thread is to be had: steps wait for their rows
  }
}

Prefetch::~Prefetch() {
  if (!works()) return;
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Prefetch::fetch(std::span<const int64_t> rows) {
  if (!works()) return;
  {
    const std::lock_guard lock(mutex_);
    wanted_.assign(rows.begin(), rows.end());
    ++orders_;
  }
  wake_.notify_one();
}

void Prefetch::work() {
  std::vector<int64_t> rows;
  for (int64_t done = 0;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return ends_ || orders_ != done; });
      if (ends_) return;
      rows.swap(wanted_);
      done = orders_;
    }
    read(rows, done);
  }
}

void Prefetch::read(const std::vector<int64_t>& rows, int64_t order) {
  const auto is_over = [&] { return ends_ || orders_ != order; };
  // All reads are asked for before the first is waited for, so that a disk has many at once.
  for (const data::Features& side : features_)
    for (const int64_t row : rows) {
      if (is_over()) return;
      side.fetch(row, 1);
    }
  // Then a byte of each page is used, which puts the page into the process's tables too.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (const data::Features& side : features_) {
    if (!side.values.paged()) continue;
    const size_t bytes = static_cast<size_t>(side.columns) * sizeof(float);
    for (const int64_t row : rows) {
      if (is_over()) return;
      const auto* const first = reinterpret_cast<const volatile char*>(side.row(row));
      for (size_t at = 0; at < bytes; at += page) static_cast<void>(first[at]);
      static_cast<void>(first[bytes - 1]);
    }
  }
}

}  // namespace duet
