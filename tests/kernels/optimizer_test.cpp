#include "tests/reference/optimizer.h"

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
    return {parameter.values(), first_moment.values(), second_moment.values(), has_teacher ? teacher.values() : Doubles()};
  }
  bool same_bits(const Tensor& other) const {
    return parameter.same_bits(other.parameter) && first_moment.same_bits(other.first_moment) && second_moment.same_bits(other.second_moment) &&
           teacher.same_bits(other.teacher);
  }
};

// Empty, below a vector, across the border of a work item (16384 elements), several items, small ones after a large one.
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
    duet_adamw_options options = DUET_ADAMW_OPTIONS_INIT;
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
        SUCCEED_CALL(duet_adamw_step(context, slots.data(), static_cast<int64_t>(slots.size()), &options, rate.vector(), step.vector()));
      }
      return all;
    };
    const std::vector<Tensor> first = run(1);
    std::vector<Tensor> inputs = tensors();
    std::vector<reference::OptimizerState> expected;
    for (const Tensor& tensor : inputs) expected.push_back(tensor.state());
    for (int64_t t = first_step; t < first_step + kSteps; ++t) {
      draw_gradients(inputs, t);
      for (size_t s = 0; s < expected.size(); ++s) reference::adamw(expected[s], inputs[s].gradient.values(), options, double{rate.at(0)}, t);
    }
    check_states(first, expected);
    for (const int threads : other_thread_counts()) {
      const std::vector<Tensor> again = run(threads);
      for (size_t s = 0; s < first.size(); ++s) CHECK(again[s].same_bits(first[s]));
    }
  }
}

