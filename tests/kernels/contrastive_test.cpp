#include <cstddef>

#include "tests/kernels/contrastive_problem.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

struct Shape {
  int64_t n, m, d, padding;
};
const Shape kShapes[] = {{1, 1, 1, 0},    {1, 7, 3, 1},      {13, 1, 5, 0},
                         {31, 67, 33, 3}, {130, 130, 16, 0}, {300, 263, 65, 1}};

}  // namespace

TEST_CASE("contrastive losses agree with the reference, whatever the threads") {
  for (const Variant variant : kAllVariants) {
    for (const Shape& s : kShapes) {
      if (!affordable(s.n * s.m * s.d)) continue;
      if (!on_cpu() && s.n > 130 && has_groups(variant))
        continue;  // the same kernels with more said: the emulator's time
      for (const float scale : values_of({10.0f, 1.0f, 1000.0f})) {
        CAPTURE(static_cast<int>(variant));
        CAPTURE(s.n);
        CAPTURE(scale);
        Draw draw(41);
        Problem problem = draw_problem(draw, variant, s.n, s.m, s.d, scale, 4, s.padding);
        problem.paired = s.n % 2 == 0;
        const Losses first = forward(problem, 1);
        check_losses(problem, first, problem.tolerance());
        const Weights weights{draw.choice(s.n, {1, 0.3, 0, -0.5}), draw.choice(s.m, {1, 0.3, 0, -0.5})};
        const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
        check_gradients(problem, weights, before, gradients);
        for (const int threads : other_thread_counts()) {
          CHECK(forward(problem, threads).same_bits(first));
          CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
        }
      }
    }
  }
}

TEST_CASE("contrastive losses beyond one sweep block") {
  // 2048 x 256 on the CPU; on CUDA 4096 x 16384 forward, 4096 x 4096 backward, where a tile is paid for whole. Own
  // pairs cross the corner.
  using Shapes = std::vector<std::pair<int64_t, int64_t>>;
  for (const auto& shape : on_cpu() ? Shapes{{2053, 263}} : Shapes{{4100, 20}, {20, 16390}}) {
    const int64_t n = shape.first, m = shape.second, d = 3;
    if (!affordable(4 * std::max<int64_t>(n, 128) * std::max<int64_t>(m, 128) * d)) continue;
    for (const Variant variant : kAllVariants) {
      if (!on_cpu() && variant != Variant::multi_positive && variant != Variant::sigmoid && variant != Variant::ntxent)
        continue;  // the emulator's time
      CAPTURE(n);
      CAPTURE(static_cast<int>(variant));
      Draw draw(42);
      Problem problem = draw_problem(draw, variant, n, m, d, 10, 2);
      problem.first_row = m > n ? 16375 : 0, problem.first_column = n <= m ? 0 : on_cpu() ? 1790 : 4085;
      if (problem.is_sigmoid()) problem.factor_a = 0.3f, problem.factor_v = 2.0f;  // of every block's products
      const Losses first = forward(problem, 1);
      check_losses(problem, first, problem.tolerance());
      const Weights weights{draw.choice(n, {1, 0.3}), draw.choice(m, {1, 0.3})};
      const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
      check_gradients(problem, weights, before, gradients);
      for (const int threads : other_thread_counts()) {
        CHECK(forward(problem, threads).same_bits(first));
        CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
      }
    }
  }
}

