// What a caller may get wrong in numbers: enumerations that hold none of their values, global indices, sizes, arguments
// that nothing would read.
#include <initializer_list>

#include "tests/kernels/optimizer_steps.h"
#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

constexpr int32_t kNoEnumerators[] = {-1, 6, 8, 1 << 20, INT32_MIN};

// Through memory: to convert such a number is undefined.
template <class Enum>
void put(Enum& to, int32_t value) {
  static_assert(sizeof to == sizeof value);
  std::memcpy(&to, &value, sizeof value);
}

// Inputs for every operation on pairs, 3 x 4 rows of 2.
struct Pairs {
  Draw draw{3};
  Floats a = draw.unit_rows(3, 2), v = draw.unit_rows(4, 2), class_a = draw.distributions(3, 2),
         class_v = draw.distributions(4, 2);
  Floats one_a = Floats(3, 1).fill(1), one_v = Floats(4, 1).fill(1), scale = Floats(1, 1).fill(10);
  Ints labels_a = draw.labels(3, 2), labels_v = draw.labels(4, 2);
  Longs step = Longs(1, 1).fill(1);
  duet_mining_draw draw_of_step = DUET_MINING_DRAW_INIT;
  Context context{1};
  size_t bytes = 0;

  Pairs() { draw_of_step.slots = 1, draw_of_step.step = step.vector(); }

  duet_distance_inputs distance() {
    duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
    in.x = a.matrix(), in.y = v.matrix(), in.metric = DUET_METRIC_SQEUCLIDEAN;
    return in;
  }
  duet_mining_inputs mining() {
    duet_mining_inputs in = DUET_MINING_INPUTS_INIT;
    in.x = a.matrix(), in.y = v.matrix(), in.labels_x = labels_a.vector(), in.labels_y = labels_v.vector(),
    in.metric = DUET_METRIC_SQEUCLIDEAN;
    return in;
  }
  duet_triplet_inputs triplet(duet_triplet_mining kind) {
    duet_triplet_inputs in = DUET_TRIPLET_INPUTS_INIT;
    in.x = a.matrix(), in.y = v.matrix(), in.labels_x = labels_a.vector(), in.labels_y = labels_v.vector(),
    in.mining = kind, in.metric = DUET_METRIC_SQEUCLIDEAN;
    if (kind == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) in.draw = &draw_of_step;
    return in;
  }
  duet_alignment_inputs alignment() {
    duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
    in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
    return in;
  }
  duet_contrastive_inputs contrastive(duet_contrastive_kind kind) {
    duet_contrastive_inputs in = DUET_CONTRASTIVE_INPUTS_INIT;
    in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector(), in.kind = kind;
    if (kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE) in.class_a = class_a.matrix(), in.class_v = class_v.matrix();
    if (kind == DUET_CONTRASTIVE_KIND_SIGMOID) in.bias = scale.vector();
    return in;
  }
  duet_distillation_inputs distillation() {
    duet_distillation_inputs in = DUET_DISTILLATION_INPUTS_INIT;
    in.student_a = in.teacher_a = a.matrix(), in.student_v = in.teacher_v = v.matrix(),
    in.scale = in.teacher_scale = scale.vector();
    return in;
  }
  duet_retrieval_inputs retrieval() {
    duet_retrieval_inputs in = DUET_RETRIEVAL_INPUTS_INIT;
    in.queries = a.matrix(), in.gallery = v.matrix();
    return in;
  }

  duet_status ask(const duet_distance_inputs& in) { return duet_distance_workspace(context, &in, &bytes); }
  duet_status ask(const duet_mining_inputs& in) { return duet_mining_workspace(context, &in, &bytes); }
  duet_status ask(const duet_triplet_inputs& in) { return duet_triplet_workspace(context, &in, &bytes); }
  duet_status ask(const duet_alignment_inputs& in) { return duet_alignment_workspace(context, &in, &bytes); }
  duet_status ask(const duet_contrastive_inputs& in) { return duet_contrastive_workspace(context, &in, &bytes); }
  duet_status ask(const duet_distillation_inputs& in) { return duet_distillation_workspace(context, &in, &bytes); }
  duet_status ask(const duet_retrieval_inputs& in) { return duet_retrieval_workspace(context, &in, &bytes); }

