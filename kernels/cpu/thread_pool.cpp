#include "kernels/cpu/thread_pool.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <climits>
#include <system_error>

#include "kernels/core/blocked_signals.h"

namespace duet::cpu {
namespace {

// Sleeps while word holds expected, or returns early. The call itself, because std::atomic::wait of libstdc++ yields
// the processor first: beside busy programs of low priority that costs a time slice of theirs.
void sleep_while(const std::atomic<uint32_t>& word, uint32_t expected) {
  static_assert(sizeof word == sizeof(uint32_t) && std::atomic<uint32_t>::is_always_lock_free);
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void wake(const std::atomic<uint32_t>& word, int sleepers) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, sleepers, nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Moves the calling thread off a core, and allows it afterwards what it was allowed before. False where that is this
// core alone.
bool leave(int core) {
  cpu_set_t allowed, others;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  others = allowed;
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return false;
  sched_setaffinity(0, sizeof allowed, &allowed);
  return true;
}

}  // namespace

void run_items(ThreadPool& pool, int64_t count, ItemCall call, void* closure) { pool.run(count, call, closure); }

ThreadPool::ThreadPool(int threads, bool spins)
    : threads_(threads),
      spins_(spins),
      process_(process_number.load(std::memory_order_relaxed)),
      workers_(static_cast<size_t>(threads - 1)) {
  for (size_t k = 0; k < workers_.size(); ++k) workers_[k] = {this, static_cast<int>(k) + 1, {}};
}

ThreadPool::~ThreadPool() {
  if (process_ != process_number.load(std::memory_order_relaxed)) return;
  stopping_.store(true);
  loop_.published.fetch_add(1);
  wake(loop_.published, INT_MAX);
  for (size_t k = 0; k < started_; ++k) pthread_join(workers_[k].handle, nullptr);
}

void ThreadPool::start() {
  int failure = 0;
  {
    const BlockedSignals blocked;
    while (started_ < workers_.size()) {
      Worker& next = workers_[started_];
      failure = pthread_create(&next.handle, nullptr, enter, &next);
      if (failure != 0) break;
      ++started_;
    }
  }
  if (failure != 0)
    throw Error(DUET_STATUS_OUT_OF_MEMORY, text("context: cannot start thread ", started_ + 2, " of ", threads_, ": ",
                                                std::generic_category().message(failure)));
}

void* ThreadPool::enter(void* worker) {
  const Worker& own = *static_cast<const Worker*>(worker);
  own.pool->serve(own.index);
  return nullptr;
}

void ThreadPool::serve(int index) {
  uint32_t seen = 0;
  bool apart = true;
  for (;;) {
    const auto news = [&] { return loop_.published.load(std::memory_order_acquire) != seen; };
    bool slept = false;
    if (!(spins_ && apart ? spin(news) : news())) {
      // Counted before the futex looks: who publishes after that sees a sleeper, who published before has changed what
      // the futex compares.
      loop_.sleepers.fetch_add(1);
      while (!news()) sleep_while(loop_.published, seen);
      loop_.sleepers.fetch_sub(1);
      slept = true;
    }
    seen = loop_.published.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    // On the caller's core it would only take the caller's time.
    const int core = loop_.core.load(std::memory_order_relaxed);
    apart = !spins_ || sched_getcpu() != core;
    if (slept && apart &&
        Clock::now().time_since_epoch().count() - woken_.load(std::memory_order_relaxed) <
            Clock::duration(kShortestPause).count())
      came_.store(true, std::memory_order_relaxed);
    apart = apart || leave(core);
    if (apart) work(index);
  }
}

// Takes items until there are none. All of them are of one loop, which does not end before they are reported.
void ThreadPool::work(int index) {
  int64_t item = take();
  if (item < 0) return;
  wake_for(loop_.count - 1 - item);
  const ItemCall call = loop_.call;
  void* const closure = loop_.closure;
  // A thread's number is its own, so that it finds its scratch in its cache; but below count, where that is less.
  const int thread = loop_.count >= threads_ ? index : loop_.numbers.fetch_add(1, std::memory_order_relaxed);
  int64_t done = 0;
  do {
    call(closure, item, thread);
    ++done;
    item = take();
  } while (item >= 0);
  const int64_t reported = done_.items.fetch_add(done) + done;
  if (done_.wanted.load() == reported) {
    done_.rung.fetch_add(1);
    wake(done_.rung, 1);
  }
}

// The next item, or -1.
int64_t ThreadPool::take() {
  if (loop_.left.load(std::memory_order_relaxed) <= 0) return -1;
  const int64_t left = loop_.left.fetch_sub(1, std::memory_order_acq_rel);
  return left > 0 ? loop_.count - left : -1;
}

void ThreadPool::wake_for(int64_t items) {
  if (items > 0 && loop_.sleepers.load() > 0) wake(loop_.published, static_cast<int>(std::min<int64_t>(items, 2)));
}

template <class Ready>
bool ThreadPool::spin(Ready&& ready) const {
  const auto look = [&] {
    for (int k = 0; k < 32; ++k) {  // a microsecond or two between looks at the clock
      if (ready()) return true;
      relax();
    }
    return false;
  };
  if (look()) return true;
  const auto end = Clock::now() + kSpin;
  do {
    if (look()) return true;
  } while (Clock::now() < end);
  return false;
}

void ThreadPool::run(int64_t count, ItemCall call, void* closure) {
  assert(!running_ && "a loop within a loop, or a context that two threads use at a time");
  if (started_ < workers_.size()) start();
  running_ = true;
  loop_.count = count;
  loop_.call = call;
  loop_.closure = closure;
  loop_.core.store(sched_getcpu(), std::memory_order_relaxed);
  loop_.numbers.store(1, std::memory_order_relaxed);
  done_.items.store(0, std::memory_order_relaxed);
  done_.wanted.store(-1, std::memory_order_relaxed);
  loop_.left.store(count - 1, std::memory_order_release);
  loop_.published.fetch_add(1);
  int64_t own = 0;
  Clock::time_point woken{};
  for (int64_t item = 0; item >= 0; item = take()) {
    if (woken == Clock::time_point{}) woken = wake_in_time(count - 1 - item);
    call(closure, item, 0);
    ++own;
  }
  await(count - own);
  running_ = false;
  if (own < count) {
    pause_ = {};
  } else if (woken != Clock::time_point{}) {
    const auto now = Clock::now();
    if (now - woken <= kSpin) return;  // too short a loop to say that a thread would not have come
    pause_ = std::clamp(2 * pause_, kShortestPause, kLongestPause);
    no_wake_before_ = now + pause_;
  }
}

// Wakes threads for so many items and says when, or does not, and returns the epoch: where none sleeps, or it is too
// early after one in vain.
ThreadPool::Clock::time_point ThreadPool::wake_in_time(int64_t items) {
  if (items == 0 || loop_.sleepers.load() == 0) return {};
  const auto now = Clock::now();
  if (came_.load(std::memory_order_relaxed)) {
    came_.store(false, std::memory_order_relaxed);
    pause_ = {};
    no_wake_before_ = {};
  }
  if (now < no_wake_before_) return {};
  woken_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  wake_for(items);
  return now;
}

// Until the others have reported so many items.
void ThreadPool::await(int64_t theirs) {
  const auto done = [&] { return done_.items.load() == theirs; };
  if (spins_ ? spin(done) : done()) return;
  done_.wanted.store(theirs);
  for (;;) {
    const uint32_t rung = done_.rung.load();
    if (done()) return;
    sleep_while(done_.rung, rung);
  }
}

}  // namespace duet::cpu
