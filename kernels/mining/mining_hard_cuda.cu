// A block of threads owns a tile of distances in registers; atomic minima of keys merge what tiles say of rows.
// Bytes: packed operands from L2, 8 of a key a row, a column and a tile; no distance is stored.
// Products: one. PLAN.md has the figures.
#include "kernels/distance/distance_tile_cuda.h"
#include "kernels/mining/mining_rows_cuda.h"
#include "kernels/pairs/driver_cuda.h"
#include "kernels/pairs/formula_cuda.h"

namespace duet::cuda {
namespace {

// The best of each row or column so far; null: not wanted.
struct HardCandidates {
  uint64_t *positive, *negative;

  static HardCandidates take(Workspace& workspace, int64_t size) {
    return {workspace.take<uint64_t>(size), workspace.take<uint64_t>(size)};
  }
};

__device__ __forceinline__ void merge(uint64_t* state, uint64_t key) {
  atomicMin(reinterpret_cast<unsigned long long*>(state), key);
}

struct HardLabels {
  const int32_t *x, *y;
};

// Integers that rise as the distances do, in the registers of the values.
template <class T>
__device__ __forceinline__ uint32_t bits_of(const typename T::Values& values, int r, int c) {
  return __float_as_uint(values(r, c));
}

// Which pairs of a thread count, as positive ones or as negative ones, by their labels alone. Nothing is kNoneOfRow in
// rows and kNoneOfColumn in columns, and so equal to nothing.
template <class T>
class LabelKinds {
 public:
  __device__ __forceinline__ LabelKinds(const HardLabels& labels, const TilePlace& place) {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r)
      x_[r] = T::row(r) < place.rows ? number_or(labels.x[place.first_row + T::row(r)], kNoneOfRow) : kNoneOfRow;
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c)
      y_[c] = T::column(c) < place.columns ? number_or(labels.y[place.first_column + T::column(c)], kNoneOfColumn)
                                           : kNoneOfColumn;
  }
  __device__ __forceinline__ bool positive(int r, int c) const { return x_[r] == y_[c]; }
  __device__ __forceinline__ bool negative(int r, int c) const { return x_[r] != y_[c] && x_[r] >= 0 && y_[c] >= 0; }

 private:
  int32_t x_[T::kThreadRows], y_[T::kThreadColumns];
};

template <bool kPositive, class Kinds>
__device__ __forceinline__ bool counts(const Kinds& kinds, int r, int c) {
  return kPositive ? kinds.positive(r, c) : kinds.negative(r, c);
}

// A candidate's bits, the least being the best; ~0, NaN's, never is one.
template <bool kPositive>
__device__ __forceinline__ uint32_t rank_of(uint32_t bits, bool candidate) {
  return candidate && bits != ~0u ? (kPositive ? ~bits : bits) : ~0u;
}
__device__ __forceinline__ uint64_t best_key(uint32_t rank, int64_t index) {
  return rank == ~0u ? kNoKey : row_key(rank, index);
}

template <class T, bool kPositive, class Kinds>
__device__ __forceinline__ void mine_rows(uint32_t* shared, const typename T::Values& bits, const TilePlace& place,
                                          const Kinds& kinds, uint64_t* state) {
  uint64_t best[T::kThreadRows];
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) {
    uint32_t least = ~0u;
    int where = 0;
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {  // ascending columns: of equals the first stays
      const uint32_t rank = rank_of<kPositive>(bits_of<T>(bits, r, c), counts<kPositive>(kinds, r, c));
      where = rank < least ? c : where;
      least = Min{}(least, rank);
    }
    best[r] = best_key(least, place.first_column + T::column(where));
  }
  const uint64_t* of_row = T::reduce_rows(T::template area<uint64_t>(shared, kPositive ? 0 : 2), best, Min{});
  const int k = static_cast<int>(threadIdx.x);
  if (k < place.rows && of_row[k] != kNoKey) merge(state + place.first_row + k, of_row[k]);
}

template <class T, bool kPositive, class Kinds>
__device__ __forceinline__ void mine_columns(uint32_t* shared, const typename T::Values& bits, const TilePlace& place,
                                             const Kinds& kinds, uint64_t* state) {
  uint64_t best[T::kThreadColumns];
  DUET_UNROLL
  for (int c = 0; c < T::kThreadColumns; ++c) {
    uint32_t least = ~0u;
    int where = 0;
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const uint32_t rank = rank_of<kPositive>(bits_of<T>(bits, r, c), counts<kPositive>(kinds, r, c));
      where = rank < least ? r : where;
      least = Min{}(least, rank);
    }
    best[c] = best_key(least, place.first_row + T::row(where));
  }
  const uint64_t* of_column = T::reduce_columns(T::template area<uint64_t>(shared, kPositive ? 4 : 6), best, Min{});
  const int k = static_cast<int>(threadIdx.x);
  if (k < place.columns && of_column[k] != kNoKey) merge(state + place.first_column + k, of_column[k]);
}

// A RelationView of hard labels, without own pairs: what is known of it takes no register.
struct HardRelation {
  const int2 *a, *v;
  int64_t own;
  static constexpr bool labelled = true, exclude_own = true, kSets = false;
};
struct HardSets : HardRelation {
  SetWords sets;
  static constexpr bool kSets = true;
};

