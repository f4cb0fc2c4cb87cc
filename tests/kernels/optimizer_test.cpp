#include "tests/reference/optimizer.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "tests/kernels/optimizer_steps.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

// A parameter tensor with all that belongs to it.
struct Tensor {
  Floats parameter, gradient, first_moment, second_moment, teacher;
  bool has_teacher;

  Tensor(Draw& draw, int64_t size, bool with_teacher)
      : parameter(draw.normals(size, 1)),
        gradient(draw.normals(size, 1)),
        first_moment(size, 1),
        second_moment(size, 1),
        teacher(draw.normals(size, 1)),
        has_teacher(with_teacher) {
    first_moment.fill(0), second_moment.fill(0);
  }
  duet_optimizer_slot slot(bool second = true) {
    duet_optimizer_slot slot = {parameter.vector(), gradient.vector(), first_moment.vector(), {}, {}};
    if (second) slot.second_moment = second_moment.vector();
    if (has_teacher) slot.teacher = teacher.vector();
    return slot;
  }
  reference::OptimizerState state() const {
    return {parameter.values(), first_moment.values(), second_moment.values(),
            has_teacher ? teacher.values() : Doubles()};
  }
  bool same_bits(const Tensor& other) const {
    return parameter.same_bits(other.parameter) && first_moment.same_bits(other.first_moment) &&
           second_moment.same_bits(other.second_moment) && teacher.same_bits(other.teacher);
  }
};

// Empty, below a vector, across the border of a work item (16384 elements), several items, small ones after a large
// one.
constexpr int64_t kSizes[] = {0, 1, 7, 16379, 40001, 0, 3, 64};
constexpr int kSteps = 5;
// Every step rounds theta, of size 4, some three times: 2.4e-7 each, five steps.
constexpr double kTolerance = 3.6e-6;

std::vector<Tensor> tensors() {
  Draw draw(1);
  std::vector<Tensor> all;
  for (const int64_t size : kSizes) all.emplace_back(draw, size, all.size() % 2 == 1);
  return all;
}

void check_states(const std::vector<Tensor>& actual, const std::vector<reference::OptimizerState>& expected) {
  for (size_t s = 0; s < actual.size(); ++s) {
    CAPTURE(s);
    check_close(actual[s].parameter.values(), expected[s].parameter, kTolerance, "parameter");
    check_close(actual[s].first_moment.values(), expected[s].first_moment, kTolerance, "first moment");
    check_close(actual[s].second_moment.values(), expected[s].second_moment, kTolerance, "second moment");
    if (actual[s].has_teacher) check_close(actual[s].teacher.values(), expected[s].teacher, kTolerance, "teacher");
  }
}

std::vector<duet_optimizer_slot> slots_of(std::vector<Tensor>& all, bool second = true) {
  std::vector<duet_optimizer_slot> slots;
  for (Tensor& tensor : all) slots.push_back(tensor.slot(second));
  return slots;
}

// New gradients for a step: the same for every run and for the reference.
void draw_gradients(std::vector<Tensor>& all, int64_t step) {
  Draw draw(100 + static_cast<uint64_t>(step));
  for (Tensor& tensor : all)
    for (int64_t k = 0; k < tensor.gradient.rows(); ++k) tensor.gradient.at(k) = static_cast<float>(draw.normal());
}

}  // namespace

