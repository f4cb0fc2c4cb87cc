#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/retrieval/retrieval_loops.h"
#include "kernels/retrieval/retrieval_ranks.h"

namespace duet::cpu {
namespace {

// Below this range of scores the scale would overflow or tell nothing; one bin and a binary search do.
constexpr float kSmallestRange = 1e-6f;
// Relevant items of a bin that are compared all at once: a loop that ends where the item's place is mispredicts on most items.
constexpr int64_t kFewMembers = 4;

int64_t bins_for(int64_t members) {
  int64_t count = 256;
  while (count < 4 * members && count < Ranker::kMostBins) count *= 2;
  return count;
}

}  // namespace

Ranker::Ranker(Workspace& workspace, int64_t gallery, int64_t padded_gallery)
    : gallery_(gallery),
      padded_(padded_gallery),
      sorted_(workspace.take<uint64_t>(gallery + kFewMembers)),
      member_scores_(workspace.take<float>(padded_gallery)),
      bins_(workspace.take<int32_t>(padded_gallery)),
      open_(workspace.take<int32_t>(gallery + 1)),
      counts_(workspace.take<int32_t>(gallery + 1)),
      starts_(workspace.take<int32_t>(kMostBins + 1)),
      histogram_(workspace.take<int32_t>(kMostBins)),
      occupied_(workspace.take<uint8_t>(kMostBins)) {}

// Sorts the members' keys: into their bins, then within each. bins_ holds the members' bins.
void Ranker::sort_members(const float* scores, const int32_t* members, int64_t size, int64_t bin_count) const {
  std::fill_n(starts_, bin_count + 1, 0);
  for (int64_t r = 0; r < size; ++r) ++starts_[bins_[r] + 1];
  for (int64_t b = 0; b < bin_count; ++b) {
    occupied_[b] = starts_[b + 1] > 0;
    starts_[b + 1] += starts_[b];
  }
  std::fill_n(sorted_ + size, kFewMembers, UINT64_MAX);
  std::copy_n(starts_, bin_count, histogram_);  // where the next member of each bin goes
  for (int64_t r = 0; r < size; ++r) sorted_[histogram_[bins_[r]]++] = rank_key(scores[members[r]], members[r]);
  for (int64_t b = 0; b < bin_count; ++b)
    if (starts_[b + 1] - starts_[b] > 1) std::sort(sorted_ + starts_[b], sorted_ + starts_[b + 1]);
}

const int32_t* Ranker::ranks(const float* scores, const int32_t* members, int64_t size) const {
  float top = scores[members[0]], lowest = top;
  for (int64_t r = 0; r < size; ++r) {
    const float score = scores[members[r]];
    member_scores_[r] = score;
    top = std::max(top, score);
    lowest = std::min(lowest, score);
  }
  const float range = top - lowest;
  const int64_t bin_count = bins_for(size);
  const float limit = static_cast<float>(bin_count - 2), scale = range > kSmallestRange ? (limit - 1) / range : 0;
  const int64_t padded_size = ceil_div(size, kPanel) * kPanel;
  std::fill(member_scores_ + size, member_scores_ + padded_size, top);
  retrieval_bins(member_scores_, padded_size, top, scale, limit, bins_);
  sort_members(scores, members, size, bin_count);

  retrieval_bins(scores, padded_, top, scale, limit, bins_);
  std::fill_n(histogram_, bin_count, 0);
  int64_t open = 0;
  for (int64_t j = 0; j < gallery_; ++j) {
    const int32_t bin = bins_[j];
    ++histogram_[bin];
    open_[open] = static_cast<int32_t>(j);
    open += occupied_[bin];
  }
  std::fill_n(counts_, size + 1, 0);
  for (int64_t b = 0; b < bin_count; ++b) counts_[starts_[b]] += histogram_[b] * (1 - occupied_[b]);
  for (int64_t o = 0; o < open; ++o) {
    const int64_t j = open_[o];
    const uint64_t key = rank_key(scores[j], j);
    const uint64_t *at = sorted_ + starts_[bins_[j]], *end = sorted_ + starts_[bins_[j] + 1];
    int64_t ahead_in_bin = 0;
    if (end - at > kFewMembers)
      at = std::lower_bound(at, end, key);
    else  // what follows the bin is behind the item, so there is nothing to branch on
      for (int64_t k = 0; k < kFewMembers; ++k) ahead_in_bin += at[k] < key;
    ++counts_[at - sorted_ + ahead_in_bin];
  }
  // counts_[r] items lie between relevant item r - 1 and relevant item r, r itself among them.
  int32_t ahead = 0;
  for (int64_t r = 0; r < size; ++r) {
    ahead += counts_[r];
    counts_[r] = ahead - 1;
  }
  return counts_;
}

}  // namespace duet::cpu
