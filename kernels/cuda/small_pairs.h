// All pairs of two small sides in one launch a pass, both directions: no operand is packed, nothing is reset, merged or
// finished by another launch.
//
// A block owns 4 rows of one side and sees all rows of the other, 128 of them and 64 of their elements at a time in
// shared memory; the blocks of the other direction do the same with the sides exchanged. So each product is formed
// twice, in float32 whatever the precision, a row's statistics are one warp's and its gradient one block's, in an order
// that the shapes alone decide.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "kernels/core/dispatch.h"
#include "kernels/cuda/agreement.h"

namespace duet::cuda {

inline constexpr int kSmallThreads = 128;   // of a block; a part's rows of the other side, one a thread
inline constexpr int kSmallOwners = 4;      // a block's rows: a warp each, and one float4 of d loss/d score a pair
inline constexpr int kSmallBlocks = 2;      // of an SM: there are 128 at most, and for more registers would be short
inline constexpr int kSmallDepth = 64;      // of a part's elements: what training embeds in
inline constexpr int kMostSmallRows = 256;  // of a side: the scores of a block's rows fit into 48 KB beside a part
inline constexpr int64_t kMostSmallColumns =
    512;  // of a product: past it the other side's parts, one after another, take longer than tiles
static_assert(kSmallThreads == 32 * kSmallOwners && kSmallThreads == 2 * kSmallDepth);

// Whether sides of n and m rows are small; columns: of all that is multiplied.
inline bool are_small(const duet_context& context, int64_t n, int64_t m, std::initializer_list<int64_t> columns) {
  return std::max(n, m) <= std::min<int64_t>(context.small_rows, kMostSmallRows) &&
         std::max(columns) <= kMostSmallColumns;
}

struct SmallOperand {
  Matrix<const float> own, other;  // of equal width; without columns: none
};

// A direction.
struct SmallSide {
  SmallOperand student, teacher, classes;
  const float *trust_own, *trust_other;  // null: 1
  int64_t to_partner;  // own row i and the other side's row i + to_partner are a pair, where the batch is paired
  const int32_t *group_own, *group_other;        // below 0: of no group; null: no groups
  const float *annotated_own, *annotated_other;  // not 0: annotated; null: no row is

  // Whether own row i and the other side's row j are of one group, number being group(i).
  __device__ int32_t group(int64_t i) const { return group_own ? group_own[i] : -1; }
  __device__ bool in_group(int32_t number, int64_t j) const { return number >= 0 && group_other[j] == number; }
};

struct SmallPairs {
  SmallSide sides[2];                         // rows of a and rows of v as the own ones
  const float *scale, *teacher_scale, *bias;  // null: 0
  bool paired;                                // own pairs stand apart
  bool excluded;                              // and take no part
  int row_blocks;                             // the blocks of sides[0]; all others are of sides[1]

  SmallPairs(const SmallOperand& student, const SmallOperand& teacher, const SmallOperand& classes,
             Vector<const float> trust_a, Vector<const float> trust_v, int64_t to_partner)
      : sides{{student, teacher, classes, trust_a.data, trust_v.data, to_partner, nullptr, nullptr, nullptr, nullptr},
              {turned(student), turned(teacher), turned(classes), trust_v.data, trust_a.data, -to_partner, nullptr,
               nullptr, nullptr, nullptr}},
        scale(nullptr),
        teacher_scale(nullptr),
        bias(nullptr),
        paired(false),
        excluded(false),
        row_blocks(0) {}

  void give(const AgreementItems& items) {
    sides[0].group_own = sides[1].group_other = items.group_a.data;
    sides[1].group_own = sides[0].group_other = items.group_v.data;
    sides[0].annotated_own = sides[1].annotated_other = items.annotated.of_a.data;
    sides[1].annotated_own = sides[0].annotated_other = items.annotated.of_v.data;
    excluded = items.exclude_own;
    paired = paired || excluded;
  }

  bool annotated() const { return sides[0].annotated_own != nullptr && sides[0].annotated_other != nullptr; }

