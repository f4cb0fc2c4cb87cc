#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mining/mining_rows_cpu.cpp"
#include "kernels/mining/mining_rows_cpu.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/compress-inl.h"

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
    const auto not_better =
        kFarthest ? hn::Le(d, distance) : hn::Ge(d, distance);  // false against NaN: anything beats none
    const auto better = hn::AndNot(not_better, candidate);
    distance = hn::IfThenElse(better, d, distance);
    index = hn::IfThenElse(hn::RebindMask(IndexTag<D>(), better), at, index);
    (void)tag;
  }
  // Lanes into one state; equal distances to the lowest index.
  HWY_INLINE void reduce(D tag, float* best, int32_t* best_index) const {
    const auto known =
        hn::Set(tag, *best);  // of lower indices: only what is better counts, which after the first tiles is rare
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
      : positive{hn::Set(tag, std::numeric_limits<float>::quiet_NaN()), hn::Set(IndexTag<D>(), -1)},
        negative{positive.distance, positive.index} {}
};

// Rows of a tile that are mined together, so that the state of the columns is loaded and stored once for all of them.
template <int R>
struct RowGroup {
  const float* distances[R];
  const int32_t* others[R];  // labels of the columns; where they are the same for all rows, others[0] alone is read
  int32_t label[R], index[R];
  int64_t row[R];  // of the tile
};

