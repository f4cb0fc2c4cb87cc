#include "runtime/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "kernels/core/error.h"
#include "tests/reference/optimizer.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet;
using namespace duet::test;

namespace {

Doubles values_of(const Tensor& tensor) { return Doubles(tensor.data, tensor.data + tensor.size()); }

struct Run {
  ParameterStore store;
  Run(duet_context* context) {
    store.add_uniform("weight", {7, 5}, 1);
    store.add_uniform("bias", {7}, 1);
    store.initialise(context, 3);
  }
};

// Steps of the optimizer over the whole store against the reference over each parameter.
// limit: of the global norm; 0: none.
template <class Optimizer, class Options, class Reference>
void compare(const Options& options, double limit, Reference&& reference) {
  Context context(2);
  Run run(context);
  std::optional<GradientClip> clip;
  if (limit > 0) clip.emplace(context, run.store, limit);
  Optimizer optimizer(run.store, options, std::move(clip));
  Draw draw(4);
  std::vector<reference::OptimizerState> expected;
  for (int64_t number = 0; number < 2; ++number) {
    const Doubles start = values_of(run.store.tensor(number, ParameterKind::value));
    expected.push_back({start, Doubles(start.size()), Doubles(start.size()), start});
  }
  float rate = 0;
  int64_t step = 0;
  for (step = 1; step <= 5; ++step) {
    rate = 0.01f * static_cast<float>(step);
    std::array<Doubles, 2> gradients;
    double squares = 0;
    for (int64_t number = 0; number < 2; ++number) {
      const Tensor gradient = run.store.tensor(number, ParameterKind::gradient);
      for (int64_t e = 0; e < gradient.size(); ++e) gradient.data[e] = static_cast<float>(draw.normal());
      gradients[static_cast<size_t>(number)] = values_of(gradient);
      for (const double g : values_of(gradient)) squares += g * g;
    }
    for (size_t number = 0; number < gradients.size(); ++number) {
      for (double& g : gradients[number]) g *= limit > 0 ? std::min(1.0, limit / std::sqrt(squares)) : 1;
      reference(expected[number], gradients[number], rate, step);
    }
    optimizer.step(context, Tensor::view(&rate, 1), {&step, 1});
  }
  for (int64_t number = 0; number < 2; ++number) {
    const reference::OptimizerState& state = expected[static_cast<size_t>(number)];
    // A few float32 roundings a step and element, none of them amplified.
    check_relative(values_of(run.store.tensor(number, ParameterKind::value)), state.parameter, 2e-6, "parameter");
    check_relative(values_of(run.store.tensor(number, ParameterKind::first_moment)), state.first_moment, 2e-6,
                   "first moment");
    check_relative(values_of(run.store.tensor(number, ParameterKind::second_moment)), state.second_moment, 2e-6,
                   "second moment");
    check_relative(values_of(run.store.tensor(number, ParameterKind::teacher)), state.teacher, 2e-6, "teacher");
  }
  // The padding between parameters is zero in every kind, and stays it.
  for (int kind = 0; kind < kParameterKinds; ++kind) {
    const Tensor all = run.store.all(ParameterKind{kind});
    for (int64_t e = 35; e < 48; ++e) CHECK(all.data[e] == 0);
  }
}

}  // namespace

TEST_CASE("AdamW over the store") {
  const duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
  for (const double limit : {0.0, 1.0, 1e3})
    compare<AdamW>(options, limit, [&](auto& state, const Doubles& gradient, float rate, int64_t step) {
      reference::adamw(state, gradient, options, rate, step);
    });
}

TEST_CASE("SGD over the store") {
  const duet_sgd_inputs options = DUET_SGD_INPUTS_INIT;
  for (const double limit : {0.0, 1.0, 1e3})
    compare<Sgd>(options, limit, [&](auto& state, const Doubles& gradient, float rate, int64_t) {
      reference::sgd(state, gradient, options, rate);
    });
}

