// Alignment by distances of rows whose squares leave float32's range: the scores are those of the same rows in another
// unit.
#include "tests/reference/alignment.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;
namespace reference = duet::reference;

TEST_CASE("log-sum-exps and gradients of distances do not depend on the unit of length") {
  const int64_t n = 17, m = 21, d = 6;
  for (const int exponent : values_of({-66, -100, -120, 50, 62, 100}))
    for (const duet_metric score : {DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
      if (score == DUET_METRIC_COSINE && exponent < 0) continue;  // shorter than eps
      CAPTURE(exponent);
      CAPTURE(static_cast<int>(score));
      Draw draw(61);
      Floats a = draw.unit_rows(n, d), v = draw.unit_rows(m, d);
      const int of_scale = score == DUET_METRIC_EUCLIDEAN ? exponent : 0;
      Floats scale = Floats(1, 1).fill(std::ldexp(30, -of_scale));
      for (Floats* rows : {&a, &v})
        for (int64_t i = 0; i < rows->rows(); ++i)
          for (int64_t k = 0; k < d; ++k) rows->at(i, k) = static_cast<float>(std::ldexp(rows->at(i, k), exponent));
      for (int64_t k = 0; k < d; ++k) v.at(2, k) = a.at(2, k);
      Context context;
      duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
      in.score = score, in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
      size_t bytes = 0;
      SUCCEED_CALL(duet_alignment_workspace(context, &in, &bytes));
      Scratch scratch(bytes);
      Floats row(n, 1), column(m, 1), probabilities(n, m), weights = draw.normals(n, 1), grad_a = Floats(n, d).fill(0),
                                                           grad_v = Floats(m, d).fill(0);
      SUCCEED_CALL(duet_alignment_forward(
          context, &in, sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}),
          scratch.view()));
      SUCCEED_CALL(duet_alignment_probabilities(context, &in,
                                                sized<duet_alignment_probabilities_outputs>(
                                                    {.lse_row = row.vector(), .probabilities = probabilities.matrix()}),
                                                scratch.view()));
      SUCCEED_CALL(duet_alignment_backward(context, &in,
                                           sized<duet_alignment_gradients>({.lse_row = row.vector(),
                                                                            .grad_lse_row = weights.vector(),
                                                                            .grad_a = grad_a.matrix(),
                                                                            .grad_v = grad_v.matrix()}),
                                           scratch.view()));
      const Doubles s = reference::scores(a.values(), v.values(), n, m, d, score, scale.at(0)),
                    p = reference::softmax_rows(s, n, m);
      // Scores are off by 30 times a distance's 4e-6, a probability by that of itself.
      check_close(row.values(), reference::log_sum_exp_rows(s, n, m), 1.3e-4, "lse_row");
      check_close(column.values(), reference::log_sum_exp_rows(reference::transposed(s, n, m), m, n), 1.3e-4,
                  "lse_column");
      check_close(probabilities.values(), p, 1.3e-4, "probabilities");
      Doubles grad_s = p;
      for (size_t k = 0; k < grad_s.size(); ++k) grad_s[k] *= weights.at(static_cast<int64_t>(k) / m);
      const auto gradients = reference::score_gradients(a.values(), v.values(), n, m, d, score, scale.at(0), grad_s);
      check_relative(grad_a.values(), gradients.a, 2e-4, "grad_a", 1e-44);
      check_relative(grad_v.values(), gradients.v, 2e-4, "grad_v", 1e-44);
    }
}
