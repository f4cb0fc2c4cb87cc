#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/retrieval/retrieval_loops_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/retrieval/retrieval_loops.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::CappedTag<float, 16>;
using Vec = hn::Vec<Lanes>;

void clean(float* HWY_RESTRICT scores, int64_t count) {
  const Lanes lanes;
  const Vec last = hn::Set(lanes, kLastScore);
  for (int64_t j = 0; j < count; j += static_cast<int64_t>(hn::Lanes(lanes))) {
    const Vec score = hn::LoadU(lanes, scores + j);
    hn::StoreU(hn::Add(hn::IfThenElse(hn::IsNaN(score), last, score), hn::Zero(lanes)), lanes, scores + j);  // -0 + 0 = 0
  }
}

void bins(const float* HWY_RESTRICT scores, int64_t count, float top, float scale, float limit, int32_t* HWY_RESTRICT to) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> integers;
  const Vec tops = hn::Set(lanes, top), scales = hn::Set(lanes, scale), limits = hn::Set(lanes, limit), one = hn::Set(lanes, 1.0f);
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  for (int64_t j = 0; j < count; j += width) {
    const Vec below = hn::Mul(hn::Sub(tops, hn::LoadU(lanes, scores + j)), scales);
    hn::StoreU(hn::ConvertTo(integers, hn::Add(hn::Min(hn::Max(below, hn::Neg(one)), limits), one)), integers, to + j);
  }
}

// Plain loops that the compiler turns into vectors of each target.
BelowOwn below_own(const float* HWY_RESTRICT scores, const int32_t* HWY_RESTRICT labels, int64_t count, int32_t label, float own_score) {
  int32_t others = 0, below = 0, tied = 0;
  for (int64_t j = 0; j < count; ++j) {
    const int32_t other = (labels[j] >= 0) & (labels[j] != label);
    others += other;
    below += other & (scores[j] < own_score);
    tied += other & (scores[j] == own_score);
  }
  return {others, below, tied};
}

int64_t own_rank(const float* HWY_RESTRICT scores, int64_t count, int64_t own) {
  const float own_score = scores[own];
  int32_t ahead = 0;
  for (int64_t j = 0; j < count; ++j) ahead += scores[j] > own_score;
  for (int64_t j = 0; j < own; ++j) ahead += scores[j] == own_score;
  return ahead;
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
HWY_EXPORT(clean);
HWY_EXPORT(bins);
HWY_EXPORT(below_own);
HWY_EXPORT(own_rank);

void retrieval_clean(float* scores, int64_t count) { HWY_DYNAMIC_DISPATCH(clean)(scores, count); }
void retrieval_bins(const float* scores, int64_t count, float top, float scale, float limit, int32_t* to) {
  HWY_DYNAMIC_DISPATCH(bins)(scores, count, top, scale, limit, to);
}
BelowOwn retrieval_below_own(const float* scores, const int32_t* labels, int64_t count, int32_t label, float own_score) {
  return HWY_DYNAMIC_DISPATCH(below_own)(scores, labels, count, label, own_score);
}
int64_t retrieval_own_rank(const float* scores, int64_t count, int64_t own) { return HWY_DYNAMIC_DISPATCH(own_rank)(scores, count, own); }

}  // namespace duet::cpu
#endif