TEST_CASE("contrastive losses about the limits of a device's form for small batches") {
  struct Edge {
    int64_t n, m, d, classes;
  };
  // It takes 256 rows and 512 columns, of embeddings and of classes, in parts of 4 rows by 128 and 64 columns.
  for (const Edge& edge : {Edge{256, 255, 4, 3},
                           {255, 257, 4, 3},
                           {4, 128, 64, 3},
                           {5, 129, 68, 3},
                           {4, 3, 512, 3},
                           {4, 3, 513, 3},
                           {6, 5, 3, 512},
                           {6, 5, 3, 513}}) {
    if (!affordable_tiles(edge.n, edge.m, edge.d)) continue;
    for (const Variant variant : kAllVariants) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(edge.n);
      CAPTURE(edge.m);
      CAPTURE(edge.d);
      Draw draw(54);
      Problem problem = draw_problem(draw, variant, edge.n, edge.m, edge.d, 10, edge.classes);
      Losses losses = forward(problem, 1);
      check_losses(problem, losses, problem.tolerance());
      Weights weights{draw.choice(edge.n, {1, 0.3}), draw.choice(edge.m, {1, 0.3})};
      const Gradients before = prefilled(problem), gradients = backward(problem, losses, weights, 1, before);
      check_gradients(problem, weights, before, gradients);
      // The scalars' gradients need neither side's.
      Gradients scalars = before;
      Call call(problem, 1);
      const bool sigmoid = problem.is_sigmoid();
      SUCCEED_CALL(duet_contrastive_backward(
          call.context, &call.inputs,
          sized<duet_contrastive_gradients>({.row_statistics = losses.row_statistics.matrix(),
                                             .column_statistics = losses.column_statistics.matrix(),
                                             .row_weight = weights.row.vector(),
                                             .column_weight = weights.column.vector(),
                                             .grad_scale = scalars.scale.vector(),
                                             .grad_bias = sigmoid ? scalars.bias.vector() : duet_vector{}}),
          call.workspace()));
      CHECK(scalars.scale.same_bits(gradients.scale));
      CHECK(scalars.bias.same_bits(gradients.bias));
    }
  }
}

TEST_CASE("contrastive losses in lower precision keep METHOD.md's tolerances") {
  for (const Variant variant : kAllVariants) {
    for (const duet_precision precision : {DUET_PRECISION_FP32, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
      for (const float scale : values_of({10.0f, 100.0f})) {  // bounded scores, and not
        const int64_t n = 67, m = 129, d = 70;
        if (!affordable(n * m * d)) continue;
        CAPTURE(static_cast<int>(variant));
        CAPTURE(static_cast<int>(precision));
        CAPTURE(scale);
        Draw draw(49);
        Problem problem = draw_problem(draw, variant, n, m, d, scale, 5, 1);
        problem.precision = precision;
        const Losses out = forward(problem);
        check_losses(problem, out, problem.tolerance());
        const Weights weights{draw.choice(n, {1, 0.3}), draw.choice(m, {1, 0.3})};
        const Gradients before = prefilled(problem), gradients = backward(problem, out, weights, 1, before);
        check_gradients(problem, weights, before, gradients);
        CHECK(backward(problem, out, weights, 2, before).same_bits(gradients));
      }
    }
  }
}

TEST_CASE("factors of contrastive gradients multiply what each side gets, and nothing else") {
  using Factors = std::pair<float, float>;
  for (const Variant variant : kAllVariants) {
    for (const duet_precision precision :
         values_of({DUET_PRECISION_TF32X3, DUET_PRECISION_FP32, DUET_PRECISION_TF32, DUET_PRECISION_BF16})) {
      const int64_t n = 67, m = 97, d = 33;
      if (!affordable(n * m * d)) continue;
      CAPTURE(static_cast<int>(variant));
      CAPTURE(static_cast<int>(precision));
      Draw draw(50);
      Problem problem = draw_problem(draw, variant, n, m, d, 10, 5, 1);
      problem.precision = precision;
      const Losses losses = forward(problem);
      const Weights weights{draw.choice(n, {1, 0.3}), draw.choice(m, {1, 0.3})};
      const Gradients before = prefilled(problem), plain = backward(problem, losses, weights, 1, before);
      for (const auto& factors :
           values_of<Factors>({{0.3f, 2.0f}, {0.0f, 1.0f}, {1.0f, 1.0f}, {0.0f, 0.0f}, {1.0f, 0.0f}})) {
        const float factor_a = factors.first, factor_v = factors.second;
        CAPTURE(factor_a);
        CAPTURE(factor_v);
        problem.factor_a = factor_a, problem.factor_v = factor_v;
        if (factor_a == 0.3f) CHECK(forward(problem).same_bits(losses));
        const Gradients after = backward(problem, losses, weights, 1, before);
        check_gradients(problem, weights, before, after);
        CHECK(after.scale.same_bits(plain.scale));
        CHECK(after.bias.same_bits(plain.bias));
        if (factor_a == 1) CHECK(after.a.same_bits(plain.a));
        if (factor_v == 1) CHECK(after.v.same_bits(plain.v));
        if (factor_a == 0) CHECK(after.a.same_bits(before.a));
        if (factor_v == 0) CHECK(after.v.same_bits(before.v));
        if (factor_a == 0.3f && on_cpu()) CHECK(backward(problem, losses, weights, 2, before).same_bits(after));
      }
    }
  }
}

TEST_CASE(
    "nothing is added to a contrastive gradient of factor 0, whatever the rows hold; a factor that is NaN shows") {
  const int64_t n = 19, m = 23, d = 5;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Variant variant : kAllVariants) {
    for (const bool stops_a : {true, false}) {
      for (const bool bad_a : {true, false}) {
        CAPTURE(static_cast<int>(variant));
        CAPTURE(stops_a);
        CAPTURE(bad_a);
        Draw draw(51);
        Problem problem = draw_problem(draw, variant, n, m, d, 10);
        (bad_a ? problem.a : problem.v).at(7, 2) = nan;
        (bad_a ? problem.a : problem.v).at(8, 1) = std::numeric_limits<float>::infinity();
        (stops_a ? problem.factor_a : problem.factor_v) = 0.0f;
        const Losses losses = forward(problem);
        const Weights weights{draw.choice(n, {1, 0.3}), draw.choice(m, {1, 0.3})};
        const Gradients before = prefilled(problem), after = backward(problem, losses, weights, 1, before);
        CHECK(after.a.same_bits(before.a) == stops_a);
        CHECK(after.v.same_bits(before.v) == !stops_a);
      }
    }
    Draw draw(52);
    Problem problem = draw_problem(draw, variant, n, m, d, 10);
    problem.factor_a = nan;
    const Losses losses = forward(problem);
    const Gradients after =
        backward(problem, losses, {Floats(n, 1).fill(1), Floats(m, 1).fill(1)}, 1, prefilled(problem));
    for (const double value : after.a.values()) CHECK(std::isnan(value));
    for (const double value : after.v.values()) CHECK(std::isfinite(value));
  }
}