// kRelated: each row has labels of the columns of its own.
template <int R, bool kColumns, bool kRelated, class D>
HWY_INLINE void mine_vector(D tag, const RowGroup<R>& group, int32_t column, int64_t j, RowBest<D>* best,
                            const HardState& columns) {
  const IndexTag<D> integers;
  const auto at = hn::Iota(integers, static_cast<int32_t>(column + j)), none = hn::Set(integers, -1);
  auto other = hn::LoadU(integers, group.others[0] + j);
  auto known = hn::Gt(other, none);
  RowBest<D> of_columns(tag);
  if constexpr (kColumns) {
    of_columns.positive = {hn::LoadU(tag, columns.positive_distance + j), hn::LoadU(integers, columns.positive + j)};
    of_columns.negative = {hn::LoadU(tag, columns.negative_distance + j), hn::LoadU(integers, columns.negative + j)};
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const auto d = hn::LoadU(tag, group.distances[r] + j);
    if constexpr (kRelated) {
      other = hn::LoadU(integers, group.others[r] + j);
      known = hn::Gt(other, none);
    }
    const auto number = hn::Eq(d, d), equal = hn::RebindMask(tag, hn::Eq(other, hn::Set(integers, group.label[r])));
    const auto same = hn::And(equal, number),
               different = hn::AndNot(equal, hn::And(hn::RebindMask(tag, known), number));
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

template <int R, bool kColumns, bool kRelated>
void mine_group(const RowGroup<R>& group, int64_t count, int32_t column, const HardState& rows,
                const HardState& columns) {
  const hn::ScalableTag<float> tag;
  const hn::CappedTag<float, 1> one;
  using One = hn::CappedTag<float, 1>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  RowBest<hn::ScalableTag<float>> best[R];
  RowBest<One> tail[R];
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) mine_vector<R, kColumns, kRelated>(tag, group, column, j, best, columns);
  for (; j < count; ++j) mine_vector<R, kColumns, kRelated>(one, group, column, j, tail, columns);
  for (int r = 0; r < R && rows.positive; ++r) {
    const int64_t i = group.row[r];
    best[r].positive.reduce(tag, rows.positive_distance + i, rows.positive + i);
    best[r].negative.reduce(tag, rows.negative_distance + i, rows.negative + i);
    tail[r].positive.reduce(one, rows.positive_distance + i, rows.positive + i);
    tail[r].negative.reduce(one, rows.negative_distance + i, rows.negative + i);
  }
}

// labels(i): the label of row i of the tile and those of its columns.
template <bool kColumns, bool kRelated, class Labels>
void hard_tile_of(Matrix<const float> distances, const Labels& labels, int64_t first_row, int64_t first_column,
                  const HardState& rows, const HardState& columns) {
  constexpr int kRows = 4;
  RowGroup<kRows> group{};
  int filled = 0;
  const auto column = static_cast<int32_t>(first_column);
  for (int64_t i = 0; i < distances.rows; ++i) {
    const RowLabels of_row = labels(i);
    if (of_row.row < 0) continue;
    group.distances[filled] = distances.row(i);
    group.others[filled] = of_row.columns;
    group.label[filled] = of_row.row;
    group.index[filled] = static_cast<int32_t>(first_row + i);
    group.row[filled] = i;
    if (++filled < kRows) continue;
    mine_group<kRows, kColumns, kRelated>(group, distances.columns, column, rows, columns);
    filled = 0;
  }
  for (int r = 0; r < filled; ++r)
    mine_group<1, kColumns, kRelated>(
        {{group.distances[r]}, {group.others[r]}, {group.label[r]}, {group.index[r]}, {group.row[r]}},
        distances.columns, column, rows, columns);
}

void hard_tile(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row,
               int64_t first_column, const HardState& rows, const HardState& columns) {
  const auto labels = [=](int64_t i) { return RowLabels{labels_x[i], labels_y}; };
  if (columns.positive) return hard_tile_of<true, false>(distances, labels, first_row, first_column, rows, columns);
  hard_tile_of<false, false>(distances, labels, first_row, first_column, rows, columns);
}

void related_hard_tile(Matrix<const float> distances, Matrix<const int32_t> relation, int64_t first_row,
                       int64_t first_column, const HardState& rows, const HardState& columns) {
  const auto labels = [=](int64_t i) { return RowLabels{kAlike, relation.row(i)}; };
  if (columns.positive) return hard_tile_of<true, true>(distances, labels, first_row, first_column, rows, columns);
  hard_tile_of<false, true>(distances, labels, first_row, first_column, rows, columns);
}

// The columns of the positives, in order, and the range of their distances, inf and -inf without one. NaN counts for
// nothing in it.
int64_t gather_positives(const float* distances, int32_t label, const int32_t* labels, int64_t m, int32_t* columns,
                         float* lowest, float* highest) {
  const hn::ScalableTag<float> tag;
  const IndexTag<decltype(tag)> integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto own = hn::Set(integers, label);
  auto low = hn::Set(tag, kInfinity), high = hn::Set(tag, -kInfinity);
  auto at = hn::Iota(integers, 0);
  int64_t count = 0, j = 0;
  for (; j + lanes <= m; j += lanes, at = hn::Add(at, hn::Set(integers, static_cast<int32_t>(lanes)))) {
    const auto same = hn::Eq(hn::LoadU(integers, labels + j), own);
    if (hn::AllFalse(integers, same)) continue;
    const auto d = hn::LoadU(tag, distances + j);
    const auto number = hn::And(hn::RebindMask(tag, same), hn::Eq(d, d));
    low = hn::Min(low, hn::IfThenElse(number, d, low));
    high = hn::Max(high, hn::IfThenElse(number, d, high));
    const Compressor front(hn::RebindMask(tag, same));
    front.store(at, columns + count);
    count += front.count();
  }
  *lowest = hn::GetLane(hn::MinOfLanes(tag, low));
  *highest = hn::GetLane(hn::MaxOfLanes(tag, high));
  for (; j < m; ++j) {
    if (labels[j] != label) continue;
    columns[count++] = static_cast<int32_t>(j);
    if (distances[j] < *lowest) *lowest = distances[j];
    if (distances[j] > *highest) *highest = distances[j];
  }
  return count;
}

// The negatives of lowest < D < limit: distances and columns. Vectors are written whole, the next overwrites what is
// too much.
int64_t gather_negatives(const float* distances, int32_t label, const int32_t* labels, int64_t m, float lowest,
                         float limit, float* out, int32_t* columns) {
  const hn::ScalableTag<float> tag;
  const IndexTag<decltype(tag)> integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const auto own = hn::Set(integers, label), unknown = hn::Set(integers, -1);
  auto at = hn::Iota(integers, 0);
  int64_t count = 0, j = 0;
  for (; j + lanes <= m; j += lanes, at = hn::Add(at, hn::Set(integers, static_cast<int32_t>(lanes)))) {
    const auto d = hn::LoadU(tag, distances + j);
    const auto other = hn::LoadU(integers, labels + j);
    const auto negative = hn::AndNot(hn::Eq(other, own), hn::Gt(other, unknown));
    const auto taken = hn::And(hn::RebindMask(tag, negative),
                               hn::And(hn::Gt(d, hn::Set(tag, lowest)), hn::Lt(d, hn::Set(tag, limit))));
    const Compressor front(taken);
    front.store(d, out + count);
    front.store(at, columns + count);
    count += front.count();
  }
  for (; j < m; ++j) {
    out[count] = distances[j];
    columns[count] = static_cast<int32_t>(j);
    count += (labels[j] >= 0) & (labels[j] != label) & (distances[j] > lowest) & (distances[j] < limit);
  }
  return count;
}

// The negative that each positive is mined with, or -1: of kWindow keys from where the bin of its distance begins, the
// smallest beyond it, where that one's bin ends among them. False where bins are too crowded to be searched.
bool search_bins(const DealtKeys& dealt, const float* distances, const int32_t* positives, int64_t count, float margin,
                 int32_t* nearest) {
  constexpr int64_t kWindow = 8;
  static_assert(kWindow <= RowSorter::kPadding);
  const hn::CappedTag<int64_t, kWindow> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const auto* keys = reinterpret_cast<const int64_t*>(dealt.keys);  // as numbers with a sign, none below 0
  const auto none = hn::Set(tag, static_cast<int64_t>(kNoKey));
  int64_t steps_left = 8 * (count + dealt.count);
  for (int64_t p = 0; p < count; ++p) {
    const float d = distances[positives[p]];
    if (!(d < dealt.high)) {
      nearest[p] = -1;
      continue;
    }
    const int64_t bin = d < dealt.low ? 0 : dealt.bin_of(d), start = bin > 0 ? dealt.ends[bin - 1] : 0;
    const auto reached = hn::Set(tag, static_cast<int64_t>(sort_key(d, 0xFFFFFFFF)));
    auto best = none;
    for (int64_t k = 0; k < kWindow; k += lanes) {
      const auto key = hn::LoadU(tag, keys + start + k);
      best = hn::Min(best, hn::IfThenElse(hn::Gt(key, reached), key, none));
    }
    auto found = static_cast<uint64_t>(hn::GetLane(hn::MinOfLanes(tag, best)));
    if (HWY_UNLIKELY(found == kNoKey || dealt.ends[dealt.bin_of(key_distance(found))] > start + kWindow)) {
      found = nearest_beyond(dealt, d, steps_left);
      if (steps_left < 0) return false;
    }
    nearest[p] = key_distance(found) < d + margin ? static_cast<int32_t>(key_column(found)) : -1;
  }
  return true;
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(hard_tile);
HWY_EXPORT(related_hard_tile);
HWY_EXPORT(gather_positives);
HWY_EXPORT(gather_negatives);
HWY_EXPORT(search_bins);

void take_if(bool better, float* distance, int32_t* index, float later_distance, int32_t later_index) {
  if (later_index < 0 || (*index >= 0 && !better)) return;
  *distance = later_distance;
  *index = later_index;
}
}  // namespace

void write_relation(const RelationNumbers& numbers, int64_t i, int64_t first, int64_t count, int32_t* to) {
  if (numbers.sets) {
    const RowOfSets row(numbers, i);
    for (int64_t k = 0; k < count; ++k) to[k] = row(first + k);
    return;
  }
  const RowRelation row(numbers, i);
  const auto write = [=](auto labelled, auto grouped) {
    for (int64_t k = 0; k < count; ++k)
      to[k] = row.by_numbers<decltype(labelled)::value, decltype(grouped)::value>(first + k);
  };
  const auto write_labelled = [&](auto labelled) {
    row.grouped() ? write(labelled, std::true_type()) : write(labelled, std::false_type());
  };
  row.labelled() ? write_labelled(std::true_type()) : write_labelled(std::false_type());
  const int64_t excluded = row.excluded() - first;
  if (excluded >= 0 && excluded < count) to[excluded] = kNeither;
}

void HardState::clear(int64_t size) const {
  for (float* distances : {positive_distance, negative_distance})
    std::fill_n(distances, size, std::numeric_limits<float>::quiet_NaN());
  for (int32_t* indices : {positive, negative}) std::fill_n(indices, size, -1);
}

void HardState::merge(int64_t k, const HardState& later, int64_t of) const {
  take_if(later.positive_distance[of] > positive_distance[k], positive_distance + k, positive + k,
          later.positive_distance[of], later.positive[of]);
  take_if(later.negative_distance[of] < negative_distance[k], negative_distance + k, negative + k,
          later.negative_distance[of], later.negative[of]);
}

void mine_hard_tile(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row,
                    int64_t first_column, const HardState& rows, const HardState& columns) {
  HWY_DYNAMIC_DISPATCH(hard_tile)(distances, labels_x, labels_y, first_row, first_column, rows, columns);
}

void mine_hard_tile(Matrix<const float> distances, Matrix<const int32_t> relation, int64_t first_row,
                    int64_t first_column, const HardState& rows, const HardState& columns) {
  HWY_DYNAMIC_DISPATCH(related_hard_tile)(distances, relation, first_row, first_column, rows, columns);
}

SemihardScratch::SemihardScratch(Workspace& workspace, int64_t m)
    : positives(workspace.take<int32_t>(m + RowSorter::kPadding)),
      nearest(workspace.take<int32_t>(m)),
      distances(workspace.take<float>(m + RowSorter::kPadding)),
      columns(workspace.take<int32_t>(m + RowSorter::kPadding)),
      keys(workspace.take<uint64_t>(m + RowSorter::kPadding)),
      sorter(workspace, m) {}

int64_t find_semihard(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, float margin,
                      const SemihardScratch& scratch) {
  float lowest, highest;
  const int64_t positives =
      HWY_DYNAMIC_DISPATCH(gather_positives)(distances, label, labels_y, m, scratch.positives, &lowest, &highest);
  std::fill_n(scratch.nearest, positives, -1);
  if (positives == 0 || !(lowest <= highest)) return positives;
  const int64_t negatives = HWY_DYNAMIC_DISPATCH(gather_negatives)(
      distances, label, labels_y, m, lowest, highest + margin, scratch.distances, scratch.columns);
  if (negatives == 0) return positives;
  DealtKeys dealt;
  if (scratch.sorter.deal(scratch.distances, scratch.columns, negatives, scratch.keys, &dealt) &&
      HWY_DYNAMIC_DISPATCH(search_bins)(dealt, distances, scratch.positives, positives, margin, scratch.nearest))
    return positives;
  scratch.sorter.sort(scratch.distances, scratch.columns, negatives, scratch.keys);
  for (int64_t k = 0; k < positives; ++k) {
    const float d = distances[scratch.positives[k]];
    const uint64_t* beyond = std::upper_bound(scratch.keys, scratch.keys + negatives, sort_key(d, 0xFFFFFFFF));
    const bool found = beyond < scratch.keys + negatives && key_distance(*beyond) < d + margin;  // no where d is NaN
    scratch.nearest[k] = found ? static_cast<int32_t>(key_column(*beyond)) : -1;
  }
  return positives;
}

}  // namespace duet::cpu
#endif
