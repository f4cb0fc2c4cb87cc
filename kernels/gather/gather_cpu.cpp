#include <cstring>

#include "kernels/cpu/parallel.h"
#include "kernels/gather/gather_backends.h"

namespace duet::cpu {
namespace {
constexpr int64_t kRows = 64;     // rows of a work item: enough bytes to outweigh the cost of handing it to a thread
constexpr int64_t kColumns = 64;  // columns of a work item in backward, where rows must stay in order
}  // namespace

void gather_forward(const duet_context& context, Matrix<const float> source, Vector<const int64_t> indices,
                    Matrix<float> rows) {
  if (rows.columns == 0) return;
  parallel_chunks(context, indices.size, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i)
      std::memcpy(rows.row(i), source.row(indices[i]), sizeof(float) * rows.columns);
  });
}

void gather_backward(const duet_context& context, Vector<const int64_t> indices, Matrix<const float> grad_rows,
                     Matrix<float> grad_source) {
  parallel_chunks(context, grad_rows.columns, kColumns, [&](int64_t first, int64_t count, int) {
    for (int64_t i = 0; i < indices.size; ++i) {
      float* to = grad_source.row(indices[i]) + first;
      const float* from = grad_rows.row(i) + first;
      for (int64_t k = 0; k < count; ++k) to[k] += from[k];
    }
  });
}

void gather_labels(const duet_context&, Vector<const int32_t> source, Vector<const int64_t> indices,
                   Vector<int32_t> labels) {
  for (int64_t i = 0; i < indices.size; ++i) labels[i] = source[indices[i]];
}

}  // namespace duet::cpu
