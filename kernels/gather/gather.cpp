#include "kernels/gather/gather.h"

#include <iterator>

#include "kernels/core/arguments.h"
#include "kernels/gather/gather_backends.h"

namespace duet {
namespace {

void check_indices(const duet_context* context, Vector<const int64_t> indices, int64_t rows) {
  check_within(context, indices, index_range("inputs.indices", rows));
}

constexpr const char* kSourceNames[] = {"inputs.sources[0]", "inputs.sources[1]", "inputs.sources[2]",
                                        "inputs.sources[3]"};
constexpr const char* kRowNames[] = {"outputs.rows[0]", "outputs.rows[1]", "outputs.rows[2]", "outputs.rows[3]"};
static_assert(std::size(kSourceNames) == DUET_GATHER_SOURCES && std::size(kRowNames) == DUET_GATHER_SOURCES);

GatherBatch check_batch(const duet_gather_batch_inputs* inputs, const duet_gather_batch_outputs* outputs) {
  Arguments arguments;
  const auto raw = load(inputs, "inputs");
  const auto to = load(outputs, "outputs");
  GatherBatch batch{};
  require(raw.source_count >= 1 && raw.source_count <= DUET_GATHER_SOURCES, "inputs.source_count: expected 1 to ",
          DUET_GATHER_SOURCES, ", got ", raw.source_count);
  require(raw.sources != nullptr, "inputs.sources: null for ", raw.source_count, " matrices");
  require(to.rows != nullptr, "outputs.rows: null for ", raw.source_count, " matrices");
  batch.source_count = raw.source_count;
  batch.indices = arguments.vector<const int64_t>(raw.indices, "inputs.indices", kAny);
  for (int64_t k = 0; k < raw.source_count; ++k) {
    batch.sources[k] =
        arguments.matrix<const float>(raw.sources[k], kSourceNames[k], k == 0 ? kAny : batch.sources[0].rows, kAny);
    batch.rows[k] = arguments.matrix<float>(to.rows[k], kRowNames[k], batch.indices.size, batch.sources[k].columns);
  }
  batch.labels = arguments.vector<const int32_t>(raw.labels, "inputs.labels", batch.sources[0].rows, Need::optional);
  if (batch.labels)
    batch.picked = arguments.vector<int32_t>(to.labels, "outputs.labels", batch.indices.size);
  else
    require_absent(to.labels, "outputs.labels", "without inputs.labels");
  arguments.check();
  return batch;
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_gather_forward(duet_context* context, const duet_gather_inputs* inputs,
                                const duet_gather_outputs* outputs) {
  return guard("gather_forward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const auto from = arguments.matrix<const float>(given.source, "inputs.source", kAny, kAny);
    const auto index = arguments.vector<const int64_t>(given.indices, "inputs.indices", kAny);
    const auto to = arguments.matrix<float>(raw.rows, "outputs.rows", index.size, from.columns);
    arguments.check();
    check_indices(context, index, from.rows);
    dispatch(
        context, [&] { cpu::gather_forward(*context, from, index, to); },
        [&] { cuda::gather_forward(*context, from, index, to); });
  });
}

duet_status duet_gather_backward(duet_context* context, const duet_gather_inputs* inputs,
                                 const duet_gather_gradients* gradients) {
  return guard("gather_backward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    const auto index = arguments.vector<const int64_t>(given.indices, "inputs.indices", kAny);
    const auto from = arguments.matrix<const float>(raw.grad_rows, "gradients.grad_rows", index.size, kAny);
    const auto to = arguments.matrix<float>(raw.grad_source, "gradients.grad_source", kAny, from.columns);
    arguments.check();
    check_indices(context, index, to.rows);
    dispatch(
        context, [&] { cpu::gather_backward(*context, index, from, to); },
        [&] { cuda::gather_backward(*context, index, from, to); });
  });
}

duet_status duet_gather_labels(duet_context* context, const duet_gather_labels_inputs* inputs,
                               const duet_gather_labels_outputs* outputs) {
  return guard("gather_labels", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const auto from = arguments.vector<const int32_t>(given.source, "inputs.source", kAny);
    const auto index = arguments.vector<const int64_t>(given.indices, "inputs.indices", kAny);
    const auto to = arguments.vector<int32_t>(raw.labels, "outputs.labels", index.size);
    arguments.check();
    check_indices(context, index, from.size);
    dispatch(
        context, [&] { cpu::gather_labels(*context, from, index, to); },
        [&] { cuda::gather_labels(*context, from, index, to); });
  });
}

duet_status duet_gather_batch(duet_context* context, const duet_gather_batch_inputs* inputs,
                              const duet_gather_batch_outputs* outputs) {
  return guard("gather_batch", [&] {
    const GatherBatch batch = check_batch(inputs, outputs);
    const bool kernel_looks = dispatch(
        context, [] { return false; }, [&] { return context->faults != nullptr; });
    if (!kernel_looks) check_within(context, batch.indices, index_range("inputs.indices", batch.sources[0].rows));
    const auto on_cpu = [&] {
      for (int64_t k = 0; k < batch.source_count; ++k)
        cpu::gather_forward(*context, batch.sources[k], batch.indices, batch.rows[k]);
      if (batch.labels) cpu::gather_labels(*context, batch.labels, batch.indices, batch.picked);
    };
    dispatch(context, on_cpu, [&] { cuda::gather_batch(*context, batch); });
  });
}
