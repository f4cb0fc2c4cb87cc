#include "kernels/retrieval/retrieval.h"

#include "kernels/core/arguments.h"
#include "kernels/core/numbers.h"
#include "kernels/retrieval/retrieval_backends.h"

namespace duet {
namespace {

enum class Labels { needed, ignored };

RetrievalInputs check(const duet_retrieval_inputs* given, Labels labels, Arguments& arguments) {
  const auto raw = load(given, "inputs");
  RetrievalInputs inputs{};
  inputs.queries = arguments.side(raw.queries, "inputs.queries", kAny);
  inputs.gallery = arguments.side(raw.gallery, "inputs.gallery", inputs.queries.columns);
  require(inputs.gallery.rows < INT32_MAX, "inputs.gallery: expected fewer than 2^31 - 1 rows (ranks are int32), got ",
          inputs.gallery.rows);
  if (labels == Labels::needed) {
    inputs.query_labels = arguments.vector<const int32_t>(raw.query_labels, "inputs.query_labels", inputs.queries.rows);
    inputs.gallery_labels =
        arguments.vector<const int32_t>(raw.gallery_labels, "inputs.gallery_labels", inputs.gallery.rows);
    check_numbers(arguments, raw.query_groups, "inputs.query_groups", raw.gallery_groups, "inputs.gallery_groups",
                  inputs.queries.rows, inputs.gallery.rows, inputs.query_groups, inputs.gallery_groups);
    inputs.cutoffs = arguments.vector<const int64_t>(raw.cutoffs, "inputs.cutoffs", kAny, Need::optional);
  }
  inputs.label_sets = check_label_sets(arguments, raw.label_sets, "inputs.label_sets");
  check_first(raw.first_row, inputs.queries.rows, "inputs", ".first_row");
  check_first(raw.first_column, inputs.gallery.rows, "inputs", ".first_column");
  inputs.paired = raw.paired != 0;
  inputs.exclude_own = raw.exclude_own != 0;
  inputs.first_row = raw.first_row;
  inputs.first_column = raw.first_column;
  return inputs;
}

size_t workspace_bytes(const duet_context* context, const RetrievalInputs& inputs) {
  return dispatch(
      context,
      [&] {
        return cpu::retrieval_workspace(*context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns,
                                        bool(inputs.label_sets));
      },
      [&] {
        return cuda::retrieval_workspace(*context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns,
                                         bool(inputs.label_sets));
      });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_retrieval_workspace(const duet_context* context, const duet_retrieval_inputs* inputs, size_t* bytes) {
  return guard("retrieval_workspace", [&] {
    Arguments arguments(Look::shapes);
    require(bytes != nullptr, "bytes: null");
    const RetrievalInputs checked = check(inputs, Labels::ignored, arguments);
    *bytes = workspace_bytes(context, checked) + arguments.reserved();
  });
}

duet_status duet_retrieval_forward(duet_context* context, const duet_retrieval_inputs* inputs,
                                   const duet_retrieval_outputs* outputs, duet_workspace workspace) {
  return guard("retrieval_forward", [&] {
    Arguments arguments(workspace);
    const RetrievalInputs given = check(inputs, Labels::needed, arguments);
    const int64_t n = given.queries.rows;
    const auto raw = load(outputs, "outputs");
    const int64_t cutoffs = given.cutoffs.size;
    const RetrievalOutputs to{
        arguments.vector<int32_t>(raw.relevant, "outputs.relevant", n, Need::optional),
        arguments.vector<float>(raw.average_precision, "outputs.average_precision", n, Need::optional),
        arguments.vector<float>(raw.precision_at_r, "outputs.precision_at_r", n, Need::optional),
        arguments.vector<float>(raw.precision_over_cutoffs, "outputs.precision_over_cutoffs", n, Need::optional),
        arguments.matrix<float>(raw.recall, "outputs.recall", n, cutoffs, Need::optional),
        arguments.matrix<float>(raw.precision_recall, "outputs.precision_recall", n, kRecallPoints, Need::optional),
        arguments.vector<float>(raw.matching, "outputs.matching", n, Need::optional),
        arguments.matrix<float>(raw.pair_recall, "outputs.pair_recall", n, cutoffs, Need::optional)};
    arguments.check(workspace, workspace_bytes(context, given));
    workspace = widen(context, arguments, workspace);
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::retrieval_forward(*context, given, to, scratch); },
        [&] { cuda::retrieval_forward(*context, given, to, scratch); });
  });
}

duet_status duet_retrieval_top_k(duet_context* context, const duet_retrieval_inputs* inputs,
                                 const duet_retrieval_top_k_outputs* outputs, duet_workspace workspace) {
  return guard("retrieval_top_k", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const RetrievalInputs given = check(inputs, Labels::ignored, arguments);
    const auto to = arguments.matrix<int32_t>(raw.indices, "outputs.indices", given.queries.rows, kAny);
    const auto to_scores =
        arguments.matrix<float>(raw.scores, "outputs.scores", given.queries.rows, to.columns, Need::optional);
    arguments.check(workspace, workspace_bytes(context, given));
    workspace = widen(context, arguments, workspace);
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::retrieval_top_k(*context, given, to, to_scores, scratch); },
        [&] { cuda::retrieval_top_k(*context, given, to, to_scores, scratch); });
  });
}
