// The order in which a layer sums over the rows of a batch (METHOD.md 0.1): the gradients of its parts
// add up to those of the whole, bit for bit, and a row has its bits in any batch.
#include "tests/kernels/linear_problem.h"
#include "tests/kernels/row_tree_parts.h"
#include "tests/support/simd_targets.h"

using namespace duet::test;
using namespace duet::test::linear;

namespace {

constexpr int64_t kIn = 37, kOut = 41, kPadding = 3;

struct Layer {
  int64_t rows;
  float scale;
  Problem problem;
  Floats upstream;

  Layer(int64_t given_rows, int64_t in, int64_t out, float given_scale)
      : rows(given_rows),
        scale(given_scale),
        problem({given_rows, in, out, kPadding, true, given_scale}),
        upstream(Draw(5).normals(given_rows, out, 1, kPadding)) {}

  duet_linear_inputs part(int64_t first, int64_t count) {
    duet_linear_inputs inputs = problem.inputs();
    inputs.x = problem.x.part(first, 0, count, problem.shape.in);
    return inputs;
  }
  Floats forward(int64_t first, int64_t count, int threads) {
    Context context(threads);
    const duet_linear_inputs inputs = part(first, count);
    Floats outputs(count, problem.shape.out);
    SUCCEED_CALL(duet_linear_forward(context, &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                                     scratch_for(context, inputs).view()));
    return outputs;
  }
  // The gradients of x, weight and bias by the rows of a part, added to zeros.
  std::vector<Floats> backward(int64_t first, int64_t count, int threads) {
    const int64_t in = problem.shape.in, out = problem.shape.out;
    Context context(threads);
    const duet_linear_inputs inputs = part(first, count);
    std::vector<Floats> grad{Floats(count, in), Floats(out, in), Floats(out, 1)};
    for (Floats& each : grad) each.fill(0);
    SUCCEED_CALL(duet_linear_backward(context, &inputs,
                                      sized<duet_linear_gradients>({.grad_outputs = upstream.part(first, 0, count, out),
                                                                    .grad_x = grad[0].matrix(),
                                                                    .grad_weight = grad[1].matrix(),
                                                                    .grad_bias = grad[2].vector()}),
                                      scratch_for(context, inputs).view()));
    return grad;
  }
  std::vector<Floats> sums(int64_t first, int64_t count, int threads) {
    std::vector<Floats> grad = backward(first, count, threads);
    return {grad[1], grad[2]};
  }
};

void check_rows(const Floats& whole, const Floats& part, int64_t first) {
  for (int64_t i = 0; i < part.rows(); ++i)
    for (int64_t j = 0; j < part.columns(); ++j)
      REQUIRE(std::bit_cast<uint32_t>(part.at(i, j)) == std::bit_cast<uint32_t>(whole.at(first + i, j)));
}

}  // namespace

TEST_CASE("a layer's gradients of parts of a batch add up to those of the whole, bit for bit") {
  for (const int64_t rows : kTreeRowCounts)
    for (const float scale : {1.0f, 10.0f}) {
      CAPTURE(rows);
      CAPTURE(scale);
      Layer layer(rows, kIn, kOut, scale);
      check_parts_add_up(rows,
                         [&](int64_t first, int64_t count, int threads) { return layer.sums(first, count, threads); });
    }
}

TEST_CASE("a layer that is large in its batch and small in its parts has one order of its sums") {
  constexpr int64_t kRows = 512;
  Layer layer(kRows, 520, 540, 1);  // several work items of several panels, the last of either not whole
  check_parts_add_up(kRows,
                     [&](int64_t first, int64_t count, int threads) { return layer.sums(first, count, threads); });
}

TEST_CASE("a row of a layer has the same outputs and gradient in any batch") {
  constexpr int64_t kRows = 500;
  for (const float scale : {1.0f, 10.0f}) {
    Layer layer(kRows, 150, 70, scale);
    const Floats outputs = layer.forward(0, kRows, 2), grad_x = layer.backward(0, kRows, 2)[0];
    for (const auto& part_of : {std::pair<int64_t, int64_t>{0, 1}, {16, 7}, {33, 128}, {160, 340}, {499, 1}}) {
      const int64_t first = part_of.first, count = part_of.second;
      CAPTURE(first);
      check_rows(outputs, layer.forward(first, count, 1), first);
      check_rows(grad_x, layer.backward(first, count, 1)[0], first);
    }
  }
}

TEST_CASE("a layer's sums over rows are within a tree's error of those in double") {
  for (const int64_t rows : kTreeRowCounts) {
    CAPTURE(rows);
    Layer layer(rows, kIn, kOut, 1);
    const std::vector<Floats> sums = layer.sums(0, rows, 1);
    const auto exact = layer.problem.reference<double>().backward(layer.upstream.values());
    const Doubles x = layer.problem.x.values(), g = layer.upstream.values();
    // A term is rounded once in a chain of 16, and once a level of the tree: half an ulp of a partial sum each time, of
    // at most the terms' sizes.
    const double roundings = static_cast<double>(kTreeRows + tree_depth(rows)) * 6e-8;
    for (int64_t o = 0; o < kOut; ++o) {
      double bias_size = 0;
      for (int64_t i = 0; i < rows; ++i) bias_size += std::abs(g[static_cast<size_t>(i * kOut + o)]);
      for (int64_t k = 0; k < kIn; ++k) {
        double size = 0;
        for (int64_t i = 0; i < rows; ++i)
          size += std::abs(g[static_cast<size_t>(i * kOut + o)] * x[static_cast<size_t>(i * kIn + k)]);
        REQUIRE(std::abs(sums[0].at(o, k) - exact.weight[static_cast<size_t>(o * kIn + k)]) <= roundings * size);
      }
      REQUIRE(std::abs(sums[1].at(o) - exact.bias[static_cast<size_t>(o)]) <=
              static_cast<double>(1 + tree_depth(rows)) * 6e-8 * bias_size);
    }
  }
}

TEST_CASE("NaN and infinity of a row reach a layer's sums whichever block it is of") {
  constexpr int64_t kRows = 97;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int64_t row : {0, 15, 16, 64, 96}) {
    CAPTURE(row);
    Layer layer(kRows, kIn, kOut, 1);
    layer.upstream.at(row, 3) = std::numeric_limits<float>::quiet_NaN();
    layer.upstream.at(row, 5) = kInfinity;
    layer.problem.x.at(row, 2) = 0;  // of it 0 infinity is NaN
    const std::vector<Floats> sums = layer.sums(0, kRows, 2);
    for (int64_t o = 0; o < kOut; ++o) {
      CHECK(std::isnan(sums[1].at(o)) == (o == 3));
      CHECK(std::isinf(sums[1].at(o)) == (o == 5));
      for (int64_t k = 0; k < kIn; ++k) {
        CHECK(std::isnan(sums[0].at(o, k)) == (o == 3 || (o == 5 && k == 2)));
        CHECK(std::isinf(sums[0].at(o, k)) == (o == 5 && k != 2));
      }
    }
  }
}

TEST_CASE("a layer's sums over rows are one tree on every SIMD target") {
  for_each_simd_target([] {
    for (const int64_t rows : {1, 17, 48, 500}) {
      CAPTURE(rows);
      Layer layer(rows, kIn, kOut, 10);
      check_parts_add_up(rows,
                         [&](int64_t first, int64_t count, int threads) { return layer.sums(first, count, threads); });
    }
  });
}