TEST_CASE("sgd follows the reference over several steps and leaves the second moment alone") {
  duet_sgd_options options = DUET_SGD_OPTIONS_INIT;
  options.decay = 0.1f;
  Floats rate(1, 1);
  rate.fill(0.01);
  const auto run = [&](int threads) {
    Context context(threads);
    std::vector<Tensor> all = tensors();
    for (int64_t t = 1; t <= kSteps; ++t) {
      draw_gradients(all, t);
      const auto slots = slots_of(all, t % 2 == 0);  // given or not
      SUCCEED_CALL(duet_sgd_step(context, slots.data(), static_cast<int64_t>(slots.size()), &options, rate.vector()));
    }
    return all;
  };
  const std::vector<Tensor> first = run(1);
  std::vector<Tensor> inputs = tensors();
  std::vector<reference::OptimizerState> expected;
  for (const Tensor& tensor : inputs) expected.push_back(tensor.state());
  for (int64_t t = 1; t <= kSteps; ++t) {
    draw_gradients(inputs, t);
    for (size_t s = 0; s < expected.size(); ++s) reference::sgd(expected[s], inputs[s].gradient.values(), options, double{rate.at(0)});
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
  const duet_adamw_options options = DUET_ADAMW_OPTIONS_INIT;
  Floats rate(1, 1);
  rate.fill(0.1);
  Longs step(1, 1);
  step.at(0) = 1;
  const duet_optimizer_slot slot = tensor.slot();
  SUCCEED_CALL(duet_adamw_step(Context(2), &slot, 1, &options, rate.vector(), step.vector()));
  reference::adamw(expected, tensor.gradient.values(), options, double{rate.at(0)}, 1);
  check_close(tensor.parameter.values(), expected.parameter, 7.2e-7, "parameter");  // three roundings of size 4, one step
  CHECK(std::isnan(tensor.parameter.at(2)));
  CHECK(std::isnan(tensor.teacher.at(2)));
  CHECK(tensor.parameter.at(3) < before[3] - 0.09);  // the first step's length is the rate, however small the gradient
}

TEST_CASE("adamw over more tensors than a launch takes, some of them misaligned") {
  Draw draw(4);
  constexpr int64_t kTensors = 157;
  Floats parameters = draw.normals(kTensors * 11, 1), gradients = draw.normals(kTensors * 11, 1), first(kTensors * 11, 1), second(kTensors * 11, 1);
  first.fill(0), second.fill(0);
  reference::OptimizerState expected{parameters.values(), first.values(), second.values(), {}};
  std::vector<duet_optimizer_slot> slots;
  const auto part = [](Floats& of, int64_t k) { return duet_f32_vector(&of.at(11 * k), 11); };
  for (int64_t k = 0; k < kTensors; ++k) slots.push_back({part(parameters, k), part(gradients, k), part(first, k), part(second, k), {}});
  const duet_adamw_options options = DUET_ADAMW_OPTIONS_INIT;
  Floats rate(1, 1);
  rate.fill(0.1);
  Longs step(1, 1);
  step.at(0) = 3;
  SUCCEED_CALL(duet_adamw_step(Context(2), slots.data(), kTensors, &options, rate.vector(), step.vector()));
  reference::adamw(expected, gradients.values(), options, double{rate.at(0)}, 3);
  check_close(parameters.values(), expected.parameter, 7.2e-7, "parameter");  // three roundings of size 4
  check_close(second.values(), expected.second_moment, 1e-9, "second moment");
}

TEST_CASE("optimizers refuse misuse") {
  Context context;
  Draw draw(3);
  Tensor tensor(draw, 4, true);
  Floats rate(1, 1), other(3, 1);
  Longs step(1, 1);
  rate.fill(0.1);
  step.at(0) = 1;
  duet_adamw_options adamw = DUET_ADAMW_OPTIONS_INIT;
  duet_sgd_options sgd = DUET_SGD_OPTIONS_INIT;
  const auto fails = [&](const std::vector<duet_optimizer_slot>& slots, const char* part) {
    FAIL_CALL(duet_adamw_step(context, slots.data(), static_cast<int64_t>(slots.size()), &adamw, rate.vector(), step.vector()), DUET_INVALID_ARGUMENT,
              part);
  };
  for (duet_vector duet_optimizer_slot::*field :
       {&duet_optimizer_slot::gradient, &duet_optimizer_slot::first_moment, &duet_optimizer_slot::second_moment, &duet_optimizer_slot::teacher}) {
    duet_optimizer_slot wrong = tensor.slot();
    wrong.*field = other.vector();
    fails({tensor.slot(), wrong}, "expected 4 elements, got 3");
    CHECK(std::string(duet_last_error()).find("slots[1].") != std::string::npos);
  }
  duet_optimizer_slot wrong = tensor.slot();
  wrong.gradient.dtype = DUET_F16;
  fails({wrong}, "slots[0].gradient: expected dtype f32, got f16");
  wrong = tensor.slot();
  wrong.second_moment = {};
  fails({wrong}, "slots[0].second_moment: expected 4 elements, got 0");
  for (const float beta : {1.0f, -0.1f, static_cast<float>(kNaN)}) {
    adamw.beta1 = beta;
    fails({tensor.slot()}, "options.beta1: expected 0 to below 1");
    adamw.beta1 = 0.9f;
    adamw.beta2 = beta;
    fails({tensor.slot()}, "options.beta2: expected 0 to below 1");
    adamw.beta2 = 0.999f;
    sgd.momentum = beta;
    const duet_optimizer_slot slot = tensor.slot();
    FAIL_CALL(duet_sgd_step(context, &slot, 1, &sgd, rate.vector()), DUET_INVALID_ARGUMENT, "options.momentum: expected 0 to below 1");
  }
  adamw.eps = 0;
  fails({tensor.slot()}, "options.eps: expected above 0, got 0");
  adamw.eps = 1e-8f;
  adamw.teacher_momentum = 1.5f;
  fails({tensor.slot()}, "options.teacher_momentum: expected 0 to 1");
  adamw.teacher_momentum = 0.95f;
  if (on_cpu()) {  // a device takes it as it is
    step.at(0) = 0;
    fails({tensor.slot()}, "step: expected 1 or more, got 0");
    step.at(0) = 1;
  }
  FAIL_CALL(duet_adamw_step(context, nullptr, 2, &adamw, rate.vector(), step.vector()), DUET_INVALID_ARGUMENT, "slots: null for 2 slots");
  FAIL_CALL(duet_adamw_step(nullptr, nullptr, 0, &adamw, rate.vector(), step.vector()), DUET_INVALID_ARGUMENT, "context: null");
  SUCCEED_CALL(duet_adamw_step(context, nullptr, 0, &adamw, rate.vector(), step.vector()));
}
