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
// Items whose bins and keys are found at once: 12 bytes each, in L1.
constexpr int64_t kChunk = 512;
// Relevant items of a bin that an item is compared with all at once: a loop that ends where the item's place is would mispredict.
constexpr int32_t kFew = 2;

int64_t bins_for(int64_t members) {
  int64_t count = kFewestBins;
  while (count < 8 * members && count < kMostBins) count *= 2;
  return count;
}

}  // namespace

Ranker::Ranker(Workspace& workspace, int64_t gallery)
    : gallery_(gallery),
      sorted_(workspace.take<uint64_t>(gallery + kFew)),
      keys_(workspace.take<uint64_t>(std::max(gallery, kChunk) + kPadding)),
      bins_(workspace.take<int32_t>(std::max(gallery, kChunk) + kPadding)),
      starts_(workspace.take<int32_t>(kMostBins)),
      places_(workspace.take<int32_t>(kMostBins)),
      counts_(workspace.take<int32_t>(gallery + 1)) {}

// sorted_ = the members' keys, ascending; starts_ and places_ = where each bin's begin and end in it, the start of a crowded bin inverted.
void Ranker::sort_members(const float* scores, const int32_t* indices, int64_t size, const ScoreBins& cut, int64_t bins) const {
  retrieval_bins(scores, indices, size, cut, bins_, keys_);
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
  std::fill_n(sorted_ + size, kFew, UINT64_MAX);
  // What shares a bin is put right by insertion, and by VQSort where scores crowd into few bins.
  int64_t moves_left = 8 * size;
  for (int64_t r = 1; r < size; ++r) {
    const uint64_t moved = sorted_[r];
    int64_t to = r;
    for (; to > 0 && sorted_[to - 1] > moved; --to) sorted_[to] = sorted_[to - 1];
    sorted_[to] = moved;
    moves_left -= r - to;
    if (moves_left < 0) return hwy::Sorter()(sorted_, static_cast<size_t>(size), hwy::SortAscending());
  }
}

[[gnu::noinline]] int32_t Ranker::search(uint64_t key, int32_t start, int32_t bin) const {
  return static_cast<int32_t>(std::lower_bound(sorted_ + start, sorted_ + places_[bin], key) - sorted_);
}

// Counts each of the items in its gap. Gaps are found first and counted then: a count whose place is known late would hold up the next ones.
void Ranker::count_gaps(const float* scores, const int32_t* indices, int64_t count, const ScoreBins& cut) const {
  const uint64_t *const sorted = sorted_, *const keys = keys_;
  const int32_t* const starts = starts_;
  int32_t* const __restrict counts = counts_, * const __restrict bins = bins_;
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t size = std::min(kChunk, count - first);
    retrieval_bins(scores + first, indices + first, size, cut, bins_, keys_);
    for (int64_t k = 0; k < size; ++k) {
      const int32_t at = starts[bins[k]];
      if (at < 0) [[unlikely]]
        bins[k] = search(keys[k], ~at, bins[k]);
      else  // past the bin's end the keys are larger
        bins[k] = at + (sorted[at] < keys[k]) + (sorted[at + 1] < keys[k]);
    }
    for (int64_t k = 0; k < size; ++k) ++counts[bins[k]];
  }
}

const int32_t* Ranker::ranks(const float* scores, const int32_t* indices, int64_t first, int64_t last) const {
  const int64_t size = last - first, bins = bins_for(size);
  const auto [lowest, top] = retrieval_range(scores + first, size);
  const float range = top - lowest, limit = static_cast<float>(bins - 2);
  const ScoreBins cut{top, range > kSmallestRange ? (limit - 1) / range : 0, limit};
  sort_members(scores + first, indices + first, size, cut, bins);
  std::fill_n(counts_, size + 1, 0);
  count_gaps(scores, indices, first, cut);
  count_gaps(scores + last, indices + last, gallery_ - last, cut);
  int32_t ahead = 0;  // counts_[r] items lie between relevant item r - 1 and relevant item r
  for (int64_t r = 0; r < size; ++r) {
    ahead += counts_[r];
    counts_[r] = ahead++;
  }
  return counts_;
}

}  // namespace duet::cpu
