#include "kernels/contrastive/relation_cpu.h"

#include "kernels/contrastive/contrastive_formulas.h"
#include "kernels/contrastive/relation_tile_cpu.h"
#include "kernels/pairs/formula_cpu.h"

namespace duet::cpu {

RelatedPairs related_pairs(const ContrastiveInputs& in) {
  return {in.a,       in.v,       in.scale,       in.labels_a,    in.labels_v,
          in.group_a, in.group_v, in.exclude_own, own_offset(in), in.label_sets};
}

namespace {

// body(sweep) with the sweep of the inputs' formula.
template <class Body>
void with_sweep(Workspace& workspace, const duet_context& context, const ContrastiveInputs& in, Body&& body) {
  const RelatedPairs pairs = related_pairs(in);
  with_formula(in.kind, in.margin, [&](const auto& formula) {
    body(FormulaSweep(workspace, context, pairs, formula, RelationTiles{in.kind, in.margin}));
  });
}

}  // namespace

size_t relation_workspace(const duet_context& context, const ContrastiveInputs& inputs) {
  Workspace measure;
  with_sweep(measure, context, inputs, [](auto&&) {});
  return measure.used();
}

void relation_forward(const duet_context& context, const ContrastiveInputs& inputs, const ContrastiveOutputs& outputs,
                      const duet_workspace& workspace) {
  Workspace pieces(workspace);
  with_sweep(pieces, context, inputs, [&](auto&& sweep) {
    sweep.forward({outputs.row_loss, outputs.column_loss, outputs.row_statistics, outputs.column_statistics,
                   outputs.row_sums, outputs.column_sums});
  });
}

void relation_backward(const duet_context& context, const ContrastiveInputs& inputs, Matrix<const float> row_statistics,
                       Matrix<const float> column_statistics, const ContrastiveGradients& gradients,
                       const duet_workspace& workspace) {
  if (!gradients.row_weight && !gradients.column_weight) return;
  const auto factor = [](Vector<const float> given) { return given ? given[0] : 1; };
  Workspace pieces(workspace);
  with_sweep(pieces, context, inputs, [&](auto&& sweep) {
    sweep.backward({row_statistics, column_statistics, gradients.row_weight, gradients.column_weight,
                    factor(inputs.grad_factor_a), factor(inputs.grad_factor_v), gradients.a, gradients.v,
                    gradients.scale});
  });
}

void relation_close(const duet_context& context, duet_contrastive_kind kind, Matrix<const double> sums,
                    Vector<float> loss, Matrix<float> statistics) {
  constexpr float kAnyMargin = 0;  // read only where pairs are summed
  with_formula(kind, kAnyMargin, [&](const auto& formula) {
    for_each_line(context, sums.rows, [&](int64_t k) {
      loss[k] = close_sums(formula, MergedSums::load(sums.row(k)), statistics.row(k), statistics.columns);
    });
  });
}

}  // namespace duet::cpu
