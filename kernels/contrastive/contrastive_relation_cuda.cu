// A block of threads owns a tile of pairs, as in the other contrastive losses; the formula says what a pair adds.
// Bytes: 8 of the relation and 16 of the statistics a row and tile beside its operands; sums and gradients as there.
// Products: one a forward sweep, of which ntxent has two, and three backward. PLAN.md has the figures.
#include "kernels/contrastive/contrastive_cuda.h"
#include "kernels/contrastive/contrastive_formulas.h"
#include "kernels/pairs/formula_cuda.h"

namespace duet::cuda {
namespace {

// Of label sets bf16 is computed as tf32: decoupled's gradient has no registers for their bits beside a tile of bf16.
constexpr bool is_compiled(duet_precision precision, bool sets) { return !sets || precision != DUET_PRECISION_BF16; }
duet_context compiled(duet_context context, const ContrastiveInputs& in) {
  if (!is_compiled(context.precision, bool(in.label_sets))) context.precision = DUET_PRECISION_TF32;
  return context;
}

template <class Formula>
struct RelationScratch {
  RelationScratch(Workspace& workspace, const duet_context& context, const ContrastiveInputs& in)
      : n(in.a.rows),
        m(in.v.rows),
        a(reserve_rows(workspace, context.precision, n, in.a.columns)),
        v(reserve_rows(workspace, context.precision, m, in.a.columns)),
        relation(workspace, n, m),
        sets(workspace, n, m, in.label_sets),
        rows{workspace.take<float4>(packed_rows(n)), workspace.take<float4>(packed_rows(m))},
        log_sums{sums_of(workspace, context, true, Shift::yes, Cross::no),
                 sums_of(workspace, context, Formula::kLogSums > 1, Shift::yes, Cross::no)},
        sums(sums_of(workspace, context, Formula::kSums > 0, Shift::no, Cross::yes)),
        later(sums_of(workspace, context, Formula::kLaterSums > 0, Shift::no, Cross::yes)),
        scale_sums(workspace, n, m, dual_columns(context.precision)),
        products(workspace, context.precision, n, m, in.a.columns) {}

  SweepSums sums_of(Workspace& workspace, const duet_context& context, bool wanted, Shift shift, Cross cross) const {
    return SweepSums(workspace, wanted ? n : 0, wanted ? m : 0, dual_columns(context.precision), shift, cross);
  }

  // body(FormulaView)
  template <class Body>
  void with_view(const duet_context& context, const ContrastiveInputs& in, Body&& body) const {
    pack_rows(context, in.a, {}, a);
    pack_rows(context, in.v, {}, v);
    const RelationView plain = relation_of(context, in, relation);
    if (in.label_sets)
      body(FormulaView<SetRelationView>{a, v, in.scale.data, {plain, sets.prepare(context, in.labels_a, in.labels_v)}});
    else
      body(FormulaView<RelationView>{a, v, in.scale.data, plain});
  }
  FormulaTotals<Formula> row_totals() const {
    return {{log_sums[0].rows(), log_sums[1].rows()}, sums.rows(), later.rows()};
  }
  FormulaTotals<Formula> column_totals() const {
    return {{log_sums[0].columns(), log_sums[1].columns()}, sums.columns(), later.columns()};
  }

