// Matrix products of one tile: BLAS, single-threaded, on shapes that depend on the problem alone (that is what keeps the bits the same).
#pragma once

#include "kernels/core/check.h"

namespace duet::cpu {

// out (r x c) = alpha * x (r x k) * y (c x k)^T + beta * out; beta = 0 does not read out.
void product_nt(float alpha, Matrix<const float> x, Matrix<const float> y, float beta, Matrix<float> out);
// out (r x c) = alpha * x (r x k) * y (k x c) + beta * out
void product_nn(float alpha, Matrix<const float> x, Matrix<const float> y, float beta, Matrix<float> out);
// out (r x c) = alpha * x (k x r)^T * y (k x c) + beta * out
void product_tn(float alpha, Matrix<const float> x, Matrix<const float> y, float beta, Matrix<float> out);

}  // namespace duet::cpu