TEST_CASE("contrastive rows without a target, batches of nothing") {
  Draw draw(44);
  for (const Variant variant : kAllVariants) {
    CAPTURE(static_cast<int>(variant));
    {
      Problem problem = draw_problem(draw, variant, 30, 20, 5, 10, 3);
      problem.first_row = 4, problem.first_column = 10, problem.paired = variant != Variant::multi_positive;
      problem.trust_v.fill(0);  // multi_positive: no row has a positive, columns still have
      const Losses out = forward(problem);
      check_losses(problem, out, problem.tolerance());
      for (int64_t i = 0; i < 30; ++i) {
        const bool has_target = i + 4 >= 10 && i + 4 < 30;
        if (variant == Variant::multi_positive) CHECK(out.row.at(i) == 0);
        if (variant == Variant::infonce) CHECK((out.row.at(i) == 0) == !has_target);
        if (variant == Variant::infonce) CHECK(out.row_statistics.at(i, 1) == (has_target ? 1 : 0));
      }
      const Weights weights{draw.choice(30, {1, 0.5}), draw.choice(20, {1, 0.5})};
      const Gradients before = prefilled(problem);
      check_gradients(problem, weights, before, backward(problem, out, weights, 2, before));
    }
    for (const auto& [n, m] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {0, 0}}) {
      Problem empty = draw_problem(draw, variant, n, m, 3, 10);
      const Losses out = forward(empty);
      for (int64_t i = 0; i < n; ++i) CHECK(out.row.at(i) == 0);
      for (int64_t j = 0; j < m; ++j)
        if (!empty.is_sigmoid()) CHECK(out.column.at(j) == 0);
      const Gradients before = prefilled(empty);
      CHECK(backward(empty, out, {draw.choice(n, {1}), draw.choice(m, {1})}, 2, before).same_bits(before));
    }
  }
}

