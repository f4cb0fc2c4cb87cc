// All loss terms of a step in one call: against the reference, and against the calls of one mean and one sum that it
// stands for.
#include "tests/reference/reduction.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
constexpr double kRounding = 6e-8;  // of float32, relative

Floats one(double value) { return Floats(1, 1).fill(value); }

struct Mean {
  Floats values, weights, divisor;
  bool weighted = true, divided = true;
  size_t gradient = 0;  // which of the problem's

  duet_mean view() {
    return {values.vector(), weighted ? weights.vector() : duet_vector{}, divided ? divisor.vector() : duet_vector{}};
  }
  reference::Mean expected() const {
    return {values.values(), weighted ? weights.values() : Doubles(),
            divided ? double{divisor.at(0)} : static_cast<double>(values.rows())};
  }
  bool is_scalar() const { return values.rows() == 1 && !weighted && !divided; }
};

struct Problem {
  std::vector<Mean> means;
  std::vector<int64_t> means_of_term;
  std::vector<Floats> weights, gradients;
  std::vector<bool> wanted;  // a mean's gradient
  Floats grad_total = one(1);

  void add_term(double weight) { weights.push_back(one(weight)), means_of_term.push_back(0); }
  void add_mean(Mean mean, size_t gradient) {
    mean.gradient = gradient;
    means.push_back(std::move(mean)), wanted.push_back(true);
    ++means_of_term.back();
  }
  size_t add_gradient(Floats gradient) {
    gradients.push_back(std::move(gradient));
    return gradients.size() - 1;
  }
  size_t terms() const { return weights.size(); }
  std::vector<reference::Term> expected() const {
    std::vector<reference::Term> out;
    size_t m = 0;
    for (size_t k = 0; k < terms(); ++k) {
      out.push_back({weights[k].at(0), {}});
      for (int64_t p = 0; p < means_of_term[k]; ++p) out.back().means.push_back(means[m++].expected());
    }
    return out;
  }
};

// Inputs that point into a problem.
struct Inputs {
  std::vector<duet_term> terms;
  std::vector<duet_mean> means;
  std::vector<duet_vector> gradients;
  duet_terms_inputs view = DUET_TERMS_INPUTS_INIT;

  explicit Inputs(Problem& problem) {
    for (size_t k = 0; k < problem.terms(); ++k)
      terms.push_back({problem.weights[k].vector(), problem.means_of_term[k]});
    for (size_t m = 0; m < problem.means.size(); ++m) {
      means.push_back(problem.means[m].view());
      gradients.push_back(problem.wanted[m] ? problem.gradients[problem.means[m].gradient].vector() : duet_vector{});
    }
    view.terms = terms.data(), view.term_count = static_cast<int64_t>(terms.size());
    view.means = means.data(), view.mean_count = static_cast<int64_t>(means.size());
  }
};

struct Outcome {
  Floats losses, total;
  std::vector<Floats> gradients;

  bool same_bits(const Outcome& other) const {
    bool same = losses.same_bits(other.losses) && total.same_bits(other.total);
    for (size_t g = 0; g < gradients.size(); ++g) same &= gradients[g].same_bits(other.gradients[g]);
    return same;
  }
};

Outcome run(Problem problem, int threads) {
  Context context(threads);
  const Inputs inputs(problem);
  Outcome out{Floats(static_cast<int64_t>(problem.terms()), 1), Floats(1, 1), {}};
  SUCCEED_CALL(duet_terms_forward(
      context, &inputs.view, sized<duet_terms_outputs>({.losses = out.losses.vector(), .total = out.total.vector()})));
  SUCCEED_CALL(duet_terms_backward(context, &inputs.view,
                                   sized<duet_terms_gradients>({.grad_total = problem.grad_total.vector(),
                                                                .grad_values = inputs.gradients.data()})));
  out.gradients = problem.gradients;
  return out;
}

