#include <cblas.h>

#include <algorithm>
#include <mutex>

#include "bench/cpu/backend.h"

// OpenBLAS without threads hands out the packing buffer of a product by "the first not in use", and 0.3.21 looks and
// takes without holding its lock: two threads that call at the same instant may share one buffer, and whole tiles come
// out wrong (one run in four of 3 tiles on 2 threads). The linker sends its calls through here (--wrap,
// bench/CMakeLists.txt); the lock is held for some tens of nanoseconds a product.
extern "C" {
void* __real_blas_memory_alloc(int kind);
void* __wrap_blas_memory_alloc(int kind);
}

namespace {

std::mutex one_at_a_time;

}  // namespace

void* __wrap_blas_memory_alloc(int kind) {
  const std::lock_guard<std::mutex> hold(one_at_a_time);
  return __real_blas_memory_alloc(kind);
}

namespace duet::bench::cpu {

void blas_product(Matrix<const float> x, Matrix<const float> y, Matrix<float> out) {
  const auto leading = [](int64_t stride) { return static_cast<blasint>(std::max<int64_t>(1, stride)); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(out.rows),
              static_cast<blasint>(out.columns), static_cast<blasint>(x.columns), 1, x.data, leading(x.stride), y.data,
              leading(y.stride), 0, out.data, leading(out.stride));
}

const char* blas_core() { return openblas_get_corename(); }

}  // namespace duet::bench::cpu
