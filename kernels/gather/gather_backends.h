// What each backend implements of gather, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/outside.h"
#include "kernels/gather/gather.h"

namespace duet {

struct GatherBatch {
  Matrix<const float> sources[DUET_GATHER_SOURCES];
  Matrix<float> rows[DUET_GATHER_SOURCES];
  int64_t source_count;
  Vector<const int32_t> labels;  // without data: none
  Vector<int32_t> picked;
  Vector<const int64_t> indices;
};

inline Range<int64_t> index_range(const char* name, int64_t rows) { return {name, 0, rows - 1}; }

DUET_BACKEND_FUNCTION(void, gather_forward, const duet_context& context, Matrix<const float> source,
                      Vector<const int64_t> indices, Matrix<float> rows)
DUET_BACKEND_FUNCTION(void, gather_backward, const duet_context& context, Vector<const int64_t> indices,
                      Matrix<const float> grad_rows, Matrix<float> grad_source)
DUET_BACKEND_FUNCTION(void, gather_labels, const duet_context& context, Vector<const int32_t> source,
                      Vector<const int64_t> indices, Vector<int32_t> labels)
namespace cuda {
// Where the context records faults, the kernel records an index out of range itself.
void gather_batch(const duet_context& context, const GatherBatch& batch);
}  // namespace cuda

}  // namespace duet
