// A classification head for tests: its arrays, the calls on them, its reference, and how far float32 may be off.
#pragma once

#include <string>

#include "tests/reference/head.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

namespace duet::test::head {

namespace reference = duet::reference;

struct Shape {
  int64_t count, rows, columns, classes, padding;
  bool bias;
  float scale, eps = 1e-12f;
};
inline bool is_affordable(const Shape& s) {
  return affordable(s.count * s.rows * (6 * s.classes * s.columns + 100 * s.columns + 3000));
}
inline std::string described(const Shape& s) {
  return std::to_string(s.count) + " modalities of " + std::to_string(s.rows) + " x " + std::to_string(s.columns) +
         ", " + std::to_string(s.classes) + " classes";
}

inline std::vector<duet_const_matrix> const_views(std::vector<Floats>& arrays) {
  std::vector<duet_const_matrix> out;
  for (Floats& array : arrays) out.push_back(array.matrix());
  return out;
}
inline std::vector<duet_matrix> views(std::vector<Floats>& arrays) {
  std::vector<duet_matrix> out;
  for (Floats& array : arrays) out.push_back(array.matrix());
  return out;
}
inline bool same_bits(const std::vector<Floats>& a, const std::vector<Floats>& b) {
  bool same = a.size() == b.size();
  for (size_t k = 0; same && k < a.size(); ++k) same = a[k].same_bits(b[k]);
  return same;
}

struct Outputs {
  std::vector<Floats> u, logits;

  bool same(const Outputs& other) const { return same_bits(u, other.u) && same_bits(logits, other.logits); }
};
struct Gradients {
  std::vector<Floats> x;
  Floats weight, bias;

  bool same(const Gradients& other) const {
    return same_bits(x, other.x) && weight.same_bits(other.weight) && bias.same_bits(other.bias);
  }
};
// Which of the gradients are asked for.
struct Asked {
  bool x = true, weight = true, bias = true;
};

// A head's arrays, the calls on them, and the reference.
struct Problem {
  Shape shape;
  Draw draw;
  std::vector<Floats> x, grad_u, grad_logits;
  Floats weight, bias;

  explicit Problem(const Shape& given, uint64_t seed = 1)
      : shape(given),
        draw(seed),
        weight(draw.normals(given.classes, given.columns, 0.3, given.padding)),
        bias(draw.normals(given.classes, 1)) {
    x = normals(given.columns), grad_u = normals(given.columns), grad_logits = normals(given.classes);
  }
  std::vector<Floats> normals(int64_t columns) {
    std::vector<Floats> out;
    for (int64_t k = 0; k < shape.count; ++k) out.push_back(draw.normals(shape.rows, columns, 1, shape.padding));
    return out;
  }
  std::vector<Floats> poisoned(int64_t columns) const {
    return std::vector<Floats>(static_cast<size_t>(shape.count), Floats(shape.rows, columns, shape.padding));
  }
  Gradients before() {
    return {normals(shape.columns), draw.normals(shape.classes, shape.columns, 1, shape.padding),
            draw.normals(shape.classes, 1)};
  }

