#include "runtime/tensor.h"

#include <doctest/doctest.h>

#include "kernels/core/error.h"

using namespace duet;

TEST_CASE("a tensor's parts see the same values and gradients") {
  OwningTensor owner(4, 3, OwningTensor::Gradient::present);
  const Tensor& all = owner.tensor();
  for (int64_t k = 0; k < 12; ++k) all.data[k] = static_cast<float>(k);
  CHECK(reinterpret_cast<uintptr_t>(all.data) % kAlignment == 0);
  CHECK(reinterpret_cast<uintptr_t>(all.grad) % kAlignment == 0);

  const Tensor rows = all.row_part(1, 2);
  CHECK(rows.rows == 2);
  CHECK(rows.data == all.data + 3);
  CHECK(rows.grad == all.grad + 3);
  const Tensor column = rows.column_part(2, 1);
  CHECK(column.matrix().row_stride == 3);
  CHECK(*column.data == 5);
  CHECK(column.grad == all.grad + 5);
  CHECK(all.reshaped(6, 2).matrix().row_stride == 2);
  CHECK_FALSE(all.detached().requires_grad());
  CHECK(all.row_part(4, 0).size() == 0);

  all.grad[3] = 1;
  owner.clear_gradient();
  CHECK(all.grad[3] == 0);
}

TEST_CASE("an absent tensor is a null view") {
  const Tensor absent;
  CHECK_FALSE(absent);
  CHECK(absent.matrix().data == nullptr);
  CHECK(absent.matrix().rows == 0);
  CHECK(absent.vector().size == 0);
  OwningTensor constant(2, 2);
  CHECK(constant.tensor().grad_matrix().data == nullptr);
  CHECK(constant.tensor().grad_matrix().rows == 0);
}

TEST_CASE("an owning tensor moves without moving its memory") {
  OwningTensor first(2, 2);
  const Tensor view = first;
  OwningTensor second = std::move(first);
  CHECK(second.tensor().data == view.data);
  CHECK_FALSE(first.tensor());
  first = std::move(second);
  CHECK(first.tensor().data == view.data);
  CHECK(OwningTensor(0, 5).tensor().data != nullptr);
}

TEST_CASE("misuse of tensors is named") {
  OwningTensor owner(4, 3);
  const Tensor all = owner;
  CHECK_THROWS_AS(all.row_part(3, 2), Error);
  CHECK_THROWS_AS(all.row_part(-1, 2), Error);
  CHECK_THROWS_AS(all.column_part(0, 4), Error);
  CHECK_THROWS_AS(all.reshaped(5, 2), Error);
  CHECK_THROWS_AS(all.item(), Error);
  CHECK_THROWS_AS(all.column_part(0, 1).vector(), Error);
  CHECK_THROWS_AS(OwningTensor(-1, 2), Error);
}
