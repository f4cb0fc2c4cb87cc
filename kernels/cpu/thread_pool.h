// The threads of a context other than the calling one.
//
// The caller publishes a loop of n items by writing its closure, then n - 1 as the number of unclaimed items; it keeps
// the first item for itself. Every thread, the caller included, claims an item by lowering that number by one. A thread
// that gets a positive number owns an item, and the loop cannot end before that item is reported done; only such a
// thread reads the closure. A thread that gets another number owns nothing and touches nothing more. So a thread that
// comes late, even into a later loop, is harmless.
//
// The caller works until no item is left, then waits for the items that others have claimed and not yet reported. It
// does not wait for a thread that has claimed none: where the cores are busy with other programs, the caller does all
// the work alone.
//
// A thread without work polls for kSpin and then sleeps (futex); a waiting caller does the same. The caller wakes two
// sleepers, and each of these wakes two more while items are left. Where a context has more threads than there are
// cores, nobody spins.
//
// On a busy machine the operating system tends to wake a thread on its caller's core and to keep it there. The thread
// then moves to another core, or leaves the work to the caller where it may use no other. Waking a thread there can
// cost the caller its own turn on the core. So where no thread came although a loop took longer than kSpin, no thread
// is woken for kShortestPause, then for twice that, up to kLongestPause. A thread that claims an item ends the pause.
// So does one that comes too late for the loop, but within kShortestPause and to a core of its own, because on a quiet
// machine waking can take longer than a short loop.
//
// Measured on 2 virtual cores of a Xeon (Emerald Rapids), 2 threads, beside libgomp, which spins for milliseconds: a
// loop takes 0.7 us more than its items do (libgomp 1.5), 4 us where the other thread slept. The rows of duet-bench
// take 0.87 to 1.0 of libgomp's time at n = 128 and 1.04 to 1.08 at 4096, by session; libgomp beside itself differs by
// 1.03 there. Beside 8 busy processes of nice 19 they take 0.8 and 0.5 of what they take with OMP_WAIT_POLICY=passive
// (geometric means); training steps at n = 128 took 1.2 while a thread stayed on its caller's core. There a spin of 5
// us gains nothing; on the quiet machine it costs 4 %.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace duet::cpu {

class ThreadPool {
 public:
  static constexpr std::chrono::microseconds kSpin{50}, kShortestPause{1000}, kLongestPause{16000};

  // threads >= 2, the caller's counted. None is started yet.
  ThreadPool(int threads, bool spins);
  // Joins them. In a child made by fork(), where they do not exist, it only gives back the memory of the object.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  // As parallel_for, with count >= 2. Where a thread cannot be started, those that run wait for work, and the next call
  // starts the rest.
  void run(int64_t count, ItemCall call, void* closure);

 private:
  using Clock = std::chrono::steady_clock;
  using Word = std::atomic<uint32_t>;  // the word that a futex waits on

  struct Worker {
    ThreadPool* pool;
    int index;  // 1 and up; the caller is 0
    pthread_t handle;
  };

  void start();
  static void* enter(void* worker);
  void serve(int index);
  void work(int index);
  int64_t take();
  void await(int64_t theirs);
  void wake_for(int64_t items);
  Clock::time_point wake_in_time(int64_t items);
  template <class Ready>
  bool spin(Ready&& ready) const;

  // The loop: all of it in one line of the cache, which is what travels from the caller to a thread. Written by the
  // caller alone while no item is out.
  struct alignas(64) Loop {
    std::atomic<int64_t> left = 0;  // unclaimed items; 0 and below: none
    int64_t count = 0;
    ItemCall call = nullptr;
    void* closure = nullptr;
    // Threads that have claimed an item, where a loop has fewer items than there are threads.
    std::atomic<int> numbers = 1;
    std::atomic<int> sleepers = 0;
    std::atomic<int> core = -1;  // where the caller ran when it published the loop
    Word published = 0;          // loops so far; threads without work poll it
  } loop_;
  struct alignas(64) Done {
    std::atomic<int64_t> items = 0;    // that threads other than the caller's have reported
    std::atomic<int64_t> wanted = -1;  // the number of reports that the caller sleeps for
    Word rung = 0;                     // times that a thread has reached that number
  } done_;

  alignas(64) const int threads_;
  const bool spins_;
  const uint32_t process_;
  std::atomic<bool> stopping_ = false;
  bool running_ = false;  // for assertions
  size_t started_ = 0;
  std::chrono::microseconds pause_{0};  // after the last wake in vain
  Clock::time_point no_wake_before_{};
  alignas(64) std::atomic<Clock::rep> woken_ = 0;  // when the caller woke threads last
  std::atomic<bool> came_ = false;                 // one of them, to a core of its own
  std::vector<Worker> workers_;
};

}  // namespace duet::cpu
