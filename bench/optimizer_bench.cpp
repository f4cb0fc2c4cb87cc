#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

enum class Kind { adamw, sgd };

constexpr double kRate = 1e-3;
constexpr int64_t kStep = 3;

struct Set {
  Floats parameter, gradient, first_moment, second_moment, teacher;
};

// One slot of n x d parameters, with the teacher's moving average.
class Optimizer : public Rotating<Set> {
 public:
  Optimizer(const Setting& setting, Kind kind)
      : context_(setting.context), kind_(kind), rate_(scalar(kRate)), step_(whole_scalar(kStep)) {
    const int64_t n = setting.shape.n, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.normals(n, d), draw.normals(n, d), draw.normals(n, d, 0.1), draw.uniforms(n, d, 0, 1),
                     draw.normals(n, d)};
        },
        [](const Set& s) { return bytes_of(s.parameter, s.gradient, s.first_moment, s.second_moment, s.teacher); });
    for (const int64_t k : spots(n * d)) before_.push_back(at(k));
    const Set& s = set(0);
    const double elements = static_cast<double>(n) * d;
    const bool adamw = kind == Kind::adamw;
    forward_cost = {(adamw ? 18 : 9) * elements,
                    s.gradient.bytes() +
                        2 * (bytes_of(s.parameter, s.first_moment, s.teacher) + (adamw ? s.second_moment.bytes() : 0)),
                    0};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_optimizer_slot slot = {s.parameter.vector(), s.gradient.vector(), s.first_moment.vector(),
                                      s.second_moment.vector(), s.teacher.vector()};
    duet_optimizer_slots slots = DUET_OPTIMIZER_SLOTS_INIT;
    slots.slots = &slot, slots.slot_count = 1;
    if (kind_ == Kind::adamw) {
      adamw_.learning_rate = rate_.vector(), adamw_.step = step_.vector();
      succeed(duet_adamw_step(context_, &adamw_, &slots));
    } else {
      sgd_.learning_rate = rate_.vector();
      succeed(duet_sgd_step(context_, &sgd_, &slots));
    }
  }

  void verify_forward() override {
    size_t spot = 0;
    for (const int64_t k : spots(set(0).parameter.size())) {
      const Element expected = kind_ == Kind::adamw ? adamw(before_[spot]) : sgd(before_[spot]), actual = at(k);
      ++spot;
      // A step is small next to what it moves, so the step itself is compared.
      expect_close("parameter", k, (actual.parameter - before_[spot - 1].parameter) / kRate,
                   (expected.parameter - before_[spot - 1].parameter) / kRate, 1);
      expect_close("first_moment", k, actual.first_moment, expected.first_moment);
      expect_close("second_moment", k, actual.second_moment, expected.second_moment);
      expect_close("teacher", k, actual.teacher, expected.teacher);
    }
  }

 private:
  struct Element {
    double parameter, gradient, first_moment, second_moment, teacher;
  };

  Element at(int64_t k) {
    const Set& s = set(0);
    return {s.parameter[k], s.gradient[k], s.first_moment[k], s.second_moment[k], s.teacher[k]};
  }

  Element adamw(Element e) const {
    const double beta1 = adamw_.beta1, beta2 = adamw_.beta2, step = static_cast<double>(kStep);
    e.first_moment = beta1 * e.first_moment + (1 - beta1) * e.gradient;
    e.second_moment = beta2 * e.second_moment + (1 - beta2) * e.gradient * e.gradient;
    e.parameter -= kRate * adamw_.decay * e.parameter;
    e.parameter -= kRate * (e.first_moment / (1 - std::pow(beta1, step))) /
                   (std::sqrt(e.second_moment / (1 - std::pow(beta2, step))) + adamw_.eps);
    e.teacher = adamw_.teacher_momentum * e.teacher + (1 - double{adamw_.teacher_momentum}) * e.parameter;
    return e;
  }

  Element sgd(Element e) const {
    e.first_moment = sgd_.momentum * e.first_moment + e.gradient + sgd_.decay * e.parameter;
    e.parameter -= kRate * e.first_moment;
    e.teacher = sgd_.teacher_momentum * e.teacher + (1 - double{sgd_.teacher_momentum}) * e.parameter;
    return e;
  }

  duet_context* context_;
  Kind kind_;
  duet_adamw_inputs adamw_ = DUET_ADAMW_INPUTS_INIT;
  duet_sgd_inputs sgd_ = DUET_SGD_INPUTS_INIT;
  Floats rate_;
  Longs step_;
  std::vector<Element> before_;
};

// The global norm of one slot of n x d gradients.
class GradientClip : public Rotating<Floats> {
 public:
  explicit GradientClip(const Setting& setting) : context_(setting.context), norm_(scalar(0)), scale_(scalar(0)) {
    const int64_t n = setting.shape.n, d = setting.shape.d;
    draw_sets([&](Draw& draw) { return draw.normals(n, d); }, [](const Floats& g) { return bytes_of(g); });
    const duet_optimizer_slot slot = slot_of(0);
    const duet_optimizer_slots slots = slots_of(slot);
    size_t bytes = 0;
    succeed(duet_gradient_clip_workspace(context_, &slots, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);
    forward_cost = {2 * static_cast<double>(n) * d, bytes_of(set(0)), 0};
  }

  void forward(int k) override {
    const duet_optimizer_slot slot = slot_of(k);
    const duet_optimizer_slots slots = slots_of(slot);
    duet_gradient_clip_outputs outputs = DUET_GRADIENT_CLIP_OUTPUTS_INIT;
    outputs.norm = norm_.vector(), outputs.scale = scale_.vector();
    succeed(duet_gradient_clip(context_, &inputs_, &slots, &outputs, scratch_.view()));
  }

  void verify_forward() override {
    double squares = 0;
    for (int64_t k = 0; k < set(0).size(); ++k) squares += double{set(0)[k]} * double{set(0)[k]};
    expect_close("norm", 0, norm_[0], std::sqrt(squares));
    expect_close("scale", 0, scale_[0], std::min(1.0, inputs_.limit / std::sqrt(squares)));
  }

 private:
  duet_optimizer_slot slot_of(int k) {
    duet_optimizer_slot slot = {};
    slot.gradient = set(k).vector();
    return slot;
  }
  static duet_optimizer_slots slots_of(const duet_optimizer_slot& slot) {
    duet_optimizer_slots slots = DUET_OPTIMIZER_SLOTS_INIT;
    slots.slots = &slot, slots.slot_count = 1;
    return slots;
  }

  duet_context* context_;
  duet_gradient_clip_inputs inputs_ = DUET_GRADIENT_CLIP_INPUTS_INIT;
  Floats norm_, scale_;
  Scratch scratch_;
};

Registration variant(const char* name, Kind kind) {
  return {"optimizer", name, Passes::forward_only,
          [kind](const Setting& setting) { return std::make_unique<Optimizer>(setting, kind); }};
}
const Registration kVariants[] = {
    variant("adamw", Kind::adamw),
    variant("sgd", Kind::sgd),
    {"optimizer", "gradient_clip", Passes::forward_only,
     [](const Setting& setting) { return std::make_unique<GradientClip>(setting); }},
};

}  // namespace
}  // namespace duet::bench
