#include "trainer/evaluate.h"

#include "kernels/core/error.h"
#include "runtime/arena.h"

namespace duet {
namespace {

// The mean over the entries that count, in float64; NaN where none does.
class Mean {
 public:
  void add(double value) {
    sum_ += value;
    ++count_;
  }
  double value() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : std::nan(""); }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

// Shares of ranks below each cutoff; entries without a rank (-1) do not count.
std::array<double, 3> recalls(const std::vector<int32_t>& ranks) {
  std::array<Mean, 3> means;
  for (const int32_t rank : ranks)
    for (size_t k = 0; rank >= 0 && k < means.size(); ++k) means[k].add(rank < kRecallCutoffs[k] ? 1 : 0);
  return {means[0].value(), means[1].value(), means[2].value()};
}

DirectionScores rank(duet_context* context, const data::Features& queries, const data::Features& gallery, const std::vector<int32_t>& labels) {
  const size_t n = labels.size();
  const auto count = static_cast<int64_t>(n);
  duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;
  inputs.queries = queries.view();
  inputs.gallery = gallery.view();
  inputs.query_labels = inputs.gallery_labels = duet_i32_vector(labels.data(), count);
  inputs.paired = 1;

  std::vector<int32_t> relevant(n), first_rank(n), own_rank(n);
  std::vector<float> ap(n), at_r(n), all_cutoffs(n), curves(n * 11), matching(n);
  duet_retrieval_outputs outputs = DUET_RETRIEVAL_OUTPUTS_INIT;
  outputs.relevant = duet_i32_vector(relevant.data(), count);
  outputs.average_precision = duet_f32_vector(ap.data(), count);
  outputs.precision_at_r = duet_f32_vector(at_r.data(), count);
  outputs.precision_all_cutoffs = duet_f32_vector(all_cutoffs.data(), count);
  outputs.first_relevant_rank = duet_i32_vector(first_rank.data(), count);
  outputs.precision_recall = duet_f32_matrix(curves.data(), count, 11);
  outputs.matching = duet_f32_vector(matching.data(), count);
  outputs.own_rank = duet_i32_vector(own_rank.data(), count);
  size_t bytes = 0;
  succeed(duet_retrieval_workspace(context, &inputs, &bytes));
  const AlignedBytes scratch = allocate_aligned(bytes);
  succeed(duet_retrieval_forward(context, &inputs, &outputs, {scratch.get(), bytes}));

  DirectionScores scores;
  Mean map, map_at_r, map_all_cutoffs, match;
  std::array<Mean, 11> curve;
  for (size_t i = 0; i < n; ++i) {
    if (!std::isnan(matching[i])) match.add(matching[i]);
    if (relevant[i] == 0) continue;
    ++scores.queries;
    map.add(ap[i]);
    map_at_r.add(at_r[i]);
    map_all_cutoffs.add(all_cutoffs[i]);
    for (size_t l = 0; l < curve.size(); ++l) curve[l].add(curves[i * 11 + l]);
  }
  scores.map = map.value();
  scores.map_at_r = map_at_r.value();
  scores.map_all_cutoffs = map_all_cutoffs.value();
  scores.matching_1_of_2 = match.value();
  scores.recall = recalls(first_rank);
  scores.pair_recall = recalls(own_rank);
  for (size_t l = 0; l < curve.size(); ++l) scores.precision_recall[l] = curve[l].value();
  return scores;
}

}  // namespace

Evaluation evaluate(duet_context* context, const data::Features& a, const data::Features& v, const std::vector<int32_t>& labels) {
  return {rank(context, a, v, labels), rank(context, v, a, labels)};
}

Evaluation evaluate(duet_context* context, const Model& model, const data::Split& split) {
  const int64_t block_rows = model.description().config.evaluation_block_rows;
  return evaluate(context, model.embed(context, 0, split.features[0], block_rows), model.embed(context, 1, split.features[1], block_rows),
                  split.labels);
}

}  // namespace duet
