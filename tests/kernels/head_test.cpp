#include "tests/kernels/head_problem.h"

using namespace duet::test;
using namespace duet::test::head;

namespace {

// Nothing at all; a row, a column, a class; whole fours and primes; the form of one launch a pass up to its last row
// (256), column (512) and product (16384 of classes and columns), and past each. Rows have norms of some root of their
// columns: with eps 8 some are clipped and some are not.
const Shape kShapes[] = {
    {1, 0, 5, 3, 0, true, 10},          {2, 5, 0, 3, 0, true, 10},     {2, 5, 0, 3, 0, false, 1},
    {2, 3, 4, 0, 0, true, 1},           {2, 1, 1, 1, 0, true, 10},     {4, 9, 12, 1, 4, true, -0.3f},
    {2, 13, 67, 31, 5, true, 10, 8},    {2, 128, 64, 10, 0, true, 10}, {3, 31, 36, 7, 0, false, 10},
    {1, 17, 64, 13, 0, true, 10, 8},    {2, 256, 8, 3, 0, true, 10},   {2, 257, 8, 3, 0, true, 10},
    {2, 11, 512, 5, 0, true, 10},       {2, 11, 513, 5, 1, true, 10},  {2, 5, 64, 256, 0, true, 10},
    {2, 5, 64, 257, 0, true, 10},       {2, 3, 509, 29, 0, true, 10},  {3, 700, 300, 60, 0, true, 10},
    {2, 131, 64, 10, 4, true, 10, 8.0f}};

// The same by unit_rows and linear, as a tape runs them: the modalities forward in order, and backward from the last to
// the first.
struct Apart {
  Outputs out;
  Gradients grad;
};
Apart run_apart(Problem& problem, const Gradients& before) {
  const Shape& s = problem.shape;
  Context context(1);
  Apart apart{{problem.poisoned(s.columns), problem.poisoned(s.classes)}, before};
  const auto layer = [&](size_t k) {
    duet_linear_inputs in = DUET_LINEAR_INPUTS_INIT;
    in.x = apart.out.u[k].matrix(), in.weight = problem.weight.matrix(), in.output_scale = s.scale;
    if (s.bias) in.bias = problem.bias.vector();
    return in;
  };
  const auto with_workspace = [&](const duet_linear_inputs& in, const auto& body) {
    size_t bytes = 0;
    SUCCEED_CALL(duet_linear_workspace(context, &in, &bytes));
    const Scratch scratch(bytes);
    body(scratch.view());
  };
  for (size_t k = 0; k < apart.out.u.size(); ++k) {
    SUCCEED_CALL(duet_unit_rows_forward(context,
                                        sized<duet_unit_rows_inputs>({.x = problem.x[k].matrix(), .eps = s.eps}),
                                        sized<duet_unit_rows_outputs>({.outputs = apart.out.u[k].matrix()})));
    const duet_linear_inputs in = layer(k);
    with_workspace(in, [&](duet_workspace scratch) {
      SUCCEED_CALL(duet_linear_forward(context, &in,
                                       sized<duet_linear_outputs>({.outputs = apart.out.logits[k].matrix()}), scratch));
    });
  }
  for (size_t k = apart.out.u.size(); k-- > 0;) {
    Floats by_u = problem.grad_u[k];
    const duet_linear_inputs in = layer(k);
    with_workspace(in, [&](duet_workspace scratch) {
      SUCCEED_CALL(duet_linear_backward(context, &in,
                                        sized<duet_linear_gradients>({.grad_outputs = problem.grad_logits[k].matrix(),
                                                                      .grad_x = by_u.matrix(),
                                                                      .grad_weight = apart.grad.weight.matrix(),
                                                                      .grad_bias = apart.grad.bias.vector()}),
                                        scratch));
    });
    SUCCEED_CALL(duet_unit_rows_backward(
        context, sized<duet_unit_rows_inputs>({.x = problem.x[k].matrix(), .eps = s.eps}),
        sized<duet_unit_rows_gradients>({.grad_outputs = by_u.matrix(), .grad_x = apart.grad.x[k].matrix()})));
  }
  return apart;
}

}  // namespace

