#include <hwy/contrib/sort/vqsort.h>

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/retrieval/retrieval_loops.h"
#include "kernels/retrieval/retrieval_ranks.h"

namespace duet::cpu {
namespace {

// Below this range of scores the scale would overflow or separate nothing; one bin and a binary search serve.
constexpr float kSmallestRange = 1e-6f;
// A table of 16384 starts takes 32 KiB.
constexpr int64_t kFewestBins = 256, kMostBins = 16384;
// Where a bin holds more, VQSort is faster than exchanges of neighbours over all.
constexpr int32_t kMostPasses = 16;

int64_t bins_for(int64_t members) {
  int64_t count = kFewestBins;
  while (count < 8 * members && count < kMostBins) count *= 2;
  return count;
}

}  // namespace

TieGroup Ranks::group(int64_t r) const {
  int64_t begin = r, end = r + 1;
  while (begin > 0 && scores[begin - 1] == scores[r]) --begin;
  while (end < size && scores[end] == scores[r]) ++end;
  const int64_t others = tied ? tied[begin] : 0;
  return {ranks[begin] - others, begin, end - begin + others, end - begin};
}

Ranker::Ranker(Workspace& workspace, int64_t gallery)
    : scores_(workspace.take<float>(gallery + kPadding)),
      bins_(workspace.take<int32_t>(gallery + kPadding)),
      numbers_(workspace.take<int32_t>(gallery + kPadding)),
      starts_(workspace.take<int32_t>(kMostBins + 1)),
      counts_(workspace.take<int32_t>(gallery + 1)),
      tied_(workspace.take<int32_t>(gallery)) {}

Ranks Ranker::ranks(const float* scores, int64_t count, int64_t first, int64_t last) const {
  const int64_t size = last - first, bins = bins_for(size);
  const auto [lowest, top] = retrieval_range(scores + first, size);
  const float range = top - lowest, limit = static_cast<float>(bins - 2);
  const RelevantScores relevant{
      scores_, size, {top, range > kSmallestRange ? (limit - 1) / range : 0, limit}, bins, starts_};
  if (retrieval_sort(scores + first, relevant, kMostPasses, bins_, numbers_) > kMostPasses) {
    // As integers: VQSort of Highway 1.0.3 misplaces some floats among many equal ones on AVX2 and SSE4.
    auto* const keys = reinterpret_cast<uint32_t*>(bins_);
    std::transform(scores_, scores_ + size, keys, score_key);
    hwy::Sorter()(keys, static_cast<size_t>(size), hwy::SortAscending());
    std::transform(keys, keys + size, scores_, score_of_key);
  }
  std::fill_n(counts_, size + 1, 0);
  bool any_tied = false;
  retrieval_count(scores, first, relevant, counts_, tied_, &any_tied);
  retrieval_count(scores + last, count - last, relevant, counts_, tied_, &any_tied);
  int32_t ahead = 0;  // counts_[r] items lie between relevant item r - 1 and relevant item r
  for (int64_t r = 0; r < size; ++r) {
    ahead += counts_[r];
    counts_[r] = ahead + static_cast<int32_t>(r);
  }
  return {size, counts_, any_tied ? tied_ : nullptr, scores_};
}

}  // namespace duet::cpu
