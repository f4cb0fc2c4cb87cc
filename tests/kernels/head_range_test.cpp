// What a head makes of rows of any size, of NaN and of infinity.
#include "tests/kernels/head_problem.h"

using namespace duet::test;
using namespace duet::test::head;

TEST_CASE("a head of zero, tiny, huge, infinite and NaN rows") {
  const float inf = std::numeric_limits<float>::infinity(), nan = static_cast<float>(kNaN);
  const float rows[][3] = {
      {0, 0, 0},      {1e-14f, 0, 0},    {1e-42f, -1e-42f, 0}, {1e19f, -1e19f, 2e19f}, {3e38f, 3e38f, -3e38f},
      {1e-11f, 0, 0}, {1e15f, 1e18f, 0}, {1e30f, 1, 0},        {1e-20f, 1e-30f, 0},    {1, inf, 2},
      {1, nan, 2}};
  Problem problem({2, 11, 3, 4, 0, true, 10}, 4);
  for (int64_t i = 0; i < 11; ++i) std::copy(rows[i], rows[i] + 3, &problem.x[1].at(i, 0));
  Outputs out = problem.forward(2);
  Gradients before = problem.before();
  for (Floats& x : before.x) x.fill(0);
  const Gradients grad = problem.backward(out, before, 2);
  const auto expected = problem.reference_in<double>().forward();
  const auto gradients =
      problem.reference_in<double>().backward(Problem::values(problem.grad_u), Problem::values(problem.grad_logits));
  for (size_t k = 0; k < 2; ++k)
    for (size_t i = 0; i < 11; ++i) {  // row by row: their sizes differ by 50 powers of ten
      CAPTURE(k);
      CAPTURE(i);
      const auto row = [&](const Doubles& of, size_t columns) {
        const auto first = of.begin() + static_cast<std::ptrdiff_t>(columns * i);
        return Doubles(first, first + static_cast<std::ptrdiff_t>(columns));
      };
      check_relative(row(out.u[k].values(), 3), row(expected.u[k], 3), 1.2e-7, "u", 1e-45);
      // Sums of three products of up to 10 x 1, of float32's roundings.
      check_close(row(out.logits[k].values(), 4), row(expected.logits[k], 4), 1e-5, "logits");
      // A few roundings of what came back, that are divided by the norm; a row along which it cancels leaves them.
      Doubles upstream = row(gradients.x[k], 3);
      double norm = 0;
      for (const double value : row(problem.x[k].values(), 3)) norm += value * value;
      const double size = 1 / std::max(std::sqrt(norm), 1e-12) * 40;
      check_close(row(grad.x[k].values(), 3), upstream, std::isfinite(size) ? 1e-6 * size + 1e-44 : 0, "grad_x");
    }
  // A NaN row is NaN in every sum over the rows, of the columns and classes that it meets.
  check_relative(
      grad.bias.values(),
      [&] {
        Doubles sum = before.bias.values();
        for (size_t c = 0; c < sum.size(); ++c) sum[c] += gradients.bias[c];
        return sum;
      }(),
      1e-6, "grad_bias");
  for (int64_t c = 0; c < 4; ++c)
    for (int64_t j = 0; j < 3; ++j) CHECK(std::isnan(grad.weight.at(c, j)));
}

TEST_CASE("a head keeps NaN and infinity of the classifier and of what came back") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double value : {kNaN, kInfinity, -kInfinity}) {
    for (const int64_t columns : {20, 7}) {
      CAPTURE(value);
      CAPTURE(columns);
      const auto is_spoiled = [&](float given) { return !std::isfinite(given); };
      Problem problem({2, 9, columns, 5, 0, true, 10}, 5);
      problem.weight.at(3, columns - 1) = static_cast<float>(value);
      problem.bias.at(1) = static_cast<float>(value);
      Outputs out = problem.forward(2);
      for (size_t k = 0; k < 2; ++k)
        for (int64_t i = 0; i < 9; ++i)
          for (int64_t c = 0; c < 5; ++c) CHECK(is_spoiled(out.logits[k].at(i, c)) == (c == 3 || c == 1));
      Problem other({2, 9, columns, 5, 0, true, 10}, 5);
      other.grad_logits[1].at(6, 2) = static_cast<float>(value);
      other.grad_u[0].at(4, 0) = static_cast<float>(value);
      out = other.forward(2);
      const Gradients grad = other.backward(out, other.before(), 2);
      for (size_t k = 0; k < 2; ++k)
        for (int64_t i = 0; i < 9; ++i)
          for (int64_t j = 0; j < columns; ++j)
            CHECK(is_spoiled(grad.x[k].at(i, j)) == ((k == 1 && i == 6) || (k == 0 && i == 4)));
      for (int64_t c = 0; c < 5; ++c) {
        CHECK(is_spoiled(grad.bias.at(c)) == (c == 2));
        for (int64_t j = 0; j < columns; ++j) CHECK(is_spoiled(grad.weight.at(c, j)) == (c == 2));
      }
    }
  }
}
