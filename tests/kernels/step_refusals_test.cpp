// What the control of a step refuses, by name.
#include <functional>

#include "tests/kernels/step_problem.h"

using namespace duet::test;
using namespace duet::test::step;

TEST_CASE("mail that is none is refused by name") {
  Context context(1);
  Mail mail(4, 3, 2, 7);
  const duet_step_mail good = mail.view();
  Longs begun = Longs(1, 1).fill(0), integers(2, 1), indices(5, 1);
  Floats values(3, 1);
  const auto begin = [&](const duet_step_mail* from) {
    return duet_step_begin(context, from,
                           sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                           .values = values.vector(),
                                                           .integers = integers.vector(),
                                                           .indices = indices.vector()}));
  };
  const auto refused = [&](const std::string& words, const std::function<void(duet_step_mail&)>& spoil) {
    duet_step_mail bad = good;
    spoil(bad);
    FAIL_CALL(begin(&bad), DUET_STATUS_INVALID_ARGUMENT, "step_begin: " + words);
  };
  FAIL_CALL(begin(nullptr), DUET_STATUS_INVALID_ARGUMENT, "step_begin: mail: null");
  refused("mail.struct_size: expected 128 as the struct's _INIT sets it, got 0",
          [](duet_step_mail& bad) { bad.struct_size = 0; });
  refused("mail.values: expected at least 1 slot, got 0", [](duet_step_mail& bad) { bad.values.rows = 0; });
  refused("mail.integers: expected 4 x any, got 3 x 2", [](duet_step_mail& bad) { bad.integers.rows = 3; });
  refused("mail.indices: expected 4 x any, got 5 x 7", [](duet_step_mail& bad) { bad.indices.rows = 5; });
  refused("mail.indices: null data for 4 x 7", [](duet_step_mail& bad) { bad.indices.data = nullptr; });
  refused("mail.indices: expected dtype i64, got i32", [](duet_step_mail& bad) { bad.indices.dtype = DUET_DTYPE_I32; });
  refused("outputs.values: expected 2 elements, got 3", [](duet_step_mail& bad) { bad.values.columns = 2; });
  refused("outputs.integers: expected 1 elements, got 2", [](duet_step_mail& bad) { bad.integers.columns = 1; });
  refused("outputs.indices: expected at most 4 (the indices of a slot), got 5",
          [](duet_step_mail& bad) { bad.indices.columns = 4; });
  refused("outputs.indices: shares memory with mail.indices",
          [&](duet_step_mail& bad) { bad.indices.data = indices.data() - bad.indices.row_stride; });
  refused("outputs.begun: shares memory with mail.integers",
          [&](duet_step_mail& bad) { bad.integers.data = begun.data() - bad.integers.row_stride; });
  FAIL_CALL(duet_step_begin(context, &good,
                            sized<duet_step_begin_outputs>({.begun = integers.vector(),
                                                            .values = values.vector(),
                                                            .integers = integers.vector(),
                                                            .indices = indices.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "begun: expected 1 elements, got 2");
  FAIL_CALL(duet_step_begin(context, &good,
                            sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                            .values = values.vector(),
                                                            .integers = integers.vector(),
                                                            .indices = integers.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "indices: shares memory with outputs.integers");
  FAIL_CALL(duet_step_begin(nullptr, &good,
                            sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                            .values = values.vector(),
                                                            .integers = integers.vector(),
                                                            .indices = indices.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "step_begin: context: null");
  CHECK(begun.at(0) == 0);
  REQUIRE(begin(&good) == DUET_STATUS_OK);
}

TEST_CASE("a decision that is none is refused by name, and changes nothing") {
  Context context(1);
  Decision given;
  const duet_step_reason reason = {};
  std::array<duet_step_move, 1> moves = {{{given.wide.vector(), given.next_wide.vector()}}};
  const duet_const_vector reported = given.loss.vector();
  Floats values(Decision::kSlots, 1);
  given.values = values.fill(Decision::kUntouched);
  duet_step_decision good = DUET_STEP_DECISION_INIT;
  good.total = given.total.vector(), good.reasons = &reason, good.reason_count = 1, good.moves = moves.data(),
  good.move_count = 1;
  good.reported = &reported, good.reported_count = 1;
  const auto refused = [&](const std::string& words, const std::function<void(duet_step_decision&)>& spoil) {
    duet_step_decision bad = good;
    spoil(bad);
    FAIL_CALL(given.decide(context, bad), DUET_STATUS_INVALID_ARGUMENT, "step_decide: " + words);
  };
  FAIL_CALL(duet_step_decide(context, nullptr, nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT,
            "step_decide: decision: null");
  refused("decision.struct_size: expected ", [](duet_step_decision& bad) { bad.struct_size = 8; });
  refused("decision.total: expected dtype f32, got i32",
          [&](duet_step_decision& bad) { bad.total = given.apply.vector(); });
  refused("decision.total: expected 1 elements, got 300",
          [&](duet_step_decision& bad) { bad.total = given.wide.vector(); });
  refused("decision.reasons: expected 0 to 8 entries, got 9", [](duet_step_decision& bad) { bad.reason_count = 9; });
  refused("decision.reasons: expected 0 to 8 entries, got -1", [](duet_step_decision& bad) { bad.reason_count = -1; });
  refused("decision.reasons: null for 1 entries", [](duet_step_decision& bad) { bad.reasons = nullptr; });
  refused("decision.moves: expected 0 to 4 entries, got 5", [](duet_step_decision& bad) { bad.move_count = 5; });
  refused("decision.moves: null for 1 entries", [](duet_step_decision& bad) { bad.moves = nullptr; });
  refused("decision.reported: expected 0 to 24 entries, got 25",
          [](duet_step_decision& bad) { bad.reported_count = 25; });
  refused("decision.reported: null for 1 entries", [](duet_step_decision& bad) { bad.reported = nullptr; });
  const duet_step_reason wide_weight = {given.narrow.vector(), {}, 0, 0},
                         wide_value = {{}, given.narrow.vector(), 0, 0};
  refused("decision.reasons.weight: expected 1 elements, got 2",
          [&](duet_step_decision& bad) { bad.reasons = &wide_weight; });
  refused("decision.reasons.value: expected 1 elements, got 2",
          [&](duet_step_decision& bad) { bad.reasons = &wide_value; });
  const duet_step_move uneven = {given.narrow.vector(), given.next_wide.vector()},
                       itself = {given.wide.vector(), given.wide.vector()};
  refused("decision.moves.to: expected 300 elements, got 2", [&](duet_step_decision& bad) { bad.moves = &uneven; });
  refused("decision.moves.to: shares memory with decision.moves.from",
          [&](duet_step_decision& bad) { bad.moves = &itself; });
  const std::array<duet_step_move, 2> twice = {moves[0], moves[0]};
  refused("decision.moves.to: shares memory with decision.moves.to",
          [&](duet_step_decision& bad) { bad.moves = twice.data(), bad.move_count = 2; });
  refused("report.values: expected 4 x 0, got 4 x 1", [](duet_step_decision& bad) { bad.reported_count = 0; });

  duet_step_counters counters = DUET_STEP_COUNTERS_INIT;
  counters.begun = given.begun.vector(), counters.updates = given.updates.vector(),
  counters.failed = given.failed.vector();
  duet_step_report report = DUET_STEP_REPORT_INIT;
  report.apply = given.apply.vector(), report.verdicts = given.verdicts.matrix(), report.values = given.values.matrix();
  const auto call = [&](const duet_step_counters* of, const duet_step_report* to) {
    return duet_step_decide(context, &good, of, to);
  };
  FAIL_CALL(call(nullptr, &report), DUET_STATUS_INVALID_ARGUMENT, "step_decide: counters: null");
  FAIL_CALL(call(&counters, nullptr), DUET_STATUS_INVALID_ARGUMENT, "step_decide: report: null");
  duet_step_counters two = counters;
  two.updates = counters.failed;
  FAIL_CALL(call(&two, &report), DUET_STATUS_INVALID_ARGUMENT, "counters.failed: shares memory with counters.updates");
  two = counters, two.updates = {};
  FAIL_CALL(call(&two, &report), DUET_STATUS_INVALID_ARGUMENT, "counters.updates: expected dtype i64, got f32");
  duet_step_report wrong = report;
  wrong.verdicts.rows = 0;
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.verdicts: expected at least 1 slot, got 0");
  wrong = report, wrong.values.rows = 3;
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.values: expected 4 x 1, got 3 x 1");
  wrong = report, wrong.struct_size = 0;
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.struct_size: expected ");
  wrong = report, wrong.apply = given.begun.vector();
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.apply: expected dtype i32, got i64");
  CHECK((given.apply.at(0) == -1 && given.updates.at(0) == 0 && given.wide.at(0) == Decision::kOld &&
         given.verdicts.at(0) == -1));
  REQUIRE(given.decide(context, good) == DUET_STATUS_OK);
  CHECK(given.apply.at(0) == 1);
}

TEST_CASE("scales that are no scalars are refused by name") {
  Context context(1);
  Floats one = Floats(1, 1).fill(1), two = Floats(2, 1).fill(1), out(1, 1);
  FAIL_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = two.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "logarithm: expected 1 elements, got 2");
  FAIL_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = one.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = two.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "scale: expected 1 elements, got 2");
  FAIL_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = one.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = one.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "scale: shares memory with inputs.logarithm");
  FAIL_CALL(duet_step_scale_forward(nullptr, sized<duet_step_scale_inputs>({.logarithm = one.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_step_scale_backward(
                context, sized<duet_step_scale_inputs>({}),
                sized<duet_step_scale_gradients>({.grad_scale = one.vector(), .grad_logarithm = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "scale: expected 1 elements, got 0");
  FAIL_CALL(duet_step_scale_backward(
                context, sized<duet_step_scale_inputs>({}),
                sized<duet_step_scale_gradients>(
                    {.scale = one.vector(), .grad_scale = two.vector(), .grad_logarithm = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_scale: expected 1 elements");
  FAIL_CALL(duet_step_scale_backward(
                context, sized<duet_step_scale_inputs>({}),
                sized<duet_step_scale_gradients>(
                    {.scale = one.vector(), .grad_scale = one.vector(), .grad_logarithm = one.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_logarithm: shares memory with");
}
