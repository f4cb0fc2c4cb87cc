#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/retrieval/retrieval_loops_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <functional>

#include "kernels/retrieval/retrieval_loops.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::CappedTag<float, 16>;
using Vec = hn::Vec<Lanes>;
using Integers = hn::Vec<hn::RebindToSigned<Lanes>>;
using HalfOfIntegers = hn::Vec<hn::Half<hn::RebindToSigned<Lanes>>>;

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

// The bin of each score: a rounded number, which the addition of 2^23 leaves in the low bits of a float.
class Binning {
 public:
  explicit Binning(const ScoreBins& cut)
      : top_(hn::Set(Lanes(), cut.top)), scale_(hn::Set(Lanes(), cut.scale)), limit_(hn::Set(Lanes(), cut.limit)) {}

  HWY_INLINE Integers operator()(Vec score) const {
    const hn::RebindToSigned<Lanes> integers;
    const Vec below = hn::Min(hn::Max(hn::Mul(hn::Sub(top_, score), scale_), hn::Set(Lanes(), -1.0f)), limit_);
    const Vec number = hn::Add(below, hn::Set(Lanes(), 8388609.0f));               // 2^23 + 1
    return hn::Sub(hn::BitCast(integers, number), hn::Set(integers, 0x4B000000));  // less the bits of 2^23
  }

 private:
  Vec top_, scale_, limit_;
};

template <class Start>
HWY_INLINE Integers load_starts(const Start* starts, Integers bin) {
  const hn::RebindToSigned<Lanes> integers;
  if constexpr (sizeof(Start) == sizeof(int32_t)) {
    return hn::GatherIndex(integers, starts, bin);
  } else {  // with the next one in the upper half
    const auto two = hn::GatherOffset(integers, reinterpret_cast<const int32_t*>(starts), hn::ShiftLeft<1>(bin));
    return hn::ShiftRight<16>(hn::ShiftLeft<16>(two));
  }
}

// Turns starts[b] from the number of relevant items in bin b into the place where they start. Returns the largest of
// these numbers.
template <class Start>
int32_t find_starts(Start* HWY_RESTRICT starts, int64_t bins) {
  const hn::Repartition<Start, Lanes> tag;
  const hn::RebindToSigned<Lanes> integers;
  constexpr bool kNarrow = sizeof(Start) == 2;
  const auto blocks = static_cast<int64_t>(hn::Lanes(integers)) / 4;
  // Sums are carried from block to block of 16 bytes: a block adds the sum at the end of the block before it, then that
  // of the block two before.
  HWY_ALIGN int32_t last[16], one_before[16], two_before[16];
  for (int32_t l = 0; l < blocks * 4; ++l) {
    last[l] = static_cast<int32_t>(blocks) * 4 - 1;
    one_before[l] = std::max(l - 4, 0);
    two_before[l] = std::max(l - 8, 0);
  }
  const auto to_last = hn::SetTableIndices(integers, last);
  const auto to_one = hn::SetTableIndices(integers, one_before), to_two = hn::SetTableIndices(integers, two_before);
  const auto lane = hn::Iota(integers, 0);
  const auto past_one = hn::Gt(lane, hn::Set(integers, 3)), past_two = hn::Gt(lane, hn::Set(integers, 7));
  const auto ends = [&](auto sum) { return hn::BitCast(integers, hn::Broadcast < kNarrow ? 7 : 3 > (sum)); };
  const auto few = hn::Set(tag, kFew);
  auto ahead = hn::Zero(tag), most = hn::Zero(tag);
  for (int64_t b = 0; b < bins; b += static_cast<int64_t>(hn::Lanes(tag))) {
    const auto held = hn::LoadU(tag, starts + b);
    auto sum = hn::Add(held, hn::ShiftLeftLanes<1>(tag, held));
    sum = hn::Add(sum, hn::ShiftLeftLanes<2>(tag, sum));
    if constexpr (kNarrow) sum = hn::Add(sum, hn::ShiftLeftLanes<4>(tag, sum));
    if (blocks > 1)
      sum = hn::Add(sum, hn::BitCast(tag, hn::IfThenElseZero(past_one, hn::TableLookupLanes(ends(sum), to_one))));
    if (blocks > 2)
      sum = hn::Add(sum, hn::BitCast(tag, hn::IfThenElseZero(past_two, hn::TableLookupLanes(ends(sum), to_two))));
    const auto start = hn::Add(ahead, hn::Sub(sum, held));
    hn::StoreU(hn::IfThenElse(hn::Gt(held, few), hn::Not(start), start), tag, starts + b);
    ahead = hn::Add(ahead, hn::BitCast(tag, hn::TableLookupLanes(ends(sum), to_last)));
    most = hn::Max(most, held);
  }
  HWY_ALIGN Start each[32];
  hn::Store(most, tag, each);
  return *std::max_element(each, each + hn::Lanes(tag));
}

