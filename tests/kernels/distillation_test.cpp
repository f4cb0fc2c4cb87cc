#include "tests/kernels/distillation_problem.h"

using namespace duet::test;
using namespace duet::test::distillation;
namespace reference = duet::reference;

namespace {

struct Shape {
  int64_t n, m, d, padding;
  bool paired;
};
const Shape kShapes[] = {{1, 1, 1, 0, true},    {1, 7, 3, 1, false},     {13, 1, 5, 0, false},
                         {31, 67, 33, 3, true}, {130, 130, 16, 0, true}, {300, 263, 65, 1, false}};

int64_t operations(int64_t n, int64_t m, int64_t d) { return n * m * (2 * d + 2); }  // of student and teacher

}  // namespace

TEST_CASE("distillation agrees with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    if (!affordable(operations(s.n, s.m, s.d))) continue;
    for (const auto& scales : values_of<std::pair<float, float>>({{10, 5}, {1, 1}, {1000, 1000}, {1000, 2}})) {
      const float scale = scales.first, teacher_scale = scales.second;
      CAPTURE(s.n);
      CAPTURE(scale);
      CAPTURE(teacher_scale);
      Draw draw(31);
      Problem problem = draw_problem(draw, s.n, s.m, s.d, scale, teacher_scale, 4, s.padding);
      problem.paired = s.paired;
      const Losses first = forward(problem, 1);
      const bool cold = std::min(scale, teacher_scale) >=
                        1000;  // there float32 products, off by 1e-7, count more than METHOD.md's terms
      check_losses(problem, first,
                   problem.tolerance() + (cold ? 1e-7 * teacher_scale * problem.teacher_condition() : 0));
      const Weights weights{draw.choice(s.n, {1, 0.3, 0, -0.5}), draw.choice(s.m, {1, 0.3, 0, -0.5})};
      const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
      check_gradients(problem, weights, before, gradients, problem.tolerance());
      for (const int threads : other_thread_counts()) {
        CHECK(forward(problem, threads).same_bits(first));
        CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
      }
    }
  }
}

TEST_CASE("distillation's statistics are the log-sum-exps and the sums of positives") {
  Draw draw(32);
  Problem problem = draw_problem(draw, 35, 45, 8, 10, 4);
  const Losses out = forward(problem);
  const Doubles lse_s = reference::log_sum_exp_rows(problem.student_scores(), 35, 45),
                lse_t = reference::log_sum_exp_rows(reference::transposed(problem.teacher_scores(), 35, 45), 45, 35);
  const Doubles pos =
      reference::positives(problem.class_a.values(), problem.class_v.values(), problem.trust_v.values(), 35, 45, false);
  for (int64_t i = 0; i < 35; ++i) {
    double total = 0;
    for (int64_t j = 0; j < 45; ++j) total += pos[static_cast<size_t>(i * 45 + j)];
    CHECK(std::abs(out.row_statistics.at(i, 0) - lse_s[static_cast<size_t>(i)]) <= problem.tolerance());
    CHECK(out.row_statistics.at(i, 2) == doctest::Approx(total).epsilon(1e-6));
  }
  for (int64_t j = 0; j < 45; ++j)
    CHECK(std::abs(out.column_statistics.at(j, 1) - lse_t[static_cast<size_t>(j)]) <= problem.tolerance());
}

TEST_CASE("distillation beyond one sweep block") {
  // 2048 x 256 on the CPU; on CUDA 4096 x 16384 forward, 4096 x 4096 backward, where a tile is paid for whole. Own
  // pairs cross the corner.
  using Shapes = std::vector<std::pair<int64_t, int64_t>>;
  for (const auto& shape : on_cpu() ? Shapes{{2053, 263}} : Shapes{{4100, 20}, {20, 16390}}) {
    const int64_t n = shape.first, m = shape.second, d = 3;
    if (!affordable(4 * std::max<int64_t>(n, 128) * std::max<int64_t>(m, 128) * d)) continue;
    CAPTURE(n);
    Draw draw(33);
    Problem problem = draw_problem(draw, n, m, d, 10, 10, 2);
    problem.paired = true, problem.first_row = m > n ? 16375 : 0,
    problem.first_column = n <= m     ? 0
                           : on_cpu() ? 1790
                                      : 4085;
    const Losses first = forward(problem, 1);
    check_losses(problem, first, problem.tolerance());
    const Weights weights{draw.choice(n, {1, 0.3, 0}), draw.choice(m, {1, 0.3, 0})};
    const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
    check_gradients(problem, weights, before, gradients, problem.tolerance());
    for (const int threads : other_thread_counts()) {
      CHECK(forward(problem, threads).same_bits(first));
      CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
    }
  }
}

