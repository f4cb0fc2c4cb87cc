// Views of DLPack tensors: shapes, strides, types, devices, versions; and what is refused.
#include <array>
#include <cstdint>
#include <string>

#include "kernels/core/dlpack.h"
#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

// What the library takes for its header's structs, laid out as whoever makes such a tensor has them.
struct Array {
  void* data;
  int32_t device_type, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct Managed {
  Array tensor;
  void* manager_ctx;
  void (*deleter)(Managed*);
};
struct ManagedVersioned {
  uint32_t major, minor;
  void* manager_ctx;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  Array tensor;
};

constexpr int32_t kCpu = 1, kCuda = 2, kCudaHost = 3, kRocm = 10, kCudaManaged = 13;
constexpr uint8_t kInt = 0, kFloat = 2, kBfloat = 4, kComplex = 5;

// A tensor of 2 dimensions on the device that the tests run on; a test changes what it is about.
struct Tensor {
  std::array<int64_t, 3> shape = {5, 3, 1}, strides = {3, 1, 1};
  std::array<float, 64> values{};
  Managed plain{};
  ManagedVersioned versioned{};

  Tensor() {
    Array& t = plain.tensor;
    t = {values.data(), on_cpu() ? kCpu : kCuda, 0, 2, kFloat, 32, 1, shape.data(), strides.data(), 0};
  }
  Array& t() { return plain.tensor; }
  duet_dlpack_tensor as_plain() {
    duet_dlpack_tensor out = DUET_DLPACK_TENSOR_INIT;
    out.unversioned = reinterpret_cast<const DLManagedTensor*>(&plain);
    return out;
  }
  duet_dlpack_tensor as_versioned(uint64_t flags = 0, uint32_t major = 1) {
    versioned = {major, 0, nullptr, nullptr, flags, plain.tensor};
    duet_dlpack_tensor out = DUET_DLPACK_TENSOR_INIT;
    out.versioned = reinterpret_cast<const DLManagedTensorVersioned*>(&versioned);
    return out;
  }
};

}  // namespace

TEST_CASE("a DLPack tensor of either form is a view of the same memory") {
  Tensor tensor;
  const Context context(1);
  for (const bool is_versioned : {false, true}) {
    CAPTURE(is_versioned);
    const duet_dlpack_tensor given = is_versioned ? tensor.as_versioned() : tensor.as_plain();
    duet_matrix matrix = {};
    SUCCEED_CALL(duet_dlpack_matrix(context, &given, &matrix));
    CHECK(matrix.data == tensor.values.data());
    CHECK(matrix.rows == 5);
    CHECK(matrix.columns == 3);
    CHECK(matrix.row_stride == 3);
    CHECK(matrix.dtype == DUET_DTYPE_F32);
    CHECK(matrix.reserved == 0);
    duet_const_matrix read = {};
    SUCCEED_CALL(duet_dlpack_const_matrix(context, &given, &read));
    CHECK(read.data == matrix.data);
    duet_dlpack_facts facts = DUET_DLPACK_FACTS_INIT;
    SUCCEED_CALL(duet_dlpack_describe(&given, &facts));
    CHECK(facts.dimensions == 2);
    CHECK(facts.row_major == 1);
    CHECK(facts.read_only == 0);
    CHECK(facts.device == (on_cpu() ? DUET_DEVICE_CPU : DUET_DEVICE_CUDA));
  }
}

TEST_CASE("a DLPack tensor's offset, strides and missing strides") {
  Tensor tensor;
  const Context context(1);
  const duet_dlpack_tensor given = tensor.as_plain();
  duet_const_matrix view = {};
  tensor.strides = {7, 1, 1}, tensor.t().byte_offset = 8;
  SUCCEED_CALL(duet_dlpack_const_matrix(context, &given, &view));
  CHECK(view.row_stride == 7);
  CHECK(view.data == tensor.values.data() + 2);
  tensor.t().strides = nullptr;  // row-major without gaps
  SUCCEED_CALL(duet_dlpack_const_matrix(context, &given, &view));
  CHECK(view.row_stride == 3);
  tensor.t().ndim = 1;
  duet_vector vector = {};
  SUCCEED_CALL(duet_dlpack_vector(context, &given, &vector));
  CHECK(vector.size == 5);
  duet_const_vector read = {};
  SUCCEED_CALL(duet_dlpack_const_vector(context, &given, &read));
  CHECK(read.size == 5);
  // Strides of what has one row or no element say nothing.
  tensor.t().ndim = 2, tensor.t().strides = tensor.strides.data();
  tensor.shape = {1, 3, 1}, tensor.strides = {-1, 1, 1};
  SUCCEED_CALL(duet_dlpack_const_matrix(context, &given, &view));
  CHECK(view.row_stride == 3);
  tensor.shape = {0, 3, 1}, tensor.strides = {0, 9, 1};
  SUCCEED_CALL(duet_dlpack_const_matrix(context, &given, &view));
  CHECK(view.rows == 0);
  CHECK(view.data == nullptr);
}

