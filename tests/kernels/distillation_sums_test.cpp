// Distillation of a batch in parts: sums of rows and columns, merged and closed.
#include "tests/kernels/distillation_problem.h"
#include "tests/kernels/slot_parts.h"
#include "tests/support/annotated_rows.h"

using namespace duet::test;
using namespace duet::test::distillation;

namespace {

constexpr int kSums = DUET_DISTILLATION_SUMS;

struct Closed {
  Floats loss, statistics;
};

struct Parts {
  explicit Parts(Problem& problem) : p(problem), call(problem, 2), whole(forward(problem)) {}

  // The inputs of rows from first on, and of columns from first_column on.
  duet_distillation_inputs inputs(int64_t first, int64_t rows, int64_t first_column, int64_t columns) const {
    duet_distillation_inputs in = call.inputs;
    in.student_a = part_of(in.student_a, first, rows), in.student_v = part_of(in.student_v, first_column, columns);
    in.teacher_a = part_of(in.teacher_a, first, rows), in.teacher_v = part_of(in.teacher_v, first_column, columns);
    in.class_a = part_of(in.class_a, first, rows), in.class_v = part_of(in.class_v, first_column, columns);
    in.trust_a = part_of(in.trust_a, first, rows), in.trust_v = part_of(in.trust_v, first_column, columns);
    in.kappa_a = part_of(in.kappa_a, first, rows), in.kappa_v = part_of(in.kappa_v, first_column, columns);
    in.group_a = part_of(in.group_a, first, rows), in.group_v = part_of(in.group_v, first_column, columns);
    in.annotated_a = part_of(in.annotated_a, first, rows);
    in.annotated_v = part_of(in.annotated_v, first_column, columns);
    in.first_row += first, in.first_column += first_column;
    return in;
  }
  void run(const duet_distillation_inputs& in, const duet_distillation_outputs& out) {
    size_t bytes = 0;
    SUCCEED_CALL(duet_distillation_workspace(call.context, &in, &bytes));
    const Scratch scratch(bytes);
    SUCCEED_CALL(duet_distillation_forward(call.context, &in, sized<duet_distillation_outputs>(out), scratch.view()));
  }
  void merge(Sums& left, Sums& right) {
    Sums out(left.rows(), kSums, 3);
    SUCCEED_CALL(duet_distillation_merge(
        call.context, sized<duet_distillation_merge_inputs>({.left = left.matrix(), .right = right.matrix()}),
        sized<duet_distillation_merge_outputs>({.sums = out.matrix()})));
    SUCCEED_CALL(duet_distillation_merge(
        call.context, sized<duet_distillation_merge_inputs>({.left = left.matrix(), .right = right.matrix()}),
        sized<duet_distillation_merge_outputs>({.sums = left.matrix()})));
    for (int64_t k = 0; k < out.rows(); ++k) CHECK(std::memcmp(&out.at(k), &left.at(k), kSums * sizeof(double)) == 0);
  }
  Closed close(Sums& sums, duet_const_vector kappa) {
    Closed out{Floats(sums.rows(), 1), Floats(sums.rows(), DUET_DISTILLATION_STATISTICS, 1)};
    const bool agreement = p.has_classes || p.has_groups();
    SUCCEED_CALL(duet_distillation_close(
        call.context,
        sized<duet_distillation_close_inputs>({.sums = sums.matrix(), .kappa = kappa, .agreement = agreement}),
        sized<duet_distillation_close_outputs>({.loss = out.loss.vector(), .statistics = out.statistics.matrix()})));
    return out;
  }
  // The sums of the columns that these rows make; their own terms are held to the whole's.
  Sums columns_of(int64_t first, int64_t rows) {
    const duet_distillation_inputs in = inputs(first, rows, 0, p.m());
    Sums of_rows(rows, kSums, 2), of_columns(p.m(), kSums, 1), again(p.m(), kSums, 1);
    run(in, {.row_sums = of_rows.matrix(), .column_sums = of_columns.matrix()});
    Floats loss(rows, 1), statistics(rows, DUET_DISTILLATION_STATISTICS);
    run(in, {.row_loss = loss.vector(), .row_statistics = statistics.matrix(), .column_sums = again.matrix()});
    CHECK(again.same_bits(of_columns));
    const Closed closed = close(of_rows, in.kappa_a);
    CHECK(same_rows(closed.loss, 0, loss));
    CHECK(same_rows(closed.statistics, 0, statistics));
    check_same(whole.row, whole.row_statistics, first, {loss, statistics});
    return of_columns;
  }
  void check(int64_t ranks) {
    CAPTURE(ranks);
    Sums sums = sums_of_parts(
        p.n(), ranks, [&](int64_t first, int64_t rows) { return columns_of(first, rows); },
        [&](Sums& left, Sums& right) { merge(left, right); });
    check_same(whole.column, whole.column_statistics, 0, close(sums, call.inputs.kappa_v));
  }
  // Rows from first on of the whole, or its columns, and those of a part.
  void check_same(const Floats& loss, const Floats& statistics, int64_t first, const Closed& part) const {
    if (same_bound) {
      CHECK(same_rows(loss, first, part.loss));
      CHECK(same_rows(statistics, first, part.statistics));
    } else {
      const Doubles all = loss.values();
      const auto begin = all.begin() + first;
      check_close(part.loss.values(), Doubles(begin, begin + part.loss.rows()), p.tolerance(), "loss");
    }
  }

