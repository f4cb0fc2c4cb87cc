#include "kernels/linear/linear_epilogue_cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/linear_epilogue_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include "kernels/activation/relu_dropout-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// y, count elements from number first on; words: of their dropout, or null.
HWY_INLINE void finish(const LinearEpilogue& epilogue, const float* bias, const uint32_t* words, float* y,
                       int64_t count) {
  over_elements(count, [&](auto d, int64_t k) HWY_ATTR {
    auto value = hn::LoadU(d, y + k);
    if (bias) value = hn::Add(value, hn::LoadU(d, bias + k));
    value = hn::Mul(hn::Set(d, epilogue.scale), value);
    if (epilogue.relu) value = relu(d, value);
    if (words) value = drop(d, epilogue.draw, words + k, value);
    hn::StoreU(value, d, y + k);
  });
}

void apply_part(const LinearEpilogue& given, Matrix<float> outputs, int64_t i, int64_t rows, int64_t j,
                int64_t columns) {
  const LinearEpilogue epilogue = given;  // a copy that no store to outputs can change
  const float* const bias = epilogue.bias ? epilogue.bias + j : nullptr;
  for (int64_t row = i; row < i + rows; ++row) {
    float* const y = outputs.row(row) + j;
    if (!epilogue.drops) {
      finish(epilogue, bias, nullptr, y, columns);
      continue;
    }
    for_each_drawn(epilogue.draw, epilogue.draw.element(row, j, outputs.columns), columns,
                   [&](int64_t start, int64_t count, const uint32_t* words)
                       HWY_ATTR { finish(epilogue, bias ? bias + start : nullptr, words, y + start, count); });
  }
}

void gate_run(const LinearEpilogue& epilogue, const float* outputs, const float* grad_outputs, float* gated,
              int64_t count) {
  const float keep_probability = epilogue.draw.keep_probability;
  over_elements(count, [&](auto d, int64_t k) HWY_ATTR {
    const auto kept = hn::Div(hn::LoadU(d, grad_outputs + k), hn::Set(d, keep_probability));
    hn::StoreU(where_positive(d, hn::LoadU(d, outputs + k), kept), d, gated + k);
  });
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(apply_part);
HWY_EXPORT(gate_run);
}  // namespace

void LinearEpilogue::apply(Matrix<float> outputs, int64_t i, int64_t rows, int64_t j, int64_t columns) const {
  if (!bare) HWY_DYNAMIC_DISPATCH(apply_part)(*this, outputs, i, rows, j, columns);
}

void LinearEpilogue::gate(const float* outputs, const float* grad_outputs, float* gated, int64_t count) const {
  HWY_DYNAMIC_DISPATCH(gate_run)(*this, outputs, grad_outputs, gated, count);
}

}  // namespace duet::cpu
#endif
