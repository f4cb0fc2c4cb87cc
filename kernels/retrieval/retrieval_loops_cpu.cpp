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

// AVX-512 has registers for 8 x 2 accumulators, the others for 4 x 2.
constexpr int64_t kRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

HWY_INLINE void store_scores(Lanes lanes, Vec sum, float* to) {
  const Vec number = hn::IfThenElse(hn::IsNaN(sum), hn::Set(lanes, kLastScore), sum);
  hn::StoreU(hn::Add(number, hn::Zero(lanes)), lanes, to);  // -0 + 0 = 0
}

void scores(const float* HWY_RESTRICT group, const float* HWY_RESTRICT panel, int64_t d, float* HWY_RESTRICT to, int64_t stride) {
  const Lanes lanes;
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  for (int64_t row = 0; row < kQueryGroup; row += kRows) {
    for (int64_t column = 0; column < kPanel; column += 2 * width) {
      Vec left[kRows], right[kRows];
      for (int64_t r = 0; r < kRows; ++r) left[r] = right[r] = hn::Zero(lanes);
      const float *query = group + row, *item = panel + column;
      for (int64_t k = 0; k < d; ++k, query += kQueryGroup, item += kPanel) {
        const Vec item_left = hn::LoadU(lanes, item), item_right = hn::LoadU(lanes, item + width);
        HWY_UNROLL(kRows) for (int64_t r = 0; r < kRows; ++r) {
          const Vec q = hn::Set(lanes, query[r]);
          left[r] = hn::MulAdd(q, item_left, left[r]);
          right[r] = hn::MulAdd(q, item_right, right[r]);
        }
      }
      for (int64_t r = 0; r < kRows; ++r) {
        store_scores(lanes, left[r], to + (row + r) * stride + column);
        store_scores(lanes, right[r], to + (row + r) * stride + column + width);
      }
    }
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
HWY_EXPORT(scores);
HWY_EXPORT(bins);
HWY_EXPORT(below_own);
HWY_EXPORT(own_rank);

void retrieval_scores(const float* group, const float* panel, int64_t d, float* to, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(scores)(group, panel, d, to, stride);
}
void retrieval_bins(const float* scores, int64_t count, float top, float scale, float limit, int32_t* to) {
  HWY_DYNAMIC_DISPATCH(bins)(scores, count, top, scale, limit, to);
}
BelowOwn retrieval_below_own(const float* scores, const int32_t* labels, int64_t count, int32_t label, float own_score) {
  return HWY_DYNAMIC_DISPATCH(below_own)(scores, labels, count, label, own_score);
}
int64_t retrieval_own_rank(const float* scores, int64_t count, int64_t own) { return HWY_DYNAMIC_DISPATCH(own_rank)(scores, count, own); }

}  // namespace duet::cpu
#endif