// One parameter that decays on either side of a bounded one.
template <class Optimizer, class Options>
void check_bounded(Options options) {
  Context context(2);
  ParameterStore store;
  store.add_constant("first", {3}, 1);
  const int64_t bounded = store.add_bounded("bounded", 1, -0.5, 1.25);
  store.add_constant("last", {2, 2}, 1);
  store.initialise(context, 1);
  options.decay = 0.5f;
  Optimizer optimizer(store, options);
  float rate = 0.1f;
  int64_t step = 0;
  const auto value = [&](int64_t number, ParameterKind kind = ParameterKind::value) {
    return store.tensor(number, kind).data[0];
  };
  const auto push = [&](float gradient, int times) {
    for (int k = 0; k < times; ++k) {
      ++step;
      *store.tensor(bounded, ParameterKind::gradient).data = gradient;
      optimizer.step(context, Tensor::view(&rate, 1), {&step, 1});
    }
  };
  push(0, 1);  // decay alone: rate times decay of 1
  CHECK(value(0) == doctest::Approx(0.95).epsilon(1e-6));
  CHECK(value(2) == value(0));
  CHECK(value(bounded) == 1);
  CHECK(value(bounded, ParameterKind::teacher) == 1);
  push(-1, 60);
  CHECK(value(bounded) == 1.25f);
  CHECK((value(bounded, ParameterKind::teacher) > 1.1f && value(bounded, ParameterKind::teacher) <= 1.25f));
  push(3, 300);
  CHECK(value(bounded) == -0.5f);
  CHECK((value(bounded, ParameterKind::teacher) < -0.4f && value(bounded, ParameterKind::teacher) >= -0.5f));
  CHECK(value(0) == value(2));
  CHECK(std::abs(value(0)) < 1e-3);
  push(std::nanf(""), 1);  // no bound hides it
  CHECK(std::isnan(value(bounded)));
  CHECK_THROWS_AS(ParameterStore().add_bounded("x", 0, 1, -1), duet::Error);
}

TEST_CASE("a bounded parameter does not decay and is kept in its bounds, its moving average too") {
  check_bounded<AdamW>(duet_adamw_inputs DUET_ADAMW_INPUTS_INIT);
  check_bounded<Sgd>(duet_sgd_inputs DUET_SGD_INPUTS_INIT);
}

// Steps that apply, and one in between that does not: as if that one were not there.
template <class Optimizer>
void check_apply() {
  Context context(2);
  Run applied(context), plain(context);
  Optimizer flagged(applied.store), unflagged(plain.store);
  Draw draw(6);
  const auto all = [](const Run& run) {
    std::vector<std::vector<float>> kinds;
    for (const ParameterKind kind :
         {ParameterKind::value, ParameterKind::first_moment, ParameterKind::second_moment, ParameterKind::teacher})
      kinds.push_back(run.store.read(kind));
    return kinds;
  };
  float rate = 0.05f;
  int64_t updates = 0;
  for (const int32_t apply : {1, 0, 0, 1, 1}) {
    std::vector<float> gradient = applied.store.read(ParameterKind::gradient);
    for (int64_t number = 0; number < 2; ++number)
      for (int64_t e = 0; e < applied.store.parameter(number).rows() * applied.store.parameter(number).columns(); ++e)
        gradient[static_cast<size_t>(applied.store.parameter(number).offset + e)] =
            apply ? static_cast<float>(draw.normal()) : std::nanf("");
    for (Run* each : {&applied, &plain}) each->store.write(ParameterKind::gradient, gradient);
    const auto before = all(applied);
    updates += apply;
    flagged.step(context, Tensor::view(&rate, 1), {&updates, 1}, duet_i32_const_vector(&apply, 1));
    if (apply) {
      unflagged.step(context, Tensor::view(&rate, 1), {&updates, 1});
      CHECK(all(applied) == all(plain));
      CHECK(all(applied) != before);
    } else {
      CHECK(all(applied) == before);
    }
    CHECK_FALSE(std::isnan(applied.store.read(ParameterKind::value)[0]));
  }
}

TEST_CASE("a step that does not apply changes nothing, whatever its gradients are") {
  check_apply<AdamW>();
  check_apply<Sgd>();
}
