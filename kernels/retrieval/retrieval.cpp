#include "kernels/retrieval/retrieval.h"

#include "kernels/retrieval/retrieval_backends.h"

namespace duet {
namespace {

enum class Labels { needed, ignored };

RetrievalInputs check(const duet_retrieval_inputs* given, Labels labels) {
  const auto raw = load(given, "inputs");
  RetrievalInputs inputs{};
  inputs.queries = matrix<const float>(raw.queries, "inputs.queries", kAny, kAny);
  inputs.gallery = matrix<const float>(raw.gallery, "inputs.gallery", kAny, inputs.queries.columns);
  require(inputs.gallery.rows < INT32_MAX, "inputs.gallery: expected fewer than 2^31 - 1 rows (ranks are int32), got ", inputs.gallery.rows);
  if (labels == Labels::needed) {
    inputs.query_labels = vector<const int32_t>(raw.query_labels, "inputs.query_labels", inputs.queries.rows);
    inputs.gallery_labels = vector<const int32_t>(raw.gallery_labels, "inputs.gallery_labels", inputs.gallery.rows);
  }
  require(raw.first_row >= 0, "inputs.first_row: expected 0 or more, got ", raw.first_row);
  require(raw.first_column >= 0, "inputs.first_column: expected 0 or more, got ", raw.first_column);
  inputs.paired = raw.paired != 0;
  inputs.first_row = raw.first_row;
  inputs.first_column = raw.first_column;
  return inputs;
}

size_t workspace_bytes(const duet_context* context, const RetrievalInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::retrieval_workspace(*context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns); },
      [&] { return cuda::retrieval_workspace(*context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_retrieval_workspace(const duet_context* context, const duet_retrieval_inputs* inputs, size_t* bytes) {
  return guard("retrieval_workspace", [&] {
    require(bytes != nullptr, "bytes: null");
    *bytes = workspace_bytes(context, check(inputs, Labels::ignored));
  });
}

duet_status duet_retrieval_forward(duet_context* context, const duet_retrieval_inputs* inputs, const duet_retrieval_outputs* outputs,
                                   duet_workspace workspace) {
  return guard("retrieval_forward", [&] {
    const RetrievalInputs given = check(inputs, Labels::needed);
    const int64_t n = given.queries.rows;
    const auto raw = load(outputs, "outputs");
    const RetrievalOutputs to{vector<int32_t>(raw.relevant, "outputs.relevant", n, Need::optional),
                              vector<float>(raw.average_precision, "outputs.average_precision", n, Need::optional),
                              vector<float>(raw.precision_at_r, "outputs.precision_at_r", n, Need::optional),
                              vector<float>(raw.precision_all_cutoffs, "outputs.precision_all_cutoffs", n, Need::optional),
                              vector<int32_t>(raw.first_relevant_rank, "outputs.first_relevant_rank", n, Need::optional),
                              matrix<float>(raw.precision_recall, "outputs.precision_recall", n, kRecallPoints, Need::optional),
                              vector<float>(raw.matching, "outputs.matching", n, Need::optional),
                              vector<int32_t>(raw.own_rank, "outputs.own_rank", n, Need::optional)};
    const Workspace scratch(workspace);
    scratch.check(workspace_bytes(context, given));
    dispatch(
        context, [&] { cpu::retrieval_forward(*context, given, to, scratch); }, [&] { cuda::retrieval_forward(*context, given, to, scratch); });
  });
}

duet_status duet_retrieval_top_k(duet_context* context, const duet_retrieval_inputs* inputs, duet_matrix indices, duet_matrix scores,
                                 duet_workspace workspace) {
  return guard("retrieval_top_k", [&] {
    const RetrievalInputs given = check(inputs, Labels::ignored);
    const auto to = matrix<int32_t>(indices, "indices", given.queries.rows, kAny);
    const auto to_scores = matrix<float>(scores, "scores", given.queries.rows, to.columns, Need::optional);
    const Workspace scratch(workspace);
    scratch.check(workspace_bytes(context, given));
    dispatch(
        context, [&] { cpu::retrieval_top_k(*context, given, to, to_scores, scratch); },
        [&] { cuda::retrieval_top_k(*context, given, to, to_scores, scratch); });
  });
}
