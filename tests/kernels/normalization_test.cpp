#include "tests/reference/normalization.h"

#include "tests/kernels/row_tree_parts.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

struct Shape {
  int64_t rows, columns, padding;
};
// Below and beyond a vector and a work item (16384 elements), more rows than the 64 runs of layer norm's sums take at
// their least length, and rows that take a whole block of a device.
const Shape kShapes[] = {{0, 5, 0},     {5, 0, 0},    {1, 1, 0},       {13, 67, 5},  {128, 64, 0},
                         {300, 257, 3}, {3000, 9, 0}, {1100, 1024, 0}, {3, 4100, 4}, {2, 2051, 2}};

// The result is worked out in double and rounded once: half an ulp of the largest entry, and as much again for the
// addition to what was there.
constexpr double kTolerance = 1.2e-7;

Doubles plus(Doubles a, const Doubles& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

Scratch scratch_for(duet_context* context, duet_const_matrix x) {
  size_t bytes = 0;
  SUCCEED_CALL(duet_layer_norm_workspace(context, sized<duet_layer_norm_inputs>({.x = x}), &bytes));
  return Scratch(bytes);
}

double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

}  // namespace

TEST_CASE("unit rows match the reference, bit for bit on any number of threads") {
  for (const Shape& shape : kShapes) {
    if (!affordable(shape.rows * (20 * shape.columns + 3000)))
      continue;  // emulated, a row takes so many steps of its threads
    CAPTURE(shape.rows);
    CAPTURE(shape.columns);
    Draw draw(1);
    Floats x = draw.normals(shape.rows, shape.columns, 3, shape.padding),
           g = draw.normals(shape.rows, shape.columns, 1, shape.padding);
    const Floats before = draw.normals(shape.rows, shape.columns, 1, shape.padding);
    const float eps = 1e-12f;
    const auto run = [&](int threads) {
      Context context(threads);
      std::pair out{Floats(shape.rows, shape.columns, shape.padding), before};
      SUCCEED_CALL(duet_unit_rows_forward(context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                                          sized<duet_unit_rows_outputs>({.outputs = out.first.matrix()})));
      SUCCEED_CALL(duet_unit_rows_backward(
          context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
          sized<duet_unit_rows_gradients>({.grad_outputs = g.matrix(), .grad_x = out.second.matrix()})));
      return out;
    };
    const auto first = run(1);
    if (shape.columns > 0) {
      check_relative(first.first.values(), reference::unit_rows(x.values(), shape.columns, eps), kTolerance, "outputs");
      check_relative(first.second.values(),
                     plus(before.values(), reference::unit_rows_backward(x.values(), shape.columns, eps, g.values())),
                     kTolerance, "grad_x");
    }
    for (const int threads : other_thread_counts()) {
      const auto again = run(threads);
      CHECK(again.first.same_bits(first.first));
      CHECK(again.second.same_bits(first.second));
    }
  }
}

TEST_CASE("unit rows of zero, tiny, huge, infinite and NaN rows") {
  const float inf = std::numeric_limits<float>::infinity();
  const float rows[][3] = {{0, 0, 0},
                           {1e-14f, 0, 0},
                           {1e-42f, -1e-42f, 0},
                           {1e19f, -1e19f, 2e19f},
                           {3e38f, 3e38f, -3e38f},
                           {1e-11f, 0, 0},
                           {1e15f, 1e18f, 0},
                           {1e30f, 1, 0},
                           {1e-20f, 1e-30f, 0},
                           {1, inf, 2},
                           {1, static_cast<float>(kNaN), 2}};
  const int64_t n = 11;
  Floats x(n, 3), y(n, 3), g(n, 3), grad(n, 3);
  for (int64_t i = 0; i < n; ++i) std::copy(rows[i], rows[i] + 3, &x.at(i, 0));
  for (int64_t k = 0; k < 3 * n; ++k) g.data()[k] = static_cast<float>(k % 5) - 2;
  grad.fill(0);
  const float eps = 1e-12f;
  Context context;
  SUCCEED_CALL(duet_unit_rows_forward(context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                                      sized<duet_unit_rows_outputs>({.outputs = y.matrix()})));
  SUCCEED_CALL(
      duet_unit_rows_backward(context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                              sized<duet_unit_rows_gradients>({.grad_outputs = g.matrix(), .grad_x = grad.matrix()})));
  const Doubles expected = reference::unit_rows(x.values(), 3, eps);
  const Doubles expected_grad = reference::unit_rows_backward(x.values(), 3, eps, g.values());
  const Doubles actual = y.values(), actual_grad = grad.values();
  for (int64_t i = 0; i < n; ++i) {  // row by row: their sizes differ by 50 powers of ten
    CAPTURE(i);
    const auto row = [&](const Doubles& of) { return Doubles(of.begin() + 3 * i, of.begin() + 3 * i + 3); };
    check_relative(row(actual), row(expected), kTolerance, "outputs", 1e-45);
    // A row along which the gradient cancels leaves the rounding of its terms: 1e-15 of them in double.
    check_relative(row(actual_grad), row(expected_grad), kTolerance, "grad_x", 1e-38);
  }
}

