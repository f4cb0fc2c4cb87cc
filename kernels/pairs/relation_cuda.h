// Which pairs of a tile are positive and which are negative (METHOD.md 5.6) on the GPU. It comes from two numbers a
// row, its label and its group, and is held as two bits a pair, so that the passes over a tile read it without memory.
#pragma once

#include "kernels/pairs/driver_cuda.h"
#include "kernels/pairs/operation.h"
#include "kernels/pairs/relation.h"

namespace duet::cuda {

// Which pairs are one item: own pairs (but with exclude_own), pairs of one group, pairs labelled alike.
struct RelationView {
  const int2 *a, *v;  // packed_rows each: label and group; where there is none -1 in a and -2 in v, equal to nothing
  bool labelled;      // there are labels: a pair is negative where both of it have one
  bool exclude_own;
  int64_t own;  // row i and column i + own are one pair
  static constexpr bool kSets = false;
};

// The words of each row's label set, those of a word one after another: 0 where the label has none.
struct SetWords {
  const int32_t *a, *v;    // words x packed_rows each
  int64_t rows_a, rows_v;  // packed_rows
  int words;
};

// The same where labels stand for sets: pairs whose sets share a class are alike too.
struct SetRelationView : RelationView {
  SetWords sets;
  static constexpr bool kSets = true;
};

template <class T>
class TileRelation {
 public:
  // View: RelationView, or one like it whose flags the compiler knows.
  template <class View>
  __device__ __forceinline__ TileRelation(const View& relation, const TilePlace& place) {
    const OwnPairs own_pair = own_pairs<T>(true, relation.own, place);
    Bits shared = {};
    if constexpr (View::kSets) add_shared(relation.sets, place, shared);
    int2 of_row[T::kThreadRows];
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) of_row[r] = __ldg(relation.a + place.first_row + T::row(r));
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const int2 of_column = __ldg(relation.v + place.first_column + T::column(c));
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        const bool own = own_pair.any && own_pair(T::row(r), T::column(c));
        const bool inside = T::row(r) < place.rows && T::column(c) < place.columns;
        bool alike = (of_row[r].x == of_column.x) | (of_row[r].y == of_column.y);
        if constexpr (View::kSets) alike |= bit(shared, r * T::kThreadColumns + c);
        const bool apart = !alike & (of_row[r].x >= 0) & (of_column.x >= 0);
        const bool different = relation.labelled ? apart : !alike;
        const bool positive = inside && (own ? !relation.exclude_own : alike);
        const int k = r * T::kThreadColumns + c;
        positive_[k / 32] |= positive ? 1u << k % 32 : 0;
        negative_[k / 32] |= inside && !own && different ? 1u << k % 32 : 0;
      }
    }
  }
  __device__ __forceinline__ bool positive(int r, int c) const { return bit(positive_, r * T::kThreadColumns + c); }
  __device__ __forceinline__ bool negative(int r, int c) const { return bit(negative_, r * T::kThreadColumns + c); }
  // Whether one of the pairs of `rows` rows takes part.
  __device__ __forceinline__ bool any(int first, int rows) const {
    unsigned found = 0;
    DUET_UNROLL
    for (int k = first * T::kThreadColumns; k < (first + rows) * T::kThreadColumns; ++k)
      found |= (positive_[k / 32] | negative_[k / 32]) & 1u << k % 32;
    return found != 0;
  }
  // The pair of the thread's row r and column c.
  __device__ __forceinline__ Pair<float> pair(float dot, float scale, int r, int c) const {
    return {dot, scale, positive(r, c) ? 1.0f : 0.0f, negative(r, c) ? 1.0f : 0.0f};
  }

 private:
  using Bits = unsigned[T::kValues / 32];
  static __device__ __forceinline__ bool bit(const Bits& bits, int k) { return bits[k / 32] >> k % 32 & 1; }
  // Sets the bits of the thread's pairs whose sets share a class.
  static __device__ __forceinline__ void add_shared(const SetWords& sets, const TilePlace& place, Bits& bits) {
    DUET_NO_UNROLL
    for (int word = 0; word < sets.words; ++word) {
      const int32_t *a = sets.a + (word * sets.rows_a + place.first_row),
                    *v = sets.v + (word * sets.rows_v + place.first_column);
      int32_t of_row[T::kThreadRows];
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) of_row[r] = __ldg(a + T::row(r));
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        const int32_t of_column = __ldg(v + T::column(c));
        DUET_UNROLL
        for (int r = 0; r < T::kThreadRows; ++r) {
          const int k = r * T::kThreadColumns + c;
          bits[k / 32] |= (of_row[r] & of_column) != 0 ? 1u << k % 32 : 0;
        }
      }
    }
  }

  Bits positive_ = {}, negative_ = {};
};