TEST_CASE("distillation in lower precision keeps METHOD.md's tolerances") {
  for (const duet_precision precision : {DUET_PRECISION_FP32, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
    for (const float scale : values_of({10.0f, 100.0f})) {  // bounded scores, and not
      const int64_t n = 129, m = 67, d = 70;
      if (!affordable(operations(n, m, d))) continue;
      CAPTURE(static_cast<int>(precision));
      CAPTURE(scale);
      Draw draw(40);
      Problem problem = draw_problem(draw, n, m, d, scale, 5, 5, 1);
      problem.paired = true, problem.precision = precision;
      const Losses out = forward(problem);
      check_losses(problem, out, problem.tolerance());
      const Weights weights{draw.choice(n, {1, 0.3}), draw.choice(m, {1, 0.3})};
      const Gradients before = prefilled(problem), gradients = backward(problem, out, weights, 1, before);
      check_gradients(problem, weights, before, gradients, problem.tolerance());
      CHECK(backward(problem, out, weights, 2, before).same_bits(gradients));
    }
  }
}

TEST_CASE("distillation about the limits of a device's form for small batches") {
  struct Edge {
    int64_t n, m, d, classes;
  };
  // It takes 256 rows and 512 columns, of embeddings and of classes, in parts of 4 rows by 128 and 64 columns. The
  // teacher has d + 2.
  for (const Edge& edge : {Edge{256, 255, 4, 3},
                           {255, 257, 4, 3},
                           {4, 128, 64, 3},
                           {5, 129, 62, 3},
                           {4, 3, 510, 3},
                           {4, 3, 511, 3},
                           {6, 5, 3, 512},
                           {6, 5, 3, 513}}) {
    if (!affordable_tiles(edge.n, edge.m, 2 * edge.d)) continue;
    for (const bool paired : {true, false}) {
      CAPTURE(edge.n);
      CAPTURE(edge.m);
      CAPTURE(edge.d);
      CAPTURE(paired);
      Draw draw(40);
      Problem problem = draw_problem(draw, edge.n, edge.m, edge.d, 10, 5, edge.classes);
      problem.paired = paired;
      Losses losses = forward(problem, 1);
      check_losses(problem, losses, problem.tolerance());
      Weights weights{draw.choice(edge.n, {1, 0.3}), draw.choice(edge.m, {1, 0.3})};
      const Gradients before = prefilled(problem), gradients = backward(problem, losses, weights, 1, before);
      check_gradients(problem, weights, before, gradients, problem.tolerance());
      // The scale's gradient needs neither side's.
      Gradients scale = before;
      Call call(problem, 1);
      SUCCEED_CALL(duet_distillation_backward(
          call.context, &call.inputs,
          sized<duet_distillation_gradients>({.row_statistics = losses.row_statistics.matrix(),
                                              .column_statistics = losses.column_statistics.matrix(),
                                              .row_weight = weights.row.vector(),
                                              .column_weight = weights.column.vector(),
                                              .grad_scale = scale.scale.vector()}),
          call.workspace()));
      CHECK(scale.scale.same_bits(gradients.scale));
    }
  }
}

TEST_CASE("distillation takes null for no trust, no kappa, no classes, no weights, no gradient") {
  const int64_t n = 37, m = 41, d = 6;
  Draw draw(35);
  Problem problem = draw_problem(draw, n, m, d, 10, 5);
  const duet_vector none{nullptr, 0, DUET_DTYPE_F32};
  {  // trust null: 1
    Problem trusting = problem;
    trusting.trust_a.fill(1), trusting.trust_v.fill(1);
    Call call(problem, 2);
    call.inputs.trust_a = call.inputs.trust_v = none;
    Losses out(n, m);
    forward(call, out);
    CHECK(out.same_bits(forward(trusting)));
  }
  Problem bare = problem;  // kappa null: 0; then classes do not count
  bare.kappa_a.fill(0), bare.kappa_v.fill(0);
  const Losses expected = forward(bare);
  Call call(problem, 2);
  call.inputs.kappa_a = call.inputs.kappa_v = none;
  Losses out(n, m);
  forward(call, out);
  CHECK(out.same_bits(expected));
  call.inputs.class_a = call.inputs.class_v = {};
  call.inputs.trust_a = call.inputs.trust_v = none;
  Losses without_classes(n, m);
  forward(call, without_classes);
  CHECK(without_classes.row.same_bits(expected.row));
  CHECK(without_classes.column.same_bits(expected.column));

  Weights weights{draw.choice(n, {1, 0.3}), draw.choice(m, {1, 0.3})};
  const Gradients before = prefilled(problem), whole = backward(bare, expected, weights, 2, before);
  Gradients into = before;
  backward(call, without_classes, weights, into);
  CHECK(into.same_bits(whole));
  Weights rows = weights, columns = weights;
  rows.column.fill(0), columns.row.fill(0);
  const auto partial = [&](bool row, bool column, bool grad_a, bool grad_v) {
    Gradients out = before;
    Losses statistics = expected;
    Call call(bare, 2);
    SUCCEED_CALL(duet_distillation_backward(
        call.context, &call.inputs,
        sized<duet_distillation_gradients>({.row_statistics = statistics.row_statistics.matrix(),
                                            .column_statistics = statistics.column_statistics.matrix(),
                                            .row_weight = row ? weights.row.vector() : none,
                                            .column_weight = column ? weights.column.vector() : none,
                                            .grad_a = grad_a ? out.a.matrix() : duet_matrix{},
                                            .grad_v = grad_v ? out.v.matrix() : duet_matrix{},
                                            .grad_scale = none}),
        call.workspace()));
    return out;
  };
  check_relative(partial(true, false, true, true).a.values(), backward(bare, expected, rows, 2, before).a.values(),
                 2e-6, "rows alone");
  check_relative(partial(false, true, true, true).v.values(), backward(bare, expected, columns, 2, before).v.values(),
                 2e-6, "columns alone");
  CHECK(partial(true, true, true, false).a.same_bits(whole.a));
  CHECK(partial(true, true, true, false).v.same_bits(before.v));
  CHECK(partial(true, true, false, true).v.same_bits(whole.v));
  CHECK(partial(false, false, true, true).same_bits(before));
}

TEST_CASE("distillation where nothing or nobody agrees, and of nothing") {
  const int64_t n = 33, m = 29, d = 5;
  Draw draw(36);
  Problem problem = draw_problem(draw, n, m, d, 10, 10, 2);
  for (int64_t i = 0; i < n; ++i) problem.class_a.at(i, 0) = i % 3 == 0, problem.class_a.at(i, 1) = i % 3 != 0;
  for (int64_t j = 0; j < m; ++j) problem.class_v.at(j, 0) = 0, problem.class_v.at(j, 1) = 1;
  problem.kappa_a.fill(1);
  const Weights weights{draw.choice(n, {1, 0.5}), draw.choice(m, {1, 0.5})};
  const Gradients before = prefilled(problem);
  for (const double trust : {1.0, 0.0}) {
    problem.trust_v.fill(trust);
    const Losses out = forward(problem);
    check_losses(problem, out, problem.tolerance());
    for (int64_t i = 0; i < n; ++i)
      if (trust == 0 || i % 3 == 0) CHECK(out.row.at(i) == 0);
    check_gradients(problem, weights, before, backward(problem, out, weights, 2, before), problem.tolerance());
  }
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {0, 0}}) {
    Problem empty = draw_problem(draw, rows, columns, 3, 10, 10);
    const Losses out = forward(empty);
    CHECK(largest(out.row.values()) == 0);
    for (int64_t i = 0; i < rows; ++i) CHECK(out.row.at(i) == 0);
    for (int64_t j = 0; j < columns; ++j) CHECK(out.column.at(j) == 0);
    for (int64_t i = 0; i < rows; ++i) CHECK(out.row_statistics.at(i, 0) == -std::numeric_limits<float>::infinity());
    const Gradients untouched = prefilled(empty);
    const Weights ones{draw.choice(rows, {1}), draw.choice(columns, {1})};
    CHECK(backward(empty, out, ones, 2, untouched).same_bits(untouched));
  }
}

