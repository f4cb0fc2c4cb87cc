#include <hwy/contrib/sort/vqsort.h>

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/retrieval/retrieval_loops.h"
#include "kernels/retrieval/retrieval_ranks.h"

namespace duet::cpu {
namespace {

// Below this range of scores the scale would overflow or tell nothing; one bin and a binary search do.
constexpr float kSmallestRange = 1e-6f;
// The tables of 16384 bins, 128 KiB, stay in L2.
constexpr int64_t kFewestBins = 256, kMostBins = 16384;
// Items whose bins and keys are found at once: 8 bytes each, in L1.
constexpr int64_t kChunk = 512;
// Relevant items of a bin that an item is compared with all at once: a loop that ends where the item's place is would mispredict.
constexpr int32_t kFew = 2;

int64_t bins_for(int64_t members) {
  int64_t count = kFewestBins;
  while (count < 8 * members && count < kMostBins) count *= 2;
  return count;
}

}  // namespace

TieGroup Ranks::group(int64_t r) const {
  int64_t begin = r, end = r + 1;
  while (begin > 0 && keys[begin - 1] == keys[r]) --begin;
  while (end < size && keys[end] == keys[r]) ++end;
  const int64_t others = tied ? tied[begin] : 0;
  return {ranks[begin] - others, begin, end - begin + others, end - begin};
}

Ranker::Ranker(Workspace& workspace, int64_t gallery)
    : sorted_(workspace.take<uint32_t>(gallery + kFew)),
      keys_(workspace.take<uint32_t>(std::max(gallery, kChunk) + kPadding)),
      bins_(workspace.take<int32_t>(std::max(gallery, kChunk) + kPadding)),
      starts_(workspace.take<int32_t>(kMostBins)),
      places_(workspace.take<int32_t>(kMostBins)),
      counts_(workspace.take<int32_t>(gallery + 1)),
      tied_(workspace.take<int32_t>(gallery)) {}

// sorted_ = the members' keys, ascending; starts_ and places_ = where each bin's begin and end in it, the start of a crowded bin inverted.
void Ranker::sort_members(const float* scores, int64_t size, const ScoreBins& cut, int64_t bins) const {
  retrieval_bins(scores, size, cut, bins_, keys_);
  std::fill_n(places_, bins, 0);
  for (int64_t r = 0; r < size; ++r) ++places_[bins_[r]];
  int32_t start = 0;
  const auto begin = [&](int64_t b, int32_t at, int32_t held) {
    places_[b] = at;
    starts_[b] = at ^ -static_cast<int32_t>(held > kFew);
  };
  for (int64_t b = 0; b < bins; b += 4) {  // one addition in four waits for the last
    const int32_t held[] = {places_[b], places_[b + 1], places_[b + 2], places_[b + 3]};
    const int32_t two = held[0] + held[1], three = two + held[2];
    begin(b, start, held[0]);
    begin(b + 1, start + held[0], held[1]);
    begin(b + 2, start + two, held[2]);
    begin(b + 3, start + three, held[3]);
    start += three + held[3];
  }
  for (int64_t r = 0; r < size; ++r) sorted_[places_[bins_[r]]++] = keys_[r];
  std::fill_n(sorted_ + size, kFew, UINT32_MAX);  // no score's key
  // What shares a bin is put right by insertion, and by VQSort where scores crowd into few bins.
  int64_t moves_left = 8 * size;
  for (int64_t r = 1; r < size; ++r) {
    const uint32_t moved = sorted_[r];
    int64_t to = r;
    for (; to > 0 && sorted_[to - 1] > moved; --to) sorted_[to] = sorted_[to - 1];
    sorted_[to] = moved;
    moves_left -= r - to;
    if (moves_left < 0) return hwy::Sorter()(sorted_, static_cast<size_t>(size), hwy::SortAscending());
  }
}

[[gnu::noinline]] int32_t Ranker::search(uint32_t key, int32_t start, int32_t bin) const {
  return static_cast<int32_t>(std::lower_bound(sorted_ + start, sorted_ + places_[bin], key) - sorted_);
}

// Counts each of the items in its gap. Gaps are found first and counted then: a count whose place is known late would hold up the next ones.
void Ranker::count_gaps(const float* scores, int64_t count, const ScoreBins& cut, int64_t members, bool& any_tied) const {
  const uint32_t* const __restrict sorted = sorted_;
  const uint32_t* const __restrict keys = keys_;
  const int32_t* const __restrict starts = starts_;
  int32_t* const __restrict counts = counts_, * const __restrict bins = bins_;
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t size = std::min(kChunk, count - first);
    retrieval_bins(scores + first, size, cut, bins_, keys_);
    int32_t crowded[kChunk], in_crowd = 0;
    for (int64_t k = 0; k < size; ++k) {
      const int32_t at = starts[bins[k]];
      if (at < 0) [[unlikely]]
        crowded[in_crowd++] = static_cast<int32_t>(k);
      else  // past the bin's end the keys are larger
        bins[k] = at + (sorted[at] < keys[k]) + (sorted[at + 1] < keys[k]);
    }
    for (int32_t c = 0; c < in_crowd; ++c) {
      const int32_t k = crowded[c];
      bins[k] = search(keys[k], ~starts[bins[k]], bins[k]);
    }
    int64_t tied = 0;
    for (int64_t k = 0; k < size; ++k) {
      tied += sorted[bins[k]] == keys[k];
      ++counts[bins[k]];
    }
    if (tied == 0) continue;
    if (!any_tied) std::fill_n(tied_, members, 0);
    any_tied = true;
    for (int64_t k = 0; k < size; ++k)
      if (sorted[bins[k]] == keys[k]) ++tied_[bins[k]];
  }
}

Ranks Ranker::ranks(const float* scores, int64_t count, int64_t first, int64_t last) const {
  const int64_t size = last - first, bins = bins_for(size);
  const auto [lowest, top] = retrieval_range(scores + first, size);
  const float range = top - lowest, limit = static_cast<float>(bins - 2);
  const ScoreBins cut{top, range > kSmallestRange ? (limit - 1) / range : 0, limit};
  sort_members(scores + first, size, cut, bins);
  std::fill_n(counts_, size + 1, 0);
  bool any_tied = false;
  count_gaps(scores, first, cut, size, any_tied);
  count_gaps(scores + last, count - last, cut, size, any_tied);
  int32_t ahead = 0;  // counts_[r] items lie between relevant item r - 1 and relevant item r
  for (int64_t r = 0; r < size; ++r) {
    ahead += counts_[r];
    counts_[r] = ahead++;
  }
  return {size, counts_, any_tied ? tied_ : nullptr, sorted_};
}

}  // namespace duet::cpu