// One side's labels and groups; none: what stands for one that is not there.
struct StoreRelation {
  Vector<const int32_t> labels, groups;  // without data: none
  int64_t count;
  int none;
  int2* to;  // packed_rows

  __device__ void operator()(int64_t i) const {
    const auto number = [&](const Vector<const int32_t>& of) {
      return i < count && of && of.data[i] >= 0 ? of.data[i] : none;
    };
    to[i] = make_int2(number(labels), number(groups));
  }
};

// One side's words of SetWords.
struct StoreSetWords {
  Vector<const int32_t> labels;
  int64_t count;
  LabelSets sets;
  int32_t* to;   // words x rows
  int64_t rows;  // packed_rows

  __device__ void operator()(int64_t i) const {
    const int32_t label = i < count && labels ? labels.data[i] : -1;
    for (int64_t k = 0; k < sets.words.columns; ++k) to[k * rows + i] = sets.has(label) ? sets.words.row(label)[k] : 0;
  }
};

// Both sides' sets in a workspace; nothing where there are none.
class SetRows {
 public:
  SetRows(Workspace& workspace, int64_t n, int64_t m, const LabelSets& sets)
      : n_(n),
        m_(m),
        sets_(sets),
        a_(workspace.take<int32_t>(sets ? sets.words.columns * packed_rows(n) : 0)),
        v_(workspace.take<int32_t>(sets ? sets.words.columns * packed_rows(m) : 0)) {}

  SetWords prepare(const duet_context& context, Vector<const int32_t> labels_a, Vector<const int32_t> labels_v) const {
    const int64_t rows_a = packed_rows(n_), rows_v = packed_rows(m_);
    for_each_position(context, rows_a, StoreSetWords{labels_a, n_, sets_, a_, rows_a});
    for_each_position(context, rows_v, StoreSetWords{labels_v, m_, sets_, v_, rows_v});
    return {a_, v_, rows_a, rows_v, static_cast<int>(sets_.words.columns)};
  }

 private:
  int64_t n_, m_;
  LabelSets sets_;
  int32_t *a_, *v_;
};

// Both sides' numbers in a workspace.
class RelationRows {
 public:
  RelationRows(Workspace& workspace, int64_t n, int64_t m)
      : n_(n), m_(m), a_(workspace.take<int2>(packed_rows(n))), v_(workspace.take<int2>(packed_rows(m))) {}

  // Labels and groups without data: none. own_offset: row i and column i + own_offset are an own pair.
  RelationView prepare(const duet_context& context, Vector<const int32_t> labels_a, Vector<const int32_t> labels_v,
                       Vector<const int32_t> group_a, Vector<const int32_t> group_v, bool exclude_own,
                       int64_t own_offset) const {
    for_each_position(context, packed_rows(n_), StoreRelation{labels_a, group_a, n_, -1, a_});
    for_each_position(context, packed_rows(m_), StoreRelation{labels_v, group_v, m_, -2, v_});
    return {a_, v_, labels_a || labels_v, exclude_own, own_offset};
  }

 private:
  int64_t n_, m_;
  int2 *a_, *v_;
};

}  // namespace duet::cuda