TEST_CASE("layer norm matches the reference, bit for bit on any number of threads") {
  for (const Shape& shape : kShapes) {
    if (!affordable(shape.rows * (20 * shape.columns + 3000)))
      continue;  // emulated, a row takes so many steps of its threads
    for (const bool affine : {true, false}) {
      CAPTURE(shape.rows);
      CAPTURE(shape.columns);
      Draw draw(2);
      Floats x = draw.normals(shape.rows, shape.columns, 3, shape.padding),
             g = draw.normals(shape.rows, shape.columns, 1, shape.padding);
      for (int64_t i = 0; i < shape.rows; ++i)
        for (int64_t k = 0; k < shape.columns; ++k) x.at(i, k) += 100;  // a mean well above the deviation
      Floats gain = draw.normals(shape.columns, 1), offset = draw.normals(shape.columns, 1);
      duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
      inputs.eps = 1e-5f;
      inputs.x = x.matrix();
      if (affine) inputs.gain = gain.vector(), inputs.offset = offset.vector();
      struct Results {
        Floats outputs, x, gain, offset;
      };
      const Results before{Floats(shape.rows, shape.columns, shape.padding),
                           draw.normals(shape.rows, shape.columns, 1, shape.padding), draw.normals(shape.columns, 1),
                           draw.normals(shape.columns, 1)};
      const auto run = [&](int threads) {
        Context context(threads);
        Results out = before;
        SUCCEED_CALL(duet_layer_norm_forward(context, &inputs,
                                             sized<duet_layer_norm_outputs>({.outputs = out.outputs.matrix()})));
        SUCCEED_CALL(duet_layer_norm_backward(context, &inputs,
                                              sized<duet_layer_norm_gradients>({.grad_outputs = g.matrix(),
                                                                                .grad_x = out.x.matrix(),
                                                                                .grad_gain = out.gain.vector(),
                                                                                .grad_offset = out.offset.vector()}),
                                              scratch_for(context, inputs.x).view()));
        return out;
      };
      const Results first = run(1);
      if (shape.columns > 0) {
        const reference::LayerNorm layer{shape.columns, affine ? gain.values() : Doubles(),
                                         affine ? offset.values() : Doubles(), inputs.eps};
        const auto expected = layer.backward(x.values(), g.values());
        check_relative(first.outputs.values(), layer.forward(x.values()), kTolerance, "outputs");
        check_relative(first.x.values(), plus(before.x.values(), expected.x), kTolerance, "grad_x");
        const Doubles upstream = g.values();
        Doubles terms = reference::LayerNorm{shape.columns, {}, {}, inputs.eps}.forward(x.values());
        for (size_t k = 0; k < terms.size(); ++k) terms[k] *= upstream[k];
        const auto check_sums = [&](const Floats& given, const Floats& added_to, const Doubles& sums,
                                    const Doubles& of_terms, const char* name) {
          const Doubles all = plus(added_to.values(), sums);
          check_close(given.values(), all, column_sums_error(of_terms, shape.columns) + kTolerance * largest(all),
                      name);
        };
        check_sums(first.gain, before.gain, expected.gain, terms, "grad_gain");
        check_sums(first.offset, before.offset, expected.offset, upstream, "grad_offset");
      }
      for (const int threads : other_thread_counts()) {
        const Results again = run(threads);
        CHECK(again.outputs.same_bits(first.outputs));
        CHECK(again.x.same_bits(first.x));
        CHECK(again.gain.same_bits(first.gain));
        CHECK(again.offset.same_bits(first.offset));
      }
      // What is not asked for changes nothing of the rest.
      Context context(2);
      Results alone = before;
      SUCCEED_CALL(duet_layer_norm_backward(
          context, &inputs, sized<duet_layer_norm_gradients>({.grad_outputs = g.matrix(), .grad_x = alone.x.matrix()}),
          scratch_for(context, inputs.x).view()));
      SUCCEED_CALL(duet_layer_norm_backward(
          context, &inputs,
          sized<duet_layer_norm_gradients>({.grad_outputs = g.matrix(), .grad_gain = alone.gain.vector()}),
          scratch_for(context, inputs.x).view()));
      CHECK(alone.x.same_bits(first.x));
      CHECK(alone.gain.same_bits(first.gain));
    }
  }
}