TEST_CASE("a head matches the reference, bit for bit on any number of threads") {
  for (const Shape& shape : kShapes) {
    if (!is_affordable(shape)) continue;
    const std::string what = described(shape);
    CAPTURE(what);
    Problem problem(shape);
    Outputs out = problem.forward(1);
    check_outputs(problem, out);
    const Gradients before = problem.before(), grad = problem.backward(out, before, 1);
    check_gradients(problem, grad, before, Problem::values(problem.grad_u), Problem::values(problem.grad_logits));
    for (const int threads : other_thread_counts()) {
      CHECK(problem.forward(threads).same(out));
      CHECK(problem.backward(out, before, threads).same(grad));
    }
    // A gradient that is not asked for changes nothing of the others.
    for (const Asked& asked : {Asked{true, false, false}, Asked{false, true, false}, Asked{false, false, true},
                               Asked{false, false, false}}) {
      const Gradients alone = problem.backward(out, before, 2, asked);
      const Gradients& expected_x = asked.x ? grad : before;
      CHECK(same_bits(alone.x, expected_x.x));
      CHECK(alone.weight.same_bits(asked.weight ? grad.weight : before.weight));
      CHECK(alone.bias.same_bits(asked.bias ? grad.bias : before.bias));
    }
  }
}

// But for the classifier's gradients, which are one sum over the rows of all modalities.
TEST_CASE("a head is unit rows and linear one after another, on the CPU bit for bit") {
  for (const Shape& shape : kShapes) {
    if (!is_affordable(shape)) continue;
    const std::string what = described(shape);
    CAPTURE(what);
    Problem problem(shape, 2);
    const Gradients before = problem.before();
    Apart apart = run_apart(problem, before);
    Outputs out = problem.forward(2);
    const Gradients grad = problem.backward(out, before, 2);
    if (on_cpu()) {
      CHECK(out.same(apart.out));
      CHECK(same_bits(grad.x, apart.grad.x));
      if (shape.count == 1) CHECK(grad.same(apart.grad));
      continue;
    }
    // Unit rows are the same; sums of products may be taken in another order, whose error the reference's comparison
    // has.
    CHECK(same_bits(out.u, apart.out.u));
    check_outputs(problem, apart.out);
    check_gradients(problem, apart.grad, before, Problem::values(problem.grad_u), Problem::values(problem.grad_logits));
  }
}

TEST_CASE("what did not come back for a modality adds nothing") {
  for (const Shape& shape :
       {Shape{2, 13, 20, 6, 0, true, 10}, Shape{3, 7, 5, 3, 2, true, 10}, Shape{2, 260, 8, 3, 0, true, 10}}) {
    if (!is_affordable(shape)) continue;
    const std::string what = described(shape);
    CAPTURE(what);
    Problem problem(shape, 3);
    Outputs out = problem.forward(2);
    const Gradients before = problem.before();
    const auto last = static_cast<size_t>(shape.count - 1);
    const auto without = [](auto all, size_t k) {
      all[k] = {};
      return all;
    };
    const auto empty = [](std::vector<Doubles> all, size_t k) {
      all[k].clear();
      return all;
    };
    const std::vector<Doubles> by_u = Problem::values(problem.grad_u), by_logits = Problem::values(problem.grad_logits),
                               none(static_cast<size_t>(shape.count));
    // The first has no grad_u, the last no grad_logits.
    const Gradients some = problem.backward(out, before, 2, {}, without(const_views(problem.grad_u), 0),
                                            without(const_views(problem.grad_logits), last));
    check_gradients(problem, some, before, empty(by_u, 0), empty(by_logits, last));
    // The first has neither.
    const Gradients rest = problem.backward(out, before, 2, {}, without(const_views(problem.grad_u), 0),
                                            without(const_views(problem.grad_logits), 0));
    check_gradients(problem, rest, before, empty(by_u, 0), empty(by_logits, 0));
    CHECK(rest.x[0].same_bits(before.x[0]));
    // An array that is null.
    const Gradients of_logits = problem.backward(out, before, 2, {}, {}, const_views(problem.grad_logits));
    check_gradients(problem, of_logits, before, none, by_logits);
    const Gradients of_u = problem.backward(out, before, 2, {}, const_views(problem.grad_u), {});
    check_gradients(problem, of_u, before, by_u, none);
    CHECK(of_u.weight.same_bits(before.weight));
    CHECK(of_u.bias.same_bits(before.bias));
    CHECK(problem.backward(out, before, 2, {}, {}, {}).same(before));
    // One of the grad_x is not asked for.
    const Gradients all = problem.backward(out, before, 2);
    Context context(2);
    Gradients grad = before;
    problem.with_inputs(context, [&](const duet_head_inputs& in, duet_workspace scratch) {
      SUCCEED_CALL(
          duet_head_backward(context, &in,
                             sized<duet_head_gradients>({.u = const_views(out.u).data(),
                                                         .grad_u = const_views(problem.grad_u).data(),
                                                         .grad_logits = const_views(problem.grad_logits).data(),
                                                         .grad_x = without(views(grad.x), 0).data(),
                                                         .grad_weight = grad.weight.matrix(),
                                                         .grad_bias = grad.bias.vector()}),
                             scratch));
    });
    CHECK(grad.x[0].same_bits(before.x[0]));
    CHECK(grad.x[last].same_bits(all.x[last]));
    CHECK(grad.weight.same_bits(all.weight));
  }
}