// The same through weighted_mean and weighted_sum, as a tape goes forward and backward.
Outcome run_one_by_one(Problem problem) {
  Context context(1);
  Outcome out{Floats(static_cast<int64_t>(problem.terms()), 1), Floats(1, 1), {}};
  std::vector<Floats> losses;  // of terms, each in memory of its own, and their gradients
  std::vector<Floats> grads;
  std::vector<duet_const_vector> loss, weight;
  std::vector<duet_vector> grad;
  Floats half = one(0.5);
  const duet_const_vector halves[] = {half.vector(), half.vector()};
  size_t m = 0;
  for (size_t k = 0; k < problem.terms(); ++k) {
    Floats parts[] = {Floats(1, 1), Floats(1, 1)};
    for (int64_t p = 0; p < problem.means_of_term[k]; ++p) {
      Mean& mean = problem.means[m++];
      const duet_mean view = mean.view();
      if (mean.is_scalar() && problem.means_of_term[k] == 1)
        parts[p].at(0) = mean.values.at(0);
      else
        SUCCEED_CALL(duet_weighted_mean_forward(
            context,
            sized<duet_weighted_mean_inputs>({.values = view.values, .weights = view.weights, .divisor = view.divisor}),
            sized<duet_weighted_mean_outputs>({.loss = parts[p].vector()})));
    }
    const duet_const_vector both[] = {parts[0].vector(), parts[1].vector()};
    losses.push_back(parts[0]), grads.push_back(one(0));
    if (problem.means_of_term[k] == 2)
      SUCCEED_CALL(duet_weighted_sum_forward(
          context, sized<duet_weighted_sum_inputs>({.terms = both, .weights = halves, .count = 2}),
          sized<duet_weighted_sum_outputs>({.total = losses.back().vector()})));
    out.losses.at(static_cast<int64_t>(k)) = losses.back().at(0);
  }
  for (size_t k = 0; k < problem.terms(); ++k)
    loss.push_back(losses[k].vector()), weight.push_back(problem.weights[k].vector()),
        grad.push_back(grads[k].vector());
  const auto count = static_cast<int64_t>(problem.terms());
  SUCCEED_CALL(duet_weighted_sum_forward(
      context, sized<duet_weighted_sum_inputs>({.terms = loss.data(), .weights = weight.data(), .count = count}),
      sized<duet_weighted_sum_outputs>({.total = out.total.vector()})));
  SUCCEED_CALL(duet_weighted_sum_backward(
      context, sized<duet_weighted_sum_inputs>({.weights = weight.data(), .count = count}),
      sized<duet_weighted_sum_gradients>({.grad_total = problem.grad_total.vector(), .grad_terms = grad.data()})));
  for (size_t k = problem.terms(); k-- > 0;) {
    const int64_t parts = problem.means_of_term[k];
    Floats of_parts[] = {one(0), one(0)};
    const duet_vector both[] = {of_parts[0].vector(), of_parts[1].vector()};
    if (parts == 2)
      SUCCEED_CALL(duet_weighted_sum_backward(
          context, sized<duet_weighted_sum_inputs>({.weights = halves, .count = 2}),
          sized<duet_weighted_sum_gradients>({.grad_total = grads[k].vector(), .grad_terms = both})));
    for (int64_t p = parts - 1; p >= 0; --p) {
      Mean& mean = problem.means[--m];
      if (!problem.wanted[m]) continue;
      const duet_mean view = mean.view();
      const duet_vector to = problem.gradients[mean.gradient].vector();
      if (mean.is_scalar() && parts == 1)
        SUCCEED_CALL(duet_weighted_sum_backward(
            context, sized<duet_weighted_sum_inputs>({.weights = &weight[k], .count = 1}),
            sized<duet_weighted_sum_gradients>({.grad_total = problem.grad_total.vector(), .grad_terms = &to})));
      else
        SUCCEED_CALL(duet_weighted_mean_backward(
            context, sized<duet_weighted_mean_inputs>({.weights = view.weights, .divisor = view.divisor}),
            sized<duet_weighted_mean_gradients>(
                {.grad_loss = parts == 2 ? both[p] : grads[k].vector(), .grad_values = to})));
    }
  }
  out.gradients = problem.gradients;
  return out;
}

// What a training step has: two label and two soft terms over the same rows, loss terms over pairs, scalars; and
// whatever else there can be.
Problem draw_problem(uint64_t seed, int64_t n, int64_t extra_terms) {
  Draw draw(seed);
  Problem problem;
  problem.grad_total = one(seed % 2 ? 1 : -1.75);
  const auto mean = [&](int64_t size, bool weighted, bool divided) {
    return Mean{draw.normals(size, 1), draw.choice(size, {0, 1, 0.25, 0.3}),
                one(draw.choice(1, {0, 1, 37.3, 3e7}).at(0)), weighted && size > 0, divided};
  };
  const auto weight = [&] { return draw.choice(1, {0, 1, 0.7, -2, 1e-3}).at(0); };
  const size_t rows[] = {problem.add_gradient(draw.normals(n, 1)), problem.add_gradient(draw.normals(n, 1))};
  const Mean values[] = {mean(n, true, true), mean(n, true, true)};
  for (int soft = 0; soft < 2; ++soft)
    for (int modality = 0; modality < 2; ++modality) {
      Mean part = mean(n, true, true);
      part.values = values[modality].values;
      problem.add_term(weight());
      problem.add_mean(part, rows[modality]);
    }
  for (int64_t k = 0; k < extra_terms; ++k) {
    problem.add_term(weight());
    const int64_t kind = draw.integer(0, 3);
    for (int64_t p = 0; p < (kind < 2 ? 2 : 1); ++p) {
      const int64_t size = kind == 2 ? 1 : n + draw.integer(0, 3);
      problem.add_mean(kind == 2 ? mean(1, false, false) : mean(size, draw.integer(0, 1) == 1, draw.integer(0, 1) == 1),
                       problem.add_gradient(draw.normals(size, 1)));
      problem.wanted.back() = draw.integer(0, 4) > 0;
    }
  }
  return problem;
}

