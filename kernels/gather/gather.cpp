#include "kernels/gather/gather.h"

#include "kernels/core/arguments.h"
#include "kernels/core/outside.h"
#include "kernels/gather/gather_backends.h"

namespace duet {
namespace {

void check_indices(const duet_context* context, Vector<const int64_t> indices, int64_t rows) {
  const auto found = first_outside<int64_t>(context, indices, 0, rows - 1);
  require(!found, "indices[", found.position, "]: expected 0 to ", rows - 1, ", got ", found.value);
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_gather_forward(duet_context* context, duet_matrix source, duet_vector indices, duet_matrix rows) {
  return guard("gather_forward", [&] {
    Arguments arguments;
    const auto from = arguments.matrix<const float>(source, "source", kAny, kAny);
    const auto index = arguments.vector<const int64_t>(indices, "indices", kAny);
    const auto to = arguments.matrix<float>(rows, "rows", index.size, from.columns);
    arguments.check();
    check_indices(context, index, from.rows);
    dispatch(
        context, [&] { cpu::gather_forward(*context, from, index, to); }, [&] { cuda::gather_forward(*context, from, index, to); });
  });
}

duet_status duet_gather_backward(duet_context* context, duet_vector indices, duet_matrix grad_rows, duet_matrix grad_source) {
  return guard("gather_backward", [&] {
    Arguments arguments;
    const auto index = arguments.vector<const int64_t>(indices, "indices", kAny);
    const auto from = arguments.matrix<const float>(grad_rows, "grad_rows", index.size, kAny);
    const auto to = arguments.matrix<float>(grad_source, "grad_source", kAny, from.columns);
    arguments.check();
    check_indices(context, index, to.rows);
    dispatch(
        context, [&] { cpu::gather_backward(*context, index, from, to); }, [&] { cuda::gather_backward(*context, index, from, to); });
  });
}

duet_status duet_gather_labels(duet_context* context, duet_vector source, duet_vector indices, duet_vector labels) {
  return guard("gather_labels", [&] {
    Arguments arguments;
    const auto from = arguments.vector<const int32_t>(source, "source", kAny);
    const auto index = arguments.vector<const int64_t>(indices, "indices", kAny);
    const auto to = arguments.vector<int32_t>(labels, "labels", index.size);
    arguments.check();
    check_indices(context, index, from.size);
    dispatch(
        context, [&] { cpu::gather_labels(*context, from, index, to); }, [&] { cuda::gather_labels(*context, from, index, to); });
  });
}