  Problem& p;
  Call call;
  Losses whole;
  bool same_bound = true;  // whether the scores of every part and of the whole are known to be bounded, or of none
};

// What of the batch is known of its pairs.
enum class Known { classes, pairs, groups, items, nothing, annotated };
constexpr Known kKnown[] = {Known::classes, Known::pairs,   Known::groups,
                            Known::items,   Known::nothing, Known::annotated};

Problem draw_known(Draw& draw, Known known, int64_t n, int64_t m, float scale, float teacher_scale) {
  Problem out = draw_problem(draw, n, m, 8, scale, teacher_scale, 4, 1);
  out.first_row = 2, out.first_column = 4;
  out.paired = known != Known::classes;
  out.exclude_own = known == Known::items;
  if (known == Known::groups || known == Known::items)
    out.group_a = draw.labels(n, n / 2 + 1, 0.3), out.group_v = draw.labels(m, n / 2 + 1, 0.3);
  out.has_classes = known != Known::nothing && known != Known::groups;
  if (!out.has_classes) {
    out.class_a = Floats(n, 1).fill(0), out.class_v = Floats(m, 1).fill(0);
    out.trust_a = Floats(0, 1), out.trust_v = Floats(0, 1);
    if (known == Known::nothing) out.kappa_a.fill(0), out.kappa_v.fill(0);
  }
  if (known == Known::annotated)
    out.annotated_a = annotate(draw, out.class_a, 0.5), out.annotated_v = annotate(draw, out.class_v, 0.5);
  return out;
}

struct Scales {
  float student, teacher;
};
constexpr Scales kScales[] = {{10, 10}, {100, 100}, {10, 100}, {100, 10}};

}  // namespace

TEST_CASE("parts of a batch merge to the bits of the whole") {
  for (const int64_t n : kSlotRowCounts)
    for (const Known known : kKnown)
      for (const Scales& scales : kScales) {  // scores of a known bound, and others
        CAPTURE(n);
        CAPTURE(static_cast<int>(known));
        CAPTURE(scales.student);
        CAPTURE(scales.teacher);
        Draw draw(71);
        Problem problem = draw_known(draw, known, n, n + 5, scales.student, scales.teacher);
        Parts parts(problem);
        for (const int64_t ranks : rank_counts(n)) parts.check(ranks);
      }
}

