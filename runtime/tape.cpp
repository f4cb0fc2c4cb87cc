#include "runtime/tape.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/error.h"

namespace duet {

Tape::Tape(duet_context* context) : context_(context), nodes_(size_t{1} << 14) { require(context != nullptr, "context: null"); }

void Tape::reset() {
  values_.reset();
  nodes_.reset();
  last_ = nullptr;
}

void Tape::backward(const Tensor& loss) {
  require(loss.size() == 1, "backward: expected a scalar, got ", loss.rows, " x ", loss.columns);
  require(loss.requires_grad(), "backward: the loss depends on nothing that requires a gradient");
  loss.grad[0] = 1;
  for (const Node* node = last_; node; node = node->previous) node->run(*node, *this);
}

Tensor Tape::make(int64_t rows, int64_t columns) { return Tensor::view(array<float>(rows * columns), rows, columns); }

Tensor Tape::constant(float value) {
  const Tensor scalar = make(1);
  scalar.data[0] = value;
  return scalar;
}

void Tape::check(duet_status status) { succeed(status); }

bool Tape::needs_gradient(std::initializer_list<Tensor> inputs) const {
  return recording_ && std::any_of(inputs.begin(), inputs.end(), [](const Tensor& input) { return input.requires_grad(); });
}

Tensor Tape::with_gradient(Tensor output) {
  require(output.stride == output.columns, "record: expected an output without padding");
  output.grad = array<float>(output.size());
  std::memset(output.grad, 0, static_cast<size_t>(output.size()) * sizeof(float));
  return output;
}

}  // namespace duet
