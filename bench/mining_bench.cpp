#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

enum class Kind { hard, semihard, distance_weighted };

constexpr float kMargin = 0.2f;
constexpr uint64_t kSeed = 7;
constexpr int64_t kStep = 1;

// What hard writes for the anchors of one side.
struct Chosen {
  Ints positive, negative;
  Floats positive_distance, negative_distance;

  explicit Chosen(int64_t anchors)
      : positive(anchors), negative(anchors), positive_distance(anchors), negative_distance(anchors) {}
  duet_mining_hard_side outputs() const {
    duet_mining_hard_side out = DUET_MINING_HARD_SIDE_INIT;
    out.positive_index = positive.vector(), out.negative_index = negative.vector();
    out.positive_distance = positive_distance.vector(), out.negative_distance = negative_distance.vector();
    return out;
  }
  double bytes() const { return bytes_of(positive, negative, positive_distance, negative_distance); }
};

struct Set {
  Floats x, y;
  Ints labels_x, labels_y;
  Chosen rows, columns;
  Ints list;
  Floats list_distances;

  double inputs_bytes() const { return bytes_of(x, y, labels_x, labels_y); }
};

class Mining : public Rotating<Set> {
 public:
  Mining(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind), step_(whole_scalar(kStep)) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          Set s{draw.unit_rows(n, d),
                draw.unit_rows(m, d),
                draw.labels(n, classes),
                draw.labels(m, classes),
                Chosen(n),
                Chosen(m),
                {},
                {}};
          const int64_t rows = kind == Kind::semihard ? positive_pairs(s, classes) : n;
          s.list = Ints(rows, kind == Kind::semihard ? 3 : 1),
          s.list_distances = Floats(rows, kind == Kind::semihard ? 2 : 1);
          return s;
        },
        [](const Set& s) {
          return s.inputs_bytes() + s.rows.bytes() + s.columns.bytes() + bytes_of(s.list, s.list_distances);
        });
    const duet_mining_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_mining_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    // Beside its distance a pair costs a comparison or two each way; for a draw a root and three logarithms.
    const double entry = kind == Kind::distance_weighted ? 15 : 7;
    const double written = kind == Kind::hard ? s.rows.bytes() + s.columns.bytes() : bytes_of(s.list, s.list_distances);
    forward_cost = {2 * pairs * d + entry * pairs, s.inputs_bytes() + written, 1};
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    duet_mining_inputs in = inputs(s);
    if (kind_ == Kind::hard) {
      const duet_mining_hard_side rows = s.rows.outputs(), columns = s.columns.outputs();
      succeed(duet_mining_hard(context_, &in, sized<duet_mining_hard_outputs>({.rows = &rows, .columns = &columns}),
                               scratch_.view()));
    } else if (kind_ == Kind::semihard) {
      in.margin = kMargin;
      succeed(duet_mining_semihard(
          context_, &in,
          sized<duet_mining_semihard_outputs>({.triplets = s.list.matrix(), .distances = s.list_distances.matrix()}),
          scratch_.view()));
    } else {
      duet_mining_draw draw = DUET_MINING_DRAW_INIT;
      draw.seed = kSeed, draw.step = step_.vector(), draw.slots = 1;
      in.draw = &draw;
      succeed(duet_mining_distance_weighted(context_, &in,
                                            sized<duet_mining_distance_weighted_outputs>(
                                                {.negatives = s.list.matrix(), .distances = s.list_distances.matrix()}),
                                            scratch_.view()));
    }
  }

  void verify_forward() override {
    const Set& s = set(0);
    if (kind_ == Kind::hard) {
      verify_hard(s.x, s.y, s.labels_x, s.labels_y, s.rows);
      verify_hard(s.y, s.x, s.labels_y, s.labels_x, s.columns);
    } else if (kind_ == Kind::semihard) {
      for (const int64_t row : spots(s.list.rows())) verify_semihard(s, row);
    } else {
      for (const int64_t i : spots(s.x.rows())) verify_drawn(s, i);
    }
  }

 private:
  static int64_t positive_pairs(const Set& s, int64_t classes) {
    std::vector<int64_t> of_class(static_cast<size_t>(classes));
    for (int64_t j = 0; j < s.labels_y.size(); ++j) ++of_class[static_cast<size_t>(s.labels_y[j])];
    int64_t pairs = 0;
    for (int64_t i = 0; i < s.labels_x.size(); ++i) pairs += of_class[static_cast<size_t>(s.labels_x[i])];
    return pairs;
  }

  duet_mining_inputs inputs(const Set& s) const {
    duet_mining_inputs in = DUET_MINING_INPUTS_INIT;
    in.x = s.x.matrix(), in.y = s.y.matrix(), in.labels_x = s.labels_x.vector(), in.labels_y = s.labels_y.vector();
    in.metric = DUET_METRIC_SQEUCLIDEAN;
    return in;
  }

  static Doubles row_distances(duet_metric metric, const float* anchor, const Floats& others) {
    Doubles out;
    for (int64_t j = 0; j < others.rows(); ++j)
      out.push_back(distance(metric, anchor, others.row(j), others.columns()));
    return out;
  }

  // The chosen index has the right label, its distance is the one reported, and no candidate is better by more than a
  // tie.
  static void verify_hard(const Floats& anchors, const Floats& others, const Ints& labels, const Ints& other_labels,
                          const Chosen& chosen) {
    for (const int64_t i : spots(anchors.rows())) {
      const Doubles distances = row_distances(DUET_METRIC_SQEUCLIDEAN, anchors.row(i), others);
      double farthest = -INFINITY, nearest = INFINITY;
      for (int64_t j = 0; j < others.rows(); ++j) {
        const double value = distances[static_cast<size_t>(j)];
        other_labels[j] == labels[i] ? farthest = std::max(farthest, value) : nearest = std::min(nearest, value);
      }
      const int32_t p = chosen.positive[i], q = chosen.negative[i];
      expect((p >= 0) == std::isfinite(farthest) && (q >= 0) == std::isfinite(nearest), "index", i);
      if (p >= 0) {
        expect(other_labels[p] == labels[i] && distances[static_cast<size_t>(p)] >= farthest - exactness.tie,
               "positive_index", i);
        expect_close("positive_distance", i, chosen.positive_distance[i], farthest);
      }
      if (q >= 0) {
        expect(other_labels[q] != labels[i] && distances[static_cast<size_t>(q)] <= nearest + exactness.tie,
               "negative_index", i);
        expect_close("negative_distance", i, chosen.negative_distance[i], nearest);
      }
    }
  }

  static void verify_semihard(const Set& s, int64_t row) {
    const int32_t anchor = s.list.row(row)[0], positive = s.list.row(row)[1], negative = s.list.row(row)[2];
    expect(anchor >= 0 && anchor < s.x.rows() && positive >= 0 && positive < s.y.rows() && negative < s.y.rows(),
           "triplets", row);
    expect(s.labels_x[anchor] == s.labels_y[positive], "positive", row);
    const Doubles distances = row_distances(DUET_METRIC_SQEUCLIDEAN, s.x.row(anchor), s.y);
    const double own = distances[static_cast<size_t>(positive)];
    double nearest = INFINITY;  // of those that are semihard beyond doubt
    for (int64_t j = 0; j < s.y.rows(); ++j) {
      const double value = distances[static_cast<size_t>(j)];
      if (s.labels_y[j] != s.labels_x[anchor] && value > own + exactness.tie && value < own + kMargin - exactness.tie)
        nearest = std::min(nearest, value);
    }
    if (negative < 0) return expect(nearest == INFINITY, "negative", row);
    const double value = distances[static_cast<size_t>(negative)];
    expect(s.labels_y[negative] != s.labels_x[anchor] && value > own - exactness.tie &&
               value < own + kMargin + exactness.tie && value <= nearest + exactness.tie,
           "negative", row);
  }

  void verify_drawn(const Set& s, int64_t i) const {
    const int64_t d = s.x.columns();
    const Doubles distances = row_distances(DUET_METRIC_EUCLIDEAN, s.x.row(i), s.y);
    const auto key = [&](int64_t j) {
      return distance_weighted_key(distances[static_cast<size_t>(j)], d, kSeed, kStep, i * s.y.rows() + j);
    };
    double best = -INFINITY;
    for (int64_t j = 0; j < s.y.rows(); ++j)
      if (s.labels_y[j] != s.labels_x[i] && distances[static_cast<size_t>(j)] < 1.4 - exactness.tie)
        best = std::max(best, key(j));
    const int32_t drawn = s.list[i];
    if (drawn < 0) return expect(best == -INFINITY, "negatives", i);
    // log q moves d times as far as a distance does.
    expect(drawn < s.y.rows() && s.labels_y[drawn] != s.labels_x[i] &&
               key(drawn) >= best - static_cast<double>(d + 1) * exactness.tie,
           "negatives", i);
    expect_close("distances", i, s.list_distances[i], distances[static_cast<size_t>(drawn)]);
  }

  duet_context* context_;
  Kind kind_;
  Longs step_;
  Scratch scratch_;
};

Registration variant(const char* name, Kind kind) {
  return {"mining", name, Passes::forward_only,
          [kind](const Setting& setting) { return std::make_unique<Mining>(setting, kind); }};
}
const Registration kVariants[] = {variant("hard", Kind::hard), variant("semihard", Kind::semihard),
                                  variant("distance_weighted", Kind::distance_weighted)};

}  // namespace
}  // namespace duet::bench