TEST_CASE("contrastive losses of wild norms stay finite, NaN shows") {
  const int64_t n = 40, m = 300, d = 8;
  for (const Variant variant : kAllVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(45);
    Problem problem = draw_problem(draw, variant, n, m, d, 1);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < d; ++k) problem.a.at(i, k) *= std::pow(10.0f, static_cast<float>(i % 7) - 3);
    const Weights weights{draw.choice(n, {1, 0.5}), draw.choice(m, {1, 0.5})};
    const Gradients before = prefilled(problem);
    const Losses out = forward(problem);
    check_losses(problem, out, problem.tolerance(1e3));  // the largest norm
    check_gradients(problem, weights, before, backward(problem, out, weights, 2, before), 1e3);
    problem.a.at(7, 3) = std::numeric_limits<float>::quiet_NaN();
    const Losses poisoned = forward(problem);
    for (int64_t i = 0; i < n; ++i) CHECK(std::isnan(poisoned.row.at(i)) == (i == 7));
    const Gradients gradients = backward(problem, poisoned, weights, 2, before);
    CHECK(std::isnan(gradients.a.at(7, 0)));
    CHECK(std::isnan(gradients.v.at(0, 0)));
    Weights rows_alone = weights;
    rows_alone.column.fill(0);  // what has no weight takes no part, though its sum is NaN
    const Gradients of_rows = backward(problem, poisoned, rows_alone, 2, before);
    for (int64_t i = 0; i < n; ++i) CHECK(std::isnan(of_rows.a.at(i, 0)) == (i == 7));
  }
}

TEST_CASE("parts of a contrastive batch: rows equal the whole's, gradients add up") {
  const int64_t n = 71, m = 90, d = 7, cut = 40;
  for (const Variant variant : kAllVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(46);
    Problem problem = draw_problem(draw, variant, n, m, d, 10);
    problem.first_row = 3, problem.first_column = 10;
    Losses whole = forward(problem);
    Weights weights{draw.choice(n, {1, 0.5}), draw.choice(m, {1, 0.5})};
    const Gradients before = prefilled(problem), expected = backward(problem, whole, weights, 2, before);
    Gradients sum = before;
    const auto piece = [](Floats& of, int64_t first, int64_t count) { return duet_f32_vector(&of.at(first), count); };
    for (const int64_t first : {int64_t{0}, cut}) {
      const int64_t count = first ? n - cut : cut;
      Call call(problem, 2);
      call.inputs.a = problem.a.part(first, 0, count, d);
      if (call.inputs.class_a.data) call.inputs.class_a = problem.class_a.part(first, 0, count, 4);
      if (call.inputs.trust_a.data) call.inputs.trust_a = piece(problem.trust_a, first, count);
      const auto numbers = [&](duet_const_vector& given, Ints& of) {
        if (given.data) given = duet_i32_const_vector(&of.at(first), count);
      };
      numbers(call.inputs.labels_a, problem.labels_a), numbers(call.inputs.group_a, problem.group_a);
      call.inputs.first_row += first;
      Losses part(count, m);
      forward(call, part);
      const Doubles losses = whole.row.values();
      check_close(part.row.values(), Doubles(losses.begin() + first, losses.begin() + first + count),
                  problem.tolerance(), "row part");
      SUCCEED_CALL(duet_contrastive_backward(
          call.context, &call.inputs,
          sized<duet_contrastive_gradients>(
              {.row_statistics = whole.row_statistics.part(first, 0, count, DUET_CONTRASTIVE_STATISTICS),
               .column_statistics = whole.column_statistics.matrix(),
               .row_weight = piece(weights.row, first, count),
               .column_weight = weights.column.vector(),
               .grad_a = sum.a.part(first, 0, count, d),
               .grad_v = sum.v.matrix(),
               .grad_scale = sum.scale.vector(),
               .grad_bias = problem.is_sigmoid() ? sum.bias.vector() : duet_vector{}}),
          call.workspace()));
    }
    // Float32 sums in another order.
    check_relative(sum.a.values(), expected.a.values(), 2e-6, "grad_a");
    check_relative(sum.v.values(), expected.v.values(), 2e-6, "grad_v");
  }
}