TEST_CASE("adamw follows the reference over several steps, bit for bit on any number of threads") {
  for (const int64_t first_step : {int64_t{1}, int64_t{100000}}) {
    CAPTURE(first_step);
    duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
    options.decay = 0.1f;  // large enough to be seen
    Floats rate(1, 1);
    rate.fill(0.01);
    Longs step(1, 1);
    const auto run = [&](int threads) {
      Context context(threads);
      std::vector<Tensor> all = tensors();
      for (step.at(0) = first_step; step.at(0) < first_step + kSteps; ++step.at(0)) {
        draw_gradients(all, step.at(0));
        const auto slots = slots_of(all);
        SUCCEED_CALL(adamw_step(context, slots.data(), static_cast<int64_t>(slots.size()), options, rate.vector(),
                                step.vector()));
      }
      return all;
    };
    const std::vector<Tensor> first = run(1);
    std::vector<Tensor> inputs = tensors();
    std::vector<reference::OptimizerState> expected;
    for (const Tensor& tensor : inputs) expected.push_back(tensor.state());
    for (int64_t t = first_step; t < first_step + kSteps; ++t) {
      draw_gradients(inputs, t);
      for (size_t s = 0; s < expected.size(); ++s)
        reference::adamw(expected[s], inputs[s].gradient.values(), options, double{rate.at(0)}, t);
    }
    check_states(first, expected);
    for (const int threads : other_thread_counts()) {
      const std::vector<Tensor> again = run(threads);
      for (size_t s = 0; s < first.size(); ++s) CHECK(again[s].same_bits(first[s]));
    }
  }
}

TEST_CASE("sgd follows the reference over several steps and leaves the second moment alone") {
  duet_sgd_inputs options = DUET_SGD_INPUTS_INIT;
  options.decay = 0.1f;
  Floats rate(1, 1);
  rate.fill(0.01);
  const auto run = [&](int threads) {
    Context context(threads);
    std::vector<Tensor> all = tensors();
    for (int64_t t = 1; t <= kSteps; ++t) {
      draw_gradients(all, t);
      const auto slots = slots_of(all, t % 2 == 0);  // given or not
      SUCCEED_CALL(sgd_step(context, slots.data(), static_cast<int64_t>(slots.size()), options, rate.vector()));
    }
    return all;
  };
  const std::vector<Tensor> first = run(1);
  std::vector<Tensor> inputs = tensors();
  std::vector<reference::OptimizerState> expected;
  for (const Tensor& tensor : inputs) expected.push_back(tensor.state());
  for (int64_t t = 1; t <= kSteps; ++t) {
    draw_gradients(inputs, t);
    for (size_t s = 0; s < expected.size(); ++s)
      reference::sgd(expected[s], inputs[s].gradient.values(), options, double{rate.at(0)});
  }
  check_states(first, expected);
  for (const int threads : other_thread_counts()) {
    const std::vector<Tensor> again = run(threads);
    for (size_t s = 0; s < first.size(); ++s) CHECK(again[s].same_bits(first[s]));
  }
}

TEST_CASE("adamw: zero gradients decay alone, tiny gradients still move, NaN stays NaN") {
  Draw draw(2);
  Tensor tensor(draw, 20, true);
  tensor.gradient.fill(0);
  tensor.gradient.at(1) = 1e-15f;
  tensor.gradient.at(2) = std::numeric_limits<float>::quiet_NaN();
  tensor.gradient.at(3) = 1e-5f;
  const Doubles before = tensor.parameter.values();
  reference::OptimizerState expected = tensor.state();
  const duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
  Floats rate(1, 1);
  rate.fill(0.1);
  Longs step(1, 1);
  step.at(0) = 1;
  const duet_optimizer_slot slot = tensor.slot();
  SUCCEED_CALL(adamw_step(Context(2), &slot, 1, options, rate.vector(), step.vector()));
  reference::adamw(expected, tensor.gradient.values(), options, double{rate.at(0)}, 1);
  check_close(tensor.parameter.values(), expected.parameter, 7.2e-7,
              "parameter");  // three roundings of size 4, one step
  CHECK(std::isnan(tensor.parameter.at(2)));
  CHECK(std::isnan(tensor.teacher.at(2)));
  CHECK(tensor.parameter.at(3) < before[3] - 0.09);  // the first step's length is the rate, however small the gradient
}