// Numbers: HardLabels, whose tiles have LabelKinds, or HardRelation or HardSets with TileRelation.
template <class Numbers>
struct MineHard {
  static constexpr bool kAlone = true;
  template <class T>
  using Kinds = std::conditional_t<std::is_same_v<Numbers, HardLabels>, LabelKinds<T>, TileRelation<T>>;
  DistanceView view;
  Numbers numbers;
  HardCandidates rows, columns;

  int steps() const { return view.x.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values values;
    fill_distances<T>(loop, view, place, walk.place(tile + 1), values);
    const Kinds<T> kinds(numbers, place);
    T::for_each(values, [](float& value) { value = __uint_as_float(rising_bits(value)); });
    if (rows.positive) {
      mine_rows<T, true>(loop.scratch(), values, place, kinds, rows.positive);
      mine_rows<T, false>(loop.scratch(), values, place, kinds, rows.negative);
    }
    if (columns.positive) {
      mine_columns<T, true>(loop.scratch(), values, place, kinds, columns.positive);
      mine_columns<T, false>(loop.scratch(), values, place, kinds, columns.negative);
    }
  }
};

struct ClearHard {
  HardCandidates state;

  __device__ void operator()(int64_t k) const { state.positive[k] = state.negative[k] = kNoKey; }
};

struct WriteHard {
  HardCandidates state;
  MiningHardOutputs to;

  __device__ void operator()(int64_t k) const {
    const uint64_t positive = state.positive[k], negative = state.negative[k];
    if (to.positive_index) to.positive_index[k] = index_of(positive);
    if (to.negative_index) to.negative_index[k] = index_of(negative);
    if (to.positive_distance) to.positive_distance[k] = positive == kNoKey ? NAN : rising_value(~key_bits(positive));
    if (to.negative_distance) to.negative_distance[k] = negative == kNoKey ? NAN : key_value(negative);
  }
};

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const MiningInputs& in)
      : rows(HardCandidates::take(workspace, in.x.rows)),
        columns(HardCandidates::take(workspace, in.y.rows)),
        relation_x(workspace.take<int2>(in.numbers().related() ? packed_rows(in.x.rows) : 0)),
        relation_y(workspace.take<int2>(in.numbers().related() ? packed_rows(in.y.rows) : 0)),
        sets(workspace, in.x.rows, in.y.rows, in.label_sets),
        tiles(workspace, context.precision, in.metric, in.x.rows, in.y.rows, in.x.columns) {}

  // The relation of a call whose labels do not say it all.
  HardRelation prepare_relation(const duet_context& context, const MiningInputs& in) const {
    const int64_t n = in.x.rows, m = in.y.rows;
    for_each_position(context, packed_rows(n), StoreRelation{in.labels_x, in.group_x, n, kNoneOfRow, relation_x});
    for_each_position(context, packed_rows(m), StoreRelation{in.labels_y, in.group_y, m, kNoneOfColumn, relation_y});
    // An own pair that is not excluded is one like any other: no tile holds it.
    constexpr int64_t kBeyond = INT64_MAX / 2;
    return {relation_x, relation_y, in.exclude_own ? in.first_row - in.first_column : kBeyond};
  }

  HardCandidates rows, columns;
  int2 *relation_x, *relation_y;
  SetRows sets;
  DistanceRows tiles;
};

}  // namespace

size_t mining_hard_workspace(const duet_context& context, const MiningInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void mining_hard(const duet_context& context, const MiningInputs& inputs, const MiningHardOutputs& rows,
                 const MiningHardOutputs& columns, const duet_workspace& workspace) {
  if (!rows && !columns) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  const int64_t n = inputs.x.rows, m = inputs.y.rows;
  for_each_position(context, n, ClearHard{scratch.rows});
  for_each_position(context, m, ClearHard{scratch.columns});
  scratch.tiles.prepare(context, inputs.x, inputs.y);
  const HardCandidates of_rows = rows ? scratch.rows : HardCandidates{},
                       of_columns = columns ? scratch.columns : HardCandidates{};
  const auto sweep = [&](auto tile, const auto& mine) {
    using T = decltype(tile);
    sweep_forward<T>(context, n, m, Walk<T>::kRows, mine);
  };
  // A wide tile's distances leave no registers for what forms its relation.
  const auto sweep_related = [&](const auto& numbers) {
    const MineHard<std::decay_t<decltype(numbers)>> mine{scratch.tiles.view(), numbers, of_rows, of_columns};
    with_precision(context.precision, [&](auto precision) { sweep(DualTile<decltype(precision)::value>(), mine); });
  };
  if (inputs.label_sets) {
    HardSets numbers;
    static_cast<HardRelation&>(numbers) = scratch.prepare_relation(context, inputs);
    numbers.sets = scratch.sets.prepare(context, inputs.labels_x, inputs.labels_y);
    sweep_related(numbers);
  } else if (inputs.numbers().related()) {
    sweep_related(scratch.prepare_relation(context, inputs));
  } else {
    const MineHard<HardLabels> mine{
        scratch.tiles.view(), {inputs.labels_x.data, inputs.labels_y.data}, of_rows, of_columns};
    with_single_tile(context, [&](auto tile) { sweep(tile, mine); });
  }
  for_each_position(context, n, WriteHard{scratch.rows, rows});
  for_each_position(context, m, WriteHard{scratch.columns, columns});
}

}  // namespace duet::cuda
