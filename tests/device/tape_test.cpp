// A tape whose parts run side by side: gradients in every order of the branches, and what a flaw in the order looks
// like.
#include "runtime/tape.h"

#include <doctest/doctest.h>

#include <set>

#include "runtime/ops.h"
#include "tests/device/devices.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet;
using namespace duet::testing;
using duet::test::Doubles;
using duet::test::Draw;

namespace {

constexpr int64_t kRows = 9, kIn = 6, kOut = 5;

template <class Body>
void for_each_schedule(Body&& body) {
  const simt::Schedule before = simt::schedule();
  std::vector<simt::Schedule> schedules = {{simt::Order::forward, 1}, {simt::Order::reverse, 1}};
  for (uint64_t seed = 0; seed < 8; ++seed) schedules.push_back({simt::Order::random, seed});
  for (const simt::Schedule& schedule : schedules) {
    simt::set_schedule(schedule);
    INFO("repeat with: " << simt::repeat_command());
    body();
  }
  simt::set_schedule(before);
}

struct DestroyGraph {
  void operator()(duet_graph* graph) const { duet_graph_destroy(graph); }
};
using Graph = std::unique_ptr<duet_graph, DestroyGraph>;

// What record() puts on the tape, once as it is and then as a graph. The first time the memory grows, which a capture
// could not.
template <class Record>
Graph capture(Device& device, Tape& tape, Record&& record) {
  tape.set_overlapping(false);
  record();
  tape.set_overlapping(true);
  tape.reset_and_join();
  succeed(duet_graph_begin(device.step_context()));
  duet_graph* made = nullptr;
  try {
    record();
    succeed(duet_graph_end(device.step_context(), &made));
  } catch (...) {
    duet_graph_abandon(device.step_context());
    throw;
  }
  return Graph(made);
}

void replay(Device& device, const Graph& graph) {
  succeed(duet_graph_launch(device.step_context(), graph.get()));
  succeed(duet_context_synchronize(device.step_context()));
}

// Two encoders, of which one holds parts of its own, beside something without a gradient; three losses of both
// encoders' outputs beside each other.
class Net {
 public:
  Net(Device& device, bool branches)
      : device_(device), tape_(device.step_context(), branches ? device.branches() : std::span<duet_context* const>{}) {
    Draw draw(5);
    duet_context* const context = device.step_context();
    const auto values = [&](int64_t count) {
      std::vector<float> out(static_cast<size_t>(count));
      for (float& value : out) value = static_cast<float>(draw.normal());
      return out;
    };
    for (OwningTensor* input : {&x_a_, &x_v_}) *input = OwningTensor(context, kRows, kIn, values(kRows * kIn));
    scale_ = OwningTensor(context, 1, 1, std::vector<float>{4});
    for (size_t k = 0; k < leaves_.size(); ++k) {
      leaves_[k] = OwningTensor(kOut, kIn, OwningTensor::Gradient::present, context);
      copy_to_device(context, leaves_[k].data(), std::span<const float>(values(kOut * kIn)));
    }
    result_ = OwningTensor(2, 1, OwningTensor::Gradient::absent, context);
  }

  void record() {
    tape_.reset();
    tape_.aside([&] {
      for (OwningTensor& leaf : leaves_)
        fill_zero(tape_.context(), leaf.tensor().grad, static_cast<size_t>(kOut * kIn) * sizeof(float));
    });
    Tensor a, v, w, other;
    tape_.side_by_side(
        Tape::Passes::both, [&] { a = ops::unit_rows(tape_, ops::linear(tape_, x_a_, leaves_[0], {})); },
        [&] {
          tape_.side_by_side(
              Tape::Passes::both, [&] { v = ops::unit_rows(tape_, ops::linear(tape_, x_v_, leaves_[1], {})); },
              [&] { w = ops::activation(tape_, ops::linear(tape_, x_v_, leaves_[2], {}), DUET_ACTIVATION_KIND_GELU); });
        },
        [&] {
          const NoGradient no_gradient(tape_);
          other = ops::unit_rows(tape_, ops::linear(tape_, x_a_, leaves_[3], {}));
        });
    Tensor pairs, squares, correlation, beside;
    duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
    options.kind = DUET_CONTRASTIVE_KIND_INFONCE;
    tape_.side_by_side(
        Tape::Passes::forward, [&] { pairs = ops::contrastive_terms(tape_, a, v, scale_, {}, options); },
        [&] { squares = ops::distance(tape_, a, v, DUET_METRIC_SQEUCLIDEAN); },
        [&] { correlation = ops::decorrelation(tape_, a, w); },
        [&] {
          beside =
              ops::weighted_mean(tape_, ops::distance(tape_, other, a, DUET_METRIC_INNER).reshaped(kRows * kRows, 1));
        });
    const Tensor one = tape_.constant(1), half = tape_.constant(0.5f);
    const ops::LossTerm terms[] = {ops::both_directions(one, pairs, kRows),
                                   {half, {squares.reshaped(kRows * kRows, 1), {}, {}}, {}},
                                   {half, {correlation, {}, {}}, {}},
                                   {one, {beside, {}, {}}, {}}};
    const Tensor total = ops::loss_terms(tape_, terms).total;
    copy_bytes(tape_.context(), result_.data(), total.data, sizeof(float));
    tape_.backward(total);
  }

