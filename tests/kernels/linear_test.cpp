#include "tests/kernels/linear_problem.h"
#include "tests/reference/activation.h"

using namespace duet::test;
using namespace duet::test::linear;

namespace {

// Below and beyond one tile (64 to 256), no multiple of it, many rows (grad_weight's long side), nothing at all.
const Case kCases[] = {{0, 7, 5, 0, true, 1},      {1, 1, 1, 0, true, 1},       {5, 0, 3, 0, true, 2},
                       {5, 0, 3, 0, false, 1},     {3, 4, 0, 0, true, 1},       {13, 67, 31, 5, true, 1},
                       {13, 67, 31, 0, false, 10}, {128, 300, 256, 0, true, 1}, {130, 257, 129, 3, true, 10},
                       {2100, 33, 70, 0, true, 1}, {300, 520, 10, 0, true, 10}, {200, 300, 60, 0, true, 1}};

}  // namespace

TEST_CASE("linear forward matches the reference, bit for bit on any number of threads") {
  for (const Case& shape : kCases) {
    CAPTURE(shape.batch);
    CAPTURE(shape.in);
    CAPTURE(shape.out);
    Problem problem(shape);
    const duet_linear_inputs inputs = problem.inputs();
    const auto run = [&](int threads) {
      Context context(threads);
      Floats outputs(shape.batch, shape.out, shape.padding);
      SUCCEED_CALL(duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                       scratch_for(context, inputs).view()));
      return outputs;
    };
    const Floats first = run(1);
    const Doubles expected = problem.reference<double>().forward();
    check_close(first.values(), expected, tolerance(expected, problem.reference<float>().forward()), "outputs");
    for (const int threads : other_thread_counts()) CHECK(run(threads).same_bits(first));
  }
}

TEST_CASE("linear backward adds the reference's gradients, bit for bit on any number of threads") {
  for (const Case& shape : kCases) {
    CAPTURE(shape.batch);
    CAPTURE(shape.in);
    CAPTURE(shape.out);
    Problem problem(shape);
    const duet_linear_inputs inputs = problem.inputs();
    Draw draw(2);
    Floats upstream = draw.normals(shape.batch, shape.out, 1, shape.padding);
    const Floats before_x = draw.normals(shape.batch, shape.in, 1, shape.padding);
    const Floats before_weight = draw.normals(shape.out, shape.in, 1, shape.padding),
                 before_bias = draw.normals(shape.out, 1);
    const auto expected = problem.reference<double>().backward(upstream.values());
    const auto naive = problem.reference<float>().backward(as<float>(upstream.values()));
    struct Gradients {
      Floats x, weight, bias;
    };
    const auto run = [&](int threads) {
      Context context(threads);
      Gradients grad{before_x, before_weight, before_bias};
      SUCCEED_CALL(duet_linear_backward(context, &inputs,
                                        sized<duet_linear_gradients>({.grad_outputs = upstream.matrix(),
                                                                      .grad_x = grad.x.matrix(),
                                                                      .grad_weight = grad.weight.matrix(),
                                                                      .grad_bias = grad.bias.vector()}),
                                        scratch_for(context, inputs).view()));
      return grad;
    };
    const Gradients first = run(1);
    check_close(first.x.values(), plus(before_x.values(), expected.x), tolerance(expected.x, naive.x), "grad_x");
    check_close(first.weight.values(), plus(before_weight.values(), expected.weight),
                tolerance(expected.weight, naive.weight), "grad_weight");
    const Doubles bias = plus(before_bias.values(), expected.bias);
    check_close(first.bias.values(), bias,
                column_sums_error(upstream.values(), shape.out, shape.scale) + 1.2e-7 * largest(bias), "grad_bias");
    for (const int threads : other_thread_counts()) {
      const Gradients again = run(threads);
      CHECK(again.x.same_bits(first.x));
      CHECK(again.weight.same_bits(first.weight));
      CHECK(again.bias.same_bits(first.bias));
    }
    // A gradient that is not asked for changes nothing of the others.
    Context context(2);
    Floats alone = before_weight;
    SUCCEED_CALL(duet_linear_backward(
        context, &inputs,
        sized<duet_linear_gradients>({.grad_outputs = upstream.matrix(), .grad_weight = alone.matrix()}),
        scratch_for(context, inputs).view()));
    CHECK(alone.same_bits(first.weight));
  }
}

