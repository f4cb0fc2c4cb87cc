#include "runtime/tensor.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/core/error.h"
#include "runtime/arena.h"
#include "tests/support/arrays.h"

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

TEST_CASE("an owning tensor of values is read back") {
  duet::test::Context context(1);
  const std::vector<float> values = {1, -2, 3.5f, 4, 5, 6};
  for (duet_context* const of : {static_cast<duet_context*>(nullptr), static_cast<duet_context*>(context)}) {
    const OwningTensor tensor(of, 2, 3, values);
    CHECK(tensor.read() == values);
    CHECK((tensor.tensor().rows == 2 && tensor.tensor().columns == 3 && !tensor.tensor().requires_grad()));
    tensor.data()[4] = 9;
    CHECK(tensor.read()[4] == 9);
    OwningTensor zeros(2, 3, OwningTensor::Gradient::present, of);
    CHECK(zeros.read() == std::vector<float>(6));
    std::fill_n(zeros.tensor().grad, 6, 7.0f);
    CHECK(zeros.read() == std::vector<float>(6));
    zeros.clear_gradient();
    CHECK(std::all_of(zeros.tensor().grad, zeros.tensor().grad + 6, [](float value) { return value == 0; }));
    CHECK(OwningTensor(0, 5, OwningTensor::Gradient::absent, of).read().empty());
    CHECK_THROWS_WITH(OwningTensor(of, 2, 2, values), "tensor: expected 4 values, got 6");
  }
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
