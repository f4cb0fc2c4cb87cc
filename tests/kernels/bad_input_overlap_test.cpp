// Arguments that share memory: what a call writes shares none with its other arguments, but where the operation says
// so; inputs may.
#include "tests/kernels/optimizer_steps.h"
#include "tests/reference/distance.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

duet_matrix shifted(duet_matrix view, int64_t elements) {
  view.data = static_cast<float*>(view.data) + elements;
  return view;
}

}  // namespace

TEST_CASE("outputs that share memory with each other are refused by both names") {
  Context context(1);
  Draw draw(1);
  Floats a = draw.unit_rows(5, 3), v = draw.unit_rows(5, 3), scale = Floats(1, 1).fill(10),
         weight = Floats(5, 1).fill(1), loss(5, 1), other(5, 1);
  Floats rows(5, DUET_CONTRASTIVE_STATISTICS), columns(5, DUET_CONTRASTIVE_STATISTICS), grad = Floats(5, 3).fill(0),
                                                                                        more = Floats(5, 3).fill(0);
  duet_contrastive_inputs in = DUET_CONTRASTIVE_INPUTS_INIT;
  in.kind = DUET_CONTRASTIVE_KIND_INFONCE, in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
  size_t bytes = 0;
  SUCCEED_CALL(duet_contrastive_workspace(context, &in, &bytes));
  const Scratch scratch(bytes);
  const auto forward = [&](duet_vector row, duet_vector column) {
    return duet_contrastive_forward(context, &in,
                                    sized<duet_contrastive_outputs>({.row_loss = row,
                                                                     .column_loss = column,
                                                                     .row_statistics = rows.matrix(),
                                                                     .column_statistics = columns.matrix()}),
                                    scratch.view());
  };
  FAIL_CALL(forward(loss.vector(), loss.vector()), DUET_STATUS_INVALID_ARGUMENT,
            "column_loss: shares memory with outputs.row_loss");
  FAIL_CALL(forward(loss.vector(), duet_f32_vector(&rows.at(1), 5)), DUET_STATUS_INVALID_ARGUMENT,
            "row_statistics: shares memory with outputs.column_loss");
  SUCCEED_CALL(forward(loss.vector(), other.vector()));
  // Backward adds: one gradient for both sides would be added to by two at a time.
  const auto backward = [&](duet_matrix grad_a, duet_matrix grad_v, duet_vector grad_scale) {
    return duet_contrastive_backward(context, &in,
                                     sized<duet_contrastive_gradients>({.row_statistics = rows.matrix(),
                                                                        .column_statistics = columns.matrix(),
                                                                        .row_weight = weight.vector(),
                                                                        .column_weight = weight.vector(),
                                                                        .grad_a = grad_a,
                                                                        .grad_v = grad_v,
                                                                        .grad_scale = grad_scale}),
                                     scratch.view());
  };
  FAIL_CALL(backward(grad.matrix(), grad.matrix(), {}), DUET_STATUS_INVALID_ARGUMENT,
            "grad_v: shares memory with gradients.grad_a");
  FAIL_CALL(backward(grad.matrix(), a.matrix(), {}), DUET_STATUS_INVALID_ARGUMENT,
            "grad_v: shares memory with inputs.a");
  FAIL_CALL(backward(grad.matrix(), {}, duet_f32_vector(&grad.at(2, 2), 1)), DUET_STATUS_INVALID_ARGUMENT,
            "grad_scale: shares memory with gradients.grad_a");
  FAIL_CALL(backward(grad.matrix(), {}, scale.vector()), DUET_STATUS_INVALID_ARGUMENT,
            "grad_scale: shares memory with inputs.scale");
  SUCCEED_CALL(backward(grad.matrix(), more.matrix(), {}));  // an upstream weight of both sides is an input
  in.grad_factor_a = in.grad_factor_v = duet_f32_vector(&grad.at(2, 2), 1);
  FAIL_CALL(backward(grad.matrix(), {}, {}), DUET_STATUS_INVALID_ARGUMENT,
            "grad_a: shares memory with inputs.grad_factor_a");
  in.grad_factor_a = in.grad_factor_v = scale.vector();
  SUCCEED_CALL(backward(grad.matrix(), more.matrix(), {}));
  // A size query compares nothing: it writes nothing.
  duet_contrastive_inputs same = in;
  same.v = same.a;
  SUCCEED_CALL(duet_contrastive_workspace(context, &same, &bytes));
}

