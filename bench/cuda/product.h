// The bare product on a CUDA device: cublasLt's (product_cublas.cpp), or under the emulator plain loops
// (product_plain.cpp).
#pragma once

#include "bench/product.h"
#include "kernels/core/context.h"

namespace duet::bench::cuda {

// In the precision that the library has nearest to the context's: fp32 for tf32x3. Operands are stored as that
// precision reads them.
std::unique_ptr<Product> make_product(const ProductShape& shape, duet_precision precision, void* stream);

// The side of the cube whose product is the measured peak: large enough to fill the device.
extern const int64_t kPeakSize;

}  // namespace duet::bench::cuda