  static SmallOperand turned(const SmallOperand& operand) { return {operand.other, operand.own}; }
  static int64_t blocks_of(int64_t rows) { return ceil_div(rows, kSmallOwners); }
  // The blocks of a launch over the directions that are wanted.
  int64_t cut(bool rows, bool columns) {
    row_blocks = rows ? static_cast<int>(blocks_of(sides[0].student.own.rows)) : 0;
    return row_blocks + (columns ? blocks_of(sides[1].student.own.rows) : 0);
  }
};

// body(std::bool_constant) with whether rows are annotated: their kernels are apart.
template <class Body>
void with_annotated(const SmallPairs& pairs, Body&& body) {
  if (pairs.annotated())
    body(std::true_type());
  else
    body(std::false_type());
}

struct SmallScalars {
  float scale, teacher_scale, bias;
};
__device__ __forceinline__ SmallScalars scalars_of(const SmallPairs& pairs) {
  return {*pairs.scale, pairs.teacher_scale ? *pairs.teacher_scale : 0, pairs.bias ? *pairs.bias : 0};
}

// A block's own rows.
struct SmallPlace {
  int side;
  int64_t first;
  int rows;
};
__device__ __forceinline__ SmallPlace place_of(const SmallPairs& pairs) {
  const int block = static_cast<int>(blockIdx.x), side = block >= pairs.row_blocks ? 1 : 0;
  const int64_t first = int64_t{block - (side ? pairs.row_blocks : 0)} * kSmallOwners,
                left = pairs.sides[side].student.own.rows - first;
  return {side, first, left < kSmallOwners ? static_cast<int>(left) : kSmallOwners};
}

// A part of an operand: the own rows and 128 of the other side's, 64 elements of each.
struct SmallPart {
  float other[kSmallThreads][kSmallDepth + 4];  // so that the 8 lanes of a read of 16 bytes meet 32 banks
  float own[kSmallOwners][kSmallDepth];
};

// to[r][k] = element first_k + k of row first + r, for r < rows and k < depth rounded up to 4; 0 outside the matrix.
// Complete after complete_part().
template <int kStride>
__device__ __forceinline__ void begin_copy(const Matrix<const float>& from, int64_t first, int rows, int64_t first_k,
                                           int depth, float (*to)[kStride]) {
  const int thread = static_cast<int>(threadIdx.x);
  if (reinterpret_cast<uintptr_t>(from.data) % 16 == 0 && from.stride % 4 == 0) {
    constexpr int kGroups = kSmallDepth / 4;
    const int k = 4 * (thread % kGroups);
    if (k >= depth) return;
    for (int r = thread / kGroups; r < rows; r += kSmallThreads / kGroups) {
      const bool inside = first + r < from.rows;
      ptx::cp_async16(&to[r][k], inside ? from.row(first + r) + first_k + k : from.data,
                      inside ? 4 * min(4, depth - k) : 0);
    }
  } else {
    const int k = thread % kSmallDepth;
    if (k >= (depth + 3) / 4 * 4) return;
    for (int r = thread / kSmallDepth; r < rows; r += kSmallThreads / kSmallDepth)
      to[r][k] = first + r < from.rows && k < depth ? __ldg(from.row(first + r) + first_k + k) : 0;
  }
}
__device__ __forceinline__ int depth_at(int64_t columns, int64_t first_k) {
  return columns - first_k < kSmallDepth ? static_cast<int>(columns - first_k) : kSmallDepth;
}
// A part's elements from first_k on, with the other side's rows from first on: on their way, and there. All threads of
// the block.
__device__ __forceinline__ void begin_part(SmallPart& part, const SmallOperand& of, const SmallPlace& place, int first,
                                           int64_t first_k) {
  const int depth = depth_at(of.own.columns, first_k);
  begin_copy(of.own, place.first, kSmallOwners, first_k, depth, part.own);
  begin_copy(of.other, first, min(kSmallThreads, static_cast<int>(of.other.rows) - first), first_k, depth, part.other);
  ptx::cp_async_commit();
}
__device__ __forceinline__ void complete_part() {
  ptx::cp_async_wait<0>();
  __syncthreads();
}
// Both, where what stood there may have been read until now.
__device__ __forceinline__ void fill_part(SmallPart& part, const SmallOperand& of, const SmallPlace& place, int first,
                                          int64_t first_k) {
  __syncthreads();
  begin_part(part, of, place, first, first_k);
  complete_part();
}

// weights[r] = W of own row r and row j of the other side, from the product of their classes.
__device__ __forceinline__ void settle_weights(const SmallSide& of, const SmallPlace& place, int j,
                                               float (&weights)[kSmallOwners]) {
  if (of.annotated_other[j] == 0) return;
  DUET_UNROLL
  for (int r = 0; r < kSmallOwners; ++r)
    if (r < place.rows && of.annotated_own[place.first + r] != 0) weights[r] = weight_of_annotated(weights[r]);
}

// dots[r] += own row r times row first + thread of the other side, where there is one. begun: the first part is on its
// way. All threads of the block.
__device__ __forceinline__ void add_products(SmallPart& part, const SmallOperand& of, const SmallPlace& place,
                                             int first, float (&dots)[kSmallOwners], bool begun = false) {
  const bool inside = first + static_cast<int>(threadIdx.x) < of.other.rows;
  for (int64_t first_k = 0; first_k < of.own.columns; first_k += kSmallDepth) {
    if (begun && first_k == 0)
      complete_part();
    else
      fill_part(part, of, place, first, first_k);
    if (!inside) continue;
    const int depth = depth_at(of.own.columns, first_k);
    const float* other = part.other[threadIdx.x];
    for (int k = 0; k < depth; k += 4) {
      const float4 y = *reinterpret_cast<const float4*>(other + k);
      DUET_UNROLL
      for (int r = 0; r < kSmallOwners; ++r) {
        const float4 x = *reinterpret_cast<const float4*>(&part.own[r][k]);
        dots[r] = fmaf(x.x, y.x, dots[r]);
        dots[r] = fmaf(x.y, y.y, dots[r]);
        dots[r] = fmaf(x.z, y.z, dots[r]);
        dots[r] = fmaf(x.w, y.w, dots[r]);
      }
    }
  }
}

}  // namespace duet::cuda
