#include "kernels/contrastive/relation_tile_cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/contrastive/relation_tile_cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels/contrastive/contrastive_formulas.h"
#include "kernels/pairs/formula_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

void relation_sums_target(RelationTiles of, const PairTile& tile, const Matrix<float>* exponents, PairSums rows,
                          PairSums columns) {
  with_formula(of.kind, of.margin, [&](const auto& formula) { formula_sums(formula, tile, exponents, rows, columns); });
}

void relation_later_sums_target(RelationTiles of, const PairTile& tile, const PairStatistics& statistics, PairSums rows,
                                PairSums columns) {
  with_formula(of.kind, of.margin,
               [&](const auto& formula) { formula_later_sums(formula, tile, statistics, rows, columns); });
}

double relation_gradient_target(RelationTiles of, const PairTile& tile, const PairStatistics& statistics,
                                const float* row_weight, const float* column_weight, Matrix<float> gradient) {
  return with_formula(of.kind, of.margin, [&](const auto& formula) {
    return formula_gradient(formula, tile, statistics, row_weight, column_weight, gradient);
  });
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(relation_sums_target);
HWY_EXPORT(relation_later_sums_target);
HWY_EXPORT(relation_gradient_target);

void RelationTiles::sums(const PairTile& tile, const Matrix<float>* exponents, PairSums rows, PairSums columns) const {
  HWY_DYNAMIC_DISPATCH(relation_sums_target)(*this, tile, exponents, rows, columns);
}

void RelationTiles::later_sums(const PairTile& tile, const PairStatistics& statistics, PairSums rows,
                               PairSums columns) const {
  HWY_DYNAMIC_DISPATCH(relation_later_sums_target)(*this, tile, statistics, rows, columns);
}

double RelationTiles::gradient(const PairTile& tile, const PairStatistics& statistics, const float* row_weight,
                               const float* column_weight, Matrix<float> gradient) const {
  return HWY_DYNAMIC_DISPATCH(relation_gradient_target)(*this, tile, statistics, row_weight, column_weight, gradient);
}

}  // namespace duet::cpu
#endif