void check_against_reference(const Problem& problem, const Outcome& actual) {
  const std::vector<reference::Term> terms = problem.expected();
  Doubles losses, of_losses, total_parts(1, 0);
  for (const reference::Term& term : terms) {
    losses.push_back(term.value());
    double part = 0;  // halves may cancel
    for (const reference::Mean& mean : term.means) part += std::abs(mean.value());
    of_losses.push_back(part);
    total_parts[0] += std::abs(term.weight) * part;
  }
  // Two roundings of a loss, and one more of the total.
  check_parts(actual.losses.values(), losses, of_losses, 2 * kRounding, "losses");
  check_parts(actual.total.values(), {reference::terms_total(terms)}, total_parts, 3 * kRounding, "total");
  std::vector<Doubles> grads, parts;
  for (const Floats& before : problem.gradients) {
    grads.push_back(before.values()), parts.push_back(before.values());
    for (double& part : parts.back()) part = std::abs(part);
  }
  size_t m = 0;
  for (const reference::Term& term : terms)
    for (size_t p = 0; p < term.means.size(); ++p, ++m) {
      if (!problem.wanted[m]) continue;
      const Doubles share = term.gradient(p, problem.grad_total.at(0));
      for (size_t e = 0; e < share.size(); ++e) {
        grads[problem.means[m].gradient][e] += share[e];
        parts[problem.means[m].gradient][e] += std::abs(share[e]);
      }
    }
  // The scalars' gradients round twice, and so does each of at most two sums into an element.
  for (size_t g = 0; g < grads.size(); ++g)
    check_parts(actual.gradients[g].values(), grads[g], parts[g], 4 * kRounding, "grad_values");
}

}  // namespace

TEST_CASE("loss terms agree with the reference and with one call a mean") {
  for (const int64_t n : {0, 1, 7, 33, 128, 1024, 1100, 4001})
    for (const int64_t extra : {0, 1, 6, 20}) {
      CAPTURE(n);
      CAPTURE(extra);
      if (!affordable((extra + 4) * (n + 40) * 40)) continue;
      const Problem problem = draw_problem(static_cast<uint64_t>(17 * n + extra), n, extra);
      const Outcome actual = run(problem, 1);
      check_against_reference(problem, actual);
      for (const int threads : other_thread_counts()) CHECK(run(problem, threads).same_bits(actual));
      const Outcome expected = run_one_by_one(problem);
      if (on_cpu()) CHECK(actual.same_bits(expected));
      check_against_reference(problem, expected);
    }
}

TEST_CASE("the reference of loss terms matches central differences") {
  std::vector<reference::Term> terms = {{0.7, {{{1, 2, -3}, {0.5, 0, 2}, 4}}},
                                        {-2, {{{3, 1}, {}, 2}, {{5, 4, 1}, {1, 1, 0}, 3}}}};
  for (size_t k = 0; k < 2; ++k)
    for (size_t p = 0; p < terms[k].means.size(); ++p) {
      const Doubles values = terms[k].means[p].values;
      const auto total = [&](const Doubles& at) {
        auto moved = terms;
        moved[k].means[p].values = at;
        return 3 * reference::terms_total(moved);
      };
      check_close(central_differences(total, values), terms[k].gradient(p, 3), 1e-8, "values");
    }
}

TEST_CASE("of no loss terms the total is 0, and gradients stay") {
  Context context;
  const duet_terms_inputs none = DUET_TERMS_INPUTS_INIT;
  Floats total(1, 1), upstream = one(1);
  SUCCEED_CALL(duet_terms_forward(context, &none, sized<duet_terms_outputs>({.total = total.vector()})));
  CHECK(total.at(0) == 0);
  SUCCEED_CALL(duet_terms_backward(context, &none, sized<duet_terms_gradients>({.grad_total = upstream.vector()})));
}

