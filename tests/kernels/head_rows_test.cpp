// The order in which a head sums over the rows of a batch (METHOD.md 0.1), of all its modalities: the gradients of
// parts add up to those of the whole, bit for bit, and a row has its bits in any batch.
#include "tests/kernels/head_problem.h"
#include "tests/kernels/row_tree_parts.h"
#include "tests/support/simd_targets.h"

using namespace duet::test;
using namespace duet::test::head;

namespace {

constexpr int64_t kColumns = 37, kClasses = 11;

std::vector<Floats> part(const std::vector<Floats>& arrays, int64_t first, int64_t count) {
  std::vector<Floats> out;
  for (const Floats& array : arrays) {
    out.emplace_back(count, array.columns());
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < array.columns(); ++j) out.back().at(i, j) = array.at(first + i, j);
  }
  return out;
}

// The head of some rows of a problem; its gradients are added to zeros.
struct Part {
  Problem problem;
  Outputs out;
  Gradients grad;

  Part(const Problem& whole, int64_t first, int64_t count, int threads)
      : problem(whole), grad{{}, whole.weight, whole.bias} {
    problem.shape.rows = count, problem.shape.padding = 0;
    problem.x = part(whole.x, first, count), problem.grad_u = part(whole.grad_u, first, count),
    problem.grad_logits = part(whole.grad_logits, first, count);
    out = problem.forward(threads);
    Gradients zeros{part(whole.x, first, count), problem.weight, problem.bias};
    zeros.weight.fill(0), zeros.bias.fill(0);
    for (Floats& x : zeros.x) x.fill(0);
    grad = problem.backward(out, zeros, threads);
  }
  std::vector<Floats> sums() const { return {grad.weight, grad.bias}; }
};

void check_head_parts(int64_t modalities, int64_t rows) {
  CAPTURE(modalities);
  CAPTURE(rows);
  const Problem problem({modalities, rows, kColumns, kClasses, 0, true, 10});
  check_parts_add_up(
      rows, [&](int64_t first, int64_t count, int threads) { return Part(problem, first, count, threads).sums(); });
}

}  // namespace

TEST_CASE("a head's gradients of parts of a batch add up to those of the whole, bit for bit") {
  for (const int64_t modalities : {1, 2, 4})
    for (const int64_t rows : kTreeRowCounts) check_head_parts(modalities, rows);
}

TEST_CASE("a head's sums over rows are one tree on every SIMD target") {
  for_each_simd_target([] {
    for (const int64_t rows : {1, 17, 48, 500}) check_head_parts(2, rows);
  });
}

TEST_CASE("a row of a head has the same outputs and gradient in any batch") {
  constexpr int64_t kRows = 300;
  const Problem problem({2, kRows, 70, kClasses, 0, true, 10});
  const Part whole(problem, 0, kRows, 2);
  for (const auto& part_of : {std::pair<int64_t, int64_t>{0, 1}, {16, 7}, {33, 128}, {299, 1}}) {
    const int64_t first = part_of.first, count = part_of.second;
    CAPTURE(first);
    const Part rows(problem, first, count, 1);
    CHECK(same_bits(rows.out.u, part(whole.out.u, first, count)));
    CHECK(same_bits(rows.out.logits, part(whole.out.logits, first, count)));
    CHECK(same_bits(rows.grad.x, part(whole.grad.x, first, count)));
  }
}

TEST_CASE("a head's classifier takes the modalities that have a gradient by their logits") {
  constexpr int64_t kRows = 33;
  Problem problem({2, kRows, kColumns, kClasses, 0, true, 10});
  Outputs out = problem.forward(1);
  Gradients zeros = problem.before();
  zeros.weight.fill(0), zeros.bias.fill(0);
  std::vector<duet_const_matrix> by_logits = const_views(problem.grad_logits);
  by_logits[0] = {};
  const Gradients grad = problem.backward(out, zeros, 2, {}, const_views(problem.grad_u), by_logits);
  Problem second({1, kRows, kColumns, kClasses, 0, true, 10});
  second.x = {problem.x[1]}, second.grad_u = {problem.grad_u[1]}, second.grad_logits = {problem.grad_logits[1]};
  second.weight = problem.weight, second.bias = problem.bias;
  Outputs of_second{{out.u[1]}, {out.logits[1]}};
  const Gradients alone = second.backward(of_second, {{zeros.x[1]}, zeros.weight, zeros.bias}, 1);
  CHECK(grad.weight.same_bits(alone.weight));
  CHECK(grad.bias.same_bits(alone.bias));
}