  Outputs forward(int threads) {
    Context context(threads);
    Outputs out{poisoned(shape.columns), poisoned(shape.classes)};
    with_inputs(context, [&](const duet_head_inputs& in, duet_workspace scratch) {
      SUCCEED_CALL(duet_head_forward(
          context, &in, sized<duet_head_outputs>({.u = views(out.u).data(), .logits = views(out.logits).data()}),
          scratch));
    });
    return out;
  }
  Gradients backward(Outputs& out, const Gradients& before, int threads, const Asked& asked = {}) {
    return backward(out, before, threads, asked, const_views(grad_u), const_views(grad_logits));
  }
  Gradients backward(Outputs& out, const Gradients& before, int threads, const Asked& asked,
                     const std::vector<duet_const_matrix>& by_u, const std::vector<duet_const_matrix>& by_logits) {
    Context context(threads);
    Gradients grad = before;
    with_inputs(context, [&](const duet_head_inputs& in, duet_workspace scratch) {
      SUCCEED_CALL(duet_head_backward(
          context, &in,
          sized<duet_head_gradients>({.u = const_views(out.u).data(),
                                      .grad_u = by_u.empty() ? nullptr : by_u.data(),
                                      .grad_logits = by_logits.empty() ? nullptr : by_logits.data(),
                                      .grad_x = asked.x ? views(grad.x).data() : nullptr,
                                      .grad_weight = asked.weight ? grad.weight.matrix() : duet_matrix{},
                                      .grad_bias = asked.bias ? grad.bias.vector() : duet_vector{}}),
          scratch));
    });
    return grad;
  }
  // body(inputs, workspace of exactly the bytes that are asked for)
  template <class Body>
  void with_inputs(duet_context* context, Body&& body) {
    const std::vector<duet_const_matrix> from = const_views(x);
    const duet_head_inputs in = inputs(from);
    size_t bytes = 0;
    SUCCEED_CALL(duet_head_workspace(context, &in, &bytes));
    const Scratch scratch(bytes);
    body(in, scratch.view());
  }
  duet_head_inputs inputs(const std::vector<duet_const_matrix>& from) {
    duet_head_inputs in = DUET_HEAD_INPUTS_INIT;
    in.x = from.data(), in.count = shape.count, in.weight = weight.matrix(), in.eps = shape.eps,
    in.output_scale = shape.scale;
    if (shape.bias) in.bias = bias.vector();
    return in;
  }

  template <class T>
  reference::HeadOf<T> reference_in() const {
    return {shape.rows,        shape.columns,      shape.classes,
            values(x),         weight.values(),    shape.bias ? bias.values() : Doubles(),
            double{shape.eps}, double{shape.scale}};
  }
  static std::vector<Doubles> values(const std::vector<Floats>& arrays) {
    std::vector<Doubles> out;
    for (const Floats& array : arrays) out.push_back(array.values());
    return out;
  }
};

// Twice the error of the naive float32 sums, and an ulp of the largest entry for the rounding of the result and for the
// addition to what was there.
inline void check_sums(const Floats& given, const Doubles& before, const Doubles& sums, const Doubles& naive,
                       const std::string& what) {
  double worst = 0;
  Doubles expected = sums;
  for (size_t e = 0; e < sums.size(); ++e) {
    if (std::isfinite(sums[e])) worst = std::max(worst, std::abs(naive[e] - sums[e]));
    if (!before.empty()) expected[e] += before[e];
  }
  check_close(given.values(), expected, 2 * worst + 1.2e-7 * std::max({largest(sums), largest(before), 1e-30}), what);
}

inline void check_outputs(const Problem& problem, const Outputs& out) {
  const auto expected = problem.reference_in<double>().forward();
  const auto naive = problem.reference_in<float>().forward();
  for (size_t k = 0; k < out.u.size(); ++k) {
    // Worked out in double and rounded once.
    check_relative(out.u[k].values(), expected.u[k], 1.2e-7, "u", 1e-45);
    check_sums(out.logits[k], {}, expected.logits[k], naive.logits[k], "logits");
  }
}
inline void check_gradients(const Problem& problem, const Gradients& grad, const Gradients& before,
                            const std::vector<Doubles>& by_u, const std::vector<Doubles>& by_logits) {
  const auto expected = problem.reference_in<double>().backward(by_u, by_logits);
  const auto naive = problem.reference_in<float>().backward(by_u, by_logits);
  for (size_t k = 0; k < grad.x.size(); ++k)
    check_sums(grad.x[k], before.x[k].values(), expected.x[k], naive.x[k], "grad_x");
  check_sums(grad.weight, before.weight.values(), expected.weight, naive.weight, "grad_weight");
  check_sums(grad.bias, before.bias.values(), expected.bias, naive.bias, "grad_bias");
}

}  // namespace duet::test::head