TEST_CASE("a term without weight is left out of the total, NaN or not; what has one is not") {
  Problem problem;
  const auto add = [&](double weight, std::initializer_list<double> values, std::initializer_list<double> weights,
                       double divisor) {
    const auto size = static_cast<int64_t>(values.size());
    Mean mean{Floats(size, 1).assign(values), Floats(size, 1).assign(weights), one(divisor)};
    problem.add_term(weight);
    problem.add_mean(mean, problem.add_gradient(Floats(size, 1).fill(5)));
  };
  add(0, {kNan, 1}, {1, 1}, 2);     // a NaN loss without weight
  add(2, {kNan, 3}, {0, 1}, 2);     // a NaN value without weight
  add(1, {kNan, 3}, {1, 1}, 0);     // no row: a divisor of 0
  add(1, {3e38, 3e38}, {1, 1}, 4);  // sums past float32
  const Outcome out = run(problem, 1);
  CHECK(std::isnan(out.losses.at(0)));
  CHECK(out.losses.at(1) == 1.5f);
  CHECK(out.losses.at(2) == 0);
  CHECK(out.losses.at(3) == 1.5e38f);
  CHECK(out.total.at(0) == 1.5e38f);
  CHECK((out.gradients[0].at(0) == 5 && out.gradients[0].at(1) == 5));
  CHECK((out.gradients[1].at(0) == 5 && out.gradients[1].at(1) == 6));
  CHECK((out.gradients[2].at(0) == 5 && out.gradients[2].at(1) == 5));
  CHECK((out.gradients[3].at(0) == 5.25f && out.gradients[3].at(1) == 5.25f));
  problem.weights[0].at(0) = 1e-30f;
  CHECK(std::isnan(run(problem, 1).total.at(0)));
  problem.weights[0].at(0) = 0;
  problem.means[1].divisor.at(0) = kNan;
  const Outcome nan_divisor = run(problem, 1);
  CHECK((std::isnan(nan_divisor.losses.at(1)) && std::isnan(nan_divisor.total.at(0)) &&
         std::isnan(nan_divisor.gradients[1].at(1))));
  CHECK(nan_divisor.gradients[1].at(0) == 5);
  problem.means[1].divisor.at(0) = kInf;
  CHECK(run(problem, 1).losses.at(1) == 0);
  problem.grad_total = one(kNan);
  const Outcome nan_upstream = run(problem, 1);
  CHECK((std::isnan(nan_upstream.gradients[3].at(0)) && nan_upstream.gradients[2].at(0) == 5 &&
         nan_upstream.gradients[0].at(0) == 5));
}

TEST_CASE("a gradient that stands in several terms is added to from the last to the first") {
  // 1 + 2^-24 + 2^-24: added one by one each share is lost, in the other order the sum of both would be seen.
  Problem problem;
  const size_t shared = problem.add_gradient(Floats(1, 1).fill(0));
  for (const double weight : {1.0, 5.9604644775390625e-8, 5.9604644775390625e-8}) {
    problem.add_term(weight);
    problem.add_mean(Mean{one(3), one(1), one(1)}, shared);
  }
  CHECK(run(problem, 1).gradients[0].at(0) == 1.0f + 1.1920929e-7f);
  std::swap(problem.weights[0].at(0), problem.weights[2].at(0));
  CHECK(run(problem, 1).gradients[0].at(0) == 1.0f);
}

TEST_CASE("loss terms: as many means as a CUDA launch takes") {
  Problem problem;
  for (int k = 0; k < 64; ++k) {
    problem.add_term(1);
    problem.add_mean(Mean{one(k), one(1), one(1), false, false}, problem.add_gradient(one(0)));
  }
  CHECK(run(problem, 1).total.at(0) == 64 * 63 / 2);
  problem.add_term(1);
  problem.add_mean(Mean{one(64), one(1), one(1), false, false}, problem.add_gradient(one(0)));
  if (on_cpu()) {
    CHECK(run(problem, 1).total.at(0) == 65 * 64 / 2);
    return;
  }
  const Inputs inputs(problem);
  Context context;
  Floats total(1, 1);
  FAIL_CALL(duet_terms_forward(context, &inputs.view, sized<duet_terms_outputs>({.total = total.vector()})),
            DUET_STATUS_UNSUPPORTED, "inputs.mean_count: at most 64 on a CUDA device, got 65");
  FAIL_CALL(duet_terms_backward(context, &inputs.view,
                                sized<duet_terms_gradients>({.grad_total = problem.grad_total.vector(),
                                                             .grad_values = inputs.gradients.data()})),
            DUET_STATUS_UNSUPPORTED, "at most 64");
}

