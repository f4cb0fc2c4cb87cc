#include "kernels/core/dlpack.h"

#include <cstring>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

using namespace duet;

// The structs as the specification of DLPack 1.0 lays them out. Numbers of its enumerations are in duet below.
struct DLTensor {
  void* data;
  int32_t device_type, device_id;
  int32_t dimensions;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;  // strides: in elements; null: row-major without gaps
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* manager;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* manager;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
// What the other library was compiled with is laid out so.
static_assert(sizeof(DLTensor) == 48 && sizeof(DLManagedTensor) == 64 && sizeof(DLManagedTensorVersioned) == 80);

namespace duet {
namespace {

enum DeviceType : int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4 };
constexpr uint32_t kMajor = 1;  // a newer major version may lay the struct out otherwise
constexpr uint64_t kReadOnly = 1;

struct Type {
  uint8_t code, bits;
  duet_dtype dtype;
};
constexpr Type kTypes[] = {{kFloat, 32, DUET_DTYPE_F32}, {kFloat, 16, DUET_DTYPE_F16}, {kBfloat, 16, DUET_DTYPE_BF16},
                           {kInt, 32, DUET_DTYPE_I32},   {kInt, 64, DUET_DTYPE_I64},   {kUint, 32, DUET_DTYPE_U32},
                           {kFloat, 64, DUET_DTYPE_F64}};

int32_t dtype_of_type(const DLTensor& tensor) {
  for (const Type& type : kTypes)
    if (tensor.lanes == 1 && tensor.code == type.code && tensor.bits == type.bits) return type.dtype;
  return -1;
}

struct Given {
  const DLTensor* tensor;
  bool read_only;
};

Given given(const duet_dlpack_tensor* handed) {
  const duet_dlpack_tensor known = load(handed, "tensor");
  require((known.unversioned == nullptr) != (known.versioned == nullptr),
          "tensor: expected one of unversioned and versioned, got ", known.versioned == nullptr ? "neither" : "both");
  if (known.unversioned != nullptr) return {&known.unversioned->tensor, false};
  require(known.versioned->major == kMajor, "tensor.versioned: expected version ", kMajor, " of DLPack, got ",
          known.versioned->major, ".", known.versioned->minor);
  return {&known.versioned->tensor, (known.versioned->flags & kReadOnly) != 0};
}

duet_device device_of(const DLTensor& tensor) {
  switch (tensor.device_type) {
    case kCpu:
    case kCudaHost: return DUET_DEVICE_CPU;
    case kCuda:
    case kCudaManaged: return DUET_DEVICE_CUDA;
  }
  throw Error(DUET_STATUS_UNSUPPORTED,
              text("tensor: expected the memory of a CPU or of a CUDA device, got device type ", tensor.device_type));
}

bool is_row_major(const DLTensor& tensor) {
  const int64_t *shape = tensor.shape, *strides = tensor.strides;
  if (strides == nullptr) return true;
  int64_t elements = 1, inner = 1;
  for (int32_t axis = tensor.dimensions; axis-- > 0;) elements *= shape[axis];
  if (elements == 0) return true;
  // All but the rows' stride are those of an array without gaps.
  for (int32_t axis = tensor.dimensions; axis-- > 0;) {
    if (shape[axis] == 1) continue;
    const bool rows = axis == 0 && tensor.dimensions == 2;
    if (rows ? strides[axis] < inner : strides[axis] != inner) return false;
    inner *= shape[axis];
  }
  return true;
}

duet_dlpack_facts facts_of(const Given& array) {
  const DLTensor& tensor = *array.tensor;
  require(tensor.dimensions >= 0, "tensor: expected 0 dimensions or more, got ", tensor.dimensions);
  bool empty = false;
  for (int32_t axis = 0; axis < tensor.dimensions; ++axis) {
    require(tensor.shape[axis] >= 0, "tensor: expected a size of 0 or more, got ", tensor.shape[axis]);
    empty |= tensor.shape[axis] == 0;
  }
  duet_dlpack_facts facts = DUET_DLPACK_FACTS_INIT;
  facts.data = empty ? nullptr : static_cast<char*>(tensor.data) + tensor.byte_offset;
  if (tensor.dimensions == 1 || tensor.dimensions == 2) facts.rows = tensor.shape[0];
  if (tensor.dimensions == 2) {
    facts.columns = tensor.shape[1];
    // Of a single row what a stride says does not matter, and need not be a stride that a view takes.
    const bool told = tensor.strides != nullptr && facts.rows > 1 && facts.columns > 0;
    facts.row_stride = told ? tensor.strides[0] : facts.columns;
  }
  facts.device = device_of(tensor);
  facts.device_index = facts.device == DUET_DEVICE_CUDA ? tensor.device_id : 0;
  facts.dimensions = tensor.dimensions;
  facts.dtype = dtype_of_type(tensor);
  facts.row_major = is_row_major(tensor) ? 1 : 0;
  facts.read_only = array.read_only ? 1 : 0;
  return facts;
}

const char* device_name(duet_device device) { return device == DUET_DEVICE_CPU ? "the CPU" : "CUDA device "; }

enum class Access { read, write };

// The facts of an array that a view of so many dimensions can stand for.
duet_dlpack_facts viewed(const duet_context* context, const duet_dlpack_tensor* tensor, int32_t dimensions,
                         Access access) {
  require(context != nullptr, "context: null");
  const Given array = given(tensor);
  const duet_dlpack_facts facts = facts_of(array);
  require(facts.dimensions == dimensions, "tensor: expected ", dimensions, " dimension", dimensions == 1 ? "" : "s",
          ", got ", facts.dimensions);
  require(facts.dtype >= 0, "tensor: expected float16, bfloat16, float32, float64, int32, int64 or uint32, got type ",
          int{array.tensor->code}, " of ", int{array.tensor->bits}, " bits and ", array.tensor->lanes, " lanes");
  const bool same_place = facts.device == context->device &&
                          (facts.device == DUET_DEVICE_CPU || facts.device_index == context->device_index);
  const auto place = [](duet_device device, int32_t index) {
    return device == DUET_DEVICE_CPU ? text(device_name(device)) : text(device_name(device), index);
  };
  require(same_place, "tensor: expected memory of ", place(context->device, context->device_index), ", got ",
          place(facts.device, facts.device_index));
  require(facts.row_major != 0, "tensor: expected rows of neighbouring elements that do not overlap; ",
          "make it contiguous first");
  require(access == Access::read || facts.read_only == 0, "tensor: it is read-only; expected one that may be written");
  return facts;
}

template <class View>
void write_matrix(const duet_context* context, const duet_dlpack_tensor* tensor, View* view, Access access) {
  require(view != nullptr, "view: null");
  const duet_dlpack_facts facts = viewed(context, tensor, 2, access);
  *view = {facts.data, facts.rows, facts.columns, facts.row_stride, static_cast<duet_dtype>(facts.dtype), 0};
}

template <class View>
void write_vector(const duet_context* context, const duet_dlpack_tensor* tensor, View* view, Access access) {
  require(view != nullptr, "view: null");
  const duet_dlpack_facts facts = viewed(context, tensor, 1, access);
  *view = {facts.data, facts.rows, static_cast<duet_dtype>(facts.dtype), 0};
}

}  // namespace
}  // namespace duet

