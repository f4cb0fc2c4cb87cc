// Operands of tile products, packed once a call: the only place that meets odd strides, misaligned rows and a d that is
// no multiple of anything.
#pragma once

#include "kernels/core/ceil_div.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/norm.h"
#include "kernels/cuda/tiles.h"

namespace duet::cuda {

constexpr int64_t rounded_up(int64_t count, int64_t unit) { return ceil_div(count, unit) * unit; }
// Rows of a packed operand: whole tiles of any kind, so that a tile product never looks at a bound.
constexpr int64_t packed_rows(int64_t rows) { return rounded_up(rows, 256); }
constexpr int64_t packed_stride(duet_precision precision, int64_t d) {
  return ceil_div(d, kStepWords * elements_of_word(precision)) * kStepWords;
}

// Facts of the rows, packed_rows(n) each; null: not wanted.
struct RowNorms {
  float* square = nullptr;   // |x|^2, summed in float64: a distance's expansion is as accurate as its norms are; past
                             // the end 1, so that nothing there looks like a close pair
  float* norm = nullptr;     // of the rows as given
  double* length = nullptr;  // the same in full
  // 1 / max(length, kSmallestNorm); where given, the unit rows are packed, rounded once, and square is theirs.
  double* inverse = nullptr;
};

// n x d as rows: what both operands of a score are.
Packed reserve_rows(Workspace& workspace, duet_precision precision, int64_t n, int64_t d);
void pack_rows(const duet_context& context, Matrix<const float> x, const RowNorms& norms, const Packed& to);

// n x d as columns, d rows of n: the second operand of a backward product, in tiles of gradient_columns() columns.
// inverse: of the rows, for unit rows rounded as pack_rows rounds them; null for 1.
constexpr int gradient_columns(duet_precision precision, int64_t d) {
  const int wide =
      is_exact(precision) ? SingleTile<DUET_PRECISION_FP32>::kColumns : SingleTile<DUET_PRECISION_BF16>::kColumns;
  return d <= wide / 2 ? wide / 2 : wide;
}
Packed take_columns(Workspace& workspace, duet_precision precision, int64_t n, int64_t d);
void pack_columns(const duet_context& context, Matrix<const float> x, const double* inverse, const Packed& to);

}  // namespace duet::cuda