TEST_CASE("distillation of wild norms stays finite, NaN shows") {
  const int64_t n = 40, m = 300, d = 8;
  Draw draw(37);
  Problem problem = draw_problem(draw, n, m, d, 1, 1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < d; ++k) {
      problem.a.at(i, k) *= std::pow(10.0f, static_cast<float>(i % 7) - 3);
      problem.teacher_a.at(i, k) *= std::pow(10.0f, static_cast<float>(i % 5) - 1);
    }
  const double allowed = softmax_tolerance(d, 1, 1e3);  // the largest norm
  const Weights weights{draw.choice(n, {1, 0.5}), draw.choice(m, {1, 0.5})};
  const Gradients before = prefilled(problem);
  const Losses out = forward(problem);
  check_losses(problem, out, allowed);
  check_gradients(problem, weights, before, backward(problem, out, weights, 2, before), allowed);

  problem.a.at(7, 3) = std::numeric_limits<float>::quiet_NaN();
  const Losses poisoned = forward(problem);
  for (int64_t i = 0; i < n; ++i) CHECK(std::isnan(poisoned.row.at(i)) == (i == 7));
  for (int64_t j = 0; j < m; ++j) CHECK(std::isnan(poisoned.column.at(j)));
  const Gradients gradients = backward(problem, poisoned, weights, 2, before);
  CHECK(std::isnan(gradients.a.at(0, 0)));
  CHECK(std::isnan(gradients.v.at(0, 0)));
  Weights rows_alone = weights;
  rows_alone.column.fill(0);  // what has no weight takes no part, though its sum is NaN
  const Gradients of_rows = backward(problem, poisoned, rows_alone, 2, before);
  for (int64_t i = 0; i < n; ++i) CHECK(std::isnan(of_rows.a.at(i, 0)) == (i == 7));
}

