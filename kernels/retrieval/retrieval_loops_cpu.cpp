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
  const Vec last = hn::Set(lanes, kLastScore);
  for (int64_t j = 0; j < count; j += static_cast<int64_t>(hn::Lanes(lanes))) {
    const Vec score = hn::LoadU(lanes, scores + j);
    hn::StoreU(hn::Add(hn::IfThenElse(hn::IsNaN(score), last, score), hn::Zero(lanes)), lanes, scores + j);  // -0 + 0 = 0
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

void bins(const float* HWY_RESTRICT scores, const int32_t* HWY_RESTRICT indices, int64_t count, const ScoreBins& cut, int32_t* HWY_RESTRICT to,
          uint64_t* HWY_RESTRICT keys) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> integers;
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  const Vec top = hn::Set(lanes, cut.top), scale = hn::Set(lanes, cut.scale), limit = hn::Set(lanes, cut.limit), one = hn::Set(lanes, 1.0f);
  const auto magnitude = hn::Set(integers, 0x7FFFFFFF);
  for (int64_t j = 0; j < count; j += width) {
    const Vec score = hn::LoadU(lanes, scores + j);
    const Vec below = hn::Mul(hn::Sub(top, score), scale);
    hn::StoreU(hn::ConvertTo(integers, hn::Add(hn::Min(hn::Max(below, hn::Neg(one)), limit), one)), integers, to + j);
    // rank_key: a negative score's bits rise as it falls, the others' are turned over. Low half first, as in memory.
    const auto bits = hn::BitCast(integers, score);
    const auto falling = hn::Xor(bits, hn::AndNot(hn::ShiftRight<31>(bits), magnitude));
    hn::StoreInterleaved2(hn::LoadU(integers, indices + j), falling, integers, reinterpret_cast<int32_t*>(keys + j));
  }
}

// Plain loops that the compiler turns into vectors of each target.
BelowOwn below_own(const float* HWY_RESTRICT scores, int64_t count, float own_score) {
  int32_t below = 0, tied = 0;
  for (int64_t j = 0; j < count; ++j) {
    below += scores[j] < own_score;
    tied += scores[j] == own_score;
  }
  return {below, tied};
}

int64_t own_rank(const float* HWY_RESTRICT scores, const int32_t* HWY_RESTRICT indices, int64_t count, int64_t own) {
  const float own_score = scores[own];
  const int32_t index = indices[own];
  int32_t ahead = 0;
  for (int64_t j = 0; j < count; ++j) ahead += (scores[j] > own_score) | ((scores[j] == own_score) & (indices[j] < index));
  return ahead;
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
HWY_EXPORT(clean);
HWY_EXPORT(range);
HWY_EXPORT(bins);
HWY_EXPORT(below_own);
HWY_EXPORT(own_rank);

void retrieval_clean(float* scores, int64_t count) { HWY_DYNAMIC_DISPATCH(clean)(scores, count); }
ScoreRange retrieval_range(const float* scores, int64_t count) { return HWY_DYNAMIC_DISPATCH(range)(scores, count); }
void retrieval_bins(const float* scores, const int32_t* indices, int64_t count, const ScoreBins& cut, int32_t* to, uint64_t* keys) {
  HWY_DYNAMIC_DISPATCH(bins)(scores, indices, count, cut, to, keys);
}
BelowOwn retrieval_below_own(const float* scores, int64_t count, float own_score) {
  return HWY_DYNAMIC_DISPATCH(below_own)(scores, count, own_score);
}
int64_t retrieval_own_rank(const float* scores, const int32_t* indices, int64_t count, int64_t own) {
  return HWY_DYNAMIC_DISPATCH(own_rank)(scores, indices, count, own);
}

}  // namespace duet::cpu
#endif
