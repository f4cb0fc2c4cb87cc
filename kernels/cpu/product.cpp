#include "kernels/cpu/product.h"

#include <cblas.h>
#include <pthread.h>

#include <algorithm>
#include <mutex>

// OpenBLAS without threads hands out the packing buffer of a product by "the first not in use", and 0.3.21 looks and takes without holding its
// lock: two threads that call at the same instant may share one buffer, and whole tiles come out wrong (one run in four of 3 tiles on 2 threads).
// The linker sends its calls through here (--wrap, kernels/CMakeLists.txt); the lock is held for some tens of nanoseconds a product. A fork takes it
// too, so that no child gets it locked by a thread that the child has not.
extern "C" {
void* __real_blas_memory_alloc(int kind);
void* __wrap_blas_memory_alloc(int kind);
}

namespace {

std::mutex one_at_a_time;
[[maybe_unused]] const int forks_wait = pthread_atfork([] { one_at_a_time.lock(); }, [] { one_at_a_time.unlock(); }, [] { one_at_a_time.unlock(); });

}  // namespace

void* __wrap_blas_memory_alloc(int kind) {
  const std::lock_guard<std::mutex> hold(one_at_a_time);
  return __real_blas_memory_alloc(kind);
}

namespace duet::cpu {
namespace {

void product(CBLAS_TRANSPOSE transpose_x, CBLAS_TRANSPOSE transpose_y, int64_t k, float alpha, Matrix<const float> x, Matrix<const float> y,
             float beta, Matrix<float> out) {
  if (out.rows == 0 || out.columns == 0) return;
  if (k == 0) {  // BLAS may leave out untouched; an empty sum is 0
    for (int64_t i = 0; i < out.rows; ++i)
      for (int64_t j = 0; j < out.columns; ++j) out.row(i)[j] = beta == 0 ? 0 : beta * out.row(i)[j];
    return;
  }
  const auto leading = [](int64_t stride) { return static_cast<blasint>(std::max<int64_t>(1, stride)); };
  cblas_sgemm(CblasRowMajor, transpose_x, transpose_y, static_cast<blasint>(out.rows), static_cast<blasint>(out.columns), static_cast<blasint>(k),
              alpha, x.data, leading(x.stride), y.data, leading(y.stride), beta, out.data, leading(out.stride));
}

}  // namespace

void product_nt(float alpha, Matrix<const float> x, Matrix<const float> y, float beta, Matrix<float> out) {
  product(CblasNoTrans, CblasTrans, x.columns, alpha, x, y, beta, out);
}

void product_nn(float alpha, Matrix<const float> x, Matrix<const float> y, float beta, Matrix<float> out) {
  product(CblasNoTrans, CblasNoTrans, x.columns, alpha, x, y, beta, out);
}

void product_tn(float alpha, Matrix<const float> x, Matrix<const float> y, float beta, Matrix<float> out) {
  product(CblasTrans, CblasNoTrans, x.rows, alpha, x, y, beta, out);
}

}  // namespace duet::cpu