  // The inputs are good; they are refused with this text once they are changed.
  template <class Inputs, class Change>
  void refuses(Inputs in, const std::string& part, Change&& change) {
    SUCCEED_CALL(ask(in));
    change(in);
    FAIL_CALL(ask(in), DUET_STATUS_INVALID_ARGUMENT, part);
  }
};

}  // namespace

TEST_CASE("an enumeration that holds none of its values is refused with the number that it holds") {
  Pairs p;
  for (const int32_t value : kNoEnumerators) {
    CAPTURE(value);
    const std::string number = std::to_string(value);
    duet_context* context = nullptr;
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    put(options.device, value);
    FAIL_CALL(duet_context_create(&options, &context), DUET_STATUS_INVALID_ARGUMENT,
              "options.device: unknown value " + number);
    options = DUET_CONTEXT_OPTIONS_INIT;
    put(options.precision, value);
    FAIL_CALL(duet_context_create(&options, &context), DUET_STATUS_INVALID_ARGUMENT,
              "options.precision: unknown value " + number);
    CHECK(context == nullptr);

    const std::string no_distance =
        "inputs.metric: expected sqeuclidean, euclidean or cosine (inner is no distance), got " + number;
    p.refuses(p.distance(), "inputs.metric: unknown value " + number, [&](auto& in) { put(in.metric, value); });
    p.refuses(p.mining(), no_distance, [&](auto& in) { put(in.metric, value); });
    p.refuses(p.triplet(DUET_TRIPLET_MINING_HARD), no_distance, [&](auto& in) { put(in.metric, value); });
    p.refuses(p.triplet(DUET_TRIPLET_MINING_HARD), "inputs.mining: unknown value " + number,
              [&](auto& in) { put(in.mining, value); });
    p.refuses(p.alignment(), "inputs.score: unknown value " + number, [&](auto& in) { put(in.score, value); });
    p.refuses(p.contrastive(DUET_CONTRASTIVE_KIND_INFONCE), "inputs.kind: unknown value " + number,
              [&](auto& in) { put(in.kind, value); });
    duet_activation_inputs activation = DUET_ACTIVATION_INPUTS_INIT;
    activation.x = p.a.matrix();
    put(activation.kind, value);
    FAIL_CALL(
        duet_activation_forward(p.context, &activation, sized<duet_activation_outputs>({.outputs = p.a.matrix()})),
        DUET_STATUS_INVALID_ARGUMENT, "kind: unknown value " + number);

    duet_status status;
    put(status, value == 6 ? 9 : value);
    CHECK(std::string(duet_status_name(status)) == "unknown status");
  }
}

TEST_CASE("a dtype that is none is refused in every place where a view stands") {
  Pairs p;
  for (const int32_t value : {-1, 7, 8, 1 << 20, INT32_MIN}) {
    CAPTURE(value);
    const std::string got = "expected dtype f32, got unknown value " + std::to_string(value);
    p.refuses(p.alignment(), "inputs.v: expected dtype f32, f16 or bf16, got unknown value " + std::to_string(value),
              [&](auto& in) { put(in.v.dtype, value); });
    p.refuses(p.alignment(), "inputs.scale: " + got, [&](auto& in) { put(in.scale.dtype, value); });
    p.refuses(p.triplet(DUET_TRIPLET_MINING_DISTANCE_WEIGHTED),
              "inputs.draw.step: expected dtype i64, got unknown value",
              [&](auto& in) { put(p.draw_of_step.step.dtype, value), in.draw = &p.draw_of_step; });
    p.draw_of_step.step = p.step.vector();
    duet_const_vector terms[2] = {duet_f32_vector(&p.a.at(0), 1), duet_f32_vector(&p.a.at(1), 1)};
    put(terms[1].dtype, value);
    FAIL_CALL(duet_weighted_sum_forward(p.context,
                                        sized<duet_weighted_sum_inputs>({.terms = terms, .weights = terms, .count = 2}),
                                        sized<duet_weighted_sum_outputs>({.total = p.scale.vector()})),
              DUET_STATUS_INVALID_ARGUMENT, "terms[1]: " + got);
    const duet_mean mean = {p.one_a.vector(), {}, terms[1]};
    const duet_term term = {terms[0], 1};
    duet_terms_inputs loss = DUET_TERMS_INPUTS_INIT;
    loss.terms = &term, loss.term_count = 1, loss.means = &mean, loss.mean_count = 1;
    FAIL_CALL(duet_terms_forward(p.context, &loss, sized<duet_terms_outputs>({.total = p.scale.vector()})),
              DUET_STATUS_INVALID_ARGUMENT, "inputs.means[0].divisor: " + got);
    Floats moments(6, 1);
    duet_optimizer_slot slot = {duet_f32_vector(&p.a.at(0), 2), duet_f32_vector(&p.v.at(0), 2),
                                duet_f32_vector(&moments.at(0), 2), duet_f32_vector(&moments.at(2), 2),
                                duet_f32_vector(&moments.at(4), 2)};
    put(slot.teacher.dtype, value);
    const duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
    FAIL_CALL(adamw_step(p.context, &slot, 1, options, p.scale.vector(), p.step.vector()), DUET_STATUS_INVALID_ARGUMENT,
              "slots[0].teacher: " + got);
  }
}

