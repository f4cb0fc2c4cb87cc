// The CPU's yardsticks.
#pragma once

#include "bench/product.h"
#include "bench/roofline.h"

namespace duet::bench::cpu {

// Over all threads, by BLAS or by the kernels' own packed product (packing included), whichever is faster here.
std::unique_ptr<Product> make_product(const ProductShape& shape, const duet_context& context);

// Over all threads of the context, best of several tries: about 0.2 s.
Roofline measure_roofline(const duet_context& context);

}  // namespace duet::bench::cpu
