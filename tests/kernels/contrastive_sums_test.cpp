// Contrastive losses of a batch in parts: sums of rows and columns, merged and closed.
#include "tests/kernels/contrastive_problem.h"
#include "tests/kernels/slot_parts.h"
#include "tests/support/annotated_rows.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

constexpr int kSums = DUET_CONTRASTIVE_SUMS;

struct Closed {
  Floats loss, statistics;
};

struct Parts {
  explicit Parts(Problem& problem) : p(problem), call(problem, 2), whole(forward(problem)) {}

  // The inputs of rows from first on, and of columns from first_column on.
  duet_contrastive_inputs inputs(int64_t first, int64_t rows, int64_t first_column, int64_t columns) const {
    duet_contrastive_inputs in = call.inputs;
    in.a = part_of(in.a, first, rows), in.v = part_of(in.v, first_column, columns);
    in.class_a = part_of(in.class_a, first, rows), in.class_v = part_of(in.class_v, first_column, columns);
    in.trust_a = part_of(in.trust_a, first, rows), in.trust_v = part_of(in.trust_v, first_column, columns);
    in.labels_a = part_of(in.labels_a, first, rows), in.labels_v = part_of(in.labels_v, first_column, columns);
    in.group_a = part_of(in.group_a, first, rows), in.group_v = part_of(in.group_v, first_column, columns);
    in.annotated_a = part_of(in.annotated_a, first, rows);
    in.annotated_v = part_of(in.annotated_v, first_column, columns);
    in.first_row += first, in.first_column += first_column;
    return in;
  }
  void run(const duet_contrastive_inputs& in, const duet_contrastive_outputs& out) {
    size_t bytes = 0;
    SUCCEED_CALL(duet_contrastive_workspace(call.context, &in, &bytes));
    const Scratch scratch(bytes);
    SUCCEED_CALL(duet_contrastive_forward(call.context, &in, sized<duet_contrastive_outputs>(out), scratch.view()));
  }
  void merge(Sums& left, Sums& right) {
    Sums out(left.rows(), kSums, 3);
    SUCCEED_CALL(duet_contrastive_merge(
        call.context, sized<duet_contrastive_merge_inputs>({.left = left.matrix(), .right = right.matrix()}),
        sized<duet_contrastive_merge_outputs>({.sums = out.matrix()})));
    SUCCEED_CALL(duet_contrastive_merge(
        call.context, sized<duet_contrastive_merge_inputs>({.left = left.matrix(), .right = right.matrix()}),
        sized<duet_contrastive_merge_outputs>({.sums = left.matrix()})));
    for (int64_t k = 0; k < out.rows(); ++k) CHECK(std::memcmp(&out.at(k), &left.at(k), kSums * sizeof(double)) == 0);
  }
  Closed close(Sums& sums) {
    Closed out{Floats(sums.rows(), 1), Floats(sums.rows(), DUET_CONTRASTIVE_STATISTICS, 1)};
    SUCCEED_CALL(duet_contrastive_close(
        call.context,
        sized<duet_contrastive_close_inputs>(
            {.sums = sums.matrix(), .kind = call.inputs.kind, .relation = p.variant == Variant::related}),
        sized<duet_contrastive_close_outputs>({.loss = out.loss.vector(), .statistics = out.statistics.matrix()})));
    return out;
  }
  // The sums of the columns that these rows make; their own terms are held to the whole's.
  Sums columns_of(int64_t first, int64_t rows) {
    const duet_contrastive_inputs in = inputs(first, rows, 0, p.m());
    Sums of_rows(rows, kSums, 2), of_columns(p.m(), kSums, 1), again(p.m(), kSums, 1);
    run(in, {.row_sums = of_rows.matrix(), .column_sums = of_columns.matrix()});
    Floats loss(rows, 1), statistics(rows, DUET_CONTRASTIVE_STATISTICS);
    run(in, {.row_loss = loss.vector(), .row_statistics = statistics.matrix(), .column_sums = again.matrix()});
    CHECK(again.same_bits(of_columns));
    const Closed closed = close(of_rows);
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
    check_same(whole.column, whole.column_statistics, 0, close(sums));
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

constexpr Variant kWithSums[] = {Variant::infonce,   Variant::multi_positive, Variant::multi_positive_groups,
                                 Variant::decoupled, Variant::circle,         Variant::related};

}  // namespace

TEST_CASE("parts of a batch merge to the bits of the whole") {
  for (const int64_t n : kSlotRowCounts)
    for (const Variant variant : kWithSums)
      for (const float scale : {10.0f, 100.0f}) {  // scores of a known bound, and others
        CAPTURE(n);
        CAPTURE(static_cast<int>(variant));
        CAPTURE(scale);
        Draw draw(91);
        Problem problem = draw_problem(draw, variant, n, n + 5, 8, scale, 4, 1);
        problem.first_row = 2, problem.first_column = 4;
        Parts parts(problem);
        for (const int64_t ranks : rank_counts(n)) parts.check(ranks);
      }
}

TEST_CASE("parts merge to the bits of the whole without pairs, without own pairs, with annotated rows") {
  for (const Variant variant : {Variant::multi_positive, Variant::multi_positive_groups})
    for (const float scale : {10.0f, 100.0f})
      for (const int64_t n : {33, 97}) {
        CAPTURE(scale);
        Draw draw(92);
        for (const bool excluded : {false, true}) {
          Problem problem = draw_problem(draw, variant, n, n + 3, 8, scale);
          problem.paired = excluded, problem.exclude_own = excluded;
          problem.annotated_a = annotate(draw, problem.class_a, 0.5);
          problem.annotated_v = annotate(draw, problem.class_v, 0.5);
          Parts(problem).check(2);
          Parts(problem).check(3);
        }
      }
}

TEST_CASE("a part of short rows takes its scores for as large as the whole does") {
  Draw draw(98);
  Problem problem = draw_problem(draw, Variant::multi_positive, 70, 50, 8, 60);
  for (int64_t i = 0; i < 32; ++i)
    for (int64_t k = 0; k < problem.a.columns(); ++k) problem.a.at(i, k) *= 0.3f;
  Parts(problem).check(3);
}

TEST_CASE("a NaN row shows in every column, and in no other row of its part") {
  for (const Variant variant : kWithSums)
    for (const float scale : {10.0f, 100.0f}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(scale);
      Draw draw(93);
      Problem problem = draw_problem(draw, variant, 97, 70, 8, scale);
      problem.labels_a = Ints(0, 1), problem.labels_v = Ints(0, 1);  // each row meets each column
      if (variant == Variant::related) problem.group_a = Ints(97, 1).fill(-1), problem.group_v = Ints(70, 1).fill(-1);
      problem.a.at(40, 3) = std::numeric_limits<float>::quiet_NaN();
      Parts parts(problem);
      parts.same_bound = scale > 40;  // else the whole has no bound, and parts without the row have one
      parts.check(3);
      CHECK(std::isnan(parts.whole.column.at(7)));
      CHECK(std::isnan(parts.whole.row.at(40)));
      CHECK(!std::isnan(parts.whole.row.at(41)));
    }
}

TEST_CASE("sums of blocks of columns, and of rows cut anywhere, merge to the reference") {
  constexpr int64_t kRows = 37, kColumns = 41;
  for (const Variant variant : kWithSums)
    for (const float scale : {10.0f, 100.0f})
      for (const bool excluded : {false, true})
        for (const int64_t cut : {1, 20, 36}) {
          CAPTURE(static_cast<int>(variant));
          CAPTURE(scale);
          CAPTURE(cut);
          Draw draw(94);
          Problem problem = draw_problem(draw, variant, kRows, kColumns, 8, scale);
          problem.exclude_own = excluded && variant != Variant::infonce;
          Parts parts(problem);
          Sums rows(kRows, kSums), more_rows(kRows, kSums), columns(kColumns, kSums), more_columns(kColumns, kSums);
          Sums unread_rows(kRows, kSums), unread_columns(kColumns, kSums);
          parts.run(parts.inputs(0, kRows, 0, cut),
                    {.row_sums = rows.matrix(), .column_sums = unread_columns.part(0, 0, cut, kSums)});
          parts.run(
              parts.inputs(0, kRows, cut, kColumns - cut),
              {.row_sums = more_rows.matrix(), .column_sums = unread_columns.part(cut, 0, kColumns - cut, kSums)});
          parts.run(parts.inputs(0, cut, 0, kColumns),
                    {.row_sums = unread_rows.part(0, 0, cut, kSums), .column_sums = columns.matrix()});
          parts.run(parts.inputs(cut, kRows - cut, 0, kColumns),
                    {.row_sums = unread_rows.part(cut, 0, kRows - cut, kSums), .column_sums = more_columns.matrix()});
          parts.merge(rows, more_rows);
          parts.merge(columns, more_columns);
          Losses merged(kRows, kColumns);
          merged.row.assign(parts.close(rows).loss.values());
          merged.column.assign(parts.close(columns).loss.values());
          check_losses(problem, merged, problem.tolerance());
        }
}

TEST_CASE("parts without rows add nothing") {
  Draw draw(95);
  for (const float scale : {10.0f, 100.0f}) {
    Problem problem = draw_problem(draw, Variant::multi_positive, 40, 30, 8, scale);
    Parts parts(problem);
    Sums none(30, kSums), all(30, kSums), nothing(0, kSums);
    duet_contrastive_inputs in = parts.inputs(0, 0, 0, 30);
    parts.run(in, {.row_sums = nothing.matrix(), .column_sums = none.matrix()});
    Sums rows(40, kSums);
    parts.run(parts.inputs(0, 40, 0, 30), {.row_sums = rows.matrix(), .column_sums = all.matrix()});
    const Sums before = all;
    parts.merge(all, none);
    CHECK(all.same_bits(before));
    parts.merge(none, all);
    CHECK(none.same_bits(before));
  }
  Problem problem = draw_problem(draw, Variant::infonce, 3, 0, 8, 10);
  Parts parts(problem);
  Sums rows(3, kSums);
  parts.run(parts.inputs(0, 3, 0, 0), {.row_sums = rows.matrix(), .column_sums = Sums(0, kSums).matrix()});
  CHECK(parts.close(rows).loss.values() == Doubles(3));
}

TEST_CASE("sums are refused of kinds that have none, and where they do not fit") {
  Draw draw(96);
  for (const Variant variant : {Variant::sigmoid, Variant::ntxent}) {
    const char* const why =
        variant == Variant::sigmoid ? "outputs.row_sums: sigmoid has no sums" : "outputs.row_sums: ntxent has no";
    Problem problem = draw_problem(draw, variant, 5, 6, 8, 10);
    Call call(problem, 1);
    Sums rows(5, kSums), columns(6, kSums);
    FAIL_CALL(duet_contrastive_forward(
                  call.context, &call.inputs,
                  sized<duet_contrastive_outputs>({.row_sums = rows.matrix(), .column_sums = columns.matrix()}),
                  call.workspace()),
              DUET_STATUS_UNSUPPORTED, why);
  }
  Problem problem = draw_problem(draw, Variant::infonce, 5, 6, 8, 10);
  Call call(problem, 1);
  Sums rows = Sums(5, kSums).fill(0), columns(6, kSums), five = Sums(5, kSums).fill(0);
  Floats loss(5, 1), statistics(5, DUET_CONTRASTIVE_STATISTICS), narrow(5, kSums);
  const auto refused = [&](const duet_contrastive_outputs& out, const char* text) {
    FAIL_CALL(
        duet_contrastive_forward(call.context, &call.inputs, sized<duet_contrastive_outputs>(out), call.workspace()),
        DUET_STATUS_INVALID_ARGUMENT, text);
  };
  refused({.row_loss = loss.vector(), .row_sums = rows.matrix(), .column_sums = columns.matrix()},
          "outputs.row_loss: expected null where sums are given");
  refused({.row_statistics = statistics.matrix(), .row_sums = rows.matrix(), .column_sums = columns.matrix()},
          "outputs.row_statistics: expected null where sums are given");
  refused({.row_sums = narrow.matrix(), .column_sums = columns.matrix()},
          "outputs.row_sums: expected dtype f64, got f32");
  refused({.row_sums = rows.matrix(), .column_sums = five.matrix()}, "outputs.column_sums: expected 6 x 7, got 5 x 7");
  refused({.row_sums = rows.matrix()}, "outputs.column_loss: expected");

  const auto merge = [&](duet_const_matrix left, duet_const_matrix right, duet_matrix sums) {
    return duet_contrastive_merge(call.context, sized<duet_contrastive_merge_inputs>({.left = left, .right = right}),
                                  sized<duet_contrastive_merge_outputs>({.sums = sums}));
  };
  FAIL_CALL(merge(rows.matrix(), five.matrix(), five.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.sums: shares memory with inputs.right");
  FAIL_CALL(merge(rows.part(0, 0, 4, kSums), five.part(0, 0, 4, kSums), rows.part(1, 0, 4, kSums)),
            DUET_STATUS_INVALID_ARGUMENT, "outputs.sums: shares memory with inputs.left");
  FAIL_CALL(merge(rows.matrix(), columns.matrix(), rows.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.right: expected 5 x 7, got 6 x 7");
  FAIL_CALL(merge(narrow.matrix(), five.matrix(), rows.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.left: expected dtype f64, got f32");
  const auto close = [&](duet_contrastive_kind kind, duet_const_matrix sums) {
    return duet_contrastive_close(
        call.context, sized<duet_contrastive_close_inputs>({.sums = sums, .kind = kind}),
        sized<duet_contrastive_close_outputs>({.loss = loss.vector(), .statistics = statistics.matrix()}));
  };
  FAIL_CALL(close(DUET_CONTRASTIVE_KIND_SIGMOID, rows.matrix()), DUET_STATUS_UNSUPPORTED,
            "inputs.kind: sigmoid has no sums");
  FAIL_CALL(close(DUET_CONTRASTIVE_KIND_NTXENT, rows.matrix()), DUET_STATUS_UNSUPPORTED,
            "inputs.kind: ntxent has no sums");
  FAIL_CALL(close(DUET_CONTRASTIVE_KIND_INFONCE, columns.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.loss: expected 6 elements, got 5");
}

TEST_CASE("a part that has only a column's own pair says nothing of its other pairs") {
  Draw draw(5);
  Problem problem = draw_problem(draw, Variant::infonce, 33, 33, 4, 1, 4, 1);
  // Scores of -150 that have no bound, and a part of one short row whose scores have one.
  for (int64_t i = 0; i < 33; ++i)
    for (int64_t k = 0; k < 4; ++k) {
      problem.a.at(i, k) = k > 0 ? 0 : i < 32 ? -5 : 1e-3f;
      problem.v.at(i, k) = k > 0 ? 0 : 30;
    }
  Parts parts(problem);
  parts.same_bound = false;
  Sums sums = parts.columns_of(0, 32), right = parts.columns_of(32, 1);
  parts.merge(sums, right);
  const Closed closed = parts.close(sums);
  constexpr int kLogOdds = 2;
  // s = 0.03 of the own pair, -150 of 32 others.
  CHECK(closed.statistics.at(32, kLogOdds) == doctest::Approx(0.03 + 150 - std::log(32.0)).epsilon(1e-6));
  CHECK(closed.statistics.at(32, kLogOdds) == parts.whole.column_statistics.at(32, kLogOdds));
}
