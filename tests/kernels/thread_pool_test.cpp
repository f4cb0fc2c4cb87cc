// The threads of a context: what they take, when they run and sleep, and what becomes of them at a fork, at a failure
// to start, at the end.
#include "kernels/cpu/thread_pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "kernels/cpu/parallel.h"
#include "tests/support/arrays.h"

using namespace duet::test;
using duet::cpu::parallel_for;
using namespace std::chrono_literals;

namespace {

// Squared distances of 200 pairs of rows, in several items: the bits that every number of threads has to give.
struct Distances {
  Floats x = Draw(5).normals(200, 24), y = Draw(6).normals(150, 24), out{200, 150};

  duet_distance_inputs inputs() {
    duet_distance_inputs given = DUET_DISTANCE_INPUTS_INIT;
    given.x = x.matrix();
    given.y = y.matrix();
    given.metric = DUET_METRIC_SQEUCLIDEAN;
    return given;
  }
  duet_status run(duet_context* context) {
    const duet_distance_inputs given = inputs();
    duet_workspace workspace{};
    const duet_status status = duet_distance_workspace(context, &given, &workspace.bytes);
    if (status != DUET_STATUS_OK) return status;
    const Scratch scratch(workspace.bytes);
    return duet_distance_forward(context, &given, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                 scratch.view());
  }
};

// No Array: one that outlives the tests would check its guard bands when doctest is gone.
const std::vector<double>& expected_distances() {
  static const std::vector<double> out = [] {
    Distances distances;
    SUCCEED_CALL(distances.run(Context(1)));
    return distances.out.values();
  }();
  return out;
}

bool gives_the_bits(duet_context* context) {
  Distances distances;
  return distances.run(context) == DUET_STATUS_OK && distances.out.values() == expected_distances();
}

duet_context* made(int threads) {
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = threads;
  duet_context* context = nullptr;
  return duet_context_create(&options, &context) == DUET_STATUS_OK ? context : nullptr;
}

// A context made here, used and destroyed.
[[maybe_unused]] bool a_new_context_works(int threads = 4) {
  duet_context* context = made(threads);
  const bool works = context != nullptr && gives_the_bits(context);
  duet_context_destroy(context);
  return works;
}

// Runs meet(thread) on all threads of a context, in loops of items that give the others time to come: at once where the
// machine allows it.
template <class Meet>
void on_every_thread(const duet_context& context, Meet&& meet) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    std::atomic<int> here = 0;
    std::atomic<uint32_t> met = 0;
    parallel_for(context, context.threads, [&](int64_t, int thread) {
      meet(thread);
      met |= 1u << thread;
      ++here;
      const auto end = std::chrono::steady_clock::now() + 20ms;
      while (here < context.threads && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    });
    if (met == (1u << context.threads) - 1) return;
  }
  FAIL("the threads never met");
}

// What body says in a child process; false where it hangs or crashes, too.
template <class Body>
bool holds_in_child(Body&& body) {
  expected_distances();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_MESSAGE(WIFEXITED(status), "the child ended by signal " << (WIFSIGNALED(status) ? WTERMSIG(status) : 0));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::vector<int> task_ids() {
  std::vector<int> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    out.push_back(std::stoi(entry.path().filename()));
  return out;
}

uint64_t blocked_signals(int task) {
  std::ifstream file("/proc/self/task/" + std::to_string(task) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("SigBlk:")) return std::stoull(line.substr(7), nullptr, 16);
  return 0;
}

std::atomic<int> held = 0;
std::atomic<bool> holding = false;
void hold(int) {
  ++held;
  while (holding) usleep(100);
  --held;
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

TEST_CASE("work is handed out once, to threads that exist, of which there are no more than items") {
  for (const int threads : {1, 2, 3, 4, 8}) {
    const Context context(threads);
    for (const int64_t count : {0, 1, 2, 3, 7, 100}) {
      for (int round = 0; round < 50; ++round) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
        std::atomic<int> strangers = 0;
        parallel_for(*context, count, [&](int64_t item, int thread) {
          strangers += thread < 0 || thread >= std::min<int64_t>(threads, count);
          ++seen[static_cast<size_t>(item)];
        });
        CHECK(strangers == 0);
        for (const auto& times : seen) CHECK(times == 1);
      }
    }
  }
  const Context context(3);
  std::vector<std::atomic<int>> seen(100);
  duet::cpu::parallel_chunks(*context, 100, 7, [&](int64_t first, int64_t count, int) {
    for (int64_t k = first; k < first + count; ++k) ++seen[static_cast<size_t>(k)];
  });
  for (const auto& times : seen) CHECK(times == 1);
}

TEST_CASE("two items at a time never have the same thread's scratch") {
  for (const int threads : {2, 4, 8}) {
    const Context context(threads);
    std::vector<std::atomic<int>> users(static_cast<size_t>(threads));
    std::atomic<int> shared = 0;
    for (int round = 0; round < 300; ++round) {
      parallel_for(*context, 2 + round % 11, [&](int64_t, int thread) {
        shared += ++users[static_cast<size_t>(thread)] != 1;
        if (round % 16 == 0) std::this_thread::yield();
        --users[static_cast<size_t>(thread)];
      });
    }
    CHECK(shared == 0);
  }
}

// A thread that is late for one loop finds the next: each loop has a closure of its own on the stack, which is
// overwritten when it is over.
TEST_CASE("short loops in a row do not mix") {
  for (const bool spins : {true, false}) {
    for (const int threads : {2, 5}) {
      duet::cpu::ThreadPool pool(threads, spins);
      duet_context context{.threads = threads};
      context.pool = &pool;
      bool mixed = false;
      for (int64_t round = 0; round < 20'000; ++round) {
        const int64_t count = 2 + round % 6;
        std::atomic<int64_t> sum = 0;
        parallel_for(context, count, [&sum, round](int64_t item, int) { sum += round * 8 + item; });
        mixed = mixed || sum != round * 8 * count + count * (count - 1) / 2;
      }
      CHECK_FALSE(mixed);
    }
  }
}

TEST_CASE("threads start at the first parallel loop, block the host's signals, and are gone with the context") {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  const std::vector<int> tasks = task_ids();
  {
    const Context context(4), single(1);
    parallel_for(*context, 1, [](int64_t, int) {});
    parallel_for(*single, 9, [](int64_t, int) {});
    CHECK(task_ids().size() == tasks.size());
    on_every_thread(*context, [](int) {});
    CHECK(task_ids().size() == tasks.size() + 3);
    int workers = 0;
    for (const int task : task_ids()) {
      if (std::find(tasks.begin(), tasks.end(), task) != tasks.end()) continue;
      ++workers;
      const uint64_t blocked = blocked_signals(task);
      for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGCHLD, SIGUSR1, SIGPROF})
        CHECK((blocked >> (signal - 1) & 1) == 1);
      for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) CHECK((blocked >> (fault - 1) & 1) == 0);
    }
    CHECK(workers == 3);
  }
  // A joined thread leaves /proc a moment later.
  for (int k = 0; k < 1000 && task_ids().size() > tasks.size(); ++k) usleep(1000);
  CHECK(task_ids().size() == tasks.size());
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < 32; ++signal) CHECK(sigismember(&before, signal) == sigismember(&after, signal));
}

