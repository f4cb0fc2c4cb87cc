#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mining/mining_rows.cpp"
#include "kernels/mining/mining_rows.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h
#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <limits>

#include "kernels/core/philox.h"
#include "kernels/cpu/philox-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
using IndexTag = hn::Rebind<int32_t, D>;

// The best of each lane: the farthest where kFarthest, else the nearest; NaN and -1 before the first.
template <bool kFarthest, class D>
struct Best {
  hn::Vec<D> distance;
  hn::Vec<IndexTag<D>> index;

  // No candidate is NaN.
  HWY_INLINE void update(D tag, hn::Vec<D> d, hn::Vec<IndexTag<D>> at, hn::Mask<D> candidate) {
    const auto not_better = kFarthest ? hn::Le(d, distance) : hn::Ge(d, distance);  // false against NaN: anything beats none
    const auto better = hn::AndNot(not_better, candidate);
    distance = hn::IfThenElse(better, d, distance);
    index = hn::IfThenElse(hn::RebindMask(IndexTag<D>(), better), at, index);
    (void)tag;
  }
  // Lanes into one state; equal distances to the lowest index.
  HWY_INLINE void reduce(D tag, float* best, int32_t* best_index) const {
    const auto known = hn::Set(tag, *best);  // of lower indices: only what is better counts, which after the first tiles is rare
    if (*best_index >= 0 && hn::AllFalse(tag, kFarthest ? hn::Gt(distance, known) : hn::Lt(distance, known))) return;
    HWY_ALIGN float distances[HWY_MAX_BYTES / sizeof(float)];
    HWY_ALIGN int32_t indices[HWY_MAX_BYTES / sizeof(int32_t)];
    hn::StoreU(distance, tag, distances);
    hn::StoreU(index, IndexTag<D>(), indices);
    for (size_t lane = 0; lane < hn::Lanes(tag); ++lane) {
      if (indices[lane] < 0) continue;
      const bool better = kFarthest ? distances[lane] > *best : distances[lane] < *best;
      if (*best_index < 0 || better || (distances[lane] == *best && indices[lane] < *best_index)) {
        *best = distances[lane];
        *best_index = indices[lane];
      }
    }
  }
};

template <class D>
struct RowBest {
  Best<true, D> positive;
  Best<false, D> negative;

  HWY_INLINE explicit RowBest(D tag = D())
      : positive{hn::Set(tag, std::numeric_limits<float>::quiet_NaN()), hn::Set(IndexTag<D>(), -1)}, negative{positive.distance, positive.index} {}
};

// Rows of a tile that are mined together, so that the state of the columns is loaded and stored once for all of them.
template <int R>
struct RowGroup {
  const float* distances[R];
  int32_t label[R], index[R];
  int64_t row[R];  // of the tile
};

template <int R, bool kColumns, class D>
HWY_INLINE void mine_vector(D tag, const RowGroup<R>& group, const int32_t* labels, int32_t column, int64_t j, RowBest<D>* best,
                            const HardState& columns) {
  const IndexTag<D> integers;
  const auto other = hn::LoadU(integers, labels + j), at = hn::Iota(integers, static_cast<int32_t>(column + j));
  const auto known = hn::Gt(other, hn::Set(integers, -1));
  RowBest<D> of_columns(tag);
  if constexpr (kColumns) {
    of_columns.positive = {hn::LoadU(tag, columns.positive_distance + j), hn::LoadU(integers, columns.positive + j)};
    of_columns.negative = {hn::LoadU(tag, columns.negative_distance + j), hn::LoadU(integers, columns.negative + j)};
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const auto d = hn::LoadU(tag, group.distances[r] + j);
    const auto number = hn::Eq(d, d), equal = hn::RebindMask(tag, hn::Eq(other, hn::Set(integers, group.label[r])));
    const auto same = hn::And(equal, number), different = hn::AndNot(equal, hn::And(hn::RebindMask(tag, known), number));
    best[r].positive.update(tag, d, at, same);
    best[r].negative.update(tag, d, at, different);
    if constexpr (kColumns) {
      const auto row_index = hn::Set(integers, group.index[r]);
      of_columns.positive.update(tag, d, row_index, same);
      of_columns.negative.update(tag, d, row_index, different);
    }
  }
  if constexpr (kColumns) {
    hn::StoreU(of_columns.positive.distance, tag, columns.positive_distance + j);
    hn::StoreU(of_columns.positive.index, integers, columns.positive + j);
    hn::StoreU(of_columns.negative.distance, tag, columns.negative_distance + j);
    hn::StoreU(of_columns.negative.index, integers, columns.negative + j);
  }
}