TEST_CASE("a DLPack tensor's types") {
  Tensor tensor;
  const Context context(1);
  const duet_dlpack_tensor given = tensor.as_plain();
  struct Case {
    uint8_t code, bits;
    duet_dtype dtype;
  };
  for (const Case& each : {Case{kFloat, 16, DUET_DTYPE_F16},
                           {kBfloat, 16, DUET_DTYPE_BF16},
                           {kFloat, 64, DUET_DTYPE_F64},
                           {kInt, 32, DUET_DTYPE_I32},
                           {kInt, 64, DUET_DTYPE_I64},
                           {1, 32, DUET_DTYPE_U32}}) {
    tensor.t().code = each.code, tensor.t().bits = each.bits;
    duet_const_matrix view = {};
    SUCCEED_CALL(duet_dlpack_const_matrix(context, &given, &view));
    CHECK(view.dtype == each.dtype);
  }
  tensor.t().code = kComplex, tensor.t().bits = 64;
  duet_const_matrix view = {};
  FAIL_CALL(duet_dlpack_const_matrix(context, &given, &view), DUET_STATUS_INVALID_ARGUMENT,
            "got type 5 of 64 bits and 1 lanes");
  duet_dlpack_facts facts = DUET_DLPACK_FACTS_INIT;
  SUCCEED_CALL(duet_dlpack_describe(&given, &facts));
  CHECK(facts.dtype == -1);
  tensor.t().code = kFloat, tensor.t().bits = 32, tensor.t().lanes = 4;
  FAIL_CALL(duet_dlpack_const_matrix(context, &given, &view), DUET_STATUS_INVALID_ARGUMENT, "4 lanes");
}

TEST_CASE("a DLPack tensor that no view can stand for is refused") {
  const Context context(1);
  duet_matrix view = {};
  const auto refused = [&](auto change, const std::string& words) {
    Tensor tensor;
    change(tensor);
    const duet_dlpack_tensor given = tensor.as_plain();
    FAIL_CALL(duet_dlpack_matrix(context, &given, &view), DUET_STATUS_INVALID_ARGUMENT, words);
  };
  refused([](Tensor& t) { t.t().ndim = 3; }, "dlpack_matrix: tensor: expected 2 dimensions, got 3");
  refused([](Tensor& t) { t.t().ndim = -1; }, "tensor: expected 0 dimensions or more, got -1");
  refused([](Tensor& t) { t.shape[1] = -3; }, "tensor: expected a size of 0 or more, got -3");
  for (const std::array<int64_t, 3>& strides :
       {std::array<int64_t, 3>{1, 5, 1}, {2, 1, 1}, {0, 1, 1}, {-3, 1, 1}, {6, 2, 1}})
    refused([&](Tensor& t) { t.strides = strides; }, "tensor: expected rows of neighbouring elements");
  refused([](Tensor& t) { t.t().device_type = on_cpu() ? kCuda : kCpu; },
          on_cpu() ? "tensor: expected memory of the CPU, got CUDA device 0" : "got the CPU");
  if (!on_cpu()) refused([](Tensor& t) { t.t().device_id = 3; }, "got CUDA device 3");

  Tensor tensor;
  const duet_dlpack_tensor read_only = tensor.as_versioned(1);
  FAIL_CALL(duet_dlpack_matrix(context, &read_only, &view), DUET_STATUS_INVALID_ARGUMENT, "tensor: it is read-only");
  duet_const_matrix read = {};
  SUCCEED_CALL(duet_dlpack_const_matrix(context, &read_only, &read));
  const duet_dlpack_tensor newer = tensor.as_versioned(0, 2);
  FAIL_CALL(duet_dlpack_matrix(context, &newer, &view), DUET_STATUS_INVALID_ARGUMENT,
            "tensor.versioned: expected version 1 of DLPack, got 2.0");
  duet_dlpack_tensor both = tensor.as_versioned(), neither = DUET_DLPACK_TENSOR_INIT;
  both.unversioned = tensor.as_plain().unversioned;
  FAIL_CALL(duet_dlpack_matrix(context, &both, &view), DUET_STATUS_INVALID_ARGUMENT, "got both");
  FAIL_CALL(duet_dlpack_matrix(context, &neither, &view), DUET_STATUS_INVALID_ARGUMENT, "got neither");
  const duet_dlpack_tensor given = tensor.as_plain();
  FAIL_CALL(duet_dlpack_matrix(nullptr, &given, &view), DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_dlpack_matrix(context, &given, nullptr), DUET_STATUS_INVALID_ARGUMENT, "view: null");
  FAIL_CALL(duet_dlpack_matrix(context, nullptr, &view), DUET_STATUS_INVALID_ARGUMENT, "tensor: null");
  FAIL_CALL(duet_dlpack_describe(&given, nullptr), DUET_STATUS_INVALID_ARGUMENT, "facts: null");
  tensor.t().device_type = kRocm;
  duet_dlpack_facts facts = DUET_DLPACK_FACTS_INIT;
  FAIL_CALL(duet_dlpack_describe(&given, &facts), DUET_STATUS_UNSUPPORTED, "got device type 10");
}

TEST_CASE("a DLPack tensor in memory that host and device share") {
  Tensor tensor;
  const duet_dlpack_tensor given = tensor.as_plain();
  duet_dlpack_facts facts = DUET_DLPACK_FACTS_INIT;
  tensor.t().device_type = kCudaHost;
  SUCCEED_CALL(duet_dlpack_describe(&given, &facts));
  CHECK(facts.device == DUET_DEVICE_CPU);
  tensor.t().device_type = kCudaManaged, tensor.t().device_id = 2;
  SUCCEED_CALL(duet_dlpack_describe(&given, &facts));
  CHECK(facts.device == DUET_DEVICE_CUDA);
  CHECK(facts.device_index == 2);
}