  Graph captured() {
    return capture(device_, tape_, [&] { record(); });
  }
  // The loss and the gradients of the leaves; the gradients then hold something that nobody wants to see.
  std::vector<std::vector<float>> take() {
    std::vector<std::vector<float>> found = {result_.read()};
    for (OwningTensor& leaf : leaves_) {
      found.emplace_back(static_cast<size_t>(kOut * kIn));
      copy_to_host(device_.step_context(), std::span(found.back()), static_cast<const float*>(leaf.tensor().grad));
      succeed(duet_memory_fill(device_.step_context(), leaf.tensor().grad, 0x45,
                               static_cast<size_t>(kOut * kIn) * sizeof(float)));
    }
    fill_zero(device_.step_context(), result_.data(), sizeof(float));
    return found;
  }

 private:
  Device& device_;
  Tape tape_;
  OwningTensor x_a_, x_v_, scale_, result_;
  std::array<OwningTensor, 4> leaves_;  // the last has no gradient but of nothing
};

// x + x, through a kernel, into to; x is above 0.
void twice(duet_context* context, const Tensor& x, const Tensor& to) {
  fill_zero(context, to.data, static_cast<size_t>(to.size()) * sizeof(float));
  duet_activation_inputs relu = DUET_ACTIVATION_INPUTS_INIT;
  relu.kind = DUET_ACTIVATION_KIND_RELU, relu.x = x.matrix();
  for (int k = 0; k < 2; ++k)
    succeed(duet_activation_backward(
        context, &relu, sized<duet_activation_gradients>({.grad_outputs = x.matrix(), .grad_x = to.matrix()})));
}

}  // namespace

TEST_CASE("gradients of parts side by side are those of one after another, in whatever order the branches run") {
  Device cpu(on_cpu());
  Net reference(cpu, false);
  reference.record();
  const std::vector<std::vector<float>> expected = reference.take();
  REQUIRE(expected[0][0] != 0);
  std::vector<std::vector<float>> plain;
  for (const int64_t small_rows : {0, -1}) {
    Device device(on_emulator(small_rows));
    Net one_by_one(device, false), side_by_side(device, true);
    one_by_one.record();
    plain = one_by_one.take();
    for (size_t k = 0; k < expected.size(); ++k) {
      // Float32 sums in another order: a hundred units in the last place of the largest.
      const Doubles found(plain[k].begin(), plain[k].end()), wanted(expected[k].begin(), expected[k].end());
      test::check_relative(found, wanted, 1e-5, "output " + std::to_string(k), 1e-7);
    }
    const Graph graph = side_by_side.captured();
    CHECK(side_by_side.take() == plain);  // the first time, without overlap
    for_each_schedule([&] {
      for (int k = 0; k < 2; ++k) {
        replay(device, graph);
        CHECK(side_by_side.take() == plain);
      }
    });
    int64_t nodes = 0, longest_path = 0;
    succeed(duet_graph_shape(graph.get(), &nodes, &longest_path));
    CHECK(longest_path < nodes);
    // Not captured, branches overlap as well.
    side_by_side.record();
    CHECK(side_by_side.take() == plain);
  }
}

TEST_CASE("every part has a context and a workspace of its own, a part within a part its outer one's") {
  Device device(on_emulator());
  Tape tape(device.step_context(), device.branches());
  tape.set_overlapping(true);
  std::array<duet_context*, 4> contexts = {};
  std::array<void*, 4> workspaces = {};
  const auto part = [&](size_t k) {
    return [&, k] {
      contexts[k] = tape.context();
      workspaces[k] = tape.workspace(100).data;
      const auto is_same = [&] {
        CHECK(tape.context() == contexts[k]);
        CHECK(tape.workspace(100).data == workspaces[k]);
      };
      tape.side_by_side(Tape::Passes::both, is_same, is_same);
      tape.aside(is_same);
      is_same();
    };
  };
  const auto run = [&] { tape.side_by_side(Tape::Passes::forward, part(0), part(1), part(2), part(3)); };
  run();
  CHECK(contexts[0] == device.step_context());
  CHECK(std::set<duet_context*>(contexts.begin(), contexts.end()).size() == 4);
  CHECK(std::set<void*>(workspaces.begin(), workspaces.end()).size() == 4);
  CHECK(tape.context() == device.step_context());
  duet_context* aside = nullptr;
  tape.aside([&] { aside = tape.context(); });
  CHECK(std::count(contexts.begin(), contexts.end(), aside) == 0);
  CHECK(aside == device.branches().back());
  CHECK(tape.context() == device.step_context());
  // One stream for all, but still a workspace each: what grows now is what a capture needs.
  const std::array<void*, 4> before = workspaces;
  tape.set_overlapping(false);
  run();
  for (duet_context* const context : contexts) CHECK(context == device.step_context());
  CHECK(workspaces == before);
}