namespace {

// What the fused calls and those of their own leave, each gradient starting from what is there.
struct Followed {
  Floats outputs, x, gain, offset;

  bool same_bits(const Followed& other) const {
    return outputs.same_bits(other.outputs) && x.same_bits(other.x) && gain.same_bits(other.gain) &&
           offset.same_bits(other.offset);
  }
};

// Layer norm, activation and dropout by the calls of their own; as tapes run them, the gradients between them start
// from 0.
void run_apart(duet_context* context, const duet_layer_norm_inputs& layer, duet_activation_kind kind,
               const duet_dropout_options& dropout, Floats& g, Followed& to) {
  const int64_t rows = to.outputs.rows(), columns = to.outputs.columns();
  Floats y(rows, columns), grad_y(rows, columns), undropped(rows, columns);
  grad_y.fill(0), undropped.fill(0);
  SUCCEED_CALL(duet_layer_norm_forward(context, &layer, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})));
  duet_activation_inputs activation = DUET_ACTIVATION_INPUTS_INIT;
  activation.kind = kind, activation.x = y.matrix();
  SUCCEED_CALL(
      duet_activation_forward(context, &activation, sized<duet_activation_outputs>({.outputs = to.outputs.matrix()})));
  Floats* upstream = &g;
  if (dropout.drop_probability > 0) {
    SUCCEED_CALL(duet_dropout_forward(context,
                                      sized<duet_dropout_inputs>({.x = to.outputs.matrix(), .dropout = &dropout}),
                                      sized<duet_dropout_outputs>({.outputs = to.outputs.matrix()})));
    SUCCEED_CALL(duet_dropout_backward(
        context, sized<duet_dropout_inputs>({.dropout = &dropout}),
        sized<duet_dropout_gradients>({.grad_outputs = g.matrix(), .grad_x = undropped.matrix()})));
    upstream = &undropped;
  }
  SUCCEED_CALL(duet_activation_backward(
      context, &activation,
      sized<duet_activation_gradients>({.grad_outputs = upstream->matrix(), .grad_x = grad_y.matrix()})));
  SUCCEED_CALL(duet_layer_norm_backward(context, &layer,
                                        sized<duet_layer_norm_gradients>({.grad_outputs = grad_y.matrix(),
                                                                          .grad_x = to.x.matrix(),
                                                                          .grad_gain = to.gain.vector(),
                                                                          .grad_offset = to.offset.vector()}),
                                        scratch_for(context, layer.x).view()));
}

}  // namespace