TEST_CASE("adamw over more tensors than a launch takes, some of them misaligned") {
  Draw draw(4);
  constexpr int64_t kTensors = 157;
  Floats parameters = draw.normals(kTensors * 11, 1), gradients = draw.normals(kTensors * 11, 1),
         first(kTensors * 11, 1), second(kTensors * 11, 1);
  first.fill(0), second.fill(0);
  reference::OptimizerState expected{parameters.values(), first.values(), second.values(), {}};
  std::vector<duet_optimizer_slot> slots;
  const auto part = [](Floats& of, int64_t k) { return duet_f32_vector(&of.at(11 * k), 11); };
  for (int64_t k = 0; k < kTensors; ++k)
    slots.push_back({part(parameters, k), part(gradients, k), part(first, k), part(second, k), {}});
  const duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
  Floats rate(1, 1);
  rate.fill(0.1);
  Longs step(1, 1);
  step.at(0) = 3;
  SUCCEED_CALL(adamw_step(Context(2), slots.data(), kTensors, options, rate.vector(), step.vector()));
  reference::adamw(expected, gradients.values(), options, double{rate.at(0)}, 3);
  check_close(parameters.values(), expected.parameter, 7.2e-7, "parameter");  // three roundings of size 4
  check_close(second.values(), expected.second_moment, 1e-9, "second moment");
}

namespace {

// Both optimizers on the same slots.
struct Steps {
  duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
  duet_sgd_inputs sgd = DUET_SGD_INPUTS_INIT;
  Floats rate = Floats(1, 1).fill(0.1);
  Longs step = Longs(1, 1).fill(2);

  template <class Change>
  void change(Change&& change) {
    change(adamw), change(sgd);
  }
  duet_status run(bool with_adamw, const std::vector<duet_optimizer_slot>& slots) {
    const Context context(2);
    const auto count = static_cast<int64_t>(slots.size());
    return with_adamw ? adamw_step(context, slots.data(), count, adamw, rate.vector(), step.vector())
                      : sgd_step(context, slots.data(), count, sgd, rate.vector());
  }
};

// Gradients, moments and parameters as they are in the middle of a run.
std::vector<Tensor> tensors_under_way() {
  std::vector<Tensor> all = tensors();
  draw_gradients(all, 1);
  Draw draw(5);
  for (Tensor& tensor : all)
    for (int64_t k = 0; k < tensor.parameter.rows(); ++k) {
      tensor.first_moment.at(k) = static_cast<float>(0.1 * draw.normal());
      tensor.second_moment.at(k) = static_cast<float>(draw.uniform(0, 0.1));
    }
  return all;
}

}  // namespace

TEST_CASE("a step with decays and bounds of its slots has the bits of one call for each decay and a clamp") {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> decays, lows, highs;
  for (size_t s = 0; s < std::size(kSizes); ++s) {
    decays.push_back(s % 3 == 0 ? 0.0f : 1.0f);
    lows.push_back(s % 2 == 0 ? -inf : -0.5f), highs.push_back(s % 4 < 2 ? 0.75f : inf);
  }
  for (const bool with_adamw : {true, false}) {
    CAPTURE(with_adamw);
    Steps steps;
    steps.change([](auto& options) { options.decay = 0.1f; });
    std::vector<Tensor> expected = tensors_under_way(), actual = tensors_under_way();
    std::vector<duet_optimizer_slot> decaying, others;
    for (size_t s = 0; s < expected.size(); ++s) (decays[s] > 0 ? decaying : others).push_back(expected[s].slot());
    SUCCEED_CALL(steps.run(with_adamw, decaying));
    steps.change([](auto& options) { options.decay = 0; });
    SUCCEED_CALL(steps.run(with_adamw, others));
    for (size_t s = 0; s < expected.size(); ++s)
      for (Floats* values : {&expected[s].parameter, &expected[s].teacher})
        for (int64_t k = 0; k < values->rows() && (values == &expected[s].parameter || expected[s].has_teacher); ++k)
          values->at(k) = std::clamp(values->at(k), lows[s], highs[s]);
    steps.change([&](auto& options) {
      options.decay = 0.1f;
      options.slot_decay = decays.data(), options.slot_low = lows.data(), options.slot_high = highs.data();
    });
    SUCCEED_CALL(steps.run(with_adamw, slots_of(actual)));
    for (size_t s = 0; s < expected.size(); ++s) {
      CAPTURE(s);
      CHECK(actual[s].same_bits(expected[s]));
    }
    steps.change(
        [](auto& options) { options.slot_decay = options.slot_high = nullptr; });  // each of them may be left out
    std::vector<Tensor> low_alone = tensors_under_way();
    SUCCEED_CALL(steps.run(with_adamw, slots_of(low_alone)));
    CHECK(low_alone[1].parameter.at(0) >= -0.5f);
  }
}

