// The losses on a relation of pairs (contrastive_formulas.h) over one tile, with the best SIMD target.
#pragma once

#include "kernels/contrastive/contrastive.h"
#include "kernels/pairs/formula_tile_cpu.h"

namespace duet::cpu {

// Chooses the formula; calls as pairs/formula_cpu.h wants them of its tiles.
struct RelationTiles {
  duet_contrastive_kind kind;
  float margin;

  void sums(const PairTile& tile, const Matrix<float>* exponents, PairSums rows, PairSums columns) const;
  void later_sums(const PairTile& tile, const PairStatistics& statistics, PairSums rows, PairSums columns) const;
  double gradient(const PairTile& tile, const PairStatistics& statistics, const float* row_weight,
                  const float* column_weight, Matrix<float> gradient) const;
};

}  // namespace duet::cpu
