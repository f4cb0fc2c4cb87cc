#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/cuda/dense.h"

namespace duet::cuda {
namespace {

// What cuBLASLt may use to split a sum in a fixed order; its best kernels for one H200 ask for no more.
constexpr size_t kWorkspace = size_t{32} << 20;
constexpr size_t kAlignment = 256;  // that it asks of its workspace

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(status == CUBLAS_STATUS_ALLOC_FAILED ? DUET_STATUS_OUT_OF_MEMORY : DUET_STATUS_CUDA_ERROR,
              text("cuBLASLt, ", what, ": ", cublasLtGetStatusString(status)));
}

struct DestroyHandle {
  void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
};
struct DestroyOperation {
  void operator()(cublasLtMatmulDesc_t operation) const { cublasLtMatmulDescDestroy(operation); }
};
struct DestroyLayout {
  void operator()(cublasLtMatrixLayout_t layout) const { cublasLtMatrixLayoutDestroy(layout); }
};
struct DestroyPreference {
  void operator()(cublasLtMatmulPreference_t preference) const { cublasLtMatmulPreferenceDestroy(preference); }
};
template <class Handle, class Destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy>;
using Operation = Owned<cublasLtMatmulDesc_t, DestroyOperation>;
using Layout = Owned<cublasLtMatrixLayout_t, DestroyLayout>;
using Preference = Owned<cublasLtMatmulPreference_t, DestroyPreference>;

// cuBLAS has no split of three TF32 products: where fp32's accuracy is asked for, it multiplies in fp32.
cublasComputeType_t compute_type(duet_precision precision) {
  if (precision == DUET_PRECISION_TF32) return CUBLAS_COMPUTE_32F_FAST_TF32;
  if (precision == DUET_PRECISION_BF16) return CUBLAS_COMPUTE_32F_FAST_16BF;
  return CUBLAS_COMPUTE_32F;
}

template <class Value>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value), "describing a product");
}

Operation describe(const DenseProduct& product, duet_precision precision) {
  cublasLtMatmulDesc_t made = nullptr;
  check(cublasLtMatmulDescCreate(&made, compute_type(precision), CUDA_R_32F), "describing a product");
  Operation operation(made);
  // Column-major, a row-major matrix is its own transpose: out^T = op(y)^T op(x)^T, y first, transposed as it is here.
  const auto transpose = [](DenseProduct::Operand is) {
    return is == DenseProduct::Operand::transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  };
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, transpose(product.y_is));
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, transpose(product.x_is));
  if (product.bias) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias.data);
  }
  return operation;
}

template <class T>
Layout layout_of(Matrix<T> matrix) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, CUDA_R_32F, static_cast<uint64_t>(matrix.columns),
                                   static_cast<uint64_t>(matrix.rows), matrix.stride),
        "describing a matrix");
  return Layout(made);
}

// The power of two, up to 256, that an address is a multiple of.
uint32_t alignment_of(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  return static_cast<uint32_t>(std::min<uintptr_t>(kAlignment, address & (~address + 1)));
}

// All that the choice of an algorithm may depend on, and with it the order of a sum.
using Key = std::array<int64_t, 15>;
Key key_of(const DenseProduct& product, duet_precision precision) {
  return {product.x.rows,
          product.x.columns,
          product.x.stride,
          product.y.rows,
          product.y.columns,
          product.y.stride,
          product.out.stride,
          static_cast<int64_t>(product.x_is),
          static_cast<int64_t>(product.y_is),
          product.beta != 0,
          bool(product.bias),
          static_cast<int64_t>(precision),
          alignment_of(product.x.data),
          alignment_of(product.y.data),
          alignment_of(product.out.data)};
}

// A device's handle and the algorithms chosen on it, one a shape. Both outlive the calls: a handle takes milliseconds
// to make, a choice tens of microseconds, and a step has the same shapes as the one before.
class Device {
 public:
  void multiply(const duet_context& context, const DenseProduct& product, void* workspace) {
    const Operation operation = describe(product, context.precision);
    const Layout a = layout_of(product.y), b = layout_of(product.x), out = layout_of(product.out);
    const cublasLtMatmulAlgo_t algorithm = choose(context, product, operation, a, b, out);
    check(cublasLtMatmul(handle_.get(), operation.get(), &product.alpha, product.y.data, a.get(), product.x.data,
                         b.get(), &product.beta, product.out.data, out.get(), product.out.data, out.get(), &algorithm,
                         workspace, kWorkspace, static_cast<cudaStream_t>(context.stream)),
          "multiplying");
  }

 private:
  cublasLtMatmulAlgo_t choose(const duet_context& context, const DenseProduct& product, const Operation& operation,
                              const Layout& a, const Layout& b, const Layout& out) {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (!handle_) {
      cublasLtHandle_t made = nullptr;
      check(cublasLtCreate(&made), "opening");
      handle_.reset(made);
    }
    const auto [chosen, fresh] = algorithms_.try_emplace(key_of(product, context.precision));
    if (!fresh) return chosen->second;
    cublasLtMatmulPreference_t made = nullptr;
    check(cublasLtMatmulPreferenceCreate(&made), "stating a preference");
    const Preference preference(made);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
            "stating a preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
    // Partial sums meet in the workspace, in order; never in place by atomics.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(product.y.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(product.x.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(product.out.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(product.out.data));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_.get(), operation.get(), a.get(), b.get(), out.get(), out.get(), preference.get(), 1, &found, &count);
    if (status != CUBLAS_STATUS_SUCCESS || count == 0) {
      algorithms_.erase(chosen);
      check(status == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : status, "choosing an algorithm");
    }
    return chosen->second = found.algo;
  }

  std::mutex mutex_;
  Owned<cublasLtHandle_t, DestroyHandle> handle_;
  std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

Device& device_of(int32_t index) {
  constexpr int kMostDevices = 64;
  // Never destroyed: at exit the driver may be gone before it.
  static auto& devices = *new std::array<Device, kMostDevices>;
  if (index >= kMostDevices)
    throw Error(DUET_STATUS_UNSUPPORTED, text("device ", index, ": dense products know ", kMostDevices));
  return devices[static_cast<size_t>(index)];
}

}  // namespace

size_t dense_workspace() { return kWorkspace + kAlignment; }

void dense_product(const duet_context& context, const DenseProduct& product, void* workspace) {
  const auto address = (reinterpret_cast<uintptr_t>(workspace) + kAlignment - 1) / kAlignment * kAlignment;
  device_of(context.device_index).multiply(context, product, reinterpret_cast<void*>(address));
}

}  // namespace duet::cuda