template <int R, bool kColumns>
void mine_group(const RowGroup<R>& group, int64_t count, const int32_t* labels, int32_t column, const HardState& rows, const HardState& columns) {
  const hn::ScalableTag<float> tag;
  const hn::CappedTag<float, 1> one;
  using One = hn::CappedTag<float, 1>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  RowBest<hn::ScalableTag<float>> best[R];
  RowBest<One> tail[R];
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) mine_vector<R, kColumns>(tag, group, labels, column, j, best, columns);
  for (; j < count; ++j) mine_vector<R, kColumns>(one, group, labels, column, j, tail, columns);
  for (int r = 0; r < R && rows.positive; ++r) {
    const int64_t i = group.row[r];
    best[r].positive.reduce(tag, rows.positive_distance + i, rows.positive + i);
    best[r].negative.reduce(tag, rows.negative_distance + i, rows.negative + i);
    tail[r].positive.reduce(one, rows.positive_distance + i, rows.positive + i);
    tail[r].negative.reduce(one, rows.negative_distance + i, rows.negative + i);
  }
}

template <bool kColumns>
void hard_tile_of(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row, int64_t first_column,
                  const HardState& rows, const HardState& columns) {
  constexpr int kRows = 4;
  RowGroup<kRows> group{};
  int filled = 0;
  const auto column = static_cast<int32_t>(first_column);
  for (int64_t i = 0; i < distances.rows; ++i) {
    if (labels_x[i] < 0) continue;
    group.distances[filled] = distances.row(i);
    group.label[filled] = labels_x[i];
    group.index[filled] = static_cast<int32_t>(first_row + i);
    group.row[filled] = i;
    if (++filled < kRows) continue;
    mine_group<kRows, kColumns>(group, distances.columns, labels_y, column, rows, columns);
    filled = 0;
  }
  for (int r = 0; r < filled; ++r)
    mine_group<1, kColumns>({{group.distances[r]}, {group.label[r]}, {group.index[r]}, {group.row[r]}}, distances.columns, labels_y, column, rows,
                            columns);
}

void hard_tile(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row, int64_t first_column,
               const HardState& rows, const HardState& columns) {
  if (columns.positive) return hard_tile_of<true>(distances, labels_x, labels_y, first_row, first_column, rows, columns);
  hard_tile_of<false>(distances, labels_x, labels_y, first_row, first_column, rows, columns);
}

// log w of METHOD.md 3 for every column that may be drawn, -inf for the others. Returns whether there is one.
bool log_weights(const float* euclidean, int32_t label, const int32_t* labels, int64_t m, int64_t dimension, double* out) {
  const hn::ScalableTag<double> tag;
  const hn::CappedTag<double, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const double a = 2.0 - static_cast<double>(dimension), b = 0.5 * (static_cast<double>(dimension) - 3);
  bool any = false;
  for (int64_t j = 0; j < m; ++j) {  // E, or 0 for what may not be drawn; NaN compares false
    const bool candidate = labels[j] >= 0 && labels[j] != label && euclidean[j] < 1.4f;
    out[j] = candidate ? std::max(0.5, static_cast<double>(euclidean[j])) : 0;
    any |= candidate;
  }
  const auto weigh = [&](auto t, int64_t j) {
    const auto e = hn::LoadU(t, out + j);
    const auto rest = hn::Max(hn::NegMulAdd(hn::Mul(e, hn::Set(t, 0.25)), e, hn::Set(t, 1.0)), hn::Set(t, 1e-8));
    const auto weight = hn::Sub(hn::Mul(hn::Set(t, a), hn::Log(t, hn::Max(e, hn::Set(t, 0.5)))), hn::Mul(hn::Set(t, b), hn::Log(t, rest)));
    hn::StoreU(hn::IfThenElse(hn::Gt(e, hn::Zero(t)), weight, hn::Set(t, -std::numeric_limits<double>::infinity())), t, out + j);
  };
  int64_t j = 0;
  for (; j + lanes <= m; j += lanes) weigh(tag, j);
  for (; j < m; ++j) weigh(one, j);
  return any;
}

// The column of the largest log w - log(-log u), the first of equals.
int64_t largest_gumbel(const double* log_weight, const uint32_t* words, int64_t m) {
  const hn::ScalableTag<double> tag;
  const hn::CappedTag<double, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  double best = -std::numeric_limits<double>::infinity();
  int64_t where = -1;
  HWY_ALIGN double scores[HWY_MAX_BYTES / sizeof(double)];
  const auto score = [&](auto t, int64_t j) {
    HWY_ALIGN double word[HWY_MAX_BYTES / sizeof(double)];
    for (size_t lane = 0; lane < hn::Lanes(t); ++lane) word[lane] = uniform(words[j + static_cast<int64_t>(lane)]);
    const auto gumbel = hn::Log(t, hn::Neg(hn::Log(t, hn::LoadU(t, word))));
    const auto value = hn::Sub(hn::LoadU(t, log_weight + j), gumbel);
    if (hn::AllFalse(t, hn::Gt(value, hn::Set(t, best)))) return;
    hn::StoreU(value, t, scores);
    for (size_t lane = 0; lane < hn::Lanes(t); ++lane)
      if (scores[lane] > best) best = scores[lane], where = j + static_cast<int64_t>(lane);
  };
  int64_t j = 0;
  for (; j + lanes <= m; j += lanes) score(tag, j);
  for (; j < m; ++j) score(one, j);
  return where;
}