TEST_CASE("inputs may share memory, and so may the columns of one buffer") {
  Context context(1);
  Draw draw(2);
  // Columns 0 to 2 are x, 3 to 7 take the distances of x to itself; the guard between is column 8.
  Floats buffer(5, 9, 2), x = draw.normals(5, 3);
  buffer.fill(7);
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t k = 0; k < 3; ++k) buffer.at(i, k) = x.at(i, k);
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.metric = DUET_METRIC_SQEUCLIDEAN;
  in.x = in.y = buffer.part(0, 0, 5, 3);
  size_t bytes = 0;
  SUCCEED_CALL(duet_distance_workspace(context, &in, &bytes));
  const Scratch scratch(bytes);
  SUCCEED_CALL(duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = buffer.part(0, 3, 5, 5)}),
                                     scratch.view()));
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 5; ++j) {
      double expected = 0;
      for (int64_t k = 0; k < 3; ++k) expected += std::pow(double{x.at(i, k)} - x.at(j, k), 2);
      CHECK(buffer.at(i, 3 + j) == doctest::Approx(expected).epsilon(1e-5));
    }
    for (int64_t k = 0; k < 3; ++k) CHECK(buffer.at(i, k) == x.at(i, k));
    CHECK(buffer.at(i, 8) == 7);
  }
  for (const int64_t column : {1, 2})
    FAIL_CALL(
        duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = buffer.part(0, column, 5, 5)}),
                              scratch.view()),
        DUET_STATUS_INVALID_ARGUMENT, "distances: shares memory with inputs.x");
  // Rows behind those of the input: not the same columns only, but other rows too.
  in.x = in.y = buffer.part(0, 0, 2, 3);
  SUCCEED_CALL(duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = buffer.part(2, 0, 2, 2)}),
                                     scratch.view()));
  FAIL_CALL(duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = buffer.part(1, 0, 2, 2)}),
                                  scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "distances: shares memory with inputs.x");
}

TEST_CASE("in place means the whole: activation and dropout take their input as output, no part of it") {
  Context context(1);
  Draw draw(3);
  Floats x = draw.normals(6, 5), expected(6, 5), in_place = x;
  Longs step = Longs(1, 1).fill(4);
  duet_activation_inputs in = DUET_ACTIVATION_INPUTS_INIT;
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
  options.drop_probability = 0.5f, options.step = step.vector();
  in.x = x.matrix();
  SUCCEED_CALL(duet_activation_forward(context, &in, sized<duet_activation_outputs>({.outputs = expected.matrix()})));
  in.x = in_place.matrix();
  SUCCEED_CALL(duet_activation_forward(context, &in, sized<duet_activation_outputs>({.outputs = in_place.matrix()})));
  CHECK(in_place.same_bits(expected));
  in_place = x;
  SUCCEED_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &options}),
                                    sized<duet_dropout_outputs>({.outputs = expected.matrix()})));
  SUCCEED_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = in_place.matrix(), .dropout = &options}),
                                    sized<duet_dropout_outputs>({.outputs = in_place.matrix()})));
  CHECK(in_place.same_bits(expected));

  Floats longer(8, 5);
  longer.fill(1);
  const duet_matrix part = longer.part(0, 0, 6, 5);
  in.x = part;
  for (const int64_t shift : {1, 5, 29}) {
    FAIL_CALL(duet_activation_forward(context, &in, sized<duet_activation_outputs>({.outputs = shifted(part, shift)})),
              DUET_STATUS_INVALID_ARGUMENT, "outputs: shares memory with inputs.x");
    FAIL_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = in.x, .dropout = &options}),
                                   sized<duet_dropout_outputs>({.outputs = shifted(part, shift)})),
              DUET_STATUS_INVALID_ARGUMENT, "outputs: shares memory with inputs.x");
  }
  FAIL_CALL(duet_unit_rows_forward(context, sized<duet_unit_rows_inputs>({.x = in.x, .eps = 1e-12f}),
                                   sized<duet_unit_rows_outputs>({.outputs = part})),
            DUET_STATUS_INVALID_ARGUMENT, "outputs: shares memory with inputs.x");
  FAIL_CALL(
      duet_activation_backward(context, &in, sized<duet_activation_gradients>({.grad_outputs = in.x, .grad_x = part})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_x: shares memory with");
  FAIL_CALL(duet_dropout_backward(context, sized<duet_dropout_inputs>({.dropout = &options}),
                                  sized<duet_dropout_gradients>({.grad_outputs = in.x, .grad_x = part})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_x: shares memory with gradients.grad_outputs");
  FAIL_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = in.x, .dropout = &options}),
                                 sized<duet_dropout_outputs>(
                                     {.outputs = duet_f32_matrix(reinterpret_cast<float*>(step.data()) - 29, 6, 5)})),
            DUET_STATUS_INVALID_ARGUMENT, "outputs: shares memory with inputs.dropout.step");
}