TEST_CASE("global indices are at least 0, and the last of them does not overflow") {
  Pairs p;
  for (const int64_t value : {int64_t{-1}, INT64_MIN, INT64_MAX - 1}) {
    CAPTURE(value);
    const std::string expected = value < 0 ? ": expected 0 or more, got " : ": expected an index below 2^63 after ";
    const auto check = [&](const auto& in) {
      p.refuses(in, "inputs.first_row" + expected, [&](auto& bad) { bad.first_row = value; });
      p.refuses(in, "inputs.first_column" + expected, [&](auto& bad) { bad.first_column = value; });
    };
    check(p.mining());
    for (const auto kind : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_DISTANCE_WEIGHTED})
      check(p.triplet(kind));
    for (const auto kind :
         {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID})
      check(p.contrastive(kind));
    check(p.distillation());
    check(p.retrieval());
    duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
    options.drop_probability = 0.5f, options.step = p.step.vector(), options.first_row = value;
    FAIL_CALL(duet_dropout_forward(p.context, sized<duet_dropout_inputs>({.x = p.a.matrix(), .dropout = &options}),
                                   sized<duet_dropout_outputs>({.outputs = p.a.matrix()})),
              DUET_STATUS_INVALID_ARGUMENT, "inputs.dropout.first_row" + expected);
    duet_linear_inputs linear = DUET_LINEAR_INPUTS_INIT;
    linear.x = p.a.matrix(), linear.weight = p.v.matrix(), linear.relu = 1, linear.dropout = &options;
    FAIL_CALL(duet_linear_workspace(p.context, &linear, &p.bytes), DUET_STATUS_INVALID_ARGUMENT,
              "dropout.first_row" + expected);
  }
  // The numbers of the elements that draws are for.
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
  options.drop_probability = 0.5f, options.step = p.step.vector(), options.first_row = INT64_MAX / 2;
  FAIL_CALL(duet_dropout_forward(p.context, sized<duet_dropout_inputs>({.x = p.a.matrix(), .dropout = &options}),
                                 sized<duet_dropout_outputs>({.outputs = p.a.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.dropout.first_row: expected element numbers below 2^63, got ");
  p.refuses(p.triplet(DUET_TRIPLET_MINING_DISTANCE_WEIGHTED),
            "inputs.draw.total_columns: expected at most 2^63 - 1 elements in ",
            [&](auto& in) { in.first_row = int64_t{1} << 40, p.draw_of_step.total_columns = int64_t{1} << 40; });
}

TEST_CASE("sizes that no memory holds are refused, not wrapped round") {
  Pairs p;
  // The pointers are never followed: a size query asks for shapes alone.
  duet_decorrelation_inputs wide = DUET_DECORRELATION_INPUTS_INIT;
  wide.a = wide.v = {p.a.data(), 2, INT32_MAX, INT32_MAX, DUET_DTYPE_F32};
  FAIL_CALL(duet_decorrelation_workspace(p.context, &wide, &p.bytes), DUET_STATUS_OUT_OF_MEMORY,
            "workspace: 4.61169e+18 elements of 4 bytes");
  p.refuses(p.triplet(DUET_TRIPLET_MINING_DISTANCE_WEIGHTED), "inputs.draw.slots: expected at most 2^24, got ",
            [&](auto&) { p.draw_of_step.slots = INT64_MAX; });
  p.draw_of_step.slots = 1;
  p.refuses(p.triplet(DUET_TRIPLET_MINING_DISTANCE_WEIGHTED), "inputs.draw.slots: expected at least 1, got 0",
            [&](auto&) { p.draw_of_step.slots = 0; });
  p.draw_of_step.slots = 1;
  p.refuses(p.distance(), "inputs.y: expected below 2^31 rows, got 2147483648",
            [](auto& in) { in.y.rows = int64_t{1} << 31; });
  if (on_cpu()) {
    p.step.at(0) = int64_t{1} << 32;  // a device takes its low bits as they are
    duet_mining_inputs in = p.mining();
    in.draw = &p.draw_of_step;
    Ints negatives(3, 1);
    FAIL_CALL(duet_mining_distance_weighted(
                  p.context, &in, sized<duet_mining_distance_weighted_outputs>({.negatives = negatives.matrix()}), {}),
              DUET_STATUS_INVALID_ARGUMENT, "inputs.draw.step: expected 0 to below 2^32, got 4294967296");
  }
}

TEST_CASE("an argument that nothing would read is refused") {
  Pairs p;
  const auto trust_a = p.one_a.vector(), trust_v = p.one_v.vector();
  const char* const without_classes = ": expected null without inputs.class_a and class_v";
  p.refuses(p.distillation(), std::string("inputs.kappa_a") + without_classes, [&](auto& in) { in.kappa_a = trust_a; });
  p.refuses(p.distillation(), std::string("inputs.kappa_v") + without_classes, [&](auto& in) { in.kappa_v = trust_v; });
  p.refuses(p.distillation(), std::string("inputs.trust_a") + without_classes, [&](auto& in) { in.trust_a = trust_a; });
  p.refuses(p.distillation(), std::string("inputs.trust_v") + without_classes, [&](auto& in) { in.trust_v = trust_v; });
  p.refuses(p.distillation(), "inputs.class_v: expected 4 x 2, got 0 x 0",
            [&](auto& in) { in.class_a = p.class_a.matrix(); });

  p.refuses(p.contrastive(DUET_CONTRASTIVE_KIND_INFONCE), "inputs.class_a: expected null with infonce",
            [&](auto& in) { in.class_a = p.class_a.matrix(); });
  p.refuses(p.contrastive(DUET_CONTRASTIVE_KIND_INFONCE), "inputs.class_v: expected null with infonce",
            [&](auto& in) { in.class_v = p.class_v.matrix(); });
  for (const auto kind : {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_SIGMOID}) {
    p.refuses(p.contrastive(kind), "inputs.trust_a: expected null without multi_positive",
              [&](auto& in) { in.trust_a = trust_a; });
    p.refuses(p.contrastive(kind), "inputs.trust_v: expected null without multi_positive",
              [&](auto& in) { in.trust_v = trust_v; });
  }
  for (const auto kind : {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE})
    p.refuses(p.contrastive(kind), "inputs.bias: expected null without sigmoid",
              [&](auto& in) { in.bias = p.scale.vector(); });
  for (const auto kind :
       {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID}) {
    const bool has_classes = kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE;
    const std::string labels = has_classes ? ": expected null with inputs.class_a and class_v"
                                           : ": expected null without multi_positive, decoupled, circle or ntxent";
    p.refuses(p.contrastive(kind), "inputs.labels_a" + labels, [&](auto& in) { in.labels_a = p.labels_a.vector(); });
    p.refuses(p.contrastive(kind), "inputs.labels_v" + labels, [&](auto& in) { in.labels_v = p.labels_v.vector(); });
    p.refuses(p.contrastive(kind), "inputs.group_v: expected dtype i32",
              [&](auto& in) { in.group_a = p.labels_a.vector(); });
    p.refuses(p.contrastive(kind), "inputs.group_a: expected dtype i32",
              [&](auto& in) { in.group_v = p.labels_v.vector(); });
    p.refuses(p.contrastive(kind), "inputs.margin: expected 0 without circle, got 0.5",
              [&](auto& in) { in.margin = 0.5f; });
  }
  const duet_contrastive_inputs infonce = p.contrastive(DUET_CONTRASTIVE_KIND_INFONCE);
  Floats rows(3, DUET_CONTRASTIVE_STATISTICS), columns(4, DUET_CONTRASTIVE_STATISTICS), bias(1, 1);
  FAIL_CALL(duet_contrastive_backward(p.context, &infonce,
                                      sized<duet_contrastive_gradients>({.row_statistics = rows.matrix(),
                                                                         .column_statistics = columns.matrix(),
                                                                         .grad_bias = bias.vector()}),
                                      {}),
            DUET_STATUS_INVALID_ARGUMENT, "grad_bias: expected null without sigmoid");

  for (const auto kind : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                          DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}) {
    CAPTURE(kind);
    const char* const no_classes = ": expected null without inputs.class_x and class_y";
    p.refuses(p.triplet(kind), std::string("inputs.trust_x") + no_classes, [&](auto& in) { in.trust_x = trust_a; });
    p.refuses(p.triplet(kind), std::string("inputs.trust_y") + no_classes, [&](auto& in) { in.trust_y = trust_v; });
    if (kind != DUET_TRIPLET_MINING_DISTANCE_WEIGHTED)
      p.refuses(p.triplet(kind), "inputs.draw: expected null without mining distance_weighted",
                [&](auto& in) { in.draw = &p.draw_of_step; });
    const auto add_classes = [&](auto& in) { in.class_x = p.class_a.matrix(), in.class_y = p.class_v.matrix(); };
    if (kind == DUET_TRIPLET_MINING_ALL)
      p.refuses(p.triplet(kind), "inputs.labels_x: expected null with inputs.class_x and class_y", add_classes);
    else
      p.refuses(p.triplet(kind), "inputs.class_x: expected null without mining all", add_classes);
  }
}

TEST_CASE("what is reserved is 0, and the elements of an array of structs have their size") {
  Pairs p;
  p.refuses(p.distance(), "inputs.reserved: expected 0, as the struct's _INIT sets it, got 1",
            [](auto& in) { in.reserved = 1; });
  p.refuses(p.mining(), "inputs.reserved: expected 0, as the struct's _INIT sets it, got 2",
            [](auto& in) { in.reserved = 2; });
  p.refuses(p.triplet(DUET_TRIPLET_MINING_HARD), "inputs.reserved: expected 0, as the struct's _INIT sets it, got -1",
            [](auto& in) { in.reserved = -1; });
  p.refuses(p.distance(), "inputs.x: expected 0 in reserved, got 1", [](auto& in) { in.x.reserved = 1; });
  p.refuses(p.alignment(), "inputs.scale: expected 0 in reserved, got -1", [](auto& in) { in.scale.reserved = -1; });
  duet_adamw_inputs step = DUET_ADAMW_INPUTS_INIT;
  step.learning_rate = p.scale.vector(), step.step = p.step.vector();
  duet_optimizer_slots slots = DUET_OPTIMIZER_SLOTS_INIT;
  CHECK(slots.slot_size == sizeof(duet_optimizer_slot));
  SUCCEED_CALL(duet_adamw_step(p.context, &step, &slots));
  slots.slot_size = 8;
  FAIL_CALL(duet_adamw_step(p.context, &step, &slots), DUET_STATUS_INVALID_ARGUMENT,
            "slots.slot_size: expected 120, the size of one, got 8");
  duet_terms_inputs terms = DUET_TERMS_INPUTS_INIT;
  terms.mean_size += 8;
  FAIL_CALL(duet_terms_forward(p.context, &terms, sized<duet_terms_outputs>({.total = p.scale.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.mean_size: expected 72, the size of one, got 80");
}
