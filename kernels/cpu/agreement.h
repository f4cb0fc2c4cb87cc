// Agreement of classes (METHOD.md 2) over one tile, and the two things the losses make of it: sums over a row's or
// column's positives, and the part of a gradient that comes from them.
//
// A tile holds W_ij = q^a_i . q^v_j, or of two annotated rows whether they share a class; the trusts are applied on the
// fly, because a pair has different weights for its row and for its column. Own pairs have pos = 1 whatever their
// trust, so their W is set to 0 and the caller adds them separately (for_each_own_pair), or leaves them out. Rows of
// one group have pos = 1 whatever their trust too; their W is kOneItem.
#pragma once

#include <cmath>

#include "kernels/core/annotated.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/sweep.h"

namespace duet::cpu {

struct Agreement {
  Matrix<const float> class_a, class_v;              // n x C, m x C; without data: no sample agrees with another
  bool paired = false;                               // own pairs stand apart
  int64_t first_row = 0, first_column = 0;           // global indices of row 0 and column 0
  bool excluded = false;                             // of own pairs that stand apart: they take no part
  Vector<const int32_t> group_a = {}, group_v = {};  // n, m; below 0: of no group; without data: no groups
  AnnotatedRows annotated = {};

  bool has_groups() const { return group_a || group_v; }
};

// W of rows of one group: no product of distributions.
inline constexpr float kOneItem = -__builtin_inff();

// Calls body(row, column), counted from the tile's corner, for every own pair in the tile.
template <class Body>
void for_each_own_pair(const Agreement& agreement, const Tile& tile, Body&& body) {
  if (!agreement.paired) return;
  // global row i = first_row + tile.first_row + r meets its own column at r + offset
  const int64_t offset = (agreement.first_row + tile.first_row) - (agreement.first_column + tile.first_column);
  for (int64_t r = std::max<int64_t>(0, -offset); r < tile.rows && r + offset < tile.columns; ++r) body(r, r + offset);
}

// Fills weights (tile.rows x tile.columns) with W, 0 at own pairs and else kOneItem at pairs of one group; class_v: the
// agreement's, packed, or nothing.
void agreement_tile(const Agreement& agreement, const PackedRows& class_v, const Tile& tile, Matrix<float> weights);

// Trust of the non-anchor and t log t, of all rows or all columns, padded for vector loads.
struct Trust {
  float* value;
  float* value_log;

  Trust from(int64_t k) const { return {value + k, value_log + k}; }
  // t copied, or 1 where no trust was given.
  static void fill(Vector<const float> given, int64_t count, Trust out) {
    for (int64_t k = 0; k < count; ++k) {
      const float t = given ? given[k] : 1.0f;
      out.value[k] = t;
      out.value_log[k] = t == 0 ? 0 : t * std::log(t);
    }
  }
};

// weight = sum pos, cross = sum pos (log pos - s) or, without entropy, sum pos (-s); own pairs left out.
struct TargetSums {
  float* weight;
  float* cross;
};

enum class Entropy { no, yes };

// Whether some W may be kOneItem.
enum class OneItems { no, yes };

// row_trust and column_trust begin at the tile's first row and column.
void target_sums(Matrix<const float> weights, OneItems one_items, Matrix<const float> dots, float scale,
                 Entropy entropy, Trust row_trust, Trust column_trust, TargetSums rows, TargetSums columns);

// gradient_ij -= W_ij (row_factor_i t_j + column_factor_j t_i); own pairs left out.
void target_gradient(Matrix<const float> weights, OneItems one_items, Trust row_trust, Trust column_trust,
                     const float* row_factor, const float* column_factor, Matrix<float> gradient);

}  // namespace duet::cpu
