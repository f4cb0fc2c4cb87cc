#include "runtime/ranks/thread_ranks.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "kernels/core/error.h"

namespace duet {

namespace {

std::string reason_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of an unknown type";
  }
}

// Where all ranks of a job meet.
class Meeting {
 public:
  explicit Meeting(int size) : size_(size) {}

  // Returns when every rank is here; throws where one never will be.
  void wait() {
    std::unique_lock lock(mutex_);
    if (ended_ >= 0 && trouble_.empty()) trouble_ = text("ranks: rank ", ended_, " has ended");
    if (!trouble_.empty()) {
      changed_.notify_all();
      throw Error(DUET_STATUS_IO_ERROR, trouble_);
    }
    if (++here_ == size_) {
      here_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    const uint64_t round = round_;
    changed_.wait(lock, [&] { return round_ != round || !trouble_.empty(); });
    if (round_ == round) throw Error(DUET_STATUS_IO_ERROR, trouble_);
  }

  void end(int rank) {
    const std::lock_guard lock(mutex_);
    if (ended_ < 0) ended_ = rank;
    if (here_ > 0 && trouble_.empty()) trouble_ = text("ranks: rank ", rank, " has ended");
    changed_.notify_all();
  }

  void fail(int rank, const std::exception_ptr& exception) {
    const std::lock_guard lock(mutex_);
    if (!first_failure_) first_failure_ = exception;
    if (trouble_.empty()) trouble_ = text("ranks: rank ", rank, " has failed: ", reason_of(exception));
    changed_.notify_all();
  }

  // After all ranks have ended.
  const std::exception_ptr& first_failure() const { return first_failure_; }

 private:
  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int here_ = 0;
  uint64_t round_ = 0;
  int ended_ = -1;       // the rank that did first
  std::string trouble_;  // of the rank that will not come; empty: none
  std::exception_ptr first_failure_;
};

class ThreadRanks : public Ranks {
 public:
  using Ranks::Outgoing;
  ThreadRanks(int rank, int size, Meeting& meeting, std::vector<std::span<const Outgoing>>& boards)
      : Ranks(rank, size), meeting_(meeting), boards_(boards) {}

 protected:
  void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) override;

 private:
  bool take(std::span<const Incoming> incoming) const noexcept;

  Meeting& meeting_;
  std::vector<std::span<const Outgoing>>& boards_;  // what each rank sends, while it is in exchange()
};

// Whether the messages were those that the others send.
bool ThreadRanks::take(std::span<const Incoming> incoming) const noexcept {
  bool whole = true;
  for (int peer = 0; peer < size(); ++peer) {
    const auto& board = boards_[static_cast<size_t>(peer)];
    auto sent = board.begin();
    for (const Incoming& one : incoming) {
      if (one.peer != peer) continue;
      sent = std::find_if(sent, board.end(), [&](const Outgoing& other) { return other.peer == rank(); });
      if (sent == board.end() || sent->bytes.size() != one.bytes.size()) {
        whole = false;
        break;
      }
      std::copy(sent->bytes.begin(), sent->bytes.end(), one.bytes.begin());
      ++sent;
    }
  }
  return whole;
}

void ThreadRanks::exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) {
  boards_[static_cast<size_t>(rank())] = outgoing;
  meeting_.wait();
  const bool whole = take(incoming);
  meeting_.wait();  // nobody's memory goes away while another reads it
  if (!whole) throw Error(DUET_STATUS_INTERNAL_ERROR, text("ranks: messages of other sizes than expected in ", call));
}

// A job's threads.
class Job {
 public:
  Job(int size, const std::function<void(Ranks&)>& body)
      : size_(size), body_(body), meeting_(size), boards_(static_cast<size_t>(size)) {}

  void run() {
    std::vector<std::thread> threads;
    try {
      for (int rank = 0; rank < size_; ++rank) threads.emplace_back([this, rank] { run_rank(rank); });
    } catch (...) {  // the system has no thread left
      meeting_.fail(static_cast<int>(threads.size()), std::current_exception());
    }
    for (std::thread& thread : threads) thread.join();
    if (meeting_.first_failure()) std::rethrow_exception(meeting_.first_failure());
  }

 private:
  void run_rank(int rank) noexcept {
    try {
      ThreadRanks ranks(rank, size_, meeting_, boards_);
      body_(ranks);
      meeting_.end(rank);
    } catch (...) {
      meeting_.fail(rank, std::current_exception());
    }
  }

  const int size_;
  const std::function<void(Ranks&)>& body_;
  Meeting meeting_;
  std::vector<std::span<const ThreadRanks::Outgoing>> boards_;
};

}  // namespace

void run_thread_ranks(int size, const std::function<void(Ranks& ranks)>& body) {
  require(size >= 1, "size: expected at least 1 rank, got ", size);
  Job(size, body).run();
}

}  // namespace duet