TEST_CASE("the reference of linear matches central differences") {
  Problem problem({3, 4, 2, 0, true, 10});
  Draw draw(3);
  const Doubles upstream = draw.normals(3, 2).values();
  const auto loss = [&](const duet::reference::Linear& layer) {
    const Doubles y = layer.forward();
    double sum = 0;
    for (size_t k = 0; k < y.size(); ++k) sum += upstream[k] * y[k];
    return sum;
  };
  const auto layer = problem.reference<double>();
  const auto gradients = layer.backward(upstream);
  // Central differences with a step of 1e-6 are good to some 1e-9 of the function's size, about 30 here.
  const auto with = [&](auto member) {
    return [&, member](const Doubles& values) {
      auto changed = layer;
      changed.*member = values;
      return loss(changed);
    };
  };
  using Layer = duet::reference::Linear;
  check_relative(central_differences(with(&Layer::x), layer.x), gradients.x, 1e-7, "x");
  check_relative(central_differences(with(&Layer::weight), layer.weight), gradients.weight, 1e-7, "weight");
  check_relative(central_differences(with(&Layer::bias), layer.bias), gradients.bias, 1e-7, "bias");
}

TEST_CASE("linear keeps NaN and infinity") {
  Problem problem({130, 70, 65, 0, true, 1});
  problem.x.at(129, 3) = std::numeric_limits<float>::quiet_NaN();
  problem.weight.at(64, 69) = std::numeric_limits<float>::infinity();
  problem.bias.at(7) = std::numeric_limits<float>::quiet_NaN();
  const duet_linear_inputs inputs = problem.inputs();
  Context context;
  Floats outputs(130, 65);
  SUCCEED_CALL(duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                   scratch_for(context, inputs).view()));
  for (int64_t i = 0; i < 130; ++i) {
    for (int64_t j = 0; j < 65; ++j) {
      const bool nan = i == 129 || j == 7;
      CHECK(std::isnan(outputs.at(i, j)) == nan);
      CHECK(std::isinf(outputs.at(i, j)) == (!nan && j == 64));
    }
  }
  Floats upstream = Draw(4).normals(130, 65), grad_bias(65, 1);
  upstream.at(5, 64) = std::numeric_limits<float>::quiet_NaN();
  grad_bias.fill(1);
  SUCCEED_CALL(duet_linear_backward(
      context, &inputs,
      sized<duet_linear_gradients>({.grad_outputs = upstream.matrix(), .grad_bias = grad_bias.vector()}),
      scratch_for(context, inputs).view()));
  for (int64_t j = 0; j < 65; ++j) CHECK(std::isnan(grad_bias.at(j)) == (j == 64));
}

namespace {

struct ReluCase {
  Case shape;
  float probability;
  int64_t first_row;
};
// Rows of whole 64 columns, whose words come in whole blocks, and odd ones, where a row starts in the middle of a
// block; several work items.
const ReluCase kReluCases[] = {{{0, 7, 5, 0, true, 1}, 0.2f, 0},       {{5, 0, 3, 0, true, 2}, 0.2f, 1},
                               {{3, 4, 0, 0, true, 1}, 0.2f, 0},       {{1, 1, 1, 0, true, 1}, 0.5f, 3},
                               {{13, 67, 31, 5, false, 1}, 0.3f, 11},  {{130, 300, 64, 0, true, 1}, 0.2f, 7},
                               {{128, 300, 256, 0, true, 1}, 0.2f, 0}, {{300, 70, 131, 3, true, 10}, 0.9f, 5},
                               {{70, 40, 129, 0, true, 1}, 0, 0}};

struct Passes {
  Floats outputs, grad_x, grad_weight, grad_bias;