TEST_CASE("row parts and column parts of a distillation equal the whole's") {
  const int64_t n = 71, m = 90, d = 7, cut = 40;
  Draw draw(38);
  Problem problem = draw_problem(draw, n, m, d, 10, 10);
  problem.paired = true, problem.first_row = 3, problem.first_column = 10;
  Losses whole = forward(problem);
  Weights weights{draw.choice(n, {1, 0.5}), draw.choice(m, {1, 0.5})};
  const Gradients before = prefilled(problem), expected = backward(problem, whole, weights, 2, before);
  Gradients rows_sum = before, columns_sum = before;
  const auto piece = [](Floats& of, int64_t first, int64_t count) { return duet_f32_vector(&of.at(first), count); };
  for (const int64_t first : {int64_t{0}, cut}) {
    {
      const int64_t count = first ? n - cut : cut;
      Call call(problem, 2);
      call.inputs.student_a = problem.a.part(first, 0, count, d);
      call.inputs.teacher_a = problem.teacher_a.part(first, 0, count, d + 2);
      call.inputs.class_a = problem.class_a.part(first, 0, count, 4);
      call.inputs.trust_a = piece(problem.trust_a, first, count),
      call.inputs.kappa_a = piece(problem.kappa_a, first, count);
      call.inputs.first_row += first;
      Losses part(count, m);
      forward(call, part);
      const Doubles losses = whole.row.values();
      check_close(part.row.values(), Doubles(losses.begin() + first, losses.begin() + first + count),
                  problem.tolerance(), "row part");
      SUCCEED_CALL(duet_distillation_backward(
          call.context, &call.inputs,
          sized<duet_distillation_gradients>(
              {.row_statistics = whole.row_statistics.part(first, 0, count, DUET_DISTILLATION_STATISTICS),
               .column_statistics = whole.column_statistics.matrix(),
               .row_weight = piece(weights.row, first, count),
               .column_weight = weights.column.vector(),
               .grad_a = rows_sum.a.part(first, 0, count, d),
               .grad_v = rows_sum.v.matrix(),
               .grad_scale = rows_sum.scale.vector()}),
          call.workspace()));
    }
    {
      const int64_t count = first ? m - cut : cut;
      Call call(problem, 2);
      call.inputs.student_v = problem.v.part(first, 0, count, d);
      call.inputs.teacher_v = problem.teacher_v.part(first, 0, count, d + 2);
      call.inputs.class_v = problem.class_v.part(first, 0, count, 4);
      call.inputs.trust_v = piece(problem.trust_v, first, count),
      call.inputs.kappa_v = piece(problem.kappa_v, first, count);
      call.inputs.first_column += first;
      Losses part(n, count);
      forward(call, part);
      const Doubles losses = whole.column.values();
      check_close(part.column.values(), Doubles(losses.begin() + first, losses.begin() + first + count),
                  problem.tolerance(), "column part");
      SUCCEED_CALL(duet_distillation_backward(
          call.context, &call.inputs,
          sized<duet_distillation_gradients>(
              {.row_statistics = whole.row_statistics.matrix(),
               .column_statistics = whole.column_statistics.part(first, 0, count, DUET_DISTILLATION_STATISTICS),
               .row_weight = weights.row.vector(),
               .column_weight = piece(weights.column, first, count),
               .grad_a = columns_sum.a.matrix(),
               .grad_v = columns_sum.v.part(first, 0, count, d),
               .grad_scale = columns_sum.scale.vector()}),
          call.workspace()));
    }
  }
  // Float32 sums in another order.
  for (const Gradients* sum : {&rows_sum, &columns_sum}) {
    check_relative(sum->a.values(), expected.a.values(), 2e-6, "grad_a");
    check_relative(sum->v.values(), expected.v.values(), 2e-6, "grad_v");
  }
}