TEST_CASE("threads without work sleep") {
  const Context context(4);
  double least = 1;  // other programs do not add to what this one uses, but a page fault of its own may
  for (int attempt = 0; attempt < 3; ++attempt) {
    on_every_thread(*context, [](int) {});
    std::this_thread::sleep_for(5ms);
    const double before = cpu_seconds();
    std::this_thread::sleep_for(200ms);
    least = std::min(least, cpu_seconds() - before);
  }
  CHECK(least < 0.02);  // one spinning thread would use 0.2 s
}

TEST_CASE("a thread that does not run is not waited for") {
  const Context context(4);
  std::atomic<pthread_t> threads[4] = {};
  on_every_thread(*context, [&](int thread) { threads[thread] = pthread_self(); });
  // A handler of a signal that the threads do not block keeps them from running as a busy machine would.
  struct sigaction action {
  }, previous{};
  action.sa_handler = hold;
  REQUIRE(sigaction(SIGTRAP, &action, &previous) == 0);
  holding = true;
  for (int thread = 1; thread < 4; ++thread) pthread_kill(threads[thread], SIGTRAP);
  while (held < 3) usleep(100);
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> own = 0;
    parallel_for(*context, 20, [&](int64_t, int thread) { own += thread == 0; });
    CHECK(own == 20);
  }
  CHECK(gives_the_bits(context));
  holding = false;
  while (held > 0) usleep(100);
  sigaction(SIGTRAP, &previous, nullptr);
  // They were woken by loops that are long over, and take part again.
  std::atomic<uint32_t> met = 0;
  on_every_thread(*context, [&](int thread) { met |= 1u << thread; });
  CHECK(met == 15);
}

TEST_CASE("the caller waits for an item that another thread has, however long it takes") {
  const Context context(2);
  for (const auto pause : {0ms, 1ms, 20ms}) {
    int waited_for = 0;
    for (int attempt = 0; attempt < 1000 && waited_for == 0; ++attempt) {
      std::atomic<bool> taken = false, done = false;
      parallel_for(*context, 2, [&](int64_t, int thread) {
        if (thread == 0) {
          for (int k = 0; k < 200 && !taken; ++k) usleep(100);
          return;
        }
        taken = true;
        std::this_thread::sleep_for(pause);
        done = true;
      });
      CHECK(done == taken);
      waited_for += done;
    }
    CHECK(waited_for == 1);
  }
}

TEST_CASE("any number of contexts, in any number of host threads, destroyed by whichever") {
  expected_distances();
  std::vector<duet_context*> contexts;
  for (int k = 0; k < 12; ++k) contexts.push_back(made(1 + k % 4));
  std::atomic<int> right = 0;
  std::vector<std::thread> hosts;
  for (int h = 0; h < 4; ++h)
    hosts.emplace_back([&, h] {
      for (int round = 0; round < 5; ++round)
        for (int k = h; k < 12; k += 4) right += gives_the_bits(contexts[static_cast<size_t>(k)]);
    });
  for (std::thread& host : hosts) host.join();
  CHECK(right == 60);
  // From one host thread to the next.
  for (duet_context* context : contexts) right += gives_the_bits(context);
  CHECK(right == 72);
  std::thread([&] {
    for (duet_context* context : contexts) duet_context_destroy(context);
  }).join();
}