  int64_t n, m;
  Packed a, v;
  RelationRows relation;
  SetRows sets;
  FormulaRows rows;
  SweepSums log_sums[2], sums, later;
  TileSums scale_sums;
  BlockGradients products;
};

template <class Formula, class Relation>
void sweep(const duet_context& context, const Formula& formula, const FormulaView<Relation>& view,
           const RelationScratch<Formula>& scratch) {
  with_precision(context.precision, [&](auto precision) {
    if constexpr (is_compiled(decltype(precision)::value, Relation::kSets)) {
      using T = ContrastiveTile<decltype(precision)::value>;
      const FormulaForward<Formula, Relation> first{
          formula, view, {scratch.log_sums[0].partials(), scratch.log_sums[1].partials()}, scratch.sums.partials()};
      sweep_forward<T>(context, scratch.n, scratch.m, kBlockRows, first,
                       {&scratch.log_sums[0], &scratch.log_sums[1], &scratch.sums});
      if constexpr (Formula::kLaterSums > 0) {
        for_each_position(context, packed_rows(scratch.n),
                          CloseFormula<Formula>{formula, scratch.row_totals(), scratch.n, scratch.rows.a});
        for_each_position(context, packed_rows(scratch.m),
                          CloseFormula<Formula>{formula, scratch.column_totals(), scratch.m, scratch.rows.v});
        const FormulaLater<Formula, Relation> second{formula, view, scratch.rows, scratch.later.partials()};
        sweep_forward<T>(context, scratch.n, scratch.m, kBlockRows, second, {&scratch.later});
      }
    }
  });
}

template <class Formula>
void forward(const duet_context& context, const Formula& formula, const ContrastiveInputs& in,
             const ContrastiveOutputs& out, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  const RelationScratch<Formula> scratch(pieces, context, in);
  scratch.with_view(context, in, [&](const auto& view) { sweep(context, formula, view, scratch); });
  for_each_position(context, scratch.n,
                    FinishFormula<Formula>{formula, scratch.row_totals(), out.row_loss, out.row_statistics});
  for_each_position(context, scratch.m,
                    FinishFormula<Formula>{formula, scratch.column_totals(), out.column_loss, out.column_statistics});
}

template <class Formula>
void backward(const duet_context& context, const Formula& formula, const ContrastiveInputs& in,
              Matrix<const float> row_statistics, Matrix<const float> column_statistics,
              const ContrastiveGradients& out, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  RelationScratch<Formula> scratch(pieces, context, in);
  scratch.products.begin(context, in.a, nullptr, in.v, nullptr, out.a, out.v, nullptr, in.grad_factor_a.data,
                         in.grad_factor_v.data);
  for_each_position(context, packed_rows(scratch.n),
                    StoreFormulaRows{row_statistics, Formula::kStatistics, out.row_weight, scratch.rows.a});
  for_each_position(context, packed_rows(scratch.m),
                    StoreFormulaRows{column_statistics, Formula::kStatistics, out.column_weight, scratch.rows.v});
  scratch.with_view(context, in, [&](const auto& view) {
    using Relation = std::decay_t<decltype(view.relation)>;
    const FormulaGradient<Formula, Relation> gradient{formula, view, scratch.rows, scratch.products.block(),
                                                      scratch.scale_sums.data()};
    with_precision(context.precision, [&](auto precision) {
      if constexpr (is_compiled(decltype(precision)::value, Relation::kSets))
        sweep_backward<ContrastiveTile<decltype(precision)::value>>(
            context, scratch.n, scratch.m, gradient, scratch.products, {{&scratch.scale_sums, out.scale}});
    });
  });
}

}  // namespace

size_t relation_contrastive_workspace(const duet_context& context, const ContrastiveInputs& inputs) {
  return with_formula(inputs.kind, inputs.margin, [&](const auto& formula) {
    Workspace measure;
    RelationScratch<std::decay_t<decltype(formula)>>(measure, compiled(context, inputs), inputs);
    return measure.used();
  });
}

void relation_contrastive_forward(const duet_context& context, const ContrastiveInputs& inputs,
                                  const ContrastiveOutputs& outputs, const duet_workspace& workspace) {
  with_formula(inputs.kind, inputs.margin,
               [&](const auto& formula) { forward(compiled(context, inputs), formula, inputs, outputs, workspace); });
}

void relation_contrastive_backward(const duet_context& context, const ContrastiveInputs& inputs,
                                   Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                                   const ContrastiveGradients& gradients, const duet_workspace& workspace) {
  with_formula(inputs.kind, inputs.margin, [&](const auto& formula) {
    backward(compiled(context, inputs), formula, inputs, row_statistics, column_statistics, gradients, workspace);
  });
}

}  // namespace duet::cuda