TEST_CASE("an optimizer's arrays lie apart, gradients among themselves excepted") {
  Context context(1);
  Draw draw(4);
  Floats values = draw.normals(40, 1), gradient = draw.normals(4, 1), rate = Floats(1, 1).fill(0.1);
  Longs step = Longs(1, 1).fill(1);
  const duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
  const duet_sgd_inputs sgd = DUET_SGD_INPUTS_INIT;
  const auto at = [&](int64_t k) { return duet_f32_vector(&values.at(4 * k), 4); };
  duet_optimizer_slot slots[2] = {{at(0), gradient.vector(), at(1), at(2), at(3)},
                                  {at(4), gradient.vector(), at(5), at(6), at(7)}};
  SUCCEED_CALL(adamw_step(context, slots, 2, adamw, rate.vector(), step.vector()));
  SUCCEED_CALL(sgd_step(context, slots, 2, sgd, rate.vector()));
  const auto refused = [&](const char* part) {
    FAIL_CALL(adamw_step(context, slots, 2, adamw, rate.vector(), step.vector()), DUET_STATUS_INVALID_ARGUMENT, part);
  };
  for (duet_vector duet_optimizer_slot::*field : {&duet_optimizer_slot::parameter, &duet_optimizer_slot::first_moment,
                                                  &duet_optimizer_slot::second_moment, &duet_optimizer_slot::teacher}) {
    const duet_vector before = slots[1].*field;
    slots[1].*field =
        duet_f32_vector(&values.at(3), 4);  // the last of slot 0's parameter and three of its first moment
    refused("slots[0].parameter: shares memory with slots[1].");
    slots[1].*field = gradient.vector();
    refused(": shares memory with slots[");
    slots[1].*field = before;
  }
  slots[1].gradient = slots[0].teacher;
  refused("slots[0].teacher: shares memory with slots[1].gradient");
  slots[1].gradient = gradient.vector();
  slots[0].second_moment = slots[0].parameter;
  refused(": shares memory with slots[0].");
  SUCCEED_CALL(sgd_step(context, slots, 2, sgd, rate.vector()));  // it has no second moment
  slots[0].second_moment = at(2);
  FAIL_CALL(sgd_step(context, slots, 2, sgd, duet_f32_vector(&values.at(2), 1)), DUET_STATUS_INVALID_ARGUMENT,
            "slots[0].parameter: shares memory with inputs.learning_rate");
}

TEST_CASE("an optimizer's arrays lie apart, however many slots there are") {
  Context context(1);
  constexpr int64_t kSlots = 350;
  Draw draw(5);
  Floats values = draw.normals(5 * kSlots, 1), rate = Floats(1, 1).fill(0.1);
  Longs step = Longs(1, 1).fill(1);
  const duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
  const auto at = [&](int64_t k) { return duet_f32_vector(&values.at(k), 1); };
  std::vector<duet_optimizer_slot> slots;
  for (int64_t k = 0; k < kSlots; ++k)
    slots.push_back({at(5 * k), at(5 * k + 1), at(5 * k + 2), at(5 * k + 3), at(5 * k + 4)});
  SUCCEED_CALL(adamw_step(context, slots.data(), kSlots, adamw, rate.vector(), step.vector()));
  for (const auto& pair :
       {std::pair<size_t, size_t>{0, 99}, {0, 100}, {99, 349}, {100, 199}, {150, 250}, {300, 349}, {200, 300}}) {
    const size_t first = pair.first, second = pair.second;
    CAPTURE(first);
    CAPTURE(second);
    const duet_vector before = slots[second].teacher;
    slots[second].teacher = slots[first].parameter;
    FAIL_CALL(adamw_step(context, slots.data(), kSlots, adamw, rate.vector(), step.vector()),
              DUET_STATUS_INVALID_ARGUMENT, "shares memory with slots[");
    slots[second].teacher = before;
  }
}

