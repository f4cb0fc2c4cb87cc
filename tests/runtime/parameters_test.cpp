#include "runtime/parameters.h"

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "runtime/safetensors.h"
#include "tests/support/arrays.h"

using namespace duet;
using duet::test::Context;

TEST_CASE("parameters start from the draws of METHOD.md 0 and 6.1") {
  Context context(2);
  const uint64_t seed = 0x123456789ull;
  ParameterStore store;
  store.add_uniform("first", {3, 5}, 0.25);
  store.add_constant("gain", {4}, 1);
  const int64_t last = store.add_uniform("last", {1001}, 2);
  store.initialise(context, seed);
  CHECK(store.count() == 3);
  CHECK(store.number("last") == last);
  for (const int64_t number : {int64_t{0}, last}) {
    const Tensor values = store.tensor(number, ParameterKind::value);
    const double bound = store.parameter(number).bound;
    CHECK(values.size() == (number == 0 ? 15 : 1001));
    for (int64_t e = 0; e < values.size(); ++e) {
      const double u =
          uniform(random_word(seed, kStreamInitialisation, static_cast<uint32_t>(number), static_cast<uint64_t>(e)));
      REQUIRE(values.data[e] == static_cast<float>(-bound + 2 * bound * u));
    }
  }
  for (int64_t e = 0; e < 4; ++e) CHECK(store.tensor(1, ParameterKind::value).data[e] == 1);
}

TEST_CASE("a parameter's start depends on its number, not on the others") {
  Context context(1);
  const auto third = [&](int64_t rows, double bound, int threads) {
    Context other(threads);
    ParameterStore store;
    store.add_uniform("a", {rows, 3}, bound);
    store.add_constant("b", {rows}, 0);
    store.add_uniform("c", {7, 2}, 1);
    store.initialise(other, 5);
    const Tensor values = store.tensor(2, ParameterKind::value);
    return std::vector<float>(values.data, values.data + 14);
  };
  CHECK(third(1, 1, 1) == third(100, 0.1, 2));
}

TEST_CASE("the teacher starts as a copy, the rest as zeros, each kind in one piece") {
  Context context(1);
  ParameterStore store;
  store.add_uniform("a", {3, 5}, 1);
  store.add_uniform("b", {5}, 1);
  store.initialise(context, 1);
  for (int64_t number = 0; number < 2; ++number) {
    for (int kind = 0; kind < kParameterKinds; ++kind) {
      const Tensor part = store.tensor(number, ParameterKind{kind}), whole = store.all(ParameterKind{kind});
      CHECK(reinterpret_cast<uintptr_t>(part.data) % 64 == 0);
      CHECK(part.data >= whole.data);
      CHECK(part.data + part.size() <= whole.data + whole.size());
    }
    const Tensor student = store.student()[number], teacher = store.teacher()[number];
    CHECK(student.grad == store.tensor(number, ParameterKind::gradient).data);
    CHECK_FALSE(teacher.requires_grad());
    CHECK(teacher.data != student.data);
    for (int64_t e = 0; e < student.size(); ++e) {
      CHECK(teacher.data[e] == student.data[e]);
      CHECK(student.grad[e] == 0);
    }
    student.grad[0] = 3;
  }
  store.clear_gradients();
  CHECK(store.student()[1].grad[0] == 0);
}

TEST_CASE("parameters go to a file and come back") {
  const std::filesystem::path path = std::filesystem::path(DUET_BINARY_DIR) / "parameters_test.safetensors";
  Context context(1);
  ParameterStore written, read;
  for (ParameterStore* store : {&written, &read}) {
    store->add_uniform("encoder_a.layer0.weight", {3, 5}, 1);
    store->add_uniform("encoder_a.layer0.bias", {3}, 1);
    store->initialise(context, store == &written ? 1 : 2);
  }
  const std::vector<float> values = written.read(ParameterKind::value), teacher = written.read(ParameterKind::teacher);
  std::vector<NamedArray> arrays = named_arrays(written, values);
  for (NamedArray& array : named_arrays(written, teacher, "teacher.")) arrays.push_back(array);
  write_safetensors(path, arrays);
  const SafetensorsFile file(path);
  CHECK(file.find("teacher.encoder_a.layer0.bias")->shape == std::vector<int64_t>{3});
  read_parameters(file, read, ParameterKind::value);
  for (int64_t number = 0; number < 2; ++number)
    for (int64_t e = 0; e < read.student()[number].size(); ++e) {
      CHECK(read.student()[number].data[e] == written.student()[number].data[e]);
      CHECK(read.teacher()[number].data[e] != written.teacher()[number].data[e]);
    }
  ParameterStore other;
  other.add_uniform("encoder_a.layer0.weight", {5, 3}, 1);
  other.initialise(context, 1);
  CHECK_THROWS_WITH(read_parameters(file, other, ParameterKind::value),
                    doctest::Contains("encoder_a.layer0.weight: expected shape [5,3]"));
  std::filesystem::remove(path);
}

TEST_CASE("misuse of the store is named") {
  Context context(1);
  ParameterStore store;
  CHECK_THROWS_AS(store.add_uniform("a", {2}, 0), Error);
  CHECK_THROWS_AS(store.add_uniform("a", {2}, std::nan("")), Error);
  CHECK_THROWS_AS(store.add_uniform("a", {}, 1), Error);
  CHECK_THROWS_AS(store.add_uniform("a", {0, 2}, 1), Error);
  store.add_uniform("a", {2}, 1);
  CHECK_THROWS_AS(store.add_constant("a", {2}, 1), Error);
  CHECK_THROWS_AS(store.student()[0], Error);
  store.initialise(context, 1);
  CHECK_THROWS_AS(store.initialise(context, 1), Error);
  CHECK_THROWS_AS(store.add_constant("b", {2}, 1), Error);
  CHECK_THROWS_AS(store.student()[1], Error);
  CHECK_THROWS_AS(store.number("b"), Error);
}
