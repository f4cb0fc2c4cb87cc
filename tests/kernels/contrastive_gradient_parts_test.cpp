// The gradients of contrastive losses by parts of the rows: those of the columns, of the scale and of the bias add up
// to the whole's by METHOD.md 0.1's tree, bit for bit, and a row's gradient has its bits in any part.
#include "tests/kernels/contrastive_problem.h"
#include "tests/kernels/slot_parts.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

struct PartGradients {
  PartGradients(Problem& problem, Losses& losses)
      : p(problem),
        statistics(losses),
        row_weight(Draw(3).normals(p.n(), 1, 1)),
        column_weight(Draw(4).normals(p.m(), 1, 1)) {}

  // Of rows from first on: of their rows of a, and of everything else one after another, added to zeros.
  std::pair<Floats, Sums> of(int64_t first, int64_t rows, int threads) {
    Call call(p, threads);
    duet_contrastive_inputs in = call.inputs;
    in.a = part_of(in.a, first, rows), in.class_a = part_of(in.class_a, first, rows);
    in.trust_a = part_of(in.trust_a, first, rows), in.labels_a = part_of(in.labels_a, first, rows);
    in.group_a = part_of(in.group_a, first, rows), in.annotated_a = part_of(in.annotated_a, first, rows);
    in.first_row += first;
    Floats grad_a(rows, p.d()), grad_v(p.m(), p.d()), grad_scale(1, 1), grad_bias(1, 1);
    for (Floats* const each : {&grad_a, &grad_v, &grad_scale, &grad_bias}) each->fill(0);
    duet_contrastive_gradients out = DUET_CONTRASTIVE_GRADIENTS_INIT;
    out.row_weight = part_of(row_weight.vector(), first, rows);
    if (!p.is_sigmoid()) {
      out.row_statistics = part_of(statistics.row_statistics.matrix(), first, rows);
      out.column_statistics = statistics.column_statistics.matrix();
      out.column_weight = column_weight.vector();
    }
    out.grad_a = grad_a.matrix(), out.grad_v = grad_v.matrix(), out.grad_scale = grad_scale.vector();
    if (p.is_sigmoid()) out.grad_bias = grad_bias.vector();
    size_t bytes = 0;
    SUCCEED_CALL(duet_contrastive_workspace(call.context, &in, &bytes));
    const Scratch scratch(bytes);
    SUCCEED_CALL(duet_contrastive_backward(call.context, &in, &out, scratch.view()));
    Sums others(p.m() * p.d() + 2, 1);
    for (int64_t j = 0; j < p.m(); ++j)
      for (int64_t k = 0; k < p.d(); ++k) others.at(j * p.d() + k) = double{grad_v.at(j, k)};
    others.at(p.m() * p.d()) = double{grad_scale.at(0)}, others.at(p.m() * p.d() + 1) = double{grad_bias.at(0)};
    return {std::move(grad_a), std::move(others)};
  }

  void check() {
    const auto [rows_whole, others_whole] = of(0, p.n(), 1);
    for (const int64_t ranks : rank_counts(p.n())) {
      CAPTURE(ranks);
      int threads = 0;
      const Floats& whole = rows_whole;
      const Sums sums = sums_of_parts(
          p.n(), ranks,
          [&](int64_t first, int64_t rows) {
            auto [of_rows, others] = of(first, rows, 1 + threads++ % 2);
            CHECK(same_rows(whole, first, of_rows));
            return std::move(others);
          },
          [](Sums& left, const Sums& right) {
            for (int64_t k = 0; k < left.rows(); ++k)
              left.at(k) = double{static_cast<float>(left.at(k)) + static_cast<float>(right.at(k))};
          });
      CHECK(sums.same_bits(others_whole));
    }
  }

  Problem& p;
  Losses& statistics;
  Floats row_weight, column_weight;
};

}  // namespace

TEST_CASE("contrastive gradients of parts add up to those of the whole, bit for bit") {
  for (const int64_t n : kSlotRowCounts)
    for (const Variant variant : kAllVariants)
      for (const float scale : {10.0f, 100.0f}) {
        CAPTURE(n);
        CAPTURE(static_cast<int>(variant));
        CAPTURE(scale);
        Draw draw(17);
        Problem problem = draw_problem(draw, variant, n, n + 5, 8, scale, 4, 1);
        Losses losses = forward(problem);
        PartGradients(problem, losses).check();
      }
}

TEST_CASE("contrastive gradients of parts of more rows than a block of a sweep add up bit for bit") {
  Draw draw(18);
  Problem problem = draw_problem(draw, Variant::infonce, 2100, 70, 5, 10, 4, 1);
  Losses losses = forward(problem);
  PartGradients(problem, losses).check();
}