TEST_CASE("distillation needs less than 16 MB at 16384 x 16384") {
  if (!on_cpu()) {
    MESSAGE("skipped: of the CPU");
    return;
  }
  duet_distillation_inputs inputs = DUET_DISTILLATION_INPUTS_INIT;
  Floats some(1, 1);  // the workspace call reads shapes alone
  const int64_t n = 16384, d = 128, classes = 10;
  inputs.student_a = inputs.student_v = inputs.teacher_a = inputs.teacher_v = duet_f32_matrix(some.data(), n, d);
  inputs.class_a = inputs.class_v = duet_f32_matrix(some.data(), n, classes);
  inputs.scale = inputs.teacher_scale = some.vector();
  for (const int threads : {1, 2, 8, 16}) {
    size_t bytes = 0;
    SUCCEED_CALL(duet_distillation_workspace(Context(threads), &inputs, &bytes));
    CHECK(bytes < 16 << 20);
  }
}

TEST_CASE("distillation on a device needs less than 4 GiB at 262144 x 262144, and grows with n + m alone") {
  if (on_cpu()) {
    MESSAGE("skipped: of a device");
    return;
  }
  Floats some(1, 1);  // the workspace call reads shapes alone
  const int64_t d = 256, classes = 100;
  for (const duet_precision precision :
       {DUET_PRECISION_TF32X3, DUET_PRECISION_FP32, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
    const auto needed = [&](int64_t n) {
      duet_distillation_inputs inputs = DUET_DISTILLATION_INPUTS_INIT;
      inputs.student_a = inputs.student_v = inputs.teacher_a = inputs.teacher_v = duet_f32_matrix(some.data(), n, d);
      inputs.class_a = inputs.class_v = duet_f32_matrix(some.data(), n, classes);
      inputs.scale = inputs.teacher_scale = some.vector();
      size_t bytes = 0;
      SUCCEED_CALL(duet_distillation_workspace(Context(1, precision), &inputs, &bytes));
      return static_cast<int64_t>(bytes);
    };
    CHECK(needed(262144) < int64_t{4} << 30);
    // A row of one side: 3 packed operands, the classes, and less than 300 bytes of sums and factors.
    const int64_t word = precision == DUET_PRECISION_BF16 ? 2 : 4;
    CHECK(needed(4 << 20) - needed(2 << 20) <= (2 << 20) * 2 * (3 * d * word + 4 * classes + 300));
  }
}

TEST_CASE("distillation refuses misuse") {
  Draw draw(39);
  Problem problem = draw_problem(draw, 4, 5, 3, 1, 1, 2);
  Call call(problem, 1);
  Losses out(4, 5);
  const duet_workspace scratch = call.workspace();
  const auto run = [&](const duet_distillation_inputs* inputs, duet_vector row_loss, duet_workspace workspace) {
    return duet_distillation_forward(
        call.context, inputs,
        sized<duet_distillation_outputs>({.row_loss = row_loss,
                                          .column_loss = out.column.vector(),
                                          .row_statistics = out.row_statistics.matrix(),
                                          .column_statistics = out.column_statistics.matrix()}),
        workspace);
  };
  auto bad = call.inputs;
  bad.teacher_v = problem.v.matrix();
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.teacher_v: expected 5 x 5, got 5 x 3");
  bad = call.inputs, bad.class_v = {};
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs.class_v");
  bad = call.inputs, bad.kappa_a = problem.kappa_v.vector();
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.kappa_a: expected 4 elements, got 5");
  bad = call.inputs, bad.teacher_scale = {};
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs.teacher_scale");
  FAIL_CALL(run(nullptr, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(run(&call.inputs, out.column.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "row_loss: expected 4 elements, got 5");
  FAIL_CALL(run(&call.inputs, out.row.vector(), (duet_workspace{scratch.data, 64})), DUET_STATUS_WORKSPACE_TOO_SMALL,
            "workspace");
  FAIL_CALL(
      duet_distillation_backward(call.context, &call.inputs,
                                 sized<duet_distillation_gradients>({.row_statistics = out.row_statistics.matrix(),
                                                                     .column_statistics = out.row_statistics.matrix(),
                                                                     .row_weight = out.row.vector(),
                                                                     .column_weight = out.column.vector(),
                                                                     .grad_a = duet_matrix{},
                                                                     .grad_v = duet_matrix{},
                                                                     .grad_scale = duet_vector{}}),
                                 scratch),
      DUET_STATUS_INVALID_ARGUMENT, "column_statistics: expected 5 x 5, got 4 x 5");
}
