#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/retrieval/retrieval_loops_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/retrieval/retrieval_loops.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::CappedTag<float, 16>;
using Vec = hn::Vec<Lanes>;

void clean(float* HWY_RESTRICT scores, int64_t count) {
  const Lanes lanes;
  const Vec last = hn::Set(lanes, kLastScore), one = hn::Set(lanes, 1.0f);
  for (int64_t j = 0; j < count; j += static_cast<int64_t>(hn::Lanes(lanes))) {
    const Vec score = hn::LoadU(lanes, scores + j);
    const Vec cosine = hn::Add(hn::Min(hn::Max(score, hn::Neg(one)), one), hn::Zero(lanes));  // -0 + 0 = 0
    hn::StoreU(hn::IfThenElse(hn::IsNaN(score), last, cosine), lanes, scores + j);
  }
}

ScoreRange range(const float* HWY_RESTRICT scores, int64_t count) {
  const Lanes lanes;
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  ScoreRange range{scores[0], scores[0]};
  int64_t j = 0;
  if (count >= width) {
    Vec lowest = hn::LoadU(lanes, scores), highest = lowest;
    for (; j + width <= count; j += width) {
      const Vec score = hn::LoadU(lanes, scores + j);
      lowest = hn::Min(lowest, score);
      highest = hn::Max(highest, score);
    }
    range = {hn::GetLane(hn::MinOfLanes(lanes, lowest)), hn::GetLane(hn::MaxOfLanes(lanes, highest))};
  }
  for (; j < count; ++j) range = {std::min(range.lowest, scores[j]), std::max(range.highest, scores[j])};
  return range;
}

void bins(const float* HWY_RESTRICT scores, int64_t count, const ScoreBins& cut, int32_t* HWY_RESTRICT to, uint32_t* HWY_RESTRICT keys) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> integers;
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  const Vec top = hn::Set(lanes, cut.top), scale = hn::Set(lanes, cut.scale), limit = hn::Set(lanes, cut.limit), one = hn::Set(lanes, 1.0f);
  const auto magnitude = hn::Set(integers, 0x7FFFFFFF);
  for (int64_t j = 0; j < count; j += width) {
    const Vec score = hn::LoadU(lanes, scores + j);
    const Vec below = hn::Mul(hn::Sub(top, score), scale);
    hn::StoreU(hn::ConvertTo(integers, hn::Add(hn::Min(hn::Max(below, hn::Neg(one)), limit), one)), integers, to + j);
    // score_key: a negative score's bits rise as it falls, the others' are turned over.
    const auto bits = hn::BitCast(integers, score);
    const auto falling = hn::Xor(bits, hn::AndNot(hn::ShiftRight<31>(bits), magnitude));
    hn::StoreU(falling, integers, reinterpret_cast<int32_t*>(keys + j));
  }
}

// A plain loop that the compiler turns into vectors of each target.
Below below(const float* HWY_RESTRICT scores, int64_t count, float score) {
  int32_t below = 0, tied = 0;
  for (int64_t j = 0; j < count; ++j) {
    below += scores[j] < score;
    tied += scores[j] == score;
  }
  return {below, tied};
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
HWY_EXPORT(clean);
HWY_EXPORT(range);
HWY_EXPORT(bins);
HWY_EXPORT(below);

void retrieval_clean(float* scores, int64_t count) { HWY_DYNAMIC_DISPATCH(clean)(scores, count); }
ScoreRange retrieval_range(const float* scores, int64_t count) { return HWY_DYNAMIC_DISPATCH(range)(scores, count); }
void retrieval_bins(const float* scores, int64_t count, const ScoreBins& cut, int32_t* to, uint32_t* keys) {
  HWY_DYNAMIC_DISPATCH(bins)(scores, count, cut, to, keys);
}
Below retrieval_below(const float* scores, int64_t count, float score) { return HWY_DYNAMIC_DISPATCH(below)(scores, count, score); }

}  // namespace duet::cpu
#endif