#ifndef DUET_TEST_UNDER_TSAN  // which does not go with threads in a child of a program of several threads
TEST_CASE("after a fork the child's contexts work, the parent's are refused there and go on here") {
  for (const bool started : {false, true}) {
    for (const int threads : {1, 4}) {
      CAPTURE(started);
      CAPTURE(threads);
      const Context context(threads);
      if (started) CHECK(gives_the_bits(context));
      CHECK(holds_in_child([&] {
        Distances distances;
        const duet_distance_inputs inputs = distances.inputs();
        size_t bytes = 0;
        bool refused = duet_distance_workspace(context, &inputs, &bytes) == DUET_STATUS_INVALID_ARGUMENT;
        refused = refused && distances.run(context) == DUET_STATUS_INVALID_ARGUMENT;
        refused = refused && std::string(duet_last_error()).find("made before fork()") != std::string::npos;
        const bool works = a_new_context_works();
        duet_context_destroy(context);  // which the parent's object does not know of
        return refused && works && a_new_context_works(2);
      }));
      CHECK(gives_the_bits(context));
    }
  }
}

TEST_CASE("a child of a child has contexts of its own too") {
  CHECK(holds_in_child([] {
    duet_context* context = made(3);
    bool good = gives_the_bits(context);
    const pid_t child = fork();
    if (child == 0) {
      Distances distances;
      _exit(distances.run(context) == DUET_STATUS_INVALID_ARGUMENT && a_new_context_works() ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    good = good && status == 0 && gives_the_bits(context);
    duet_context_destroy(context);
    return good;
  }));
}

#ifndef DUET_TEST_UNDER_ASAN  // whose allocator may be locked for ever in a child, where another thread of the parent
                              // allocates
TEST_CASE("a fork in the midst of another thread's calls") {
  expected_distances();
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread busy([&] {
    const Context context(2);
    while (!stop) wrong += !gives_the_bits(context);
  });
  const auto layer_works = [] {
    Draw own(8);
    Floats x = own.normals(64, 64), weight = own.normals(64, 64), outputs(64, 64);
    duet_linear_inputs inputs = DUET_LINEAR_INPUTS_INIT;
    inputs.x = x.matrix();
    inputs.weight = weight.matrix();
    duet_context* context = made(2);
    duet_workspace workspace{};
    bool good = duet_linear_workspace(context, &inputs, &workspace.bytes) == DUET_STATUS_OK;
    const Scratch scratch(workspace.bytes);
    good = good && duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                       scratch.view()) == DUET_STATUS_OK;
    duet_context_destroy(context);
    return good;
  };
  std::thread products([&] {
    while (!stop) wrong += !layer_works();
  });
  for (int k = 0; k < 20; ++k) CHECK(holds_in_child([&] { return a_new_context_works(2) && layer_works(); }));
  stop = true;
  busy.join();
  products.join();
  CHECK(wrong == 0);
}
#endif

TEST_CASE("where a thread cannot be started the call says so, and the next one tries again") {
  CHECK(holds_in_child([] {
    // The limit counts the processes and threads of a user, and root's are not limited: a user who has no others.
    constexpr uid_t kNobodyElse = 58'231;
    if (geteuid() == 0 && (setgid(kNobodyElse) != 0 || setuid(kNobodyElse) != 0)) return false;
    const bool alone = getuid() == kNobodyElse;
    rlimit limit{};
    getrlimit(RLIMIT_NPROC, &limit);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = alone ? 3 : 1;  // two threads of the seven start, or none
    duet_context* context = made(8);
    if (context == nullptr || setrlimit(RLIMIT_NPROC, &limit) != 0) return false;
    const size_t tasks = task_ids().size();
    bool good = true;
    for (int attempt = 0; attempt < 2; ++attempt) {
      Distances distances;
      good = good && distances.run(context) == DUET_STATUS_OUT_OF_MEMORY;
      good = good &&
             std::string(duet_last_error()).find(alone ? "cannot start thread 4 of 8" : "cannot start thread 2 of 8") !=
                 std::string::npos;
      good = good && task_ids().size() == tasks + (alone ? 2 : 0);
    }
    // A context of one thread needs none.
    good = good && a_new_context_works(1);
    limit.rlim_cur = before;
    good = good && setrlimit(RLIMIT_NPROC, &limit) == 0 && gives_the_bits(context) && task_ids().size() == tasks + 7;
    duet_context_destroy(context);
    // Destroyed while some of its threads run and others were never started.
    limit.rlim_cur = alone ? 3 : 1;
    context = made(8);
    Distances distances;
    good = good && setrlimit(RLIMIT_NPROC, &limit) == 0 && distances.run(context) == DUET_STATUS_OUT_OF_MEMORY;
    duet_context_destroy(context);
    return good;
  }));
}
#endif
