#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/dropout_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include <algorithm>

#include "kernels/activation/activation_backends.h"
#include "kernels/core/philox.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/philox-inl.h"

#ifndef DUET_DROPOUT_RUN
#define DUET_DROPOUT_RUN
namespace duet::cpu {
// One run of neighbouring elements; target (y, or grad_x to add to) may be source.
struct DropoutRun {
  uint64_t seed, first_element;
  uint32_t stream, step, threshold;
  float keep_probability;
  const float* source;
  float* target;
  int64_t count;
};
}  // namespace duet::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The words of a piece are drawn into a buffer that stays in the first-level cache, then applied.
template <bool kAdd>
void drop(const DropoutRun& run) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kPiece = 1024;
  HWY_ALIGN uint32_t words[kPiece + 4 * kPhiloxGroup];
  const auto keep = hn::Set(d, run.keep_probability);
  const auto threshold = hn::Set(du, run.threshold);
  int64_t done = 0;
  while (done < run.count) {
    const uint64_t element = run.first_element + static_cast<uint64_t>(done);
    const int64_t skip = static_cast<int64_t>(element % 4), count = std::min(kPiece - skip, run.count - done);
    philox_blocks(run.seed, run.stream, run.step, element / 4, ceil_div(skip + count, 4), words);
    const float* source = run.source + done;
    float* target = run.target + done;
    int64_t k = 0;
    for (; k + lanes <= count; k += lanes) {
      const auto dropped = hn::RebindMask(d, hn::Lt(hn::LoadU(du, words + skip + k), threshold));
      const auto value = hn::IfThenZeroElse(dropped, hn::Div(hn::LoadU(d, source + k), keep));
      hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, target + k), value) : value, d, target + k);
    }
    for (; k < count; ++k) {
      const float value = words[skip + k] < run.threshold ? 0.0f : source[k] / run.keep_probability;
      target[k] = kAdd ? target[k] + value : value;
    }
    done += count;
  }
}

void drop_forward(const DropoutRun& run) { drop<false>(run); }
void drop_backward(const DropoutRun& run) { drop<true>(run); }

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(drop_forward);
HWY_EXPORT(drop_backward);

constexpr int64_t kChunk = 16384;  // elements of a work item: some 10 us, several times what handing it to a second thread costs

template <class Run>
void run_dropout(const duet_context& context, const Dropout& dropout, Matrix<const float> source, Matrix<float> target, Run drop) {
  // A float below 1 is at most 1 - 2^-24, so the threshold fits 32 bits.
  const DropoutRun whole{dropout.seed,
                         0,
                         dropout.stream,
                         static_cast<uint32_t>(dropout.step[0]),
                         static_cast<uint32_t>(coin_threshold(dropout.drop_probability)),
                         1.0f - dropout.drop_probability,
                         nullptr,
                         nullptr,
                         0};
  for_each_run(context, source.rows, source.columns, contiguous(source) && contiguous(target), kChunk, [&](int64_t i, int64_t j, int64_t count) {
    DropoutRun run = whole;
    run.first_element = static_cast<uint64_t>(dropout.first_row + i) * static_cast<uint64_t>(source.columns) + static_cast<uint64_t>(j);
    run.source = source.row(i) + j;
    run.target = target.row(i) + j;
    run.count = count;
    drop(run);
  });
}
}  // namespace

void dropout_forward(const duet_context& context, const Dropout& dropout, Matrix<const float> x, Matrix<float> outputs) {
  run_dropout(context, dropout, x, outputs, HWY_DYNAMIC_DISPATCH(drop_forward));
}

void dropout_backward(const duet_context& context, const Dropout& dropout, Matrix<const float> grad_outputs, Matrix<float> grad_x) {
  run_dropout(context, dropout, grad_outputs, grad_x, HWY_DYNAMIC_DISPATCH(drop_backward));
}

}  // namespace duet::cpu
#endif
