#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

enum class Kind { all_soft, all_hard_labels, hard, semihard, distance_weighted };

constexpr double kMargin = 0.2f;
constexpr uint64_t kSeed = 7;
constexpr int64_t kStep = 1;

struct Set {
  Floats x, y, class_x, class_y, trust_x, trust_y;
  Ints labels_x, labels_y;
  Floats row_loss, row_active, loss, active, grad_x, grad_y;
};

class Triplet : public Rotating<Set> {
 public:
  Triplet(const Setting& setting, Kind kind)
      : context_(setting.context), kind_(kind), step_(whole_scalar(kStep)), grad_loss_(scalar(1)) {
    draw_.seed = kSeed, draw_.step = step_.vector(), draw_.slots = 1;
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          Set s{draw.unit_rows(n, d),
                draw.unit_rows(m, d),
                {},
                {},
                {},
                {},
                draw.labels(n, classes),
                draw.labels(m, classes),
                Floats(n),
                Floats(n),
                Floats(1),
                Floats(1),
                Floats(n, d),
                Floats(m, d)};
          if (soft()) {
            s.class_x = draw.distributions(n, classes), s.class_y = draw.distributions(m, classes);
            s.trust_x = draw.coins(n, 1, 0.5f), s.trust_y = draw.coins(m, 1, 0);
          }
          return s;
        },
        [&](const Set& s) { return read(s) + bytes_of(s.row_loss, s.row_active, s.grad_x, s.grad_y); });
    const duet_triplet_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_triplet_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    const bool all = soft() || kind == Kind::all_hard_labels;
    // A sort of m keys is m log2 m comparisons; an entry has its distance, its weights and its place in the prefix
    // sums.
    const double entry = (all ? 12 + std::log2(static_cast<double>(std::max<int64_t>(2, m))) : 8) +
                         (soft() ? 2.0 * static_cast<double>(classes) : 0);
    const bool dense = kind != Kind::hard;  // hard has two entries a row to scatter, the others a matrix of them
    forward_cost = {2 * pairs * d + entry * pairs, read(s) + bytes_of(s.row_loss, s.row_active), 1};
    backward_cost = {(dense ? 6 : 2) * pairs * d + entry * pairs, read(s) + 2 * bytes_of(s.grad_x, s.grad_y),
                     dense ? 3 : 1};
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_triplet_inputs in = inputs(s);
    succeed(duet_triplet_forward(
        context_, &in,
        sized<duet_triplet_outputs>({.row_loss = s.row_loss.vector(), .row_active = s.row_active.vector()}),
        scratch_.view()));
    succeed(duet_triplet_loss(
        context_,
        sized<duet_triplet_loss_inputs>({.row_loss = s.row_loss.vector(), .row_active = s.row_active.vector()}),
        sized<duet_triplet_loss_outputs>({.loss = s.loss.vector(), .active = s.active.vector()})));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_triplet_inputs in = inputs(s);
    succeed(duet_triplet_backward(context_, &in,
                                  sized<duet_triplet_gradients>({.active = s.active.vector(),
                                                                 .grad_loss = grad_loss_.vector(),
                                                                 .grad_x = s.grad_x.matrix(),
                                                                 .grad_y = s.grad_y.matrix()}),
                                  scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    double loss = 0, active = 0;
    for (int64_t i = 0; i < s.x.rows(); ++i) loss += s.row_loss[i], active += s.row_active[i];
    expect_close("active", 0, s.active[0], active);
    expect_close("loss", 0, s.loss[0], active > 0 ? loss / active : 0);
    for (const int64_t i : checked_rows()) {
      const Anchor anchor = brute_force(i);
      expect_close("row_loss", i, s.row_loss[i], anchor.loss);
      expect_close("row_active", i, s.row_active[i], anchor.active, 1);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.x.columns();
    for (const int64_t i : checked_rows()) {
      const Anchor anchor = brute_force(i);
      Doubles expected(static_cast<size_t>(d));
      if (s.active[0] > 0)
        for (int64_t j = 0; j < s.y.rows(); ++j)
          add_distance_gradient(metric(), s.x.row(i), s.y.row(j), d, anchor.grad[static_cast<size_t>(j)] / s.active[0],
                                expected);
      expect_row("grad_x", i, s.grad_x.row(i), expected);
    }
    // Moving every row by the same vector changes no distance, so the two gradients cancel column by column.
    for (int64_t k = 0; k < d; ++k) {
      double sum = 0, size = 0;
      for (int64_t i = 0; i < s.x.rows(); ++i) sum += s.grad_x.row(i)[k], size += std::abs(s.grad_x.row(i)[k]);
      for (int64_t j = 0; j < s.y.rows(); ++j) sum += s.grad_y.row(j)[k], size += std::abs(s.grad_y.row(j)[k]);
      expect_close("sum of grad_x and grad_y, column", k, sum, 0, size);
    }
  }

 protected:
  duet_triplet_inputs inputs(const Set& s) const {
    duet_triplet_inputs in = DUET_TRIPLET_INPUTS_INIT;
    in.x = s.x.matrix(), in.y = s.y.matrix();
    in.metric = metric(), in.margin = static_cast<float>(kMargin);
    if (soft()) {
      in.class_x = s.class_x.matrix(), in.class_y = s.class_y.matrix();
      in.trust_x = s.trust_x.vector(), in.trust_y = s.trust_y.vector(), in.paired = 1;
    } else {
      in.labels_x = s.labels_x.vector(), in.labels_y = s.labels_y.vector();
    }
    in.mining = kind_ == Kind::hard                ? DUET_TRIPLET_MINING_HARD
                : kind_ == Kind::semihard          ? DUET_TRIPLET_MINING_SEMIHARD
                : kind_ == Kind::distance_weighted ? DUET_TRIPLET_MINING_DISTANCE_WEIGHTED
                                                   : DUET_TRIPLET_MINING_ALL;
    if (kind_ == Kind::distance_weighted) in.draw = &draw_;
    return in;
  }

  duet_context* context_;
  Kind kind_;
  Longs step_;
  duet_mining_draw draw_ = DUET_MINING_DRAW_INIT;
  Floats grad_loss_;
  Scratch scratch_;

 private:
  struct Anchor {
    double loss = 0, active = 0;
    Doubles grad;  // d loss / d D_ij
  };

  bool soft() const { return kind_ == Kind::all_soft; }
  // distance_weighted draws by the Euclidean distance, so that is what its loss is measured in; the others as METHOD.md
  // 6.5 has it.
  duet_metric metric() const {
    return kind_ == Kind::distance_weighted ? DUET_METRIC_EUCLIDEAN : DUET_METRIC_SQEUCLIDEAN;
  }

  double read(const Set& s) const {
    return bytes_of(s.x, s.y) +
           (soft() ? bytes_of(s.class_x, s.class_y, s.trust_x, s.trust_y) : bytes_of(s.labels_x, s.labels_y));
  }

  // The brute force is quadratic in m.
  std::vector<int64_t> checked_rows() {
    const Set& s = set(0);
    return s.y.rows() > 8192 ? std::vector<int64_t>{s.x.rows() / 2} : spots(s.x.rows());
  }

  // Everything that METHOD.md 3 says of anchor i.
  Anchor brute_force(int64_t i) {
    const Set& s = set(0);
    const int64_t m = s.y.rows(), d = s.x.columns();
    Doubles distances, positive, negative;
    for (int64_t j = 0; j < m; ++j) {
      distances.push_back(distance(metric(), s.x.row(i), s.y.row(j), d));
      double agreement = s.labels_x[i] == s.labels_y[j], trust = 1;
      if (soft())
        agreement = i == j ? 1 : dot(s.class_x.row(i), s.class_y.row(j), s.class_x.columns()),
        trust = i == j ? 1 : s.trust_y[j];
      positive.push_back(agreement * trust), negative.push_back((1 - agreement) * trust);
    }
    Anchor out;
    out.grad.resize(static_cast<size_t>(m));
    const double weight = soft() ? s.trust_x[i] : 1;
    const auto add = [&](size_t p, size_t n) {
      const double bracket = distances[p] + kMargin - distances[n], w = weight * positive[p] * negative[n];
      if (bracket <= 0) return;
      out.loss += w * bracket, out.active += w, out.grad[p] += w, out.grad[n] -= w;
    };
    const size_t columns = static_cast<size_t>(m);
    if (soft() || kind_ == Kind::all_hard_labels) {
      for (size_t p = 0; p < columns; ++p)
        for (size_t n = 0; n < columns && positive[p] > 0; ++n) add(p, n);
      return out;
    }
    const size_t none = columns;
    size_t farthest = none, nearest = none;
    for (size_t j = 0; j < columns; ++j) {
      if (positive[j] > 0 && (farthest == none || distances[j] > distances[farthest])) farthest = j;
      if (negative[j] > 0 && (nearest == none || distances[j] < distances[nearest])) nearest = j;
    }
    if (kind_ == Kind::hard) {
      if (farthest != none && nearest != none) add(farthest, nearest);
      return out;
    }
    if (kind_ == Kind::distance_weighted) nearest = drawn(i, distances, negative);
    for (size_t p = 0; p < columns; ++p) {
      if (positive[p] == 0) continue;
      if (kind_ == Kind::semihard) {
        nearest = none;
        for (size_t n = 0; n < columns; ++n)
          if (negative[n] > 0 && distances[n] > distances[p] && (nearest == none || distances[n] < distances[nearest]))
            nearest = n;
      }
      if (nearest != none) add(p, nearest);
    }
    return out;
  }

  size_t drawn(int64_t i, const Doubles& distances, const Doubles& negative) {
    size_t best = distances.size();
    double best_key = -INFINITY;
    for (size_t j = 0; j < distances.size(); ++j) {
      if (negative[j] == 0 || distances[j] >= 1.4) continue;
      const int64_t element = i * set(0).y.rows() + static_cast<int64_t>(j);
      const double key = distance_weighted_key(distances[j], set(0).x.columns(), kSeed, kStep, element);
      if (key > best_key) best_key = key, best = j;
    }
    return best;
  }
};

// The way of a training step: forward leaves the gradients, backward divides them.
class OnePass : public Triplet {
 public:
  explicit OnePass(const Setting& setting) : Triplet(setting, Kind::all_soft) {
    const Set& s = set(0);
    sum_x_ = Floats(s.x.rows(), s.x.columns());
    sum_y_ = Floats(s.y.rows(), s.y.columns());
  }
  void forward(int k) override {
    Set& s = set(k);
    const duet_triplet_inputs in = inputs(s);
    succeed(duet_triplet_forward(context_, &in,
                                 sized<duet_triplet_outputs>({.row_loss = s.row_loss.vector(),
                                                              .row_active = s.row_active.vector(),
                                                              .sum_x = sum_x_.matrix(),
                                                              .sum_y = sum_y_.matrix()}),
                                 scratch_.view()));
    succeed(duet_triplet_loss(
        context_,
        sized<duet_triplet_loss_inputs>({.row_loss = s.row_loss.vector(), .row_active = s.row_active.vector()}),
        sized<duet_triplet_loss_outputs>({.loss = s.loss.vector(), .active = s.active.vector()})));
  }
  void backward(int k) override {
    Set& s = set(k);
    succeed(duet_triplet_add_gradient(context_,
                                      sized<duet_triplet_sums>({.sum_x = sum_x_.matrix(), .sum_y = sum_y_.matrix()}),
                                      sized<duet_triplet_gradients>({.active = s.active.vector(),
                                                                     .grad_loss = grad_loss_.vector(),
                                                                     .grad_x = s.grad_x.matrix(),
                                                                     .grad_y = s.grad_y.matrix()})));
  }

 private:
  Floats sum_x_, sum_y_;  // of the set that forward ran on last
};

Registration variant(const char* name, Kind kind) {
  return {"triplet", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Triplet>(setting, kind); }};
}
const Registration kVariants[] = {variant("all_soft", Kind::all_soft),
                                  variant("all_hard_labels", Kind::all_hard_labels),
                                  {"triplet", "all_soft_one_pass", Passes::forward_and_backward,
                                   [](const Setting& setting) { return std::make_unique<OnePass>(setting); }},
                                  variant("hard", Kind::hard),
                                  variant("semihard", Kind::semihard),
                                  variant("distance_weighted", Kind::distance_weighted)};

}  // namespace
}  // namespace duet::bench