TEST_CASE("bounds leave NaN, and move infinities") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN(), low = -1,
              high = 1;
  Draw draw(6);
  Tensor tensor(draw, 6, true);
  tensor.parameter.assign({nan, inf, -inf, 3, -3, 0.5});
  tensor.gradient.fill(0);
  tensor.teacher.assign({0.5, 0.5, 0.5, nan, 0.5, 0.5});
  Steps steps;
  steps.change([&](auto& options) {
    options.decay = 0, options.slot_low = &low, options.slot_high = &high, options.teacher_momentum = 0.5f;
  });
  SUCCEED_CALL(steps.run(false, {tensor.slot()}));
  CHECK((std::isnan(tensor.parameter.at(0)) && std::isnan(tensor.teacher.at(0)) && std::isnan(tensor.teacher.at(3))));
  // 0 times infinity, the decay's share, is NaN before any bound is looked at.
  CHECK((std::isnan(tensor.parameter.at(1)) && std::isnan(tensor.parameter.at(2))));
  CHECK((tensor.parameter.at(3) == 1 && tensor.parameter.at(4) == -1 && tensor.parameter.at(5) == 0.5f));
  CHECK((tensor.teacher.at(4) == -1 && tensor.teacher.at(5) == 0.5f));  // of 0.5 and the -3 before its bound
}

TEST_CASE("a step that does not apply changes nothing, one that does is a step") {
  for (const bool with_adamw : {true, false}) {
    CAPTURE(with_adamw);
    const float low = -0.01f, high = 0.01f;
    const std::vector<float> lows(std::size(kSizes), low), highs(std::size(kSizes), high);
    Steps steps;
    Ints apply(1, 1);
    const std::vector<Tensor> before = tensors_under_way();
    std::vector<Tensor> plain = before, applied = before, left = before;
    steps.change([&](auto& options) { options.slot_low = lows.data(), options.slot_high = highs.data(); });
    SUCCEED_CALL(steps.run(with_adamw, slots_of(plain)));
    steps.change([&](auto& options) { options.apply = apply.vector(); });
    apply.at(0) = 0;
    SUCCEED_CALL(steps.run(with_adamw, slots_of(left)));
    apply.at(0) = 1;
    SUCCEED_CALL(steps.run(with_adamw, slots_of(applied)));
    for (size_t s = 0; s < before.size(); ++s) {
      CHECK(left[s].same_bits(before[s]));
      CHECK(applied[s].same_bits(plain[s]));
    }
    CHECK_FALSE(plain[1].same_bits(before[1]));
  }
}

TEST_CASE("optimizers refuse wrong options of slots") {
  Draw draw(7);
  Tensor tensor(draw, 4, true), other(draw, 4, false);
  const std::vector<duet_optimizer_slot> slots = {tensor.slot(), other.slot()};
  const auto fails = [&](const std::string& part, auto&& change) {
    for (const bool with_adamw : {true, false}) {
      Steps steps;
      steps.change(change);
      FAIL_CALL(steps.run(with_adamw, slots), DUET_STATUS_INVALID_ARGUMENT, part);
    }
  };
  Ints apply(2, 1);
  apply.fill(1);
  fails("inputs.apply: expected 1 elements, got 2", [&](auto& options) { options.apply = apply.vector(); });
  fails("inputs.apply: expected dtype i32, got f32",
        [&](auto& options) { options.apply = duet_f32_vector(tensor.gradient.data(), 1); });
  fails("slots[1].parameter: shares memory with inputs.apply",
        [&](auto& options) { options.apply = duet_i32_vector(reinterpret_cast<int32_t*>(&other.parameter.at(3)), 1); });
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float negative[] = {0, -0.5f}, not_number[] = {nan, 1}, one_zero[] = {1, 0}, halves[] = {0.5f, 0.5f};
  fails("inputs.slot_decay[1]: expected 0 or more and finite, got -0.5",
        [&](auto& options) { options.slot_decay = negative; });
  fails("inputs.slot_decay[0]: expected 0 or more and finite, got nan",
        [&](auto& options) { options.slot_decay = not_number; });
  fails("inputs.slot_low[0]: expected at most slot_high, 0.5, got 1",
        [&](auto& options) { options.slot_low = one_zero, options.slot_high = halves; });
  fails("inputs.slot_low[0]: expected at most slot_high, inf, got nan",
        [&](auto& options) { options.slot_low = not_number; });
  fails("inputs.slot_low[0]: expected at most slot_high, nan, got -inf",
        [&](auto& options) { options.slot_high = not_number; });
}

