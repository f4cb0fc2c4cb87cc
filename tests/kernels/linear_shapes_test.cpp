// Layers about the sizes at which their forms change, and what those forms do with NaN, infinity and extreme
// magnitudes.
#include "tests/kernels/linear_problem.h"
#include "tests/reference/activation.h"

using namespace duet::test;
using namespace duet::test::linear;

namespace {

struct After {
  bool relu;
  float drop_probability;
  int64_t first_row;
};

struct Gradients {
  Floats x, weight, bias;

  bool same_bits(const Gradients& other) const {
    return x.same_bits(other.x) && weight.same_bits(other.weight) && bias.same_bits(other.bias);
  }
};

// The outputs from the products, dropped elements 0 whatever they were.
template <class T>
std::vector<T> activated(std::vector<T> y, const Doubles& factors) {
  for (size_t k = 0; k < y.size(); ++k)
    y[k] = factors[k] == 0 ? 0
                           : static_cast<T>(factors[k] * duet::reference::activation(DUET_ACTIVATION_KIND_RELU,
                                                                                     static_cast<double>(y[k])));
  return y;
}

// What a sum of so many products may be off where they are no normal numbers, beside the tolerance of the others.
double underflow(int64_t terms) { return static_cast<double>(terms) * 1.5e-45; }
double close(const Doubles& expected, const std::vector<float>& naive, int64_t terms, const Doubles& before) {
  double worst = 0;
  for (size_t k = 0; k < expected.size(); ++k) worst = std::max(worst, std::abs(naive[k] - expected[k]));
  return 2 * worst + 1.2e-7 * std::max(largest(expected), largest(before)) + underflow(terms);
}

// Both passes of a layer against the reference, twice, and each gradient alone; gradients are added to before.
void check_layer(Problem& problem, const duet_linear_inputs& layer, const After& after, Floats& upstream,
                 const Gradients& before) {
  const Case& shape = problem.shape;
  CAPTURE(shape.batch);
  CAPTURE(shape.in);
  CAPTURE(shape.out);
  CAPTURE(after.drop_probability);
  DropoutOf dropout(after.drop_probability, after.first_row);
  duet_linear_inputs inputs = layer;
  inputs.relu = after.relu;
  if (after.relu) inputs.dropout = &dropout.options;
  Context context;
  const Scratch scratch = scratch_for(context, inputs);
  const auto forward = [&] {
    Floats outputs(shape.batch, shape.out, shape.padding);
    SUCCEED_CALL(duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                     scratch.view()));
    return outputs;
  };
  Floats outputs = forward();
  CHECK(forward().same_bits(outputs));
  const auto layer_of_doubles = problem.reference<double>();
  const auto layer_of_floats = problem.reference<float>();
  Doubles expected = layer_of_doubles.forward();
  std::vector<float> naive = layer_of_floats.forward();
  if (after.relu) {
    const Doubles factors =
        duet::reference::dropout_factors(after.drop_probability, dropout.options.seed, dropout.options.layer, 9,
                                         after.first_row, shape.batch, shape.out);
    expected = activated(expected, factors), naive = activated(naive, factors);
  }
  check_close(outputs.values(), expected, close(expected, naive, shape.in, {}), "outputs");

  const auto backward = [&](bool x, bool weight, bool bias) {
    Gradients grad = before;
    SUCCEED_CALL(
        duet_linear_backward(context, &inputs,
                             sized<duet_linear_gradients>({.outputs = after.relu ? outputs.matrix() : duet_matrix{},
                                                           .grad_outputs = upstream.matrix(),
                                                           .grad_x = x ? grad.x.matrix() : duet_matrix{},
                                                           .grad_weight = weight ? grad.weight.matrix() : duet_matrix{},
                                                           .grad_bias = bias ? grad.bias.vector() : duet_vector{}}),
                             scratch.view()));
    return grad;
  };
  const Gradients grad = backward(true, true, true);
  CHECK(backward(true, true, true).same_bits(grad));
  CHECK(backward(true, false, false).same_bits({grad.x, before.weight, before.bias}));
  CHECK(backward(false, true, false).same_bits({before.x, grad.weight, before.bias}));
  CHECK(backward(false, false, true).same_bits({before.x, before.weight, grad.bias}));
  CHECK(backward(true, false, true).same_bits({grad.x, before.weight, grad.bias}));
  Doubles passed = upstream.values(), y = outputs.values();
  for (size_t k = 0; after.relu && k < y.size(); ++k)
    passed[k] = std::isnan(y[k]) ? y[k]
                : y[k] > 0       ? static_cast<float>(passed[k]) / (1.0f - after.drop_probability)
                                 : 0;
  const auto sums = layer_of_doubles.backward(passed);
  const auto naive_sums = layer_of_floats.backward(as<float>(passed));
  const auto check = [&](const Floats& given, const Floats& added_to, const Doubles& sum,
                         const std::vector<float>& of_floats, int64_t terms, const char* name, double more = 0) {
    check_close(given.values(), plus(added_to.values(), sum), close(sum, of_floats, terms, added_to.values()) + more,
                name);
  };
  check(grad.x, before.x, sums.x, naive_sums.x, shape.out, "grad_x");
  check(grad.weight, before.weight, sums.weight, naive_sums.weight, shape.batch, "grad_weight");
  check(grad.bias, before.bias, sums.bias, naive_sums.bias, shape.batch, "grad_bias",
        column_sums_error(passed, shape.out, shape.scale));
}