// Sorts by exchanging neighbours, with pairs from even and from odd places in turn. `passes` items in any order need as
// many passes.
void settle(float* HWY_RESTRICT scores, int64_t count, int32_t passes) {
  const Lanes lanes;
  for (int32_t pass = 0; pass < passes; ++pass)
    for (int64_t j = pass % 2; j < count; j += static_cast<int64_t>(hn::Lanes(lanes))) {
      const Vec score = hn::LoadU(lanes, scores + j), other = hn::Shuffle2301(score);
      hn::StoreU(hn::OddEven(hn::Min(score, other), hn::Max(score, other)), lanes, scores + j);
    }
}

template <class Start>
int32_t sort_to(const float* HWY_RESTRICT scores, const RelevantScores& relevant, int32_t most,
                int32_t* HWY_RESTRICT bins, int32_t* HWY_RESTRICT numbers) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> integers;
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  Start* const HWY_RESTRICT starts = static_cast<Start*>(relevant.starts);
  float* const HWY_RESTRICT to = relevant.scores;
  const Binning binning(relevant.cut);
  for (int64_t r = 0; r < relevant.size; r += width)
    hn::StoreU(binning(hn::LoadU(lanes, scores + r)), integers, bins + r);
  std::fill_n(starts, relevant.bins + 1, Start{0});
  for (int64_t r = 0; r < relevant.size; ++r) numbers[r] = starts[bins[r]]++;
  const int32_t fullest = find_starts(starts, relevant.bins);
  for (int64_t r = 0; r < relevant.size; r += width) {
    const auto start = load_starts(starts, hn::LoadU(integers, bins + r));
    hn::StoreU(hn::Add(hn::Xor(start, hn::ShiftRight<31>(start)), hn::LoadU(integers, numbers + r)), integers,
               bins + r);
  }
  for (int64_t r = 0; r < relevant.size; ++r) to[bins[r]] = scores[r];
  std::fill_n(to + relevant.size, kPadding, 2 * kLastScore);
  if (fullest > 1 && fullest <= most) settle(to, relevant.size, fullest);
  return fullest;
}

int32_t sort(const float* scores, const RelevantScores& relevant, int32_t most, int32_t* bins, int32_t* numbers) {
  return relevant.narrow() ? sort_to<int16_t>(scores, relevant, most, bins, numbers)
                           : sort_to<int32_t>(scores, relevant, most, bins, numbers);
}

// The number of relevant items that score above an item; the first `from` are known to.
HWY_INLINE int32_t count_above(const RelevantScores& relevant, float score, int64_t from) {
  constexpr int64_t kSteps = 8;  // steps; a binary search mispredicts more often than a walk of so many
  const float *const all = relevant.scores, *const end = all + relevant.size;
  const int64_t far = std::min(from + kSteps, relevant.size);
  while (from < far && all[from] > score) ++from;
  if (from == far) from = std::lower_bound(all + from, end, score, std::greater<float>()) - all;
  return static_cast<int32_t>(from);
}

