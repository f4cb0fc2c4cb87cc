// One context that host threads take in turns, as the Python package's do: under a lock, with one workspace for all.
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "kernels/alignment/alignment.h"
#include "kernels/core/error.h"
#include "kernels/distance/distance.h"
#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

// A caller's own arrays; each caller has other shapes.
struct Caller {
  Floats a, v, scale, distances, row, column;
  explicit Caller(int64_t n)
      : a(Draw(static_cast<uint64_t>(n)).unit_rows(n, 24)),
        v(Draw(7).unit_rows(280, 24)),
        scale(1, 1),
        distances(n, 280),
        row(n, 1),
        column(280, 1) {
    scale.fill(10);
  }

  // Both operations on a context that nobody else is in; the workspace grows to what they need and is kept.
  void run(duet_context* context, std::optional<Scratch>& scratch, size_t& held) {
    const auto reserve = [&](size_t bytes) {
      if (!scratch || bytes > held) {
        scratch.emplace(bytes);
        held = bytes;
      }
    };
    size_t bytes = 0;
    duet_distance_inputs pair = DUET_DISTANCE_INPUTS_INIT;
    pair.x = a.matrix(), pair.y = v.matrix(), pair.metric = DUET_METRIC_SQEUCLIDEAN;
    duet::succeed(duet_distance_workspace(context, &pair, &bytes));
    reserve(bytes);
    duet::succeed(duet_distance_forward(context, &pair, sized<duet_distance_outputs>({.distances = distances.matrix()}),
                                        scratch->view()));
    duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
    in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
    duet::succeed(duet_alignment_workspace(context, &in, &bytes));
    reserve(bytes);
    duet::succeed(duet_alignment_forward(
        context, &in, sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}),
        scratch->view()));
  }

  [[nodiscard]] std::vector<Doubles> results() const { return {distances.values(), row.values(), column.values()}; }
};

}  // namespace

TEST_CASE("two host threads take turns on one context and its workspace: each gets the bits that it gets alone") {
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    const Context context(threads);
    std::optional<Scratch> scratch;
    size_t held = 0;
    Caller first(300), second(77);
    std::vector<std::vector<Doubles>> alone;
    for (Caller* caller : {&first, &second}) {
      caller->run(context, scratch, held);
      alone.push_back(caller->results());
    }
    std::mutex turn;
    std::atomic<int> different = 0, refused = 0;
    const auto repeat = [&](Caller& caller, const std::vector<Doubles>& expected) {
      for (int k = 0; k < 20; ++k) {
        const std::lock_guard lock(turn);
        caller.run(context, scratch, held);
        different += caller.results() != expected;
        // A call that is refused leaves the other thread's calls alone.
        refused += duet_distance_forward(context, nullptr, nullptr, scratch->view()) != DUET_STATUS_OK;
      }
    };
    std::thread other([&] { repeat(second, alone[1]); });
    repeat(first, alone[0]);
    other.join();
    CHECK(different == 0);
    CHECK(refused == 40);
  }
}
