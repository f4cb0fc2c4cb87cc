#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

struct Set {
  Floats source;
  Longs indices;
  Floats rows, grad_rows, grad_source;
};

// m rows out of n, d wide.
class Gather : public Rotating<Set> {
 public:
  explicit Gather(const Setting& setting) : context_(setting.context) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          Set s{draw.normals(n, d), Longs(m), Floats(m, d), draw.uniforms(m, d, -1, 1), Floats(n, d)};
          for (int64_t i = 0; i < m; ++i) s.indices[i] = draw.below(n);
          return s;
        },
        [](const Set& s) { return bytes_of(s.source, s.indices, s.rows, s.grad_rows, s.grad_source); });
    const Set& s = set(0);
    forward_cost = {0, s.indices.bytes() + 2 * s.rows.bytes(), 0};
    backward_cost = {static_cast<double>(s.rows.size()), s.indices.bytes() + 3 * s.rows.bytes(), 0};
  }

  void forward(int k) override {
    Set& s = set(k);
    succeed(duet_gather_forward(context_,
                                sized<duet_gather_inputs>({.source = s.source.matrix(), .indices = s.indices.vector()}),
                                sized<duet_gather_outputs>({.rows = s.rows.matrix()})));
  }

  void backward(int k) override {
    Set& s = set(k);
    succeed(duet_gather_backward(
        context_, sized<duet_gather_inputs>({.indices = s.indices.vector()}),
        sized<duet_gather_gradients>({.grad_rows = s.grad_rows.matrix(), .grad_source = s.grad_source.matrix()})));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.rows.rows())) {
      const float* from = s.source.row(s.indices[i]);
      expect(std::equal(from, from + s.rows.columns(), s.rows.row(i)), "rows", i);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    for (const int64_t r : spots(s.source.rows())) {
      Doubles expected(static_cast<size_t>(s.rows.columns()));
      for (int64_t i = 0; i < s.indices.size(); ++i)
        for (int64_t k = 0; k < s.rows.columns() && s.indices[i] == r; ++k)
          expected[static_cast<size_t>(k)] += s.grad_rows.row(i)[k];
      expect_row("grad_source", r, s.grad_source.row(r), expected);
    }
  }

 private:
  duet_context* context_;
};

const Registration kVariant("gather", "rows", Passes::forward_and_backward,
                            [](const Setting& setting) { return std::make_unique<Gather>(setting); });

}  // namespace
}  // namespace duet::bench
