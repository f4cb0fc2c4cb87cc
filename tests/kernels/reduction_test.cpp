#include "tests/reference/reduction.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Floats one(double value) {
  Floats scalar(1, 1);
  scalar.fill(value);
  return scalar;
}
}  // namespace

TEST_CASE("weighted mean, forward and backward") {
  for (const int64_t size : {0, 1, 7, 1000, 100003}) {
    for (const bool weighted : {true, false}) {
      for (const double divisor : {-1.0, 0.0, 37.5}) {  // -1: not given
        CAPTURE(size);
        CAPTURE(weighted);
        CAPTURE(divisor);
        Draw draw(1);
        Floats values = draw.normals(size, 1), weights = draw.choice(size, {0, 1, 0.25}), over = one(divisor),
               grad_loss = one(3);
        const Floats before = draw.normals(size, 1);
        const duet_vector weight = weighted ? weights.vector() : duet_vector{},
                          by = divisor < 0 ? duet_vector{} : over.vector();
        if (size == 0 && weighted) continue;
        const double by_value = divisor < 0 ? static_cast<double>(size) : divisor;
        const Doubles weight_values = weighted ? weights.values() : Doubles();
        Doubles expected = reference::weighted_mean_backward(weight_values, static_cast<size_t>(size), by_value, 3);
        const Doubles start = before.values();
        for (size_t k = 0; k < expected.size(); ++k) expected[k] += start[k];
        for (const int threads : thread_counts()) {
          Context context(threads);
          Floats loss(1, 1), grad = before;
          SUCCEED_CALL(duet_weighted_mean_forward(
              context, sized<duet_weighted_mean_inputs>({.values = values.vector(), .weights = weight, .divisor = by}),
              sized<duet_weighted_mean_outputs>({.loss = loss.vector()})));
          SUCCEED_CALL(duet_weighted_mean_backward(
              context, sized<duet_weighted_mean_inputs>({.weights = weight, .divisor = by}),
              sized<duet_weighted_mean_gradients>({.grad_loss = grad_loss.vector(), .grad_values = grad.vector()})));
          // Summed in double, in the reference's order: one rounding to float32.
          check_relative(loss.values(), {reference::weighted_mean(values.values(), weight_values, by_value)}, 6e-8,
                         "loss");
          const Doubles actual = grad.values();
          for (size_t k = 0; k<actual.size(); k += size> 1000 ? 9973 : 1)
            CHECK(std::abs(actual[k] - expected[k]) <= 6e-8 * std::abs(expected[k]));
        }
      }
    }
  }
}

TEST_CASE("the reference of the weighted mean matches central differences") {
  const Doubles weights = {0.5, 0, 2}, values = {1, 2, -3};
  const auto loss = [&](const Doubles& at) { return 3 * reference::weighted_mean(at, weights, 4); };
  check_close(central_differences(loss, values), reference::weighted_mean_backward(weights, 3, 4, 3), 1e-8, "values");
}

TEST_CASE("what has no weight is left out, NaN or not; what has one is not") {
  Context context;
  Floats values(3, 1), weights(3, 1), loss(1, 1), grad(3, 1), upstream = one(kNan);
  values.assign({1, kNaN, 3}), weights.assign({1, 0, 1}), grad.fill(5);
  SUCCEED_CALL(duet_weighted_mean_forward(
      context, sized<duet_weighted_mean_inputs>({.values = values.vector(), .weights = weights.vector()}),
      sized<duet_weighted_mean_outputs>({.loss = loss.vector()})));
  CHECK(loss.at(0) == 4.0f / 3);
  SUCCEED_CALL(duet_weighted_mean_backward(
      context, sized<duet_weighted_mean_inputs>({.weights = weights.vector()}),
      sized<duet_weighted_mean_gradients>({.grad_loss = upstream.vector(), .grad_values = grad.vector()})));
  CHECK(std::isnan(grad.at(0)));
  CHECK(grad.at(1) == 5);
  weights.at(1) = 0.5f;
  SUCCEED_CALL(duet_weighted_mean_forward(
      context, sized<duet_weighted_mean_inputs>({.values = values.vector(), .weights = weights.vector()}),
      sized<duet_weighted_mean_outputs>({.loss = loss.vector()})));
  CHECK(std::isnan(loss.at(0)));
  SUCCEED_CALL(duet_weighted_mean_forward(context, sized<duet_weighted_mean_inputs>({.values = values.vector()}),
                                          sized<duet_weighted_mean_outputs>({.loss = loss.vector()})));
  CHECK(std::isnan(loss.at(0)));
}

