#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

struct Set {
  Floats x, y, distances, grad_distances, grad_x, grad_y;
};

class Distance : public Rotating<Set> {
 public:
  Distance(const Setting& setting, duet_metric metric) : context_(setting.context), metric_(metric) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.unit_rows(n, d),       draw.unit_rows(m, d), Floats(n, m),
                     draw.uniforms(n, m, -1, 1), Floats(n, d),         Floats(m, d)};
        },
        [](const Set& s) { return bytes_of(s.x, s.y, s.distances, s.grad_distances, s.grad_x, s.grad_y); });
    const duet_distance_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_distance_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    // An entry costs the expansion's two sums and its maximum with 0, then a root; a gradient's entry at most a
    // division and a sum.
    forward_cost = {2 * pairs * d + (metric == DUET_METRIC_INNER       ? 0
                                     : metric == DUET_METRIC_EUCLIDEAN ? 4
                                                                       : 3) *
                                        pairs,
                    bytes_of(s.x, s.y, s.distances), 1};
    backward_cost = {4 * pairs * d + 2 * pairs, bytes_of(s.x, s.y, s.grad_distances) + 2 * bytes_of(s.grad_x, s.grad_y),
                     2};
    if (metric == DUET_METRIC_EUCLIDEAN) backward_cost.bytes += s.distances.bytes();
    product = {n, m, d};
  }

  void forward(int k) override {
    const duet_distance_inputs in = inputs(set(k));
    succeed(duet_distance_forward(context_, &in, sized<duet_distance_outputs>({.distances = set(k).distances.matrix()}),
                                  scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_distance_inputs in = inputs(s);
    succeed(duet_distance_backward(
        context_, &in,
        sized<duet_distance_gradients>(
            {.distances = metric_ == DUET_METRIC_EUCLIDEAN ? s.distances.matrix() : duet_matrix{},
             .grad_distances = s.grad_distances.matrix(),
             .grad_x = s.grad_x.matrix(),
             .grad_y = s.grad_y.matrix()}),
        scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected;
      for (int64_t j = 0; j < s.y.rows(); ++j)
        expected.push_back(distance(metric_, s.x.row(i), s.y.row(j), s.x.columns()));
      expect_row("distances", i, s.distances.row(i), expected);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.x.columns();
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < s.y.rows(); ++j)
        add_distance_gradient(metric_, s.x.row(i), s.y.row(j), d, s.grad_distances.row(i)[j], expected);
      expect_row("grad_x", i, s.grad_x.row(i), expected);
    }
    for (const int64_t j : spots(s.y.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t i = 0; i < s.x.rows(); ++i)
        add_distance_gradient(metric_, s.y.row(j), s.x.row(i), d, s.grad_distances.row(i)[j], expected);
      expect_row("grad_y", j, s.grad_y.row(j), expected);
    }
  }

 private:
  duet_distance_inputs inputs(const Set& s) const {
    duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
    in.x = s.x.matrix(), in.y = s.y.matrix(), in.metric = metric_;
    return in;
  }

  duet_context* context_;
  duet_metric metric_;
  Scratch scratch_;
};

Registration variant(const char* name, duet_metric metric) {
  return {"distance", name, Passes::forward_and_backward,
          [metric](const Setting& setting) { return std::make_unique<Distance>(setting, metric); }};
}
const Registration kVariants[] = {variant("sqeuclidean", DUET_METRIC_SQEUCLIDEAN),
                                  variant("euclidean", DUET_METRIC_EUCLIDEAN), variant("cosine", DUET_METRIC_COSINE),
                                  variant("inner", DUET_METRIC_INNER)};

}  // namespace
}  // namespace duet::bench