Gradients gradients(const Case& shape, Draw& draw) {
  return {draw.normals(shape.batch, shape.in, 1, shape.padding), draw.normals(shape.out, shape.in, 1, shape.padding),
          draw.normals(shape.out, 1)};
}

}  // namespace

TEST_CASE("linear of batches and widths about those of tiles matches the reference") {
  constexpr int64_t kWidths[] = {1, 3, 31, 33, 64, 100};
  constexpr After kAfter[] = {{false, 0, 0}, {true, 0.2f, 7}, {true, 0, 0}, {true, 0.5f, int64_t{1} << 33}};
  // Every pair of widths once, every batch with each of the four that may follow.
  int64_t number = 0;
  for (const int64_t batch : {1, 2, 31, 32, 33, 127, 128, 256, 257}) {
    for (const After& after : kAfter) {
      const int64_t in = kWidths[number / 6], out = kWidths[(number + number / 6) % 6];
      const Case shape{
          batch, in, out, number % 3 == 2 ? 3 : 0, number % 5 != 1, number % 2 ? 1.0f : number % 4 ? -0.3f : 10.0f};
      ++number;
      if (!affordable(batch * in * out)) continue;
      Draw draw(static_cast<uint64_t>(number));
      Problem problem(shape, draw);
      Floats upstream = draw.normals(batch, out, 1, shape.padding);
      duet_linear_inputs inputs = problem.inputs();
      // Rows that are as far apart as aligned ones, and begin 4 bytes later.
      Floats shifted(batch, in + 4 + (8 - in % 4) % 4);
      shifted.fill(1e30);
      if (number % 4 == 0) {
        for (int64_t i = 0; i < batch; ++i)
          for (int64_t j = 0; j < in; ++j) shifted.at(i, j + 1) = problem.x.at(i, j);
        inputs.x = shifted.part(0, 1, batch, in);
      }
      check_layer(problem, inputs, after, upstream, gradients(shape, draw));
    }
  }
}

TEST_CASE("linear of a small batch keeps NaN and infinity of every operand") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  enum class Operand { x, weight, bias, upstream };
  struct Plant {
    Operand operand;
    int64_t i, j;
    double value;
  };
  constexpr Plant kPlants[] = {
      {Operand::x, 2, 5, kNaN},       {Operand::x, 17, 63, kInfinity},       {Operand::x, 32, 0, -kInfinity},
      {Operand::weight, 9, 63, kNaN}, {Operand::weight, 27, 33, -kInfinity}, {Operand::bias, 3, 0, kInfinity},
      {Operand::bias, 27, 0, kNaN},   {Operand::upstream, 4, 7, kNaN},       {Operand::upstream, 32, 27, kInfinity}};
  for (const int64_t out : {28, 31}) {
    for (const Plant& plant : kPlants) {
      for (const After& after : {After{false, 0, 0}, After{true, 0.5f, 3}}) {
        const Case shape{33, 64, out, 0, true, 1};
        Draw draw(6);
        Problem problem(shape, draw);
        Floats upstream = draw.normals(shape.batch, out);
        Floats* const of[] = {&problem.x, &problem.weight, &problem.bias, &upstream};
        of[static_cast<size_t>(plant.operand)]->at(plant.i, plant.j) = static_cast<float>(plant.value);
        check_layer(problem, problem.inputs(), after, upstream, gradients(shape, draw));
      }
    }
  }
}

TEST_CASE("linear of a small batch keeps huge and tiny numbers") {
  // Products of 1e36, of which sums stay finite, and of 1e-40, which are no normal numbers.
  for (const double size : {1e18, 1e-20}) {
    for (const After& after : {After{false, 0, 0}, After{true, 0.2f, 1}}) {
      const Case shape{33, 65, 36, 0, true, 1};
      Draw draw(8);
      Problem problem(shape, draw);
      Floats upstream = draw.normals(shape.batch, shape.out, size);
      const auto scale = [](Floats& values, double by) {
        for (int64_t i = 0; i < values.rows(); ++i)
          for (int64_t j = 0; j < values.columns(); ++j) values.at(i, j) = static_cast<float>(by * values.at(i, j));
      };
      scale(problem.x, size), scale(problem.weight, size), scale(problem.bias, size * size);
      Gradients before = gradients(shape, draw);
      before.x.fill(0), before.weight.fill(0), before.bias.fill(0);
      check_layer(problem, problem.inputs(), after, upstream, before);
    }
  }
}