TEST_CASE("layer norm with an activation and dropout is the three calls, bit for bit, forward and backward") {
  for (const Shape& shape : kShapes) {
    if (!affordable(shape.rows * (60 * shape.columns + 6000)))
      continue;  // emulated, a row takes so many steps of its threads
    for (const duet_activation_kind kind :
         {DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_TANH, DUET_ACTIVATION_KIND_GELU}) {
      for (const float probability : {0.0f, 0.3f}) {
        CAPTURE(shape.rows);
        CAPTURE(shape.columns);
        CAPTURE(kind);
        CAPTURE(probability);
        Draw draw(4);
        Floats x = draw.normals(shape.rows, shape.columns, 3, shape.padding),
               g = draw.normals(shape.rows, shape.columns, 1, shape.padding);
        // A row of NaN, of which some are dropped, and gradients that nothing stops.
        if (shape.rows > 2 && shape.columns > 8)
          x.at(1, 3) = g.at(2, 5) = static_cast<float>(kNaN), g.at(2, 7) = std::numeric_limits<float>::infinity();
        Floats gain = draw.normals(shape.columns, 1), offset = draw.normals(shape.columns, 1);
        Longs step(1, 1);
        step.fill(9);
        duet_layer_norm_inputs layer = DUET_LAYER_NORM_INPUTS_INIT;
        layer.x = x.matrix(), layer.gain = gain.vector(), layer.offset = offset.vector();
        duet_dropout_options dropout = DUET_DROPOUT_OPTIONS_INIT;
        dropout.drop_probability = probability, dropout.layer = 2, dropout.seed = 5, dropout.step = step.vector(),
        dropout.first_row = 7;
        duet_layer_norm_inputs fused = layer;
        fused.fuses = 1, fused.activation = kind, fused.dropout = &dropout;
        const Followed before{Floats(shape.rows, shape.columns, shape.padding),
                              draw.normals(shape.rows, shape.columns, 1, shape.padding), draw.normals(shape.columns, 1),
                              draw.normals(shape.columns, 1)};
        for (const int threads : thread_counts()) {
          Context context(threads);
          Followed apart = before, to = before;
          run_apart(context, layer, kind, dropout, g, apart);
          size_t bytes = 0;
          SUCCEED_CALL(duet_layer_norm_workspace(context, &fused, &bytes));
          const Scratch scratch(bytes);
          SUCCEED_CALL(duet_layer_norm_forward(context, &fused,
                                               sized<duet_layer_norm_outputs>({.outputs = to.outputs.matrix()})));
          SUCCEED_CALL(duet_layer_norm_backward(context, &fused,
                                                sized<duet_layer_norm_gradients>({.grad_outputs = g.matrix(),
                                                                                  .grad_x = to.x.matrix(),
                                                                                  .grad_gain = to.gain.vector(),
                                                                                  .grad_offset = to.offset.vector()}),
                                                scratch.view()));
          CHECK(to.same_bits(apart));
          Followed alone = before;
          SUCCEED_CALL(duet_layer_norm_backward(
              context, &fused,
              sized<duet_layer_norm_gradients>({.grad_outputs = g.matrix(), .grad_gain = alone.gain.vector()}),
              scratch.view()));
          CHECK(alone.gain.same_bits(apart.gain));
        }
      }
    }
  }
}

TEST_CASE("layer norm of constant, tiny, huge and NaN rows") {
  const float rows[][3] = {{7, 7, 7},
                           {1e30f, -1e30f, 2e30f},
                           {1, static_cast<float>(kNaN), 2},
                           {1, std::numeric_limits<float>::infinity(), 2},
                           {3e38f, -3e38f, 3e38f},
                           {1e18f, 1e18f, -1e15f},
                           {1e-20f, -1e-20f, 3e-20f},
                           {1e-30f, 2e-30f, 0},
                           {1e-42f, -3e-42f, 0}};
  const int64_t n = 9;
  Floats x(n, 3), y(n, 3), grad(n, 3), g = Draw(5).normals(n, 3);
  for (int64_t i = 0; i < n; ++i) std::copy(rows[i], rows[i] + 3, &x.at(i, 0));
  grad.fill(0);
  duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
  inputs.eps = 1e-5f;
  inputs.x = x.matrix();
  Context context;
  SUCCEED_CALL(duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})));
  SUCCEED_CALL(duet_layer_norm_backward(
      context, &inputs, sized<duet_layer_norm_gradients>({.grad_outputs = g.matrix(), .grad_x = grad.matrix()}),
      scratch_for(context, inputs.x).view()));
  const reference::LayerNorm layer{3, {}, {}, inputs.eps};
  const Doubles outputs = layer.forward(x.values()), grads = layer.backward(x.values(), g.values()).x;
  for (int64_t i = 0; i < n; ++i) {  // row by row: their sizes differ by 40 powers of ten
    CAPTURE(i);
    const auto row = [&](const Doubles& of) { return Doubles(of.begin() + 3 * i, of.begin() + 3 * i + 3); };
    check_relative(row(y.values()), row(outputs), kTolerance, "outputs", 1e-45);
    // What cancels leaves the rounding of its terms, g / deviation: 1e-15 of them in double.
    check_relative(row(grad.values()), row(grads), kTolerance, "grad_x", 1e-44);
  }
}