TEST_CASE("logits of no class give nothing back, not to NaN rows either") {
  Problem problem({2, 4, 3, 0, 0, true, 10}, 8);
  problem.x[0].at(2, 1) = static_cast<float>(kNaN);
  Outputs out = problem.forward(1);
  const Gradients before = problem.before();
  std::vector<duet_const_matrix> empty = const_views(problem.grad_logits);
  for (duet_const_matrix& logits : empty) logits.data = problem.bias.data();  // not null
  CHECK(problem.backward(out, before, 1, {}, {}, empty).same(before));
}

TEST_CASE("the reference of the head matches central differences") {
  for (const float eps : {1e-12f, 2.0f}) {  // with 2 some rows are clipped and some are not
    Problem problem({2, 3, 4, 5, 0, true, 10, eps}, 6);
    const reference::Head head = problem.reference_in<double>();
    const std::vector<Doubles> by_u = Problem::values(problem.grad_u), by_logits = Problem::values(problem.grad_logits);
    const auto loss = [&](const reference::Head& at) {
      const auto out = at.forward();
      double sum = 0;
      for (size_t k = 0; k < 2; ++k) {
        for (size_t e = 0; e < by_u[k].size(); ++e) sum += by_u[k][e] * out.u[k][e];
        for (size_t e = 0; e < by_logits[k].size(); ++e) sum += by_logits[k][e] * out.logits[k][e];
      }
      return sum;
    };
    const auto with = [&](auto&& place) {
      return [&, place](const Doubles& values) {
        reference::Head changed = head;
        place(changed) = values;
        return loss(changed);
      };
    };
    const auto gradients = head.backward(by_u, by_logits);
    // Central differences with a step of 1e-6 are good to some 1e-9 of the function's size, about 100 here.
    for (size_t k = 0; k < 2; ++k)
      check_relative(central_differences(with([k](reference::Head& of) -> Doubles& { return of.x[k]; }), head.x[k]),
                     gradients.x[k], 1e-7, "x");
    check_relative(central_differences(with([](reference::Head& of) -> Doubles& { return of.weight; }), head.weight),
                   gradients.weight, 1e-7, "weight");
    check_relative(central_differences(with([](reference::Head& of) -> Doubles& { return of.bias; }), head.bias),
                   gradients.bias, 1e-7, "bias");
  }
}