// One loop for each table, because in a shared loop the loads of one table would wait for those of the other, and few
// would be in flight.
template <class Start>
void count_to(const float* HWY_RESTRICT scores, int64_t count, const RelevantScores& relevant,
              int32_t* HWY_RESTRICT counts, int32_t* tied, bool* any_tied) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> integers;
  const hn::Repartition<int64_t, Lanes> pairs;
  constexpr int64_t kChunk = 512;
  const auto width = static_cast<int64_t>(hn::Lanes(lanes));
  const Binning binning(relevant.cut);
  const float* const HWY_RESTRICT best = relevant.scores;
  const Start* const HWY_RESTRICT starts = static_cast<const Start*>(relevant.starts);
  HWY_ALIGN int32_t above[kChunk + 16];  // an item's start, then its number of relevant items above it
  int32_t crowded[kChunk];               // the first of each vector that has an item of a crowded bin
  for (int64_t from = 0; from < count; from += kChunk) {
    const int64_t size = std::min(kChunk, count - from);
    for (int64_t k = 0; k < size; k += width)
      hn::Store(load_starts(starts, binning(hn::LoadU(lanes, scores + from + k))), integers, above + k);
    auto tie = hn::Zero(integers);
    int64_t in_crowd = 0;
    for (int64_t k = 0; k < size; k += width) {
      const Vec score = hn::LoadU(lanes, scores + from + k);
      const auto start = hn::Load(integers, above + k);
      const auto at = hn::Max(start, hn::Zero(integers));
      const auto load = [&](HalfOfIntegers places) {  // loads the score at each place and the next one
        const auto bytes = hn::ShiftLeft<2>(hn::PromoteTo(pairs, places));
        return hn::BitCast(lanes, hn::GatherOffset(pairs, reinterpret_cast<const int64_t*>(best), bytes));
      };
      const Vec low = load(hn::LowerHalf(at)), high = load(hn::UpperHalf(hn::Half<hn::RebindToSigned<Lanes>>(), at));
      const Vec first = hn::ConcatEven(lanes, high, low), second = hn::ConcatOdd(lanes, high, low);
      // A mask as a number is -1. Past the bin's end the relevant items score lower.
      const auto number = [&](auto mask) { return hn::BitCast(integers, hn::VecFromMask(lanes, mask)); };
      const auto more = hn::Add(number(hn::Gt(first, score)), number(hn::Gt(second, score)));
      tie = hn::Or(tie, hn::Or(number(hn::Eq(first, score)), number(hn::Eq(second, score))));
      const auto in = hn::Lt(start, hn::Zero(integers));
      hn::Store(hn::IfThenElse(in, start, hn::Sub(at, more)), integers, above + k);
      crowded[in_crowd] = static_cast<int32_t>(k);
      in_crowd += !hn::AllFalse(integers, in);
    }
    bool any = !hn::AllTrue(integers, hn::Eq(tie, hn::Zero(integers)));
    for (int64_t c = 0; c < in_crowd; ++c)
      for (int64_t k = crowded[c]; k < crowded[c] + width; ++k) {
        if (above[k] >= 0) continue;
        const float score = scores[from + k];
        above[k] = count_above(relevant, score, ~above[k]);
        any |= best[above[k]] == score;
      }
#pragma GCC unroll 8
    for (int64_t k = 0; k < size; ++k) ++counts[above[k]];
    if (!any) continue;
    for (int64_t k = 0; k < size; ++k) {
      if (best[above[k]] != scores[from + k]) continue;
      if (!*any_tied) std::fill_n(tied, relevant.size, 0);
      *any_tied = true;
      ++tied[above[k]];
    }
  }
}

void count_items(const float* scores, int64_t count, const RelevantScores& relevant, int32_t* counts, int32_t* tied,
                 bool* any_tied) {
  relevant.narrow() ? count_to<int16_t>(scores, count, relevant, counts, tied, any_tied)
                    : count_to<int32_t>(scores, count, relevant, counts, tied, any_tied);
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
HWY_EXPORT(sort);
HWY_EXPORT(count_items);
HWY_EXPORT(below);

void retrieval_clean(float* scores, int64_t count) { HWY_DYNAMIC_DISPATCH(clean)(scores, count); }
ScoreRange retrieval_range(const float* scores, int64_t count) { return HWY_DYNAMIC_DISPATCH(range)(scores, count); }
int32_t retrieval_sort(const float* scores, const RelevantScores& relevant, int32_t most, int32_t* bins,
                       int32_t* numbers) {
  return HWY_DYNAMIC_DISPATCH(sort)(scores, relevant, most, bins, numbers);
}
void retrieval_count(const float* scores, int64_t count, const RelevantScores& relevant, int32_t* counts, int32_t* tied,
                     bool* any_tied) {
  HWY_DYNAMIC_DISPATCH(count_items)(scores, count, relevant, counts, tied, any_tied);
}
Below retrieval_below(const float* scores, int64_t count, float score) {
  return HWY_DYNAMIC_DISPATCH(below)(scores, count, score);
}

}  // namespace duet::cpu
#endif
