// The library in a host program that has OpenMP threads of its own, which wait for one another as they like.
#include <omp.h>

#include <algorithm>
#include <vector>

#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

constexpr int kHostThreads = 4, kRounds = 6;

// InfoNCE of 300 pairs, forward and backward.
struct Infonce {
  Floats a = Draw(3).unit_rows(300, 40), v = Draw(4).unit_rows(300, 40), scale{1, 1}, loss_a{300, 1}, loss_v{300, 1},
         statistics_a{300, DUET_CONTRASTIVE_STATISTICS}, statistics_v{300, DUET_CONTRASTIVE_STATISTICS},
         weights{300, 1}, grad_a{300, 40}, grad_v{300, 40};

  Infonce() {
    scale.fill(10);
    weights.fill(1.0 / 300);
  }
  bool run(duet_context* context) {
    grad_a.fill(0);
    grad_v.fill(0);
    duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
    inputs.kind = DUET_CONTRASTIVE_KIND_INFONCE;
    inputs.a = a.matrix();
    inputs.v = v.matrix();
    inputs.scale = scale.vector();
    duet_workspace workspace{};
    if (duet_contrastive_workspace(context, &inputs, &workspace.bytes) != DUET_STATUS_OK) return false;
    const Scratch scratch(workspace.bytes);
    return duet_contrastive_forward(context, &inputs,
                                    sized<duet_contrastive_outputs>({.row_loss = loss_a.vector(),
                                                                     .column_loss = loss_v.vector(),
                                                                     .row_statistics = statistics_a.matrix(),
                                                                     .column_statistics = statistics_v.matrix()}),
                                    scratch.view()) == DUET_STATUS_OK &&
           duet_contrastive_backward(context, &inputs,
                                     sized<duet_contrastive_gradients>({.row_statistics = statistics_a.matrix(),
                                                                        .column_statistics = statistics_v.matrix(),
                                                                        .row_weight = weights.vector(),
                                                                        .column_weight = weights.vector(),
                                                                        .grad_a = grad_a.matrix(),
                                                                        .grad_v = grad_v.matrix()}),
                                     scratch.view()) == DUET_STATUS_OK;
  }
  bool same_bits(const Infonce& other) const {
    return loss_a.same_bits(other.loss_a) && loss_v.same_bits(other.loss_v) && grad_a.same_bits(other.grad_a) &&
           grad_v.same_bits(other.grad_v);
  }
};

duet_context* made(int threads) {
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = threads;
  duet_context* context = nullptr;
  return duet_context_create(&options, &context) == DUET_STATUS_OK ? context : nullptr;
}

}  // namespace

TEST_CASE("calls from inside a host's OpenMP region, a context a thread, give the bits of one thread") {
  Infonce expected;
  REQUIRE(expected.run(Context(1)));
  std::vector<Infonce> problems(kHostThreads);
  int wrong = 0, host_threads = 0;
#pragma omp parallel num_threads(kHostThreads) reduction(+ : wrong, host_threads)
  {
    ++host_threads;
    Infonce& problem = problems[static_cast<size_t>(omp_get_thread_num())];
    // Made, used and destroyed inside the region; the host's threads meet at barriers between calls.
    for (int round = 0; round < kRounds; ++round) {
      duet_context* context = made(1 + (round + omp_get_thread_num()) % 4);
      wrong += context == nullptr || !problem.run(context) || !problem.same_bits(expected);
#pragma omp barrier
      wrong += !problem.run(context) || !problem.same_bits(expected);
      duet_context_destroy(context);
    }
  }
  CHECK(host_threads == kHostThreads);
  CHECK(wrong == 0);
}

TEST_CASE("a context made outside is used in regions and between them, and leaves the host's OpenMP as it was") {
  Infonce expected, problem;
  REQUIRE(expected.run(Context(1)));
  const int before = omp_get_max_threads();
  const Context context(3);
  int wrong = 0, iterations = 0;
  for (int round = 0; round < kRounds; ++round) {
    wrong += !problem.run(context) || !problem.same_bits(expected);
#pragma omp parallel for num_threads(kHostThreads) schedule(dynamic) reduction(+ : wrong, iterations)
    for (int k = 0; k < 8; ++k) {
      ++iterations;
      if (k == round) wrong += !problem.run(context) || !problem.same_bits(expected);
    }
  }
  CHECK(wrong == 0);
  CHECK(iterations == 8 * kRounds);
  CHECK(omp_get_max_threads() == before);
}