TEST_CASE("the scalars of a sum: what is written is none of those read; a gradient may stand twice") {
  Context context(1);
  Floats values = Floats(8, 1).fill(2);
  const auto at = [&](int64_t k) { return duet_f32_vector(&values.at(k), 1); };
  const duet_const_vector terms[] = {at(0), at(2)}, weights[] = {at(1), at(3)};
  const duet_vector gradients[] = {at(4), at(4)};
  SUCCEED_CALL(duet_weighted_sum_forward(
      context, sized<duet_weighted_sum_inputs>({.terms = terms, .weights = weights, .count = 2}),
      sized<duet_weighted_sum_outputs>({.total = at(6)})));
  CHECK(values.at(6) == 8);
  FAIL_CALL(duet_weighted_sum_forward(context,
                                      sized<duet_weighted_sum_inputs>({.terms = terms, .weights = weights, .count = 2}),
                                      sized<duet_weighted_sum_outputs>({.total = at(2)})),
            DUET_STATUS_INVALID_ARGUMENT, "total: shares memory with inputs.terms[1]");
  FAIL_CALL(duet_weighted_sum_forward(context,
                                      sized<duet_weighted_sum_inputs>({.terms = terms, .weights = weights, .count = 2}),
                                      sized<duet_weighted_sum_outputs>({.total = at(1)})),
            DUET_STATUS_INVALID_ARGUMENT, "total: shares memory with inputs.weights[0]");
  SUCCEED_CALL(
      duet_weighted_sum_backward(context, sized<duet_weighted_sum_inputs>({.weights = weights, .count = 2}),
                                 sized<duet_weighted_sum_gradients>({.grad_total = at(5), .grad_terms = gradients})));
  CHECK(values.at(4) == 10);
  FAIL_CALL(
      duet_weighted_sum_backward(context, sized<duet_weighted_sum_inputs>({.weights = weights, .count = 2}),
                                 sized<duet_weighted_sum_gradients>({.grad_total = at(4), .grad_terms = gradients})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_terms[0]: shares memory with gradients.grad_total");
  const duet_vector clashing[] = {at(7), at(3)}, some[] = {{}, at(7)};
  FAIL_CALL(
      duet_weighted_sum_backward(context, sized<duet_weighted_sum_inputs>({.weights = weights, .count = 2}),
                                 sized<duet_weighted_sum_gradients>({.grad_total = at(5), .grad_terms = clashing})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_terms[1]: shares memory with inputs.weights[1]");
  SUCCEED_CALL(
      duet_weighted_sum_backward(context, sized<duet_weighted_sum_inputs>({.weights = weights, .count = 2}),
                                 sized<duet_weighted_sum_gradients>({.grad_total = at(5), .grad_terms = some})));
  FAIL_CALL(duet_weighted_mean_forward(context,
                                       sized<duet_weighted_mean_inputs>({.values = duet_f32_vector(&values.at(0), 4)}),
                                       sized<duet_weighted_mean_outputs>({.loss = at(3)})),
            DUET_STATUS_INVALID_ARGUMENT, "loss: shares memory with inputs.values");
}

TEST_CASE("the terms of a loss: what is written is none of what is read; a gradient may stand twice, whole") {
  Context context(1);
  Floats values = Floats(20, 1).fill(2);
  const auto at = [&](int64_t k, int64_t size) { return duet_f32_vector(&values.at(k), size); };
  const duet_mean means[] = {{at(0, 3), at(3, 3), at(6, 1)}, {at(0, 3), {}, {}}};
  const duet_term terms[] = {{at(7, 1), 1}, {at(7, 1), 1}};
  duet_terms_inputs in = DUET_TERMS_INPUTS_INIT;
  in.terms = terms, in.term_count = 2, in.means = means, in.mean_count = 2;
  SUCCEED_CALL(duet_terms_forward(context, &in, sized<duet_terms_outputs>({.losses = at(8, 2), .total = at(10, 1)})));
  CHECK(values.at(10) == 16);
  FAIL_CALL(duet_terms_forward(context, &in, sized<duet_terms_outputs>({.losses = at(8, 2), .total = at(4, 1)})),
            DUET_STATUS_INVALID_ARGUMENT, "total: shares memory with inputs.means[0].weights");
  FAIL_CALL(duet_terms_forward(context, &in, sized<duet_terms_outputs>({.losses = at(7, 2), .total = at(10, 1)})),
            DUET_STATUS_INVALID_ARGUMENT, "losses: shares memory with inputs.terms[0].weight");
  const duet_vector twice[] = {at(12, 3), at(12, 3)}, parts[] = {at(12, 3), at(14, 3)}, read[] = {{}, at(5, 3)};
  SUCCEED_CALL(
      duet_terms_backward(context, &in, sized<duet_terms_gradients>({.grad_total = at(11, 1), .grad_values = twice})));
  CHECK(values.at(13) == doctest::Approx(2 + 4 + 4.0 / 3));
  FAIL_CALL(
      duet_terms_backward(context, &in, sized<duet_terms_gradients>({.grad_total = at(11, 1), .grad_values = parts})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_values[1]: shares a part of its memory with gradients.grad_values[0]");
  FAIL_CALL(
      duet_terms_backward(context, &in, sized<duet_terms_gradients>({.grad_total = at(11, 1), .grad_values = read})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_values[1]: shares memory with inputs.terms[0].weight");
  FAIL_CALL(
      duet_terms_backward(context, &in, sized<duet_terms_gradients>({.grad_total = at(13, 1), .grad_values = twice})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_values[0]: shares memory with gradients.grad_total");
}
