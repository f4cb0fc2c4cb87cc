// The tape by itself, with operations made up here: what is recorded, in which order it runs, what adds up.
#include "runtime/tape.h"

#include "kernels/core/error.h"
#include "tests/support/arrays.h"

using namespace duet;
using duet::test::Context;

namespace {

Tensor product(Tape& tape, const Tensor& x, const Tensor& y) {
  const Tensor out = tape.make(1);
  out.data[0] = x.data[0] * y.data[0];
  return tape.record(out, {x, y}, [=](Tape&, const Tensor& output) {
    if (x.grad) x.grad[0] += output.grad[0] * y.data[0];
    if (y.grad) y.grad[0] += output.grad[0] * x.data[0];
  });
}

OwningTensor leaf(float value) {
  OwningTensor out(1, 1, OwningTensor::Gradient::present);
  out.data()[0] = value;
  return out;
}

}  // namespace

TEST_CASE("a chain of products has the gradients of a monomial") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(3), y = leaf(5);
  const Tensor square = product(tape, x, x);         // used twice below: its gradient is the sum of both
  const Tensor mixed = product(tape, square, y);     // x^2 y
  const Tensor loss = product(tape, mixed, square);  // x^4 y
  CHECK(loss.item() == 3 * 3 * 5 * 9);
  tape.backward(loss);
  CHECK(x.tensor().grad[0] == 4 * 27 * 5);
  CHECK(y.tensor().grad[0] == 81);
}

TEST_CASE("gradients of leaves add up over steps until they are cleared") {
  Context context(1);
  Tape tape(context);
  OwningTensor x = leaf(3);
  for (int step = 1; step <= 3; ++step) {
    tape.reset();
    tape.backward(product(tape, x, x));
    CHECK(x.tensor().grad[0] == 6 * step);
  }
  x.clear_gradient();
  CHECK(x.tensor().grad[0] == 0);
}

TEST_CASE("what needs no gradient is not recorded") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(3);
  const Tensor constant = tape.constant(7);
  CHECK(constant.item() == 7);
  CHECK_FALSE(product(tape, constant, constant).requires_grad());
  CHECK_FALSE(product(tape, x.tensor().detached(), constant).requires_grad());
  {
    const NoGradient outer(tape);
    {
      const NoGradient inner(tape);
      CHECK_FALSE(product(tape, x, x).requires_grad());
    }
    CHECK_FALSE(tape.recording());
    CHECK_FALSE(product(tape, x, x).requires_grad());
  }
  CHECK(tape.recording());
  const Tensor loss = product(tape, x, constant);
  tape.backward(loss);
  CHECK(x.tensor().grad[0] == 7);
}

TEST_CASE("a recorded output starts with gradient zero, whatever the memory held") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(2);
  for (int step = 0; step < 2; ++step) {
    tape.reset();
    auto* dirt = tape.array<float>(1000);
    std::fill_n(dirt, 1000, 1e30f);
    tape.reset();
    const Tensor square = product(tape, x, x), fourth = product(tape, square, square);
    *square.grad = *fourth.grad = 1e30f;  // as memory may come: backward() clears it
    const OwningTensor before = leaf(x.tensor().grad[0]);
    tape.backward(fourth);
    CHECK(x.tensor().grad[0] == before.data()[0] + 32);
  }
}

TEST_CASE("a step after the first takes the same memory") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(1);
  size_t bytes = 0;
  const float* place = nullptr;
  for (int step = 0; step < 5; ++step) {
    tape.reset();
    Tensor power = x;
    for (int k = 0; k < 500; ++k) power = product(tape, power, x);
    const Tensor large = tape.make(300, 1000);
    const duet_workspace workspace = tape.workspace(5'000'000);
    CHECK(workspace.bytes == 5'000'000);
    tape.backward(power);
    if (step == 0) bytes = tape.memory_bytes(), place = large.data;
    CHECK(tape.memory_bytes() == bytes);
    CHECK(large.data == place);
  }
  CHECK(x.tensor().grad[0] == 5 * 501);
}

TEST_CASE("without branches, parts and what is aside run where they stand") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(3), y = leaf(5);
  std::string order;
  Tensor a, b;
  tape.aside([&] { order += 'z'; });
  tape.side_by_side(
      Tape::Passes::both,
      [&] {
        order += 'a';
        a = product(tape, x, x);
        CHECK(tape.context() == static_cast<duet_context*>(context));
      },
      [&] {
        order += 'b';
        tape.side_by_side(
            Tape::Passes::forward, [&] { b = product(tape, y, y); }, [&] { order += 'c'; });
      });
  CHECK(order == "zabc");
  tape.backward(product(tape, a, b));
  CHECK(x.tensor().grad[0] == 2 * 3 * 25);
  CHECK(y.tensor().grad[0] == 2 * 5 * 9);
}

TEST_CASE("a recording that was joined takes the memory that it took before") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(1);
  const auto run = [&] {
    Tensor power = x;
    std::vector<const float*> gradients;
    for (int k = 0; k < 30'000; ++k)
      gradients.push_back((power = product(tape, power, x)).grad);  // past the first chunk
    tape.backward(power);
    return gradients;
  };
  run();
  const size_t bytes = tape.memory_bytes();
  tape.reset_and_join();
  const std::vector<const float*> gradients = run();
  CHECK(std::is_sorted(gradients.begin(), gradients.end()));
  CHECK(gradients.back() - gradients.front() ==
        29'999 * static_cast<int64_t>(kAlignment / sizeof(float)));  // side by side, each aligned
  CHECK(tape.memory_bytes() == bytes);
  CHECK(x.tensor().grad[0] == 2 * 30'001);
}

TEST_CASE("misuse of the tape is named") {
  Context context(1);
  Tape tape(context);
  const OwningTensor x = leaf(1);
  CHECK_THROWS_AS(Tape{nullptr}, Error);
  CHECK_THROWS_AS(tape.backward(tape.make(2)), Error);
  CHECK_THROWS_AS(tape.backward(tape.constant(1)), Error);
}
