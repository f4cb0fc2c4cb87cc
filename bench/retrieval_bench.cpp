#include <array>
#include <numeric>

#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

enum class Kind { measures, average_precision, top_k };

constexpr int64_t kBest = 10;
constexpr std::array<int64_t, 3> kCutoffs = {1, 5, 10};

Longs cutoffs() {
  Longs out(static_cast<int64_t>(kCutoffs.size()));
  std::copy(kCutoffs.begin(), kCutoffs.end(), &out[0]);
  return out;
}

struct Set {
  Floats queries, gallery;
  Ints query_labels, gallery_labels, relevant, indices;
  Longs cutoffs;
  Floats average_precision, precision_at_r, precision_over_cutoffs, recall, precision_recall, matching, pair_recall,
      scores;
};

class Retrieval : public Rotating<Set> {
 public:
  Retrieval(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d, classes = setting.shape.classes;
    const int64_t best = std::min(kBest, m);
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.unit_rows(n, d),
                     draw.unit_rows(m, d),
                     draw.labels(n, classes),
                     draw.labels(m, classes),
                     Ints(n),
                     Ints(n, best),
                     cutoffs(),
                     Floats(n),
                     Floats(n),
                     Floats(n),
                     Floats(n, static_cast<int64_t>(kCutoffs.size())),
                     Floats(n, 11),
                     Floats(n),
                     Floats(n, static_cast<int64_t>(kCutoffs.size())),
                     Floats(n, best)};
        },
        [](const Set& s) { return bytes_of(s.queries, s.gallery, s.precision_recall, s.indices, s.scores); });
    const duet_retrieval_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_retrieval_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    // A full ranking sorts m keys a query; the best few take a comparison an item.
    const double entry = kind != Kind::top_k ? std::log2(static_cast<double>(std::max<int64_t>(2, m))) + 8 : 1;
    const double written =
        kind == Kind::measures
            ? bytes_of(s.relevant, s.average_precision, s.precision_at_r, s.precision_over_cutoffs, s.recall,
                       s.precision_recall, s.matching, s.pair_recall, s.query_labels, s.gallery_labels)
        : kind == Kind::average_precision ? bytes_of(s.average_precision, s.query_labels, s.gallery_labels)
                                          : bytes_of(s.indices, s.scores);
    forward_cost = {2 * pairs * d + entry * pairs, bytes_of(s.queries, s.gallery) + written, 1};
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_retrieval_inputs in = inputs(s);
    if (kind_ == Kind::top_k)
      return succeed(duet_retrieval_top_k(
          context_, &in,
          sized<duet_retrieval_top_k_outputs>({.indices = s.indices.matrix(), .scores = s.scores.matrix()}),
          scratch_.view()));
    duet_retrieval_outputs out = DUET_RETRIEVAL_OUTPUTS_INIT;
    out.average_precision = s.average_precision.vector();
    if (kind_ == Kind::average_precision) return succeed(duet_retrieval_forward(context_, &in, &out, scratch_.view()));
    out.relevant = s.relevant.vector(), out.precision_at_r = s.precision_at_r.vector();
    out.precision_over_cutoffs = s.precision_over_cutoffs.vector(), out.recall = s.recall.matrix();
    out.precision_recall = s.precision_recall.matrix(), out.matching = s.matching.vector(),
    out.pair_recall = s.pair_recall.matrix();
    succeed(duet_retrieval_forward(context_, &in, &out, scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.queries.rows())) {
      Doubles similarity;
      for (int64_t j = 0; j < s.gallery.rows(); ++j)
        similarity.push_back(1 - distance(DUET_METRIC_COSINE, s.queries.row(i), s.gallery.row(j), s.queries.columns()));
      std::vector<int32_t> order(similarity.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return similarity[static_cast<size_t>(a)] > similarity[static_cast<size_t>(b)];
      });
      kind_ == Kind::top_k ? verify_best(i, similarity, order) : verify_measures(i, similarity, order);
    }
  }

 private:
  duet_retrieval_inputs inputs(const Set& s) const {
    duet_retrieval_inputs in = DUET_RETRIEVAL_INPUTS_INIT;
    in.queries = s.queries.matrix(), in.gallery = s.gallery.matrix();
    in.query_labels = s.query_labels.vector(), in.gallery_labels = s.gallery_labels.vector(), in.paired = 1;
    in.cutoffs = s.cutoffs.vector();
    return in;
  }

  void verify_best(int64_t i, const Doubles& similarity, const std::vector<int32_t>& order) {
    const Set& s = set(0);
    for (int64_t k = 0; k < s.indices.columns(); ++k) {
      const int32_t index = s.indices.row(i)[k];
      expect(index >= 0 && index < s.gallery.rows(), "indices", i);
      // Neighbours closer than float32 tells apart may change places; the scores then agree all the same.
      expect_close("scores", i, s.scores.row(i)[k], similarity[static_cast<size_t>(order[static_cast<size_t>(k)])]);
      expect_close("score of indices", i, similarity[static_cast<size_t>(index)], s.scores.row(i)[k]);
    }
  }

  void verify_measures(int64_t i, const Doubles& similarity, const std::vector<int32_t>& order) {
    const Set& s = set(0);
    const auto is_relevant = [&](int32_t j) { return s.gallery_labels[j] == s.query_labels[i]; };
    const double total = static_cast<double>(std::count_if(order.begin(), order.end(), is_relevant));
    if (kind_ == Kind::measures) expect_close("relevant", i, s.relevant[i], total);
    if (total > 0) {
      double found = 0, average = 0, at_r = 0, over = 0;
      for (size_t k = 0; k < order.size(); ++k) {
        const double relevant = is_relevant(order[k]), cut = static_cast<double>(k + 1);
        found += relevant;
        average += relevant * found / cut;
        if (found > 0) over += average / found;
        if (cut <= total) at_r += relevant * found / cut;
      }
      expect_close("average_precision", i, s.average_precision[i], average / total, 1);
      if (kind_ == Kind::average_precision) return;
      expect_close("precision_at_r", i, s.precision_at_r[i], at_r / total, 1);
      expect_close("precision_over_cutoffs", i, s.precision_over_cutoffs[i], over / static_cast<double>(order.size()),
                   1);
    }
    if (kind_ == Kind::average_precision || i >= s.gallery.rows()) return;
    double below = 0, others = 0;
    for (size_t j = 0; j < similarity.size(); ++j) {
      if (is_relevant(static_cast<int32_t>(j))) continue;
      const double own = similarity[static_cast<size_t>(i)];
      others += 1, below += similarity[j] < own ? 1 : similarity[j] == own ? 0.5 : 0;
    }
    // A neighbour that changes places moves the share by one in others.
    if (others > 0) expect_close("matching", i, s.matching[i], below / others, 1 + 1e3 / others);
  }

  duet_context* context_;
  Kind kind_;
  Scratch scratch_;
};

Registration variant(const char* name, Kind kind) {
  return {"retrieval", name, Passes::forward_only,
          [kind](const Setting& setting) { return std::make_unique<Retrieval>(setting, kind); }};
}
const Registration kVariants[] = {variant("measures", Kind::measures),
                                  variant("average_precision", Kind::average_precision), variant("top_k", Kind::top_k)};

}  // namespace
}  // namespace duet::bench