TEST_CASE("a part that throws leaves a tape that goes on after a reset") {
  Device device(on_emulator());
  Tape tape(device.step_context(), device.branches());
  tape.set_overlapping(true);
  const auto nothing = [] {};
  CHECK_THROWS_AS(tape.side_by_side(
                      Tape::Passes::both, nothing, [] { throw Error(DUET_STATUS_INTERNAL_ERROR, "planted"); }, nothing),
                  Error);
  tape.reset();
  CHECK(tape.context() == device.step_context());
  duet_context* second = nullptr;
  tape.side_by_side(Tape::Passes::both, nothing, [&] { second = tape.context(); });
  CHECK(second == device.branches()[0]);
}

TEST_CASE("a part that reads another's output, and a read of what is aside, give other results in some order") {
  Device device(on_emulator());
  duet_context* const context = device.step_context();
  OwningTensor x(context, 1, 8, std::vector<float>(8, 3.0f)), doubled(1, 8, OwningTensor::Gradient::absent, context),
      again(1, 8, OwningTensor::Gradient::absent, context);
  Tape tape(context, device.branches());
  const auto results_of = [&](const Graph& graph) {
    std::set<float> results;
    for_each_schedule([&] {
      for (OwningTensor* each : {&doubled, &again}) fill_zero(context, each->data(), 8 * sizeof(float));
      replay(device, graph);
      results.insert(again.read()[7]);
    });
    return results;
  };
  // doubled = 2 x in one part, again = a copy of doubled in the other.
  const auto copy_doubled = [&](duet_context* on) { copy_bytes(on, again.data(), doubled.data(), 8 * sizeof(float)); };
  CHECK(results_of(capture(device, tape, [&] {
          tape.reset();
          tape.side_by_side(
              Tape::Passes::forward, [&] { twice(tape.context(), x, doubled); }, [&] { copy_doubled(tape.context()); });
        })).size() > 1);
  CHECK(results_of(capture(device, tape, [&] {
          tape.reset();
          tape.side_by_side(
              Tape::Passes::forward, [&] { twice(tape.context(), x, doubled); }, [] {});
          copy_doubled(tape.context());
        })) == std::set<float>{6});
  // So that a gradient is there to go backward from.
  const OwningTensor one(1, 1, OwningTensor::Gradient::present, context);
  const auto aside_then = [&](bool read_before_backward) {
    return [&, read_before_backward] {
      tape.reset();
      tape.aside([&] { twice(tape.context(), x, doubled); });
      if (read_before_backward) copy_doubled(tape.context());
      const Tensor loss = ops::weighted_mean(tape, one);
      tape.backward(loss);
      if (!read_before_backward) copy_doubled(tape.context());
    };
  };
  CHECK(results_of(capture(device, tape, aside_then(true))).size() > 1);
  CHECK(results_of(capture(device, tape, aside_then(false))) == std::set<float>{6});
}

TEST_CASE("a branch that nobody waits for is told when the capture ends") {
  Device device(on_emulator());
  Tape tape(device.step_context(), device.branches());
  OwningTensor x(1, 8, OwningTensor::Gradient::absent, device.step_context());
  const auto clear_on = [&](duet_context* on) { fill_zero(on, x.data(), 8 * sizeof(float)); };
  // Work on the second part's stream after the parts have met, as a meeting that leaves it out would have it.
  CHECK_THROWS_WITH(capture(device, tape,
                            [&] {
                              tape.reset();
                              duet_context* second = nullptr;
                              tape.side_by_side(
                                  Tape::Passes::forward, [] {},
                                  [&] {
                                    second = tape.context();
                                    clear_on(second);
                                  });
                              clear_on(second);
                            }),
                    doctest::Contains("was not joined"));
  // What is aside is joined by backward(), so a recording without it is told too.
  CHECK_THROWS_WITH(capture(device, tape,
                            [&] {
                              tape.reset();
                              tape.aside([&] { clear_on(tape.context()); });
                            }),
                    doctest::Contains("was not joined"));
  const Graph graph = capture(device, tape, [&] {
    tape.reset();
    tape.side_by_side(
        Tape::Passes::forward, [] {}, [&] { clear_on(tape.context()); });
  });
  replay(device, graph);
  CHECK(x.read() == std::vector<float>(8));
}