TEST_CASE("the references of the normalizations match central differences") {
  Draw draw(3);
  const Doubles x = draw.normals(3, 4).values(), g = draw.normals(3, 4).values();
  for (const double eps : {1e-12, 1.8}) {  // with 1.8 some rows are clipped and some are not
    const auto loss = [&](const Doubles& at) { return dot(g, reference::unit_rows(at, 4, eps)); };
    check_relative(central_differences(loss, x), reference::unit_rows_backward(x, 4, eps, g), 1e-7, "unit rows");
  }
  const reference::LayerNorm layer{4, draw.normals(4, 1).values(), draw.normals(4, 1).values(), 1e-5};
  const auto gradients = layer.backward(x, g);
  check_relative(central_differences([&](const Doubles& at) { return dot(g, layer.forward(at)); }, x), gradients.x,
                 1e-7, "x");
  const auto with_gain = [&](const Doubles& gain) {
    return dot(g, reference::LayerNorm{4, gain, layer.offset, layer.eps}.forward(x));
  };
  check_relative(central_differences(with_gain, layer.gain), gradients.gain, 1e-7, "gain");
  const auto with_offset = [&](const Doubles& offset) {
    return dot(g, reference::LayerNorm{4, layer.gain, offset, layer.eps}.forward(x));
  };
  check_relative(central_differences(with_offset, layer.offset), gradients.offset, 1e-7, "offset");
}

TEST_CASE("normalization refuses misuse") {
  Context context;
  Floats x(2, 3), y(2, 3), narrow(2, 2), gain(2, 1), sums(3, 1);
  FAIL_CALL(duet_unit_rows_forward(context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = 1e-12f}),
                                   sized<duet_unit_rows_outputs>({.outputs = narrow.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "outputs: expected 2 x 3, got 2 x 2");
  FAIL_CALL(
      duet_unit_rows_backward(context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = 1e-12f}),
                              sized<duet_unit_rows_gradients>({.grad_outputs = narrow.matrix(), .grad_x = y.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_outputs");
  duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
  inputs.eps = 1e-5f;
  inputs.x = x.matrix();
  for (const float eps : {-1e-12f, -1.0f, static_cast<float>(kNaN), std::numeric_limits<float>::infinity()}) {
    FAIL_CALL(duet_unit_rows_forward(context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                                     sized<duet_unit_rows_outputs>({.outputs = y.matrix()})),
              DUET_STATUS_INVALID_ARGUMENT, "eps: expected above 0");
    inputs.eps = eps;
    FAIL_CALL(duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})),
              DUET_STATUS_INVALID_ARGUMENT, "eps: expected above 0");
  }
  inputs.eps = 1e-5f;
  FAIL_CALL(duet_layer_norm_forward(nullptr, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(
      duet_layer_norm_backward(context, &inputs,
                               sized<duet_layer_norm_gradients>(
                                   {.grad_outputs = y.matrix(), .grad_x = y.matrix(), .grad_gain = gain.vector()}),
                               {}),
      DUET_STATUS_INVALID_ARGUMENT, "grad_gain: expected 3 elements, got 2");
  size_t bytes = 0;
  SUCCEED_CALL(duet_layer_norm_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  duet_workspace little = scratch.view();
  little.bytes -= 1;
  FAIL_CALL(duet_layer_norm_backward(
                context, &inputs,
                sized<duet_layer_norm_gradients>({.grad_outputs = y.matrix(), .grad_gain = sums.vector()}), little),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace: expected");
  inputs.gain = gain.vector();
  FAIL_CALL(duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "gain: expected 3 elements, got 2");
  inputs.gain = {};
  // What follows is read where it is asked for.
  duet_dropout_options dropout = DUET_DROPOUT_OPTIONS_INIT;
  dropout.drop_probability = 2, inputs.dropout = &dropout;
  SUCCEED_CALL(duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})));
  inputs.fuses = 1;
  FAIL_CALL(duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "dropout.drop_probability: expected 0 to below 1, got 2");
  dropout.drop_probability = 0;
  const int unknown = 7;
  std::memcpy(&inputs.activation, &unknown, sizeof unknown);
  FAIL_CALL(duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "activation: unknown value 7");
  inputs.activation = DUET_ACTIVATION_KIND_GELU;
  size_t more = 0;
  SUCCEED_CALL(duet_layer_norm_workspace(context, &inputs, &more));
  CHECK(more > bytes);
  FAIL_CALL(
      duet_layer_norm_backward(
          context, &inputs, sized<duet_layer_norm_gradients>({.grad_outputs = y.matrix(), .grad_gain = sums.vector()}),
          scratch.view()),
      DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
  FAIL_CALL(duet_layer_norm_workspace(context, &inputs, nullptr), DUET_STATUS_INVALID_ARGUMENT, "bytes: null");
}