  bool same_bits(const Passes& other) const {
    return outputs.same_bits(other.outputs) && grad_x.same_bits(other.grad_x) &&
           grad_weight.same_bits(other.grad_weight) && grad_bias.same_bits(other.grad_bias);
  }
};

// Layer, ReLU and dropout by the calls of their own; as tapes run them, every gradient starts from 0.
void run_apart(const duet_linear_inputs& layer, const duet_dropout_options& dropout, Floats& upstream, Passes& to) {
  Context context(1);
  const Scratch scratch = scratch_for(context, layer);
  const int64_t rows = to.outputs.rows(), columns = to.outputs.columns();
  SUCCEED_CALL(duet_linear_forward(context, &layer, sized<duet_linear_outputs>({.outputs = to.outputs.matrix()}),
                                   scratch.view()));
  Floats linear = to.outputs, grad_linear(rows, columns), grad_dropped(rows, columns);
  grad_linear.fill(0), grad_dropped.fill(0);
  duet_activation_inputs relu = DUET_ACTIVATION_INPUTS_INIT;
  relu.kind = DUET_ACTIVATION_KIND_RELU, relu.x = linear.matrix();
  SUCCEED_CALL(
      duet_activation_forward(context, &relu, sized<duet_activation_outputs>({.outputs = to.outputs.matrix()})));
  Floats* grad_relu = &upstream;
  if (dropout.drop_probability > 0) {
    SUCCEED_CALL(duet_dropout_forward(context,
                                      sized<duet_dropout_inputs>({.x = to.outputs.matrix(), .dropout = &dropout}),
                                      sized<duet_dropout_outputs>({.outputs = to.outputs.matrix()})));
    SUCCEED_CALL(duet_dropout_backward(
        context, sized<duet_dropout_inputs>({.dropout = &dropout}),
        sized<duet_dropout_gradients>({.grad_outputs = upstream.matrix(), .grad_x = grad_dropped.matrix()})));
    grad_relu = &grad_dropped;
  }
  SUCCEED_CALL(duet_activation_backward(
      context, &relu,
      sized<duet_activation_gradients>({.grad_outputs = grad_relu->matrix(), .grad_x = grad_linear.matrix()})));
  SUCCEED_CALL(duet_linear_backward(context, &layer,
                                    sized<duet_linear_gradients>({.grad_outputs = grad_linear.matrix(),
                                                                  .grad_x = to.grad_x.matrix(),
                                                                  .grad_weight = to.grad_weight.matrix(),
                                                                  .grad_bias = to.grad_bias.vector()}),
                                    scratch.view()));
}

}  // namespace

TEST_CASE("linear with ReLU and dropout is the three calls, bit for bit, forward and backward") {
  for (const ReluCase& given : kReluCases) {
    const Case& shape = given.shape;
    if (!affordable(60 * shape.batch * shape.out)) continue;
    CAPTURE(shape.batch);
    CAPTURE(shape.in);
    CAPTURE(shape.out);
    Problem problem(shape);
    const duet_linear_inputs layer = problem.inputs();
    DropoutOf dropout(given.probability, given.first_row);
    duet_linear_inputs fused = layer;
    fused.relu = 1, fused.dropout = &dropout.options;
    Draw draw(5);
    Floats upstream = draw.normals(shape.batch, shape.out, 1, shape.padding);
    const Passes before{Floats(shape.batch, shape.out, shape.padding),
                        draw.normals(shape.batch, shape.in, 1, shape.padding),
                        draw.normals(shape.out, shape.in, 1, shape.padding), draw.normals(shape.out, 1)};
    Passes apart = before;
    run_apart(layer, dropout.options, upstream, apart);
    for (const int threads : thread_counts()) {
      CAPTURE(threads);
      Context context(threads);
      Passes to = before;
      SUCCEED_CALL(duet_linear_forward(context, &fused, sized<duet_linear_outputs>({.outputs = to.outputs.matrix()}),
                                       scratch_for(context, fused).view()));
      SUCCEED_CALL(duet_linear_backward(context, &fused,
                                        sized<duet_linear_gradients>({.outputs = to.outputs.matrix(),
                                                                      .grad_outputs = upstream.matrix(),
                                                                      .grad_x = to.grad_x.matrix(),
                                                                      .grad_weight = to.grad_weight.matrix(),
                                                                      .grad_bias = to.grad_bias.vector()}),
                                        scratch_for(context, fused).view()));
      CHECK(to.same_bits(apart));
    }
  }
}

TEST_CASE("linear's ReLU keeps NaN; a dropped NaN is 0 and lets nothing through, as what is not above 0") {
  constexpr int64_t kBatch = 9, kIn = 6, kOut = 70, kNaNRow = 3;
  Problem problem({kBatch, kIn, kOut, 0, true, 1});
  problem.x.at(kNaNRow, 2) = std::numeric_limits<float>::quiet_NaN();
  DropoutOf dropout(0.5f, 2);
  duet_linear_inputs inputs = problem.inputs();
  inputs.relu = 1, inputs.dropout = &dropout.options;
  Context context;
  Floats outputs(kBatch, kOut), upstream(kBatch, kOut), grad_bias(kOut, 1);
  SUCCEED_CALL(duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                   scratch_for(context, inputs).view()));
  const Doubles factors = duet::reference::dropout_factors(0.5f, 77, 3, 9, 2, kBatch, kOut);
  const auto dropped = [&](int64_t i, int64_t j) { return factors[static_cast<size_t>(i * kOut + j)] == 0; };
  for (int64_t i = 0; i < kBatch; ++i) {
    for (int64_t j = 0; j < kOut; ++j) {
      CHECK(std::isnan(outputs.at(i, j)) == (i == kNaNRow && !dropped(i, j)));
      if (dropped(i, j)) CHECK(outputs.at(i, j) == 0);
    }
  }
  upstream.fill(1), grad_bias.fill(0);
  SUCCEED_CALL(duet_linear_backward(
      context, &inputs,
      sized<duet_linear_gradients>(
          {.outputs = outputs.matrix(), .grad_outputs = upstream.matrix(), .grad_bias = grad_bias.vector()}),
      scratch_for(context, inputs).view()));
  for (int64_t j = 0; j < kOut; ++j) CHECK(std::isnan(grad_bias.at(j)) == !dropped(kNaNRow, j));
  // A gradient that is NaN goes where the output is above 0.
  upstream.fill(1), grad_bias.fill(0);
  for (int64_t j = 0; j < kOut; ++j) upstream.at(5, j) = std::numeric_limits<float>::quiet_NaN();
  SUCCEED_CALL(duet_linear_backward(
      context, &inputs,
      sized<duet_linear_gradients>(
          {.outputs = outputs.matrix(), .grad_outputs = upstream.matrix(), .grad_bias = grad_bias.vector()}),
      scratch_for(context, inputs).view()));
  for (int64_t j = 0; j < kOut; ++j)
    CHECK(std::isnan(grad_bias.at(j)) == (!dropped(kNaNRow, j) || outputs.at(5, j) > 0));
}

