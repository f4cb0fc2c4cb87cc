#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/dropout_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include "kernels/activation/relu_dropout-inl.h"
#include "kernels/cpu/elementwise.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// The elements from number `first` of the draw on. target (the output, or grad_x, which is added to) may be source.
template <bool kAdd>
void drop_run(const DropoutDraw& given, uint64_t first, const float* source, float* target, int64_t count) {
  const DropoutDraw draw = given;  // a copy that no store to target can change
  for_each_drawn(draw, first, count, [&](int64_t start, int64_t piece, const uint32_t* words) HWY_ATTR {
    const float* from = source + start;
    float* to = target + start;
    over_elements(piece, [&](auto d, int64_t k) HWY_ATTR {
      const auto value = drop(d, draw, words + k, hn::LoadU(d, from + k));
      hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, to + k), value) : value, d, to + k);
    });
  });
}

void drop_forward(const DropoutDraw& draw, uint64_t first, const float* x, float* y, int64_t count) {
  drop_run<false>(draw, first, x, y, count);
}
void drop_backward(const DropoutDraw& draw, uint64_t first, const float* g, float* grad, int64_t count) {
  drop_run<true>(draw, first, g, grad, count);
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(drop_forward);
HWY_EXPORT(drop_backward);

// Elements of a work item: about 10 us of work, several times the cost of handing it to a second thread.
constexpr int64_t kChunk = 16384;

template <class Run>
void run_dropout(const duet_context& context, const Dropout& dropout, Matrix<const float> source, Matrix<float> target,
                 Run drop) {
  const DropoutDraw draw(dropout);
  for_each_run(context, source.rows, source.columns, contiguous(source) && contiguous(target), kChunk,
               [&](int64_t i, int64_t j, int64_t count) {
                 drop(draw, draw.element(i, j, source.columns), source.row(i) + j, target.row(i) + j, count);
               });
}
}  // namespace

void dropout_forward(const duet_context& context, const Dropout& dropout, Matrix<const float> x,
                     Matrix<float> outputs) {
  run_dropout(context, dropout, x, outputs, HWY_DYNAMIC_DISPATCH(drop_forward));
}

void dropout_backward(const duet_context& context, const Dropout& dropout, Matrix<const float> grad_outputs,
                      Matrix<float> grad_x) {
  run_dropout(context, dropout, grad_outputs, grad_x, HWY_DYNAMIC_DISPATCH(drop_backward));
}

}  // namespace duet::cpu
#endif