TEST_CASE("optimizers refuse misuse") {
  Context context;
  Draw draw(3);
  Tensor tensor(draw, 4, true);
  Floats rate(1, 1), other(3, 1);
  Longs step(1, 1);
  rate.fill(0.1);
  step.at(0) = 1;
  duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
  duet_sgd_inputs sgd = DUET_SGD_INPUTS_INIT;
  const auto fails = [&](const std::vector<duet_optimizer_slot>& slots, const char* part) {
    FAIL_CALL(
        adamw_step(context, slots.data(), static_cast<int64_t>(slots.size()), adamw, rate.vector(), step.vector()),
        DUET_STATUS_INVALID_ARGUMENT, part);
  };
  for (duet_vector duet_optimizer_slot::*field :
       {&duet_optimizer_slot::first_moment, &duet_optimizer_slot::second_moment, &duet_optimizer_slot::teacher}) {
    duet_optimizer_slot wrong = tensor.slot();
    wrong.*field = other.vector();
    fails({tensor.slot(), wrong}, "expected 4 elements, got 3");
    CHECK(std::string(duet_last_error()).find("slots[1].") != std::string::npos);
  }
  duet_optimizer_slot wrong = tensor.slot();
  wrong.gradient = other.vector();
  fails({wrong}, "slots[0].gradient: expected 4 elements, got 3");
  wrong = tensor.slot();
  wrong.gradient.dtype = DUET_DTYPE_F16;
  fails({wrong}, "slots[0].gradient: expected dtype f32, got f16");
  wrong = tensor.slot();
  wrong.second_moment = {};
  fails({wrong}, "slots[0].second_moment: expected 4 elements, got 0");
  for (const float beta : {1.0f, -0.1f, static_cast<float>(kNaN)}) {
    adamw.beta1 = beta;
    fails({tensor.slot()}, "inputs.beta1: expected 0 to below 1");
    adamw.beta1 = 0.9f;
    adamw.beta2 = beta;
    fails({tensor.slot()}, "inputs.beta2: expected 0 to below 1");
    adamw.beta2 = 0.999f;
    sgd.momentum = beta;
    const duet_optimizer_slot slot = tensor.slot();
    FAIL_CALL(sgd_step(context, &slot, 1, sgd, rate.vector()), DUET_STATUS_INVALID_ARGUMENT,
              "inputs.momentum: expected 0 to below 1");
  }
  adamw.eps = 0;
  fails({tensor.slot()}, "inputs.eps: expected above 0, got 0");
  adamw.eps = 1e-8f;
  adamw.teacher_momentum = 1.5f;
  fails({tensor.slot()}, "inputs.teacher_momentum: expected 0 to 1");
  adamw.teacher_momentum = 0.95f;
  if (on_cpu()) {  // a device takes it as it is
    step.at(0) = 0;
    fails({tensor.slot()}, "step: expected 1 or more, got 0");
    step.at(0) = 1;
  }
  FAIL_CALL(adamw_step(context, nullptr, 2, adamw, rate.vector(), step.vector()), DUET_STATUS_INVALID_ARGUMENT,
            "slots.slots: null for 2 slots");
  FAIL_CALL(adamw_step(nullptr, nullptr, 0, adamw, rate.vector(), step.vector()), DUET_STATUS_INVALID_ARGUMENT,
            "context: null");
  SUCCEED_CALL(adamw_step(context, nullptr, 0, adamw, rate.vector(), step.vector()));
}