TEST_CASE("a part of short rows takes its scores for as large as the whole does") {
  Draw draw(98);
  Problem problem = draw_known(draw, Known::pairs, 70, 50, 60, 60);
  for (int64_t i = 0; i < 32; ++i) {
    for (int64_t k = 0; k < problem.a.columns(); ++k) problem.a.at(i, k) *= 0.3f;
    for (int64_t k = 0; k < problem.teacher_a.columns(); ++k) problem.teacher_a.at(i, k) *= 0.3f;
  }
  Parts(problem).check(3);
}

TEST_CASE("a NaN row shows in every column, and in no other row of its part") {
  for (const Known known : kKnown)
    for (const Scales& scales : kScales) {
      CAPTURE(static_cast<int>(known));
      CAPTURE(scales.student);
      Draw draw(72);
      Problem problem = draw_known(draw, known, 97, 70, scales.student, scales.teacher);
      problem.a.at(40, 3) = std::numeric_limits<float>::quiet_NaN();
      Parts parts(problem);
      parts.same_bound = scales.student > 40;  // else the whole has no bound, and parts without the row have one
      parts.check(3);
      CHECK(std::isnan(parts.whole.column.at(7)));
      CHECK(std::isnan(parts.whole.row.at(40)));
      CHECK(!std::isnan(parts.whole.row.at(41)));
    }
}

TEST_CASE("sums of blocks of columns, and of rows cut anywhere, merge to the reference") {
  constexpr int64_t kRows = 37, kColumns = 41;
  for (const Known known : kKnown)
    for (const Scales& scales : kScales)
      for (const int64_t cut : {1, 20, 36}) {
        CAPTURE(static_cast<int>(known));
        CAPTURE(scales.student);
        CAPTURE(cut);
        Draw draw(73);
        Problem problem = draw_known(draw, known, kRows, kColumns, scales.student, scales.teacher);
        Parts parts(problem);
        Sums rows(kRows, kSums), more_rows(kRows, kSums), columns(kColumns, kSums), more_columns(kColumns, kSums);
        Sums unread_rows(kRows, kSums), unread_columns(kColumns, kSums);
        parts.run(parts.inputs(0, kRows, 0, cut),
                  {.row_sums = rows.matrix(), .column_sums = unread_columns.part(0, 0, cut, kSums)});
        parts.run(parts.inputs(0, kRows, cut, kColumns - cut),
                  {.row_sums = more_rows.matrix(), .column_sums = unread_columns.part(cut, 0, kColumns - cut, kSums)});
        parts.run(parts.inputs(0, cut, 0, kColumns),
                  {.row_sums = unread_rows.part(0, 0, cut, kSums), .column_sums = columns.matrix()});
        parts.run(parts.inputs(cut, kRows - cut, 0, kColumns),
                  {.row_sums = unread_rows.part(cut, 0, kRows - cut, kSums), .column_sums = more_columns.matrix()});
        parts.merge(rows, more_rows);
        parts.merge(columns, more_columns);
        Losses merged(kRows, kColumns);
        merged.row.assign(parts.close(rows, parts.call.inputs.kappa_a).loss.values());
        merged.column.assign(parts.close(columns, parts.call.inputs.kappa_v).loss.values());
        check_losses(problem, merged, problem.tolerance());
      }
}