TEST_CASE("a head refuses misuse") {
  Context context;
  Problem problem({2, 4, 3, 5, 0, true, 10}, 7);
  std::vector<duet_const_matrix> x = const_views(problem.x), by_u = const_views(problem.grad_u),
                                 by_logits = const_views(problem.grad_logits);
  Outputs out{problem.poisoned(3), problem.poisoned(5)};
  Gradients grad = problem.before();
  std::vector<duet_const_matrix> given_u = const_views(out.u);
  std::vector<duet_matrix> u = views(out.u), logits = views(out.logits), grad_x = views(grad.x);
  Floats narrow(4, 2);
  duet_head_inputs in = problem.inputs(x);
  size_t bytes = 0;
  SUCCEED_CALL(duet_head_workspace(context, &in, &bytes));
  Scratch scratch(bytes);
  const auto forward = [&](const std::string& part) {
    FAIL_CALL(duet_head_forward(context, &in, sized<duet_head_outputs>({.u = u.data(), .logits = logits.data()}),
                                scratch.view()),
              DUET_STATUS_INVALID_ARGUMENT, part);
  };
  const auto backward = [&](const std::string& part) {
    FAIL_CALL(duet_head_backward(context, &in,
                                 sized<duet_head_gradients>({.u = given_u.data(),
                                                             .grad_u = by_u.data(),
                                                             .grad_logits = by_logits.data(),
                                                             .grad_x = grad_x.data(),
                                                             .grad_weight = grad.weight.matrix(),
                                                             .grad_bias = grad.bias.vector()}),
                                 scratch.view()),
              DUET_STATUS_INVALID_ARGUMENT, part);
  };
  for (const int64_t count : {-1, 0, 5}) {
    in.count = count;
    forward("inputs.count: expected 1 to 4, got " + std::to_string(count));
    FAIL_CALL(duet_head_workspace(context, &in, &bytes), DUET_STATUS_INVALID_ARGUMENT, "inputs.count: expected 1 to 4");
  }
  in.count = 2;
  for (const float eps : {-1e-12f, -1.0f, static_cast<float>(kNaN), std::numeric_limits<float>::infinity()}) {
    in.eps = eps;
    forward("inputs.eps: expected above 0 and finite");
  }
  in.eps = 1e-12f;
  for (const float scale : {static_cast<float>(kNaN), std::numeric_limits<float>::infinity()}) {
    in.output_scale = scale;
    forward("inputs.output_scale: expected a finite number");
  }
  in.output_scale = 10;
  in.bias.size = 4;
  forward("inputs.bias: expected 5 elements, got 4");
  in.bias.size = 5;
  x[1] = narrow.matrix();
  forward("inputs.x[1]: expected 4 x 3, got 4 x 2");
  x[1] = problem.x[1].part(0, 0, 3, 3);
  forward("inputs.x[1]: expected 4 x 3, got 3 x 3");
  x[1] = problem.x[1].matrix();
  in.x = nullptr;
  forward("inputs.x: null for 2 matrices");
  in.x = x.data();
  u[1] = narrow.matrix(), given_u[1] = narrow.matrix();
  forward("outputs.u[1]: expected 4 x 3, got 4 x 2");
  backward("gradients.u[1]: expected 4 x 3, got 4 x 2");
  given_u[1] = out.u[1].matrix();
  u[1] = u[0];
  forward("outputs.u[1]: shares memory with outputs.u[0]");
  u[1] = out.u[1].matrix();
  logits[0] = problem.x[0].matrix();
  forward("logits[0]: expected 4 x 5, got 4 x 3");
  logits[0] = out.logits[0].matrix();
  by_u[0] = narrow.matrix();
  backward("grad_u[0]: expected 4 x 3, got 4 x 2");
  by_u[0] = problem.grad_u[0].matrix();
  by_logits[1] = narrow.matrix();
  backward("grad_logits[1]: expected 4 x 5, got 4 x 2");
  by_logits[1] = problem.grad_logits[1].matrix();
  grad_x[1] = narrow.matrix();
  backward("grad_x[1]: expected 4 x 3, got 4 x 2");
  grad_x[1] = grad_x[0];
  backward("grad_x[1]: shares memory with gradients.grad_x[0]");
  grad_x[1] = problem.x[0].matrix();
  backward("grad_x[1]: shares memory with inputs.x[0]");
  grad_x[1] = problem.grad_u[1].matrix();
  backward("grad_x[1]: shares memory with gradients.grad_u[1]");
  grad_x[1] = grad.x[1].matrix();

  FAIL_CALL(duet_head_forward(context, &in, sized<duet_head_outputs>({.logits = logits.data()}), scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "u: null for 2 matrices");
  FAIL_CALL(duet_head_forward(context, &in, sized<duet_head_outputs>({.u = u.data()}), scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "logits: null for 2 matrices");
  FAIL_CALL(duet_head_backward(context, &in, sized<duet_head_gradients>({}), scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "u: null for 2 matrices");
  FAIL_CALL(duet_head_backward(context, &in,
                               sized<duet_head_gradients>({.u = given_u.data(), .grad_weight = problem.bias.matrix()}),
                               scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "grad_weight: expected 5 x 3, got 5 x 1");
  FAIL_CALL(duet_head_backward(
                context, &in,
                sized<duet_head_gradients>({.u = given_u.data(), .grad_bias = duet_f32_vector(problem.bias.data(), 4)}),
                scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "grad_bias: expected 5 elements, got 4");
  FAIL_CALL(duet_head_backward(
                context, &in, sized<duet_head_gradients>({.u = given_u.data(), .grad_weight = problem.weight.matrix()}),
                scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "grad_weight: shares memory with inputs.weight");
  FAIL_CALL(duet_head_forward(nullptr, &in, sized<duet_head_outputs>({.u = u.data(), .logits = logits.data()}),
                              scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_head_forward(context, nullptr, sized<duet_head_outputs>({.u = u.data(), .logits = logits.data()}),
                              scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_head_workspace(context, &in, nullptr), DUET_STATUS_INVALID_ARGUMENT, "bytes: null");
  duet_workspace little = scratch.view();
  REQUIRE(little.bytes > 0);
  little.bytes -= 1;
  FAIL_CALL(duet_head_forward(context, &in, sized<duet_head_outputs>({.u = u.data(), .logits = logits.data()}), little),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace: expected");
  FAIL_CALL(
      duet_head_backward(
          context, &in,
          sized<duet_head_gradients>(
              {.u = given_u.data(), .grad_u = by_u.data(), .grad_logits = by_logits.data(), .grad_x = grad_x.data()}),
          little),
      DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace: expected");
  in.struct_size = 8;
  forward("inputs.struct_size: expected ");
}