TEST_CASE("contrastive takes null for no weights and no gradient") {
  Draw draw(47);
  for (const Variant variant : kAllVariants) {
    Problem problem = draw_problem(draw, variant, 37, 41, 6, 10);
    Losses statistics = forward(problem);
    Weights weights{draw.choice(37, {1, 0.3}), draw.choice(41, {1, 0.3})};
    const Gradients before = prefilled(problem), whole = backward(problem, statistics, weights, 2, before);
    const duet_vector none{nullptr, 0, DUET_DTYPE_F32};
    Call call(problem, 2);
    const auto run = [&](bool weighted, duet_matrix grad_a, duet_matrix grad_v) {
      SUCCEED_CALL(duet_contrastive_backward(
          call.context, &call.inputs,
          sized<duet_contrastive_gradients>({.row_statistics = statistics.row_statistics.matrix(),
                                             .column_statistics = statistics.column_statistics.matrix(),
                                             .row_weight = weighted ? weights.row.vector() : none,
                                             .column_weight = weighted ? weights.column.vector() : none,
                                             .grad_a = grad_a,
                                             .grad_v = grad_v,
                                             .grad_scale = none,
                                             .grad_bias = none}),
          call.workspace()));
    };
    Gradients into = before;
    run(true, into.a.matrix(), duet_matrix{});
    CHECK(into.a.same_bits(whole.a));
    CHECK(into.v.same_bits(before.v));
    run(false, into.a.matrix(), into.v.matrix());
    CHECK(into.a.same_bits(whole.a));
    CHECK(into.v.same_bits(before.v));
  }
}

TEST_CASE("contrastive refuses misuse") {
  Draw draw(48);
  Problem problem = draw_problem(draw, Variant::multi_positive, 4, 5, 3, 1, 2);
  Call call(problem, 1);
  Losses out(4, 5);
  const duet_workspace scratch = call.workspace();
  const auto run = [&](const duet_contrastive_inputs* inputs, duet_vector row_loss, duet_workspace workspace) {
    return duet_contrastive_forward(
        call.context, inputs,
        sized<duet_contrastive_outputs>({.row_loss = row_loss,
                                         .column_loss = out.column.vector(),
                                         .row_statistics = out.row_statistics.matrix(),
                                         .column_statistics = out.column_statistics.matrix()}),
        workspace);
  };
  auto bad = call.inputs;
  bad.class_a = {};
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs.class_a");
  bad = call.inputs, bad.kind = static_cast<duet_contrastive_kind>(6);
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs.kind: unknown value 6");
  bad = call.inputs, bad.kind = DUET_CONTRASTIVE_KIND_SIGMOID, bad.trust_a = bad.trust_v = {};
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs.bias");
  bad = call.inputs, bad.trust_v = problem.trust_a.vector();
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.trust_v: expected 5 elements, got 4");
  Floats factors = Floats(2, 1).fill(1);
  Longs whole(1, 1);
  bad = call.inputs, bad.grad_factor_a = factors.vector();
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.grad_factor_a: expected 1 elements, got 2");
  bad = call.inputs, bad.grad_factor_v = whole.vector();
  FAIL_CALL(run(&bad, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.grad_factor_v: expected dtype f32, got i64");
  FAIL_CALL(run(nullptr, out.row.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(run(&call.inputs, out.column.vector(), scratch), DUET_STATUS_INVALID_ARGUMENT,
            "row_loss: expected 4 elements, got 5");
  FAIL_CALL(run(&call.inputs, out.row.vector(), (duet_workspace{scratch.data, 64})), DUET_STATUS_WORKSPACE_TOO_SMALL,
            "workspace");
}
