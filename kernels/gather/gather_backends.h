// What each backend implements of gather, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {
namespace cpu {

void gather_forward(const duet_context& context, Matrix<const float> source, Vector<const int64_t> indices, Matrix<float> rows);
void gather_backward(const duet_context& context, Vector<const int64_t> indices, Matrix<const float> grad_rows, Matrix<float> grad_source);
void gather_labels(const duet_context& context, Vector<const int32_t> source, Vector<const int64_t> indices, Vector<int32_t> labels);

}  // namespace cpu

namespace cuda {

void gather_forward(const duet_context& context, Matrix<const float> source, Vector<const int64_t> indices, Matrix<float> rows);
void gather_backward(const duet_context& context, Vector<const int64_t> indices, Matrix<const float> grad_rows, Matrix<float> grad_source);
void gather_labels(const duet_context& context, Vector<const int32_t> source, Vector<const int64_t> indices, Vector<int32_t> labels);

}  // namespace cuda
}  // namespace duet