TEST_CASE("weighted sum of scalars, forward and backward") {
  Context context;
  Floats terms[] = {one(2), one(kNan), one(-1e8), one(1e8)}, weights[] = {one(0.5), one(0), one(1), one(1)};
  Floats grads[] = {one(1), one(2), one(3), one(4)}, total(1, 1), upstream = one(10);
  duet_const_vector term[4], weight[4];
  duet_vector grad[4];
  for (int k = 0; k < 4; ++k) term[k] = terms[k].vector(), weight[k] = weights[k].vector(), grad[k] = grads[k].vector();
  grad[3] = {};
  SUCCEED_CALL(duet_weighted_sum_forward(
      context, sized<duet_weighted_sum_inputs>({.terms = term, .weights = weight, .count = 4}),
      sized<duet_weighted_sum_outputs>({.total = total.vector()})));
  CHECK(total.at(0) == 1);  // 1e8 + 1 - 1e8 in double
  SUCCEED_CALL(duet_weighted_sum_backward(
      context, sized<duet_weighted_sum_inputs>({.weights = weight, .count = 4}),
      sized<duet_weighted_sum_gradients>({.grad_total = upstream.vector(), .grad_terms = grad})));
  CHECK(grads[0].at(0) == 6);
  CHECK(grads[1].at(0) == 2);
  CHECK(grads[2].at(0) == 13);
  CHECK(grads[3].at(0) == 4);
  SUCCEED_CALL(duet_weighted_sum_forward(context, sized<duet_weighted_sum_inputs>({.count = 0}),
                                         sized<duet_weighted_sum_outputs>({.total = total.vector()})));
  CHECK(total.at(0) == 0);
}

TEST_CASE("a scalar that is a term twice gets both gradients, and a long sum adds up") {
  Context context;
  Floats weights[] = {one(0.5), one(3), one(0.25)}, grads[] = {one(1), one(2)}, upstream = one(10);
  const duet_const_vector weight[] = {weights[0].vector(), weights[1].vector(), weights[2].vector()};
  const duet_vector grad[] = {grads[0].vector(), grads[1].vector(), grads[0].vector()};
  SUCCEED_CALL(duet_weighted_sum_backward(
      context, sized<duet_weighted_sum_inputs>({.weights = weight, .count = 3}),
      sized<duet_weighted_sum_gradients>({.grad_total = upstream.vector(), .grad_terms = grad})));
  CHECK(grads[0].at(0) == 8.5f);
  CHECK(grads[1].at(0) == 32);
  Floats total(1, 1);
  const std::vector<duet_const_vector> many(240, upstream.vector()), halves(240, weights[0].vector());
  SUCCEED_CALL(duet_weighted_sum_forward(
      context, sized<duet_weighted_sum_inputs>({.terms = many.data(), .weights = halves.data(), .count = 240}),
      sized<duet_weighted_sum_outputs>({.total = total.vector()})));
  CHECK(total.at(0) == 1200);
  if (on_cpu()) return;
  const std::vector<duet_const_vector> more(241, upstream.vector());
  FAIL_CALL(duet_weighted_sum_forward(
                context, sized<duet_weighted_sum_inputs>({.terms = more.data(), .weights = more.data(), .count = 241}),
                sized<duet_weighted_sum_outputs>({.total = total.vector()})),
            DUET_STATUS_UNSUPPORTED, "count: at most 240");
}

TEST_CASE("reduction refuses misuse") {
  Context context;
  Floats values(3, 1), weights(2, 1), loss(1, 1);
  FAIL_CALL(duet_weighted_mean_forward(
                context, sized<duet_weighted_mean_inputs>({.values = values.vector(), .weights = weights.vector()}),
                sized<duet_weighted_mean_outputs>({.loss = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "weights: expected 3 elements, got 2");
  FAIL_CALL(duet_weighted_mean_forward(
                context, sized<duet_weighted_mean_inputs>({.values = values.vector(), .divisor = weights.vector()}),
                sized<duet_weighted_mean_outputs>({.loss = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "divisor: expected 1 elements, got 2");
  FAIL_CALL(duet_weighted_mean_forward(context, sized<duet_weighted_mean_inputs>({.values = values.vector()}),
                                       sized<duet_weighted_mean_outputs>({})),
            DUET_STATUS_INVALID_ARGUMENT, "loss: expected 1 elements, got 0");
  FAIL_CALL(duet_weighted_mean_forward(nullptr, sized<duet_weighted_mean_inputs>({.values = values.vector()}),
                                       sized<duet_weighted_mean_outputs>({.loss = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_weighted_mean_backward(
                context, sized<duet_weighted_mean_inputs>({.weights = weights.vector()}),
                sized<duet_weighted_mean_gradients>({.grad_loss = loss.vector(), .grad_values = values.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "weights: expected 3");
  const duet_const_vector terms[] = {loss.vector(), weights.vector()};
  FAIL_CALL(duet_weighted_sum_forward(context,
                                      sized<duet_weighted_sum_inputs>({.terms = terms, .weights = terms, .count = 2}),
                                      sized<duet_weighted_sum_outputs>({.total = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "terms[1]: expected 1 elements, got 2");
  FAIL_CALL(duet_weighted_sum_forward(context, sized<duet_weighted_sum_inputs>({.terms = terms, .count = 1}),
                                      sized<duet_weighted_sum_outputs>({.total = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "weights: null for 1 vectors");
  FAIL_CALL(duet_weighted_sum_forward(context,
                                      sized<duet_weighted_sum_inputs>({.terms = terms, .weights = terms, .count = -1}),
                                      sized<duet_weighted_sum_outputs>({.total = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "count: expected 0 or more, got -1");
  FAIL_CALL(duet_weighted_sum_backward(context, sized<duet_weighted_sum_inputs>({.weights = terms, .count = 1}),
                                       sized<duet_weighted_sum_gradients>({.grad_total = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_terms: null for 1 vectors");
}