duet_status duet_dlpack_describe(const duet_dlpack_tensor* tensor, duet_dlpack_facts* facts) {
  return guard("dlpack_describe", [&] {
    const duet_dlpack_facts known = load(static_cast<const duet_dlpack_facts*>(facts), "facts");
    duet_dlpack_facts found = facts_of(given(tensor));
    found.struct_size = known.struct_size;
    std::memcpy(facts, &found, known.struct_size);
  });
}

duet_status duet_dlpack_matrix(const duet_context* context, const duet_dlpack_tensor* tensor, duet_matrix* view) {
  return guard("dlpack_matrix", [&] { write_matrix(context, tensor, view, Access::write); });
}

duet_status duet_dlpack_const_matrix(const duet_context* context, const duet_dlpack_tensor* tensor,
                                     duet_const_matrix* view) {
  return guard("dlpack_const_matrix", [&] { write_matrix(context, tensor, view, Access::read); });
}

duet_status duet_dlpack_vector(const duet_context* context, const duet_dlpack_tensor* tensor, duet_vector* view) {
  return guard("dlpack_vector", [&] { write_vector(context, tensor, view, Access::write); });
}

duet_status duet_dlpack_const_vector(const duet_context* context, const duet_dlpack_tensor* tensor,
                                     duet_const_vector* view) {
  return guard("dlpack_const_vector", [&] { write_vector(context, tensor, view, Access::read); });
}
