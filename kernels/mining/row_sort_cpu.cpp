#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mining/row_sort_cpu.cpp"
#include "kernels/mining/row_sort_cpu.h"

#include <hwy/contrib/sort/vqsort.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void range_of(const float* distances, int64_t count, float* lowest, float* highest) {
  const hn::ScalableTag<float> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  *lowest = *highest = distances[0];
  int64_t j = 0;
  if (count >= lanes) {
    auto low = hn::LoadU(tag, distances), high = low;
    for (; j + lanes <= count; j += lanes) {
      const auto d = hn::LoadU(tag, distances + j);
      low = hn::Min(low, d);
      high = hn::Max(high, d);
    }
    *lowest = hn::GetLane(hn::MinOfLanes(tag, low));
    *highest = hn::GetLane(hn::MaxOfLanes(tag, high));
  }
  for (; j < count; ++j) {
    *lowest = std::min(*lowest, distances[j]);
    *highest = std::max(*highest, distances[j]);
  }
}

// Rises with the distance: a difference, a product and a truncation all do. bins has room for a whole last vector.
void bins_of(const float* distances, int64_t count, float low, float scale, int32_t* bins) {
  const hn::ScalableTag<float> tag;
  const hn::RebindToSigned<decltype(tag)> integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes)
    hn::StoreU(hn::ConvertTo(integers,
                             hn::Mul(hn::Sub(hn::LoadU(tag, distances + j), hn::Set(tag, low)), hn::Set(tag, scale))),
               integers, bins + j);
  for (; j < count; ++j) bins[j] = static_cast<int32_t>((distances[j] - low) * scale);
}

// Numbers of keys to where each bin's begin. Four at a time, so that one addition in four waits for the last; bins is a
// multiple of 4.
void starts_of(int32_t* places, int64_t bins) {
  const hn::CappedTag<int32_t, 4> tag;
  static_assert(hn::MaxLanes(tag) == 4);
  auto before = hn::Zero(tag);
  for (int64_t b = 0; b < bins; b += 4) {
    const auto counts = hn::LoadU(tag, places + b);
    const auto pairs = hn::Add(counts, hn::ShiftLeftLanes<1>(tag, counts));
    const auto sums = hn::Add(pairs, hn::ShiftLeftLanes<2>(tag, pairs));
    hn::StoreU(hn::Add(before, hn::Sub(sums, counts)), tag, places + b);
    before = hn::Add(before, hn::Broadcast<3>(sums));
  }
}

// Exchanges neighbours that stand the wrong way round, pairs of a vector at a time: first those that begin at an even
// place, then the others, twice. Puts right what shares a bin with one or two others, without a branch to mispredict.
void exchange_neighbours(uint64_t* keys, int64_t count) {
  const hn::ScalableTag<uint64_t> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int pass = 0; pass < 4; ++pass) {
    for (int64_t k = pass & 1; k + lanes <= count; k += lanes) {
      const auto here = hn::LoadU(tag, keys + k), neighbour = hn::Reverse2(tag, here);
      hn::StoreU(hn::OddEven(hn::Max(here, neighbour), hn::Min(here, neighbour)), tag, keys + k);
    }
  }
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(range_of);
HWY_EXPORT(bins_of);
HWY_EXPORT(starts_of);
HWY_EXPORT(exchange_neighbours);

constexpr int64_t kMostBins = int64_t{1} << 16;

// bins: for each key.
int64_t bins_for(int64_t count, int64_t bins) {
  return std::clamp<int64_t>(bins * ((count + 3) / 4 * 4), 4, kMostBins);
}
constexpr int64_t kBinsToSearch = 1, kBinsToSort = 2;

uint64_t key_of(const float* distances, const int32_t* columns, int64_t k) {
  return sort_key(distances[k], columns ? columns[k] : k);
}

// Keys are all different, so the order does not depend on the pivots that VQSort draws. Its Sorter holds no memory on
// fixed-size vectors.
void sort_by_comparison(uint64_t* keys, int64_t count) {
  hwy::Sorter()(keys, static_cast<size_t>(count), hwy::SortAscending());
}

}  // namespace

RowSorter::RowSorter(Workspace& workspace, int64_t size)
    : bins_(workspace.take<int32_t>(size)), places_(workspace.take<int32_t>(bins_for(size, kBinsToSort))) {}

bool RowSorter::deal(const float* distances, const int32_t* columns, int64_t count, uint64_t* keys,
                     DealtKeys* dealt) const {
  std::fill_n(keys + count, kPadding, kNoKey);
  return deal_into(bins_for(count, kBinsToSearch), distances, columns, count, keys, dealt);
}

bool RowSorter::deal_into(int64_t bins, const float* distances, const int32_t* columns, int64_t count, uint64_t* keys,
                          DealtKeys* dealt) const {
  float low, high;
  HWY_DYNAMIC_DISPATCH(range_of)(distances, count, &low, &high);
  constexpr float kSmallestRange = 1e-30f;  // below, and from infinity on, bins tell nothing
  const float range = high - low;
  if (!(range > kSmallestRange && range < INFINITY)) return false;
  const float scale = static_cast<float>(bins - 1) / range;
  HWY_DYNAMIC_DISPATCH(bins_of)(distances, count, low, scale, bins_);
  std::fill_n(places_, bins, 0);
  for (int64_t k = 0; k < count; ++k) ++places_[bins_[k]];
  HWY_DYNAMIC_DISPATCH(starts_of)(places_, bins);
  for (int64_t k = 0; k < count; ++k) keys[places_[bins_[k]]++] = key_of(distances, columns, k);
  *dealt = {keys, count, low, high, scale, places_};
  return true;
}

void RowSorter::sort(const float* distances, const int32_t* columns, int64_t count, uint64_t* sorted) const {
  if (count == 0) return;
  DealtKeys dealt;
  if (!deal_into(bins_for(count, kBinsToSort), distances, columns, count, sorted, &dealt)) {
    for (int64_t k = 0; k < count; ++k) sorted[k] = key_of(distances, columns, k);
    return sort_by_comparison(sorted, count);
  }
  HWY_DYNAMIC_DISPATCH(exchange_neighbours)(sorted, count);
  int64_t moves_left = 8 * count;
  uint64_t largest = sorted[0];  // of those before
  for (int64_t r = 1; r < count; ++r) {
    const uint64_t moved = sorted[r];
    if (moved > largest) {
      largest = moved;
      continue;
    }
    int64_t to = r;
    for (; to > 0 && sorted[to - 1] > moved; --to) sorted[to] = sorted[to - 1];
    sorted[to] = moved;
    moves_left -= r - to;
    if (moves_left < 0) return sort_by_comparison(sorted, count);
  }
}

uint64_t nearest_beyond(const DealtKeys& dealt, float d, int64_t& steps) {
  const uint64_t reached = sort_key(d, 0xFFFFFFFF);
  const int64_t bin = d < dealt.low ? 0 : dealt.bin_of(d);
  const int64_t start = bin > 0 ? dealt.ends[bin - 1] : 0;
  int64_t k = start, end = dealt.ends[bin];
  uint64_t best = kNoKey;
  for (; k < end; ++k) best = dealt.keys[k] > reached ? std::min(best, dealt.keys[k]) : best;
  if (best == kNoKey) {  // all of the next bin that holds a key are beyond
    end = dealt.ends[dealt.bin_of(key_distance(dealt.keys[k]))];
    for (; k < end; ++k) best = std::min(best, dealt.keys[k]);
  }
  steps -= end - start;
  return best;
}

}  // namespace duet::cpu
#endif
