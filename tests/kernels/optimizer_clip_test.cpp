// The global norm of gradients, its factor, and steps that take it.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "tests/kernels/optimizer_steps.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<duet_optimizer_slot> gradient_slots(std::vector<Floats>& gradients) {
  std::vector<duet_optimizer_slot> slots;
  for (Floats& gradient : gradients) {
    duet_optimizer_slot slot = {};
    slot.gradient = gradient.vector();
    slots.push_back(slot);
  }
  return slots;
}

struct Clip {
  Floats norm = Floats(1, 1).fill(-1), scale = Floats(1, 1).fill(-1);
  duet_gradient_clip_inputs inputs = DUET_GRADIENT_CLIP_INPUTS_INIT;

  duet_status run(int threads, const std::vector<duet_optimizer_slot>& slots) {
    const Context context(threads);
    const duet_optimizer_slots all = slots_of(slots.data(), static_cast<int64_t>(slots.size()));
    duet_gradient_clip_outputs outputs = DUET_GRADIENT_CLIP_OUTPUTS_INIT;
    outputs.norm = norm.vector(), outputs.scale = scale.vector();
    size_t bytes = 0;
    if (const duet_status status = duet_gradient_clip_workspace(context, &all, &bytes)) return status;
    const Scratch scratch(bytes);
    return duet_gradient_clip(context, &inputs, &all, &outputs, scratch.view());
  }
};

double norm_of(const std::vector<Floats>& gradients) {
  double sum = 0;
  for (const Floats& gradient : gradients)
    for (const double value : gradient.values()) sum += value * value;
  return std::sqrt(sum);
}

// Empty, one, below a vector, across the borders of a work item (16384) and of a block (4096).
const std::vector<int64_t> kSizes = {0, 1, 7, 4097, 40001, 0, 16384};

std::vector<Floats> draw_gradients(const std::vector<int64_t>& sizes, double magnitude) {
  Draw draw(7);
  std::vector<Floats> all;
  for (const int64_t size : sizes) {
    all.push_back(draw.normals(size, 1));
    for (int64_t k = 0; k < size; ++k) all.back().at(k) *= static_cast<float>(magnitude);
  }
  return all;
}

}  // namespace

TEST_CASE("the norm and the factor are those of the definition, at any magnitude and on any number of threads") {
  for (const double magnitude : {1.0, 1e-30, 1e30}) {
    CAPTURE(magnitude);
    std::vector<Floats> gradients = draw_gradients(kSizes, magnitude);
    const auto slots = gradient_slots(gradients);
    const double norm = norm_of(gradients);
    for (const double share : {0.5, 2.0}) {
      CAPTURE(share);
      Clip clip;
      clip.inputs.limit = static_cast<float>(share * norm);
      SUCCEED_CALL(clip.run(1, slots));
      // One rounding each to float32, and the limit's own.
      CHECK(clip.norm.at(0) == doctest::Approx(norm).epsilon(6e-8));
      CHECK(clip.scale.at(0) == doctest::Approx(std::min(share, 1.0)).epsilon(1.3e-7));
      for (const int threads : other_thread_counts()) {
        Clip again;
        again.inputs.limit = clip.inputs.limit;
        SUCCEED_CALL(again.run(threads, slots));
        CHECK(again.norm.same_bits(clip.norm));
        CHECK(again.scale.same_bits(clip.scale));
      }
    }
  }
}

TEST_CASE("gradients that have no norm, or none at all") {
  std::vector<Floats> gradients = draw_gradients({3, 5}, 1);
  const auto slots = gradient_slots(gradients);
  Clip clip;
  SUCCEED_CALL(clip.run(2, {}));
  CHECK(clip.norm.at(0) == 0);
  CHECK(clip.scale.at(0) == 1);
  for (Floats& gradient : gradients) gradient.fill(0);
  SUCCEED_CALL(clip.run(2, slots));
  CHECK(clip.norm.at(0) == 0);
  CHECK(clip.scale.at(0) == 1);
  gradients[1].at(2) = kInf;
  SUCCEED_CALL(clip.run(2, slots));
  CHECK(clip.norm.at(0) == kInf);
  CHECK(clip.scale.at(0) == 0);
  gradients[0].at(0) = kNan;
  SUCCEED_CALL(clip.run(2, slots));
  CHECK(std::isnan(clip.norm.at(0)));
  CHECK(std::isnan(clip.scale.at(0)));
  clip.inputs.limit = kInf;
  gradients = draw_gradients({3, 5}, 1);
  SUCCEED_CALL(clip.run(2, gradient_slots(gradients)));
  CHECK(clip.scale.at(0) == 1);
}

TEST_CASE("more gradients than a launch takes") {
  std::vector<Floats> gradients = draw_gradients(std::vector<int64_t>(331, 5), 1);
  Clip clip;
  SUCCEED_CALL(clip.run(2, gradient_slots(gradients)));
  CHECK(clip.norm.at(0) == doctest::Approx(norm_of(gradients)).epsilon(6e-8));
}

TEST_CASE("a step with a factor has the bits of a step with the gradients scaled before") {
  Draw draw(9);
  const Floats start = draw.normals(1000, 1), gradient = draw.normals(1000, 1);
  constexpr float kScale = 0.25f;  // a power of two: the products are exact
  for (const bool with_adamw : {true, false}) {
    CAPTURE(with_adamw);
    Floats rate(1, 1), scale(1, 1);
    Longs step(1, 1);
    rate.fill(0.1), scale.fill(kScale), step.at(0) = 3;
    const auto run = [&](bool scaled_before) {
      Floats theta = start, g = gradient, first(1000, 1), second(1000, 1);
      first.fill(0.1), second.fill(0.2);
      for (int64_t k = 0; scaled_before && k < 1000; ++k) g.at(k) *= kScale;
      const duet_optimizer_slot slot = {theta.vector(), g.vector(), first.vector(), second.vector(), {}};
      duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
      duet_sgd_inputs sgd = DUET_SGD_INPUTS_INIT;
      if (!scaled_before) adamw.gradient_scale = sgd.gradient_scale = scale.vector();
      const Context context(2);
      SUCCEED_CALL(with_adamw ? adamw_step(context, &slot, 1, adamw, rate.vector(), step.vector())
                              : sgd_step(context, &slot, 1, sgd, rate.vector()));
      return theta;
    };
    CHECK(run(false).same_bits(run(true)));
    CHECK_FALSE(run(false).same_bits(start));
  }
}

TEST_CASE("clips that are refused") {
  std::vector<Floats> gradients = draw_gradients({3, 5}, 1);
  const auto slots = gradient_slots(gradients);
  Clip clip;
  for (const float limit : {0.0f, -1.0f, kNan}) {
    clip.inputs.limit = limit;
    FAIL_CALL(clip.run(1, slots), DUET_STATUS_INVALID_ARGUMENT, "inputs.limit: expected above 0");
  }
  clip.inputs.limit = 1;
  duet_optimizer_slot wrong = slots[1];
  wrong.gradient.data = nullptr;
  FAIL_CALL(clip.run(1, {slots[0], wrong}), DUET_STATUS_INVALID_ARGUMENT, "slots[1].gradient");
  wrong = slots[1];
  wrong.gradient.data = &clip.scale.at(0), wrong.gradient.size = 1;
  FAIL_CALL(clip.run(1, {slots[0], wrong}), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.scale: shares memory with slots[1].gradient");
}
