#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/optimizer_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include <algorithm>
#include <cmath>

#include "kernels/cpu/elements-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/optimizer/optimizer_backends.h"

#ifndef DUET_OPTIMIZER_RUN
#define DUET_OPTIMIZER_RUN
namespace duet::cpu {

// Neighbouring elements of one slot; teacher may be null.
struct OptimizerRun {
  float* parameter;
  const float* gradient;
  float *first_moment, *second_moment, *teacher;
  int64_t count;
};

// The factors of a step's formulas, computed in double. decay differs from slot to slot.
struct AdamwFactors {
  float beta1, gain1, beta2, gain2;  // gain: 1 - beta
  float step_size;                   // rate / (1 - beta1^t)
  float root;                        // 1 / sqrt(1 - beta2^t)
  float eps, rate_decay, teacher_momentum, teacher_gain, gradient_scale;
};
struct SgdFactors {
  float momentum, decay, rate, teacher_momentum, teacher_gain, gradient_scale;
};

}  // namespace duet::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
void move_teacher(D d, float* teacher, hn::Vec<D> theta, float momentum, float gain) {
  hn::StoreU(hn::MulAdd(hn::Set(d, momentum), hn::LoadU(d, teacher), hn::Mul(hn::Set(d, gain), theta)), d, teacher);
}

template <class D>
void adamw_at(D d, const AdamwFactors& f, const OptimizerRun& run, int64_t k) {
  const auto g = hn::Mul(hn::Set(d, f.gradient_scale), hn::LoadU(d, run.gradient + k));
  const auto m = hn::MulAdd(hn::Set(d, f.beta1), hn::LoadU(d, run.first_moment + k), hn::Mul(hn::Set(d, f.gain1), g));
  const auto v =
      hn::MulAdd(hn::Set(d, f.beta2), hn::LoadU(d, run.second_moment + k), hn::Mul(hn::Mul(hn::Set(d, f.gain2), g), g));
  hn::StoreU(m, d, run.first_moment + k);
  hn::StoreU(v, d, run.second_moment + k);
  auto theta = hn::LoadU(d, run.parameter + k);
  theta = hn::NegMulAdd(hn::Set(d, f.rate_decay), theta, theta);
  theta = hn::Sub(theta, hn::Div(hn::Mul(hn::Set(d, f.step_size), m),
                                 hn::MulAdd(hn::Sqrt(v), hn::Set(d, f.root), hn::Set(d, f.eps))));
  hn::StoreU(theta, d, run.parameter + k);
  if (run.teacher) move_teacher(d, run.teacher + k, theta, f.teacher_momentum, f.teacher_gain);
}

template <class D>
void sgd_at(D d, const SgdFactors& f, const OptimizerRun& run, int64_t k) {
  auto theta = hn::LoadU(d, run.parameter + k);
  const auto g =
      hn::MulAdd(hn::Set(d, f.decay), theta, hn::Mul(hn::Set(d, f.gradient_scale), hn::LoadU(d, run.gradient + k)));
  const auto b = hn::MulAdd(hn::Set(d, f.momentum), hn::LoadU(d, run.first_moment + k), g);
  hn::StoreU(b, d, run.first_moment + k);
  theta = hn::NegMulAdd(hn::Set(d, f.rate), b, theta);
  hn::StoreU(theta, d, run.parameter + k);
  if (run.teacher) move_teacher(d, run.teacher + k, theta, f.teacher_momentum, f.teacher_gain);
}

void adamw_run(const AdamwFactors& f, const OptimizerRun& run) {
  over_elements(run.count, [&](auto d, int64_t k) HWY_ATTR { adamw_at(d, f, run, k); });
}
void sgd_run(const SgdFactors& f, const OptimizerRun& run) {
  over_elements(run.count, [&](auto d, int64_t k) HWY_ATTR { sgd_at(d, f, run, k); });
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(adamw_run);
HWY_EXPORT(sgd_run);

// Elements of a work item. The slots are cut as if they lay one behind another, so that many small ones (biases) make
// one item.
constexpr int64_t kChunk = 16384;

void clamp(float* values, int64_t count, float low, float high) {
  for (int64_t k = 0; k < count; ++k) values[k] = clamped(values[k], low, high);
}

// Calls body(slot number, elements) so that every element of every slot is visited once, then applies the slot's
// bounds.
template <class Body>
void for_each_run(const duet_context& context, const OptimizerSlots& slots, Body&& body) {
  int64_t total = 0;
  for (int64_t s = 0; s < slots.count; ++s) total += slots.slots[s].parameter.size;
  parallel_chunks(context, total, kChunk, [&](int64_t first, int64_t count, int) {
    int64_t skip = first;
    for (int64_t s = 0; count > 0; ++s) {
      const duet_optimizer_slot& slot = slots.slots[s];
      if (skip >= slot.parameter.size) {
        skip -= slot.parameter.size;
        continue;
      }
      const auto at = [&](const duet_vector& view) {
        return view.data ? static_cast<float*>(view.data) + skip : nullptr;
      };
      const int64_t taken = std::min(count, slot.parameter.size - skip);
      const OptimizerRun run{at(slot.parameter),    static_cast<const float*>(slot.gradient.data) + skip,
                             at(slot.first_moment), at(slot.second_moment),
                             at(slot.teacher),      taken};
      body(s, run);
      if (const float low = slots.low(s), high = slots.high(s); low > -HUGE_VALF || high < HUGE_VALF) {
        clamp(run.parameter, taken, low, high);
        if (run.teacher) clamp(run.teacher, taken, low, high);
      }
      count -= taken;
      skip = 0;
    }
  });
}

}  // namespace

void adamw_step(const duet_context& context, const OptimizerSlots& slots, const duet_adamw_inputs& options,
                Vector<const float> learning_rate, Vector<const int64_t> step) {
  if (!slots.applies()) return;
  const double beta1 = options.beta1, beta2 = options.beta2, rate = learning_rate[0], t = static_cast<double>(step[0]);
  const AdamwFactors factors{options.beta1,
                             static_cast<float>(1 - beta1),
                             options.beta2,
                             static_cast<float>(1 - beta2),
                             static_cast<float>(rate / (1 - std::pow(beta1, t))),
                             static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, t))),
                             options.eps,
                             0,
                             options.teacher_momentum,
                             static_cast<float>(1 - double{options.teacher_momentum}),
                             slots.scale()};
  const auto run = HWY_DYNAMIC_DISPATCH(adamw_run);
  for_each_run(context, slots, [&](int64_t slot, const OptimizerRun& elements) {
    AdamwFactors of_slot = factors;
    of_slot.rate_decay = static_cast<float>(rate * slots.decay(slot, options.decay));
    run(of_slot, elements);
  });
}

void sgd_step(const duet_context& context, const OptimizerSlots& slots, const duet_sgd_inputs& options,
              Vector<const float> learning_rate) {
  if (!slots.applies()) return;
  const SgdFactors factors{options.momentum,
                           0,
                           learning_rate[0],
                           options.teacher_momentum,
                           static_cast<float>(1 - double{options.teacher_momentum}),
                           slots.scale()};
  const auto run = HWY_DYNAMIC_DISPATCH(sgd_run);
  for_each_run(context, slots, [&](int64_t slot, const OptimizerRun& elements) {
    SgdFactors of_slot = factors;
    of_slot.decay = slots.decay(slot, options.decay);
    run(of_slot, elements);
  });
}

}  // namespace duet::cpu
#endif
