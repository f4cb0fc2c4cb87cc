// The CPU's yardsticks.
#pragma once

#include "bench/product.h"
#include "bench/roofline.h"
#include "kernels/core/check.h"

namespace duet::bench::cpu {

// OpenBLAS on one tile, on the calling thread: out (r x c) = x (r x k) y (c x k)^T.
void blas_product(Matrix<const float> x, Matrix<const float> y, Matrix<float> out);
// The kernels that it chose for this processor: "SkylakeX".
const char* blas_core();

// Over all threads, by BLAS or by the kernels' own packed product (packing included), whichever is faster here.
std::unique_ptr<Product> make_product(const ProductShape& shape, const duet_context& context);

// Over all threads of the context, best of several tries: about 0.2 s.
Roofline measure_roofline(const duet_context& context);

}  // namespace duet::bench::cpu