void draw_words(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first_block, int64_t blocks, uint32_t* words) {
  philox_blocks(seed, stream, step, first_block, blocks, words);
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(hard_tile);
HWY_EXPORT(log_weights);
HWY_EXPORT(largest_gumbel);
HWY_EXPORT(draw_words);

constexpr int64_t kPhiloxPadding = HWY_STATIC_DISPATCH(kPhiloxGroup);  // blocks

void take_if(bool better, float* distance, int32_t* index, float later_distance, int32_t later_index) {
  if (later_index < 0 || (*index >= 0 && !better)) return;
  *distance = later_distance;
  *index = later_index;
}
}  // namespace

void HardState::clear(int64_t size) const {
  for (float* distances : {positive_distance, negative_distance}) std::fill_n(distances, size, std::numeric_limits<float>::quiet_NaN());
  for (int32_t* indices : {positive, negative}) std::fill_n(indices, size, -1);
}

void HardState::merge(int64_t k, const HardState& later, int64_t of) const {
  take_if(later.positive_distance[of] > positive_distance[k], positive_distance + k, positive + k, later.positive_distance[of], later.positive[of]);
  take_if(later.negative_distance[of] < negative_distance[k], negative_distance + k, negative + k, later.negative_distance[of], later.negative[of]);
}

void mine_hard_tile(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row, int64_t first_column,
                    const HardState& rows, const HardState& columns) {
  HWY_DYNAMIC_DISPATCH(hard_tile)(distances, labels_x, labels_y, first_row, first_column, rows, columns);
}

SemihardScratch::SemihardScratch(Workspace& workspace, int64_t m)
    : distances(workspace.take<float>(m)),
      columns(workspace.take<int32_t>(m)),
      keys(workspace.take<uint64_t>(m)),
      nearest(workspace.take<int32_t>(m)),
      sorter(workspace, m) {}

void find_nearest_beyond(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, const SemihardScratch& scratch) {
  int64_t count = 0;
  for (int64_t j = 0; j < m; ++j) {
    scratch.distances[count] = distances[j];
    scratch.columns[count] = static_cast<int32_t>(j);
    scratch.nearest[j] = -1;
    count += (labels_y[j] >= 0) & (distances[j] == distances[j]);
  }
  scratch.sorter.sort(scratch.distances, scratch.columns, count, scratch.keys);
  // From the farthest inwards: the negative seen last is the nearest, and of equals the lowest; it lies beyond once the distance has changed.
  int32_t last = -1, beyond = -1;
  float distance_before = std::numeric_limits<float>::infinity();
  for (int64_t r = count - 1; r >= 0; --r) {
    const auto j = static_cast<int32_t>(key_column(scratch.keys[r]));
    const float distance = key_distance(scratch.keys[r]);
    beyond = distance != distance_before ? last : beyond;
    last = labels_y[j] != label ? j : last;
    distance_before = distance;
    scratch.nearest[j] = beyond;
  }
}

DrawScratch::DrawScratch(Workspace& workspace, int64_t m)
    : log_weight(workspace.take<double>(m)), words(workspace.take<uint32_t>(m + 8 * kPhiloxPadding)) {}

void draw_negatives(const float* euclidean, int32_t label, const int32_t* labels_y, int64_t m, const RowDraw& draw, const DrawScratch& scratch,
                    int32_t* negatives) {
  std::fill_n(negatives, draw.slots, -1);
  if (label < 0 || !HWY_DYNAMIC_DISPATCH(log_weights)(euclidean, label, labels_y, m, draw.dimension, scratch.log_weight)) return;
  for (int64_t slot = 0; slot < draw.slots; ++slot) {
    const auto stream = kStreamDistanceWeighted + 256 * static_cast<uint32_t>(slot);
    const int64_t skip = static_cast<int64_t>(draw.first_element % 4);
    HWY_DYNAMIC_DISPATCH(draw_words)(draw.seed, stream, draw.step, draw.first_element / 4, (skip + m + 3) / 4, scratch.words);
    negatives[slot] = static_cast<int32_t>(HWY_DYNAMIC_DISPATCH(largest_gumbel)(scratch.log_weight, scratch.words + skip, m));
  }
}

}  // namespace duet::cpu
#endif