TEST_CASE("linear refuses misuse") {
  Context context;
  Problem problem({3, 4, 2, 0, true, 1});
  Floats outputs(3, 2), narrow(3, 3), other(3, 5);
  duet_linear_inputs inputs = problem.inputs();
  const auto fails = [&](const duet_linear_inputs& given, duet_matrix to, const char* part) {
    FAIL_CALL(duet_linear_forward(context, &given, sized<duet_linear_outputs>({.outputs = to}), {}),
              DUET_STATUS_INVALID_ARGUMENT, part);
  };
  fails(inputs, narrow.matrix(), "outputs: expected 3 x 2, got 3 x 3");
  duet_linear_inputs wrong = inputs;
  wrong.x = other.matrix();
  fails(wrong, outputs.matrix(), "x: expected any x 4, got 3 x 5");
  wrong = inputs;
  wrong.bias.size = 3;
  fails(wrong, outputs.matrix(), "bias: expected 2 elements, got 3");
  wrong = inputs;
  wrong.weight.dtype = DUET_DTYPE_F16;
  fails(wrong, outputs.matrix(), "weight: expected dtype f32, got f16");
  for (const float scale : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    wrong = inputs;
    wrong.output_scale = scale;
    fails(wrong, outputs.matrix(), "inputs.output_scale: expected a finite number");
  }
  wrong = inputs;
  wrong.struct_size = 0;
  fails(wrong, outputs.matrix(), "inputs.struct_size");
  FAIL_CALL(duet_linear_forward(nullptr, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "linear_forward: context: null");
  FAIL_CALL(duet_linear_forward(context, nullptr, sized<duet_linear_outputs>({.outputs = outputs.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_linear_backward(
                context, &inputs,
                sized<duet_linear_gradients>({.grad_outputs = outputs.matrix(), .grad_x = narrow.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "grad_x: expected 3 x 4, got 3 x 3");
  FAIL_CALL(duet_linear_backward(
                context, &inputs,
                sized<duet_linear_gradients>({.grad_outputs = outputs.matrix(), .grad_weight = narrow.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "grad_weight: expected 2 x 4, got 3 x 3");
  DropoutOf dropout(0.2f, 0);
  wrong = inputs;
  wrong.dropout = &dropout.options;
  fails(wrong, outputs.matrix(), "inputs.dropout.drop_probability: expected 0 without relu");
  wrong.relu = 1, dropout.options.drop_probability = 1;
  fails(wrong, outputs.matrix(), "dropout.drop_probability: expected 0 to below 1, got 1");
  dropout.options.drop_probability = 0.2f;
  const duet_const_vector step = dropout.options.step;
  dropout.options.step = {};
  fails(wrong, outputs.matrix(), "dropout.step: expected");
  dropout.options.step = step;
  FAIL_CALL(duet_linear_backward(context, &wrong, sized<duet_linear_gradients>({.grad_outputs = outputs.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "outputs: expected 3 x 2, got 0 x 0");
  FAIL_CALL(duet_linear_backward(
                context, &wrong,
                sized<duet_linear_gradients>({.outputs = narrow.matrix(), .grad_outputs = outputs.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "outputs: expected 3 x 2, got 3 x 3");
  FAIL_CALL(duet_linear_workspace(context, &inputs, nullptr), DUET_STATUS_INVALID_ARGUMENT, "bytes: null");
  FAIL_CALL(duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}), {}),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
}