TEST_CASE("loss terms refuse misuse") {
  Context context;
  Problem problem = draw_problem(5, 6, 0);
  Inputs inputs(problem);
  Floats losses(4, 1), total(1, 1), upstream = one(1);
  const auto forward = [&](const std::string& part) {
    FAIL_CALL(duet_terms_forward(context, &inputs.view,
                                 sized<duet_terms_outputs>({.losses = losses.vector(), .total = total.vector()})),
              DUET_STATUS_INVALID_ARGUMENT, part);
    inputs = Inputs(problem);
  };
  const auto backward = [&](const std::string& part) {
    FAIL_CALL(duet_terms_backward(context, &inputs.view,
                                  sized<duet_terms_gradients>(
                                      {.grad_total = upstream.vector(), .grad_values = inputs.gradients.data()})),
              DUET_STATUS_INVALID_ARGUMENT, part);
    inputs = Inputs(problem);
  };
  inputs.terms[2].means = 3;
  forward("inputs.terms[2].means: expected 1 or 2, got 3");
  inputs.terms[2].means = 2;
  forward("inputs.mean_count: expected the 5 of the terms, got 4");
  inputs.terms[1].weight.size = 2;
  forward("inputs.terms[1].weight: expected 1 elements, got 2");
  inputs.means[3].weights.size = 5;
  forward("inputs.means[3].weights: expected 6 elements, got 5");
  inputs.means[3].divisor = losses.vector();
  forward("inputs.means[3].divisor: expected 1 elements, got 4");
  inputs.means[0].values.dtype = DUET_DTYPE_I32;
  forward("inputs.means[0].values: expected dtype f32, got i32");
  inputs.means[1].values.data = nullptr;
  backward("inputs.means[1].values: null data for 6 elements");
  inputs.view.means = nullptr;
  forward("inputs.means: null for 4 means");
  inputs.view.terms = nullptr;
  backward("inputs.terms: null for 4 terms");
  inputs.view.term_count = -1;
  forward("inputs.term_count: expected 0 or more, got -1");
  inputs.view.struct_size = 8;
  forward("inputs.struct_size: expected ");
  inputs.gradients[2].size = 5;
  backward("grad_values[2]: expected 6 elements, got 5");
  FAIL_CALL(duet_terms_backward(context, &inputs.view, sized<duet_terms_gradients>({.grad_total = upstream.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_values: null for 4 vectors");
  FAIL_CALL(duet_terms_backward(
                context, &inputs.view,
                sized<duet_terms_gradients>({.grad_total = losses.vector(), .grad_values = inputs.gradients.data()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_total: expected 1 elements, got 4");
  FAIL_CALL(duet_terms_forward(context, &inputs.view,
                               sized<duet_terms_outputs>({.losses = upstream.vector(), .total = total.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "losses: expected 4 elements, got 1");
  FAIL_CALL(duet_terms_forward(context, nullptr, sized<duet_terms_outputs>({.total = total.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_terms_forward(nullptr, &inputs.view, sized<duet_terms_outputs>({.total = total.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");

  FAIL_CALL(duet_terms_forward(
                context, &inputs.view,
                sized<duet_terms_outputs>({.losses = losses.vector(), .total = duet_f32_vector(&losses.at(2), 1)})),
            DUET_STATUS_INVALID_ARGUMENT, "total: shares memory with outputs.losses");
  FAIL_CALL(
      duet_terms_forward(context, &inputs.view, sized<duet_terms_outputs>({.total = problem.weights[3].vector()})),
      DUET_STATUS_INVALID_ARGUMENT, "total: shares memory with inputs.terms[3].weight");
  FAIL_CALL(duet_terms_forward(context, &inputs.view,
                               sized<duet_terms_outputs>({.losses = duet_f32_vector(&problem.means[1].values.at(2), 4),
                                                          .total = total.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "losses: shares memory with inputs.means[1].values");
  inputs.gradients[1] = problem.means[2].weights.vector();
  backward("grad_values[1]: shares memory with inputs.means[2].weights");
  inputs.gradients[1] = duet_f32_vector(static_cast<float*>(inputs.gradients[0].data) + 1, 6);
  backward("grad_values[1]: shares a part of its memory with gradients.grad_values[0]");
  FAIL_CALL(
      duet_terms_backward(context, &inputs.view,
                          sized<duet_terms_gradients>({.grad_total = duet_f32_vector(&problem.gradients[0].at(3), 1),
                                                       .grad_values = inputs.gradients.data()})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_values[0]: shares memory with gradients.grad_total");
}
