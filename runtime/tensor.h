// Tensors: float32, row-major, of one or two dimensions. A Tensor is a view, small and copied freely; an OwningTensor
// holds the memory.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/core/sized.h"
#include "kernels/duet.h"
#include "runtime/memory.h"

namespace duet {

// rows x columns floats at data; element (i, j) is data[i * stride + j]. A vector has one column, a scalar one element.
// data is null where an optional argument is not given. grad, of the same shape and stride, is where backward adds d
// loss / d this; null: no gradient is wanted.
// The memory belongs to an arena (valid until its reset), an OwningTensor or a ParameterStore. Operations never write
// the data of an input.
struct Tensor {
  float* data = nullptr;
  float* grad = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;

  explicit operator bool() const { return data != nullptr; }
  bool requires_grad() const { return grad != nullptr; }
  int64_t size() const { return rows * columns; }

  // The views that kernels take; null views of an absent tensor or gradient. The vectors need rows without padding.
  duet_matrix matrix() const {
    return data ? duet_matrix{data, rows, columns, stride, DUET_DTYPE_F32, 0} : duet_matrix{};
  }
  duet_matrix grad_matrix() const {
    return grad ? duet_matrix{grad, rows, columns, stride, DUET_DTYPE_F32, 0} : duet_matrix{};
  }
  duet_vector vector() const;
  duet_vector grad_vector() const;

  // Rows [first, first + count) and columns [first, first + count): views of the same data and the same gradient, so no
  // operation is recorded.
  Tensor row_part(int64_t first, int64_t count) const;
  Tensor column_part(int64_t first, int64_t count) const;
  // The same values as another shape of the same size; needs rows without padding.
  Tensor reshaped(int64_t new_rows, int64_t new_columns) const;
  // The same values as a constant: nothing flows back through it.
  Tensor detached() const { return {data, nullptr, rows, columns, stride}; }

  // The value of a tensor of one element, of the host's memory.
  float item() const;

  // A view of plain memory of the caller, rows without padding.
  static Tensor view(float* data, int64_t rows, int64_t columns = 1, float* grad = nullptr) {
    return {data, grad, rows, columns, columns};
  }
};

// A tensor with memory of its own, zero at first, for what outlives a step. Moves; copies of its tensor() are views.
class OwningTensor {
 public:
  enum class Gradient { absent, present };
  OwningTensor() = default;
  // context: whose memory, and it must outlive the tensor; null: the host's.
  OwningTensor(int64_t rows, int64_t columns, Gradient gradient = Gradient::absent, duet_context* context = nullptr);
  // rows x columns of these values.
  OwningTensor(duet_context* context, int64_t rows, int64_t columns, std::span<const float> values);
  OwningTensor(OwningTensor&& other) noexcept
      : context_(other.context_), memory_(std::move(other.memory_)), tensor_(std::exchange(other.tensor_, {})) {}
  OwningTensor& operator=(OwningTensor&& other) noexcept {
    context_ = other.context_;
    memory_ = std::move(other.memory_);
    tensor_ = std::exchange(other.tensor_, {});
    return *this;
  }

  const Tensor& tensor() const { return tensor_; }
  operator const Tensor&() const { return tensor_; }
  float* data() const { return tensor_.data; }
  void clear_gradient();
  // The values, without padding. Waits for what was put on the context's stream.
  std::vector<float> read() const;

 private:
  duet_context* context_ = nullptr;
  Memory memory_;
  Tensor tensor_;
};

// Integers as kernels take them: labels and mined indices are int32, row numbers and steps int64. A view; data null:
// not given.
template <class T>
struct IntegerView {
  const T* data = nullptr;
  int64_t size = 0;

  duet_const_vector vector() const {
    if constexpr (sizeof(T) == 4) return duet_i32_const_vector(reinterpret_cast<const int32_t*>(data), size);
    return duet_i64_const_vector(reinterpret_cast<const int64_t*>(data), size);
  }
};
using Labels = IntegerView<int32_t>;
using Indices = IntegerView<int64_t>;
using Step = IntegerView<int64_t>;  // size 1: a number that moves on between replays of the same recorded work

}  // namespace duet
