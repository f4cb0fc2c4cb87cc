// Distillation: which devices have sums of parts of a batch.
#include "tests/kernels/distillation_problem.h"

using namespace duet::test;
using namespace duet::test::distillation;

TEST_CASE("sums of parts of a batch are the CPU's alone") {
  Draw draw(97);
  Problem problem = draw_problem(draw, 3, 4, 8, 10, 10);
  Call call(problem, 1);
  Array<double> rows(3, DUET_DISTILLATION_SUMS), columns(4, DUET_DISTILLATION_SUMS), more = columns;
  Losses losses(3, 4);
  const auto forward = [&] {
    return duet_distillation_forward(
        call.context, &call.inputs,
        sized<duet_distillation_outputs>({.row_sums = rows.matrix(), .column_sums = columns.matrix()}),
        call.workspace());
  };
  const auto merge = [&] {
    return duet_distillation_merge(
        call.context, sized<duet_distillation_merge_inputs>({.left = columns.matrix(), .right = more.matrix()}),
        sized<duet_distillation_merge_outputs>({.sums = columns.matrix()}));
  };
  const auto close = [&] {
    return duet_distillation_close(call.context, sized<duet_distillation_close_inputs>({.sums = rows.matrix()}),
                                   sized<duet_distillation_close_outputs>(
                                       {.loss = losses.row.vector(), .statistics = losses.row_statistics.matrix()}));
  };
  if (on_cpu()) {
    SUCCEED_CALL(forward());
    SUCCEED_CALL(close());
    more = columns;
    SUCCEED_CALL(merge());
    return;
  }
  FAIL_CALL(forward(), DUET_STATUS_UNSUPPORTED, "sums of parts of a batch: expected a context of the CPU");
  FAIL_CALL(merge(), DUET_STATUS_UNSUPPORTED, "sums of parts of a batch: expected a context of the CPU");
  FAIL_CALL(close(), DUET_STATUS_UNSUPPORTED, "sums of parts of a batch: expected a context of the CPU");
}
