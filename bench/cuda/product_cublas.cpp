#include <cublasLt.h>

#include <array>

#include "bench/cuda/product.h"
#include "kernels/cuda/device.h"

namespace duet::bench::cuda {

const int64_t kPeakSize = 8192;

namespace {

namespace device = duet::cuda;

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(DUET_STATUS_CUDA_ERROR, text("cublasLt: ", what, ": ", cublasLtGetStatusString(status)));
}

// A handle of cublasLt with the function that gives it back.
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

Owned<cublasLtMatrixLayout_t> layout(cudaDataType type, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows),
        "a layout");
  return {made, cublasLtMatrixLayoutDestroy};
}

constexpr int64_t kBandElements = int64_t{1} << 30;  // of the result that are stored at a time: 4 GiB
constexpr size_t kWorkspace = size_t{64} << 20;
constexpr int kCandidates = 8, kTries = 3;
constexpr int64_t kDrawn = 1'000'003;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

uint16_t bf16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Row-major x y^T is, column by column, y x^T: cublasLt's first operand is y, transposed, its second x, and the
// result's columns are our rows.
class CublasProduct : public Product {
 public:
  CublasProduct(const ProductShape& shape, duet_precision precision, void* stream) : stream_(stream) {
    // Alignments that the fast algorithms ask for, whatever the shape.
    const int64_t inner = round_up(std::max<int64_t>(1, shape.inner), 8),
                  columns = round_up(std::max<int64_t>(1, shape.columns), 8);
    const int64_t rows = std::max<int64_t>(1, shape.rows);
    bands_ = (rows + std::max<int64_t>(1, kBandElements / columns) - 1) / std::max<int64_t>(1, kBandElements / columns);
    const int64_t band_rows = (rows + bands_ - 1) / bands_;
    const bool half = precision == DUET_PRECISION_BF16;
    const cudaDataType type = half ? CUDA_R_16BF : CUDA_R_32F;
    band_bytes_ = static_cast<size_t>(band_rows * inner) * (half ? sizeof(uint16_t) : sizeof(float));

    x_ = operand(1, bands_ * band_rows * inner, half);
    y_ = operand(2, columns * inner, half);
    result_ = DeviceBytes(static_cast<size_t>(band_rows * columns) * sizeof(float));
    workspace_ = DeviceBytes(kWorkspace);

    cublasLtHandle_t handle = nullptr;
    check(cublasLtCreate(&handle), "a handle");
    handle_ = {handle, cublasLtDestroy};
    cublasLtMatmulDesc_t description = nullptr;
    const bool tf32 = precision == DUET_PRECISION_TF32;
    check(cublasLtMatmulDescCreate(&description, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "a description");
    description_ = {description, cublasLtMatmulDescDestroy};
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
          "a description");
    y_layout_ = layout(type, inner, columns);
    x_layout_ = layout(type, inner, band_rows);
    result_layout_ = layout(CUDA_R_32F, columns, band_rows);
    choose_algorithm();
  }

  void run() override {
    for (int64_t band = 0; band < bands_; ++band) multiply(band);
  }

 private:
  // Random numbers, over and over the same million: drawing a large operand would take longer than timing it.
  template <class T, class Convert>
  static DeviceBytes operand(uint64_t seed, int64_t count, Convert convert) {
    const Floats drawn = Draw(seed).normals(1, std::min(count, kDrawn));
    std::vector<T> values(static_cast<size_t>(count));
    for (int64_t k = 0, from = 0; k < count; ++k, from = from + 1 == drawn.size() ? 0 : from + 1)
      values[static_cast<size_t>(k)] = convert(drawn.row(0)[from]);
    DeviceBytes out(values.size() * sizeof(T));
    device_memory.copy(out.get(), values.data(), values.size() * sizeof(T));
    return out;
  }
  static DeviceBytes operand(uint64_t seed, int64_t count, bool half) {
    return half ? operand<uint16_t>(seed, count, bf16) : operand<float>(seed, count, [](float value) { return value; });
  }

  // The heuristics name candidates; the one that is fastest here is kept.
  void choose_algorithm() {
    cublasLtMatmulPreference_t made = nullptr;
    check(cublasLtMatmulPreferenceCreate(&made), "a preference");
    const Owned<cublasLtMatmulPreference_t> preference(made, cublasLtMatmulPreferenceDestroy);
    check(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace,
                                               sizeof kWorkspace),
          "a preference");
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> candidates;
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle_.get(), description_.get(), y_layout_.get(), x_layout_.get(),
                                         result_layout_.get(), result_layout_.get(), made, kCandidates,
                                         candidates.data(), &found),
          "an algorithm");
    if (found == 0) throw Error(DUET_STATUS_CUDA_ERROR, "cublasLt: no algorithm for the bare product");
    float best = INFINITY;
    cublasLtMatmulAlgo_t fastest = candidates[0].algo;
    for (int k = 0; k < found; ++k) {
      if (candidates[static_cast<size_t>(k)].state != CUBLAS_STATUS_SUCCESS) continue;
      algorithm_ = candidates[static_cast<size_t>(k)].algo;
      multiply(0);
      for (int attempt = 0; attempt < kTries; ++attempt) {
        device::Event start, stop;
        start.record(stream_);
        multiply(0);
        stop.record(stream_);
        stop.wait();
        const float elapsed = stop.elapsed_ms(start);
        if (elapsed < best) best = elapsed, fastest = algorithm_;
      }
    }
    algorithm_ = fastest;
  }

  void multiply(int64_t band) {
    const float one = 1, zero = 0;
    const char* x = static_cast<const char*>(x_.get()) + static_cast<size_t>(band) * band_bytes_;
    check(cublasLtMatmul(handle_.get(), description_.get(), &one, y_.get(), y_layout_.get(), x, x_layout_.get(), &zero,
                         result_.get(), result_layout_.get(), result_.get(), result_layout_.get(), &algorithm_,
                         workspace_.get(), kWorkspace, static_cast<cudaStream_t>(stream_)),
          "the bare product");
  }

  void* stream_;
  int64_t bands_ = 1;
  size_t band_bytes_ = 0;
  DeviceBytes x_, y_, result_, workspace_;
  Owned<cublasLtHandle_t> handle_{nullptr, nullptr};
  Owned<cublasLtMatmulDesc_t> description_{nullptr, nullptr};
  Owned<cublasLtMatrixLayout_t> y_layout_{nullptr, nullptr}, x_layout_{nullptr, nullptr},
      result_layout_{nullptr, nullptr};
  cublasLtMatmulAlgo_t algorithm_{};
};

}  // namespace

std::unique_ptr<Product> make_product(const ProductShape& shape, duet_precision precision, void* stream) {
  return std::make_unique<CublasProduct>(shape, precision, stream);
}

}  // namespace duet::bench::cuda