TEST_CASE("parts without rows add nothing, and a row without pairs has no loss") {
  Draw draw(74);
  for (const Scales& scales : kScales) {
    Problem problem = draw_known(draw, Known::pairs, 40, 30, scales.student, scales.teacher);
    Parts parts(problem);
    Sums none(30, kSums), all(30, kSums), nothing(0, kSums), rows(40, kSums);
    parts.run(parts.inputs(0, 0, 0, 30), {.row_sums = nothing.matrix(), .column_sums = none.matrix()});
    parts.run(parts.inputs(0, 40, 0, 30), {.row_sums = rows.matrix(), .column_sums = all.matrix()});
    const Sums before = all;
    parts.merge(all, none);
    CHECK(all.same_bits(before));
    Sums left = before;
    parts.merge(none, left);
    for (int64_t j = 0; j < 30; ++j)
      for (int64_t k : {0, 1, 2, 3, 4, 8, 9, 10}) CHECK(none.at(j, k) == before.at(j, k));
  }
  Problem one = draw_problem(draw, 4, 1, 8, 10, 10);
  one.exclude_own = true;
  Parts parts(one);
  Sums rows(4, kSums), columns(1, kSums);
  parts.run(parts.inputs(0, 4, 0, 1), {.row_sums = rows.matrix(), .column_sums = columns.matrix()});
  const Closed closed = parts.close(rows, parts.call.inputs.kappa_a);
  CHECK(closed.loss.at(0) == 0);
  CHECK(same_rows(parts.whole.row, 0, closed.loss));
  CHECK(same_rows(parts.whole.row_statistics, 0, closed.statistics));
}

TEST_CASE("sums are refused where they do not fit") {
  Draw draw(75);
  Problem problem = draw_problem(draw, 5, 6, 8, 10, 10);
  Call call(problem, 1);
  Sums rows = Sums(5, kSums).fill(0), columns = Sums(6, kSums).fill(0), five = Sums(5, kSums).fill(0);
  Floats loss(5, 1), statistics(5, DUET_DISTILLATION_STATISTICS), narrow(5, kSums);
  const auto refused = [&](const duet_distillation_outputs& out, const char* text) {
    FAIL_CALL(
        duet_distillation_forward(call.context, &call.inputs, sized<duet_distillation_outputs>(out), call.workspace()),
        DUET_STATUS_INVALID_ARGUMENT, text);
  };
  refused({.row_loss = loss.vector(), .row_sums = rows.matrix(), .column_sums = columns.matrix()},
          "outputs.row_loss: expected null where sums are given");
  refused({.row_statistics = statistics.matrix(), .row_sums = rows.matrix(), .column_sums = columns.matrix()},
          "outputs.row_statistics: expected null where sums are given");
  refused({.row_sums = narrow.matrix(), .column_sums = columns.matrix()},
          "outputs.row_sums: expected dtype f64, got f32");
  refused({.row_sums = rows.matrix(), .column_sums = five.matrix()},
          "outputs.column_sums: expected 6 x 11, got 5 x 11");
  refused({.row_sums = rows.matrix()}, "outputs.column_loss: expected");

  const auto merge = [&](duet_const_matrix left, duet_const_matrix right, duet_matrix sums) {
    return duet_distillation_merge(call.context, sized<duet_distillation_merge_inputs>({.left = left, .right = right}),
                                   sized<duet_distillation_merge_outputs>({.sums = sums}));
  };
  FAIL_CALL(merge(rows.matrix(), five.matrix(), five.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.sums: shares memory with inputs.right");
  FAIL_CALL(merge(rows.part(0, 0, 4, kSums), five.part(0, 0, 4, kSums), rows.part(1, 0, 4, kSums)),
            DUET_STATUS_INVALID_ARGUMENT, "outputs.sums: shares memory with inputs.left");
  FAIL_CALL(merge(rows.matrix(), columns.matrix(), rows.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.right: expected 5 x 11, got 6 x 11");
  const auto close = [&](duet_distillation_close_inputs in) {
    return duet_distillation_close(
        call.context, sized<duet_distillation_close_inputs>(in),
        sized<duet_distillation_close_outputs>({.loss = loss.vector(), .statistics = statistics.matrix()}));
  };
  FAIL_CALL(close({.sums = rows.matrix(), .kappa = loss.vector()}), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.kappa: expected null without inputs.agreement");
  FAIL_CALL(close({.sums = columns.matrix()}), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.loss: expected 6 elements, got 5");
  FAIL_CALL(close({.sums = rows.matrix(), .reserved = 1}), DUET_STATUS_INVALID_ARGUMENT, "inputs.reserved: expected 0");
}
