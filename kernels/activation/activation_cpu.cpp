#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include <hwy/contrib/math/math-inl.h>

#include <cstring>

#include "kernels/activation/activation_backends.h"
#include "kernels/activation/gelu_tail.h"
#include "kernels/activation/relu_dropout-inl.h"
#include "kernels/cpu/elementwise.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

V where_nan(V x, V otherwise) { return hn::IfThenElse(hn::IsNaN(x), x, otherwise); }

struct Relu {
  V value(D d, V x) const { return relu(d, x); }
  V slope(D d, V x) const { return where_positive(d, x, hn::Set(d, 1.0f)); }
};

struct Tanh {
  V value(D d, V x) const { return where_nan(x, hn::Tanh(d, x)); }
  // 1 - tanh^2 without its cancellation: 4 e / (1 + e)^2, e = exp(-2 |x|).
  V slope(D d, V x) const {
    const V e = hn::Exp(d, hn::Mul(hn::Set(d, -2.0f), hn::Abs(x))), sum = hn::Add(hn::Set(d, 1.0f), e);
    return where_nan(x, hn::Div(hn::Mul(hn::Set(d, 4.0f), e), hn::Mul(sum, sum)));
  }
};

struct Gelu {
  struct Tail {
    V t;      // min(|x|, kGeluTailEnd)
    V bell;   // exp(-t^2 / 2)
    V below;  // Phi(-t) = erfc(t / sqrt 2) / 2
  };
  static Tail tail(D d, V x) {
    const V t = hn::Min(hn::Abs(x), hn::Set(d, kGeluTailEnd)), one = hn::Set(d, 1.0f);
    const V bell = hn::Exp(d, hn::Mul(hn::Mul(hn::Set(d, -0.5f), t), t));
    const V u = hn::Div(one, hn::MulAdd(hn::Set(d, 0.3f), t, one));
    V p = hn::Set(d, gelu_tail_coefficient(kGeluTailDegree));
    for (int k = kGeluTailDegree - 1; k >= 0; --k) p = hn::MulAdd(p, u, hn::Set(d, gelu_tail_coefficient(k)));
    return {t, bell, hn::Mul(bell, hn::Mul(u, p))};
  }
  // x Phi(x) = x - t Phi(-t) above 0, -t Phi(-t) below: no cancellation on either side, 0 at -inf.
  V value(D d, V x) const {
    const Tail tail_x = tail(d, x);
    return where_nan(x, hn::NegMulAdd(tail_x.t, tail_x.below, hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x)));
  }
  // Phi(x) + x phi(x)
  V slope(D d, V x) const {
    const Tail tail_x = tail(d, x);
    const V phi = hn::Mul(hn::Set(d, 0.3989422804014327f), tail_x.bell);
    const V cumulative = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail_x.below, hn::Sub(hn::Set(d, 1.0f), tail_x.below));
    return where_nan(x, hn::MulAdd(hn::CopySign(tail_x.t, x), phi, cumulative));
  }
};

// Elements at the end of a run that do not fill a vector are padded to one, so that the bits of an element do not
// depend on its place.
template <class F>
void forward(F f, const float* x, float* y, int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes) hn::StoreU(f.value(d, hn::LoadU(d, x + k)), d, y + k);
  if (k == count) return;
  HWY_ALIGN float rest[hn::MaxLanes(D())] = {};
  std::memcpy(rest, x + k, sizeof(float) * static_cast<size_t>(count - k));
  hn::Store(f.value(d, hn::Load(d, rest)), d, rest);
  std::memcpy(y + k, rest, sizeof(float) * static_cast<size_t>(count - k));
}

template <class F>
void backward(F f, const float* x, const float* g, float* grad, int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes)
    hn::StoreU(hn::MulAdd(f.slope(d, hn::LoadU(d, x + k)), hn::LoadU(d, g + k), hn::LoadU(d, grad + k)), d, grad + k);
  if (k == count) return;
  HWY_ALIGN float rest[3][hn::MaxLanes(D())] = {};
  const size_t bytes = sizeof(float) * static_cast<size_t>(count - k);
  std::memcpy(rest[0], x + k, bytes);
  std::memcpy(rest[1], g + k, bytes);
  std::memcpy(rest[2], grad + k, bytes);
  hn::Store(hn::MulAdd(f.slope(d, hn::Load(d, rest[0])), hn::Load(d, rest[1]), hn::Load(d, rest[2])), d, rest[2]);
  std::memcpy(grad + k, rest[2], bytes);
}

void activate(duet_activation_kind kind, const float* x, float* y, int64_t count) {
  if (kind == DUET_ACTIVATION_KIND_RELU) return forward(Relu{}, x, y, count);
  if (kind == DUET_ACTIVATION_KIND_TANH) return forward(Tanh{}, x, y, count);
  forward(Gelu{}, x, y, count);
}

void activate_backward(duet_activation_kind kind, const float* x, const float* g, float* grad, int64_t count) {
  if (kind == DUET_ACTIVATION_KIND_RELU) return backward(Relu{}, x, g, grad, count);
  if (kind == DUET_ACTIVATION_KIND_TANH) return backward(Tanh{}, x, g, grad, count);
  backward(Gelu{}, x, g, grad, count);
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(activate);
HWY_EXPORT(activate_backward);

// Elements of a work item: about 10 us of work, several times the cost of handing it to a second thread.
int64_t chunk_of(duet_activation_kind kind) { return kind == DUET_ACTIVATION_KIND_RELU ? 65536 : 16384; }
}  // namespace

void activation_forward(const duet_context& context, duet_activation_kind kind, Matrix<const float> x,
                        Matrix<float> outputs) {
  const auto run = HWY_DYNAMIC_DISPATCH(activate);
  for_each_run(context, x.rows, x.columns, contiguous(x) && contiguous(outputs), chunk_of(kind),
               [&](int64_t i, int64_t j, int64_t count) { run(kind, x.row(i) + j, outputs.row(i) + j, count); });
}

void activation_backward(const duet_context& context, duet_activation_kind kind, Matrix<const float> x,
                         Matrix<const float> grad_outputs, Matrix<float> grad_x) {
  const auto run = HWY_DYNAMIC_DISPATCH(activate_backward);
  for_each_run(context, x.rows, x.columns, contiguous(x) && contiguous(grad_outputs) && contiguous(grad_x),
               chunk_of(kind), [&](int64_t i, int64_t j, int64_t count) {
                 run(kind, x.row(i) + j, grad_outputs.row(i) + j, grad_x.row(i) + j, count);
               });
}

}  // namespace duet::cpu
#endif
