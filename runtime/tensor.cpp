#include "runtime/tensor.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace duet {
namespace {

duet_vector vector_of(const Tensor& tensor, float* data) {
  if (data == nullptr) return {};
  require(tensor.stride == tensor.columns, "tensor: expected rows without padding, got ", tensor.columns,
          " columns with stride ", tensor.stride);
  return {data, tensor.size(), DUET_DTYPE_F32, 0};
}

Tensor shifted(const Tensor& tensor, int64_t elements, int64_t rows, int64_t columns) {
  return {tensor.data + elements, tensor.grad ? tensor.grad + elements : nullptr, rows, columns, tensor.stride};
}

}  // namespace

duet_vector Tensor::vector() const { return vector_of(*this, data); }
duet_vector Tensor::grad_vector() const { return vector_of(*this, grad); }

Tensor Tensor::row_part(int64_t first, int64_t count) const {
  require(first >= 0 && count >= 0 && count <= rows - first, "row_part: expected rows within ", rows, ", got ", count,
          " from ", first);
  return shifted(*this, first * stride, count, columns);
}

Tensor Tensor::column_part(int64_t first, int64_t count) const {
  require(first >= 0 && count >= 0 && count <= columns - first, "column_part: expected columns within ", columns,
          ", got ", count, " from ", first);
  return shifted(*this, first, rows, count);
}

Tensor Tensor::reshaped(int64_t new_rows, int64_t new_columns) const {
  require(stride == columns && new_rows >= 0 && new_columns >= 0 && new_rows * new_columns == size(),
          "reshaped: expected ", size(), " elements without padding, got ", new_rows, " x ", new_columns);
  return {data, grad, new_rows, new_columns, new_columns};
}

float Tensor::item() const {
  require(data != nullptr && size() == 1, "item: expected one element, got ", rows, " x ", columns);
  return *data;
}

OwningTensor::OwningTensor(int64_t rows, int64_t columns, Gradient gradient, duet_context* context)
    : context_(context) {
  require(rows >= 0 && columns >= 0, "tensor: expected a shape, got ", rows, " x ", columns);
  const auto bytes = static_cast<size_t>(rows * columns) * sizeof(float);
  const size_t aligned = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t total = std::max(gradient == Gradient::present ? aligned + bytes : bytes, kAlignment);
  memory_ = Memory(context, total);
  fill_zero(context, memory_.get(), total);
  auto* grad = gradient == Gradient::present ? reinterpret_cast<float*>(memory_.get() + aligned) : nullptr;
  tensor_ = {reinterpret_cast<float*>(memory_.get()), grad, rows, columns, columns};
}

OwningTensor::OwningTensor(duet_context* context, int64_t rows, int64_t columns, std::span<const float> values)
    : OwningTensor(rows, columns, Gradient::absent, context) {
  require(std::ssize(values) == rows * columns, "tensor: expected ", rows * columns, " values, got ", values.size());
  copy_to_device(context, tensor_.data, values);
}

void OwningTensor::clear_gradient() {
  if (tensor_.grad) fill_zero(context_, tensor_.grad, static_cast<size_t>(tensor_.size()) * sizeof(float));
}

std::vector<float> OwningTensor::read() const {
  std::vector<float> values(static_cast<size_t>(tensor_.size()));
  copy_bytes(context_, values.data(), tensor_.data, values.size() * sizeof(float));
  if (context_) succeed(duet_context_synchronize(context_));
  return values;
}

}  // namespace duet
