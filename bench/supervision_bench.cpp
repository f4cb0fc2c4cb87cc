#include "bench/bench.h"
#include "bench/verify.h"
#include "kernels/core/philox.h"

namespace duet::bench {
namespace {

constexpr uint64_t kSeed = 7;
constexpr int64_t kEpoch = 3;
constexpr double kRatio = 0.6;

struct Set {
  Ints labels;
  Longs sample_ids;
  Floats logits_a, logits_v, predicted, concord, class_q, trust, kappa, annotated, hidden_trust, counts, pair_weight;
};

// n pairs of C classes, a third of them without a label.
class Supervision : public Rotating<Set> {
 public:
  explicit Supervision(const Setting& setting)
      : context_(setting.context),
        classes_(setting.shape.classes),
        prior_(classes_),
        ratio_(scalar(kRatio)),
        epoch_(whole_scalar(kEpoch)) {
    const int64_t n = setting.shape.n;
    const float even = 1 / static_cast<float>(classes_);
    for (int64_t c = 0; c < classes_; ++c) prior_[c] = even;
    draw_sets(
        [&](Draw& draw) {
          Set s{draw.labels(n, classes_),
                Longs(n),
                draw.normals(n, classes_, 2),
                draw.normals(n, classes_, 2),
                Floats(classes_),
                Floats(1),
                Floats(n, classes_),
                Floats(n),
                Floats(n),
                Floats(n),
                Floats(n),
                Floats(2),
                Floats(1)};
          for (int64_t i = 0; i < n; ++i) s.sample_ids[i] = i, s.labels[i] = i % 3 == 0 ? -1 : s.labels[i];
          for (int64_t c = 0; c < classes_; ++c) s.predicted[c] = even;
          return s;
        },
        [](const Set& s) { return bytes_of(s.logits_a, s.logits_v, s.class_q, s.labels, s.sample_ids); });
    const duet_supervision_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_supervision_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);
    const Set& s = set(0);
    // A softmax a sample, a class named by each of two heads, and the lift.
    forward_cost = {20 * static_cast<double>(n) * classes_,
                    bytes_of(s.labels, s.sample_ids, s.logits_a, s.logits_v, prior_, s.class_q, s.trust, s.kappa,
                             s.annotated, s.hidden_trust, s.counts, s.pair_weight) +
                        2 * bytes_of(s.predicted, s.concord),
                    0};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_supervision_inputs in = inputs(s);
    duet_supervision_state state = DUET_SUPERVISION_STATE_INIT;
    state.predicted = s.predicted.vector(), state.concord = s.concord.vector();
    duet_supervision_outputs out = DUET_SUPERVISION_OUTPUTS_INIT;
    out.class_q = s.class_q.matrix(), out.trust = s.trust.vector(), out.kappa = s.kappa.vector(),
    out.annotated = s.annotated.vector();
    out.hidden_trust = s.hidden_trust.vector(), out.counts = s.counts.vector(),
    out.pair_weight = s.pair_weight.vector();
    succeed(duet_supervision_forward(context_, &in, &state, &out, scratch_.view()));
  }

  // METHOD.md 6.3 and 6.4 in double, on the first step from an even state.
  void verify_forward() override {
    const Set& s = set(0);
    const int64_t n = s.labels.size();
    Doubles mean(static_cast<size_t>(classes_)), lift;
    for (int64_t i = 0; i < n; ++i) {
      const Doubles p = softmax(i, 0.5, 0.5);
      for (size_t c = 0; c < p.size(); ++c) mean[c] += p[c] / static_cast<double>(n);
    }
    for (int64_t c = 0; c < classes_; ++c) {
      const double predicted = 0.95 / static_cast<double>(classes_) + 0.05 * mean[static_cast<size_t>(c)];
      expect_close("predicted", c, s.predicted[c], predicted);
      lift.push_back(std::min(prior_[c] / predicted, 100.0));
    }
    double annotated = 0;
    for (int64_t i = 0; i < n; ++i) annotated += is_annotated(i);
    expect_close("counts", 0, s.counts[0], annotated);
    expect_close("counts", 1, s.counts[1], static_cast<double>(n) - annotated);
    for (const int64_t i : spots(n)) {
      expect(s.annotated[i] == float(is_annotated(i)), "annotated", i);
      Doubles q(static_cast<size_t>(classes_));
      double total = 0;
      if (is_annotated(i)) {
        q[static_cast<size_t>(s.labels[i])] = total = 1;
      } else {
        q = softmax(i, 0.5, 0.5);
        for (size_t c = 0; c < q.size(); ++c) total += q[c] *= lift[c];
      }
      for (double& value : q) value /= total;
      expect_row("class_q", i, s.class_q.row(i), q);
      expect_close("kappa", i, s.kappa[i], is_annotated(i) ? 1 : 0.5);
      const bool trusted = is_annotated(i) || largest(softmax(i, 1, 0), lift) == largest(softmax(i, 0, 1), lift);
      expect(s.trust[i] == float(trusted) && s.hidden_trust[i] == float(trusted && !is_annotated(i)), "trust", i);
    }
    expect_close("pair_weight", 0, s.pair_weight[0],
                 3 * ((1 - double{s.concord[0]}) + std::pow(double{s.concord[0]}, 8)));
  }

 private:
  bool is_annotated(int64_t i) {
    return set(0).labels[i] >= 0 &&
           random_word(kSeed, kStreamAnnotatedSplit, kEpoch, static_cast<uint64_t>(i)) < coin_threshold(float(kRatio));
  }

  // Of a share of one head's logits and a share of the other's.
  Doubles softmax(int64_t i, double share_a, double share_v) {
    Doubles out;
    for (int64_t c = 0; c < classes_; ++c)
      out.push_back(share_a * set(0).logits_a.row(i)[c] + share_v * set(0).logits_v.row(i)[c]);
    const double lse = log_sum_exp(out);
    for (double& value : out) value = std::exp(value - lse);
    return out;
  }

  static size_t largest(Doubles p, const Doubles& lift) {
    for (size_t c = 0; c < p.size(); ++c) p[c] *= lift[c];
    return static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin());
  }

  duet_supervision_inputs inputs(const Set& s) const {
    duet_supervision_inputs in = DUET_SUPERVISION_INPUTS_INIT;
    in.labels = s.labels.vector(), in.sample_ids = s.sample_ids.vector(), in.logits_a = s.logits_a.matrix(),
    in.logits_v = s.logits_v.matrix();
    in.prior = prior_.vector(), in.ratio = ratio_.vector(), in.epoch = epoch_.vector(), in.seed = kSeed, in.hide = 1;
    return in;
  }

  duet_context* context_;
  int64_t classes_;
  Floats prior_, ratio_;
  Longs epoch_;
  Scratch scratch_;
};

const Registration kVariant("supervision", "hide_lift_trust", Passes::forward_only,
                            [](const Setting& setting) { return std::make_unique<Supervision>(setting); });

}  // namespace
}  // namespace duet::bench
