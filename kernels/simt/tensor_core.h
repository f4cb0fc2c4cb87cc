// The warp-wide instructions behind kernels/cuda/ptx.h: model.h's arithmetic, done once a warp by the lane that arrives last.
#pragma once

#include "kernels/simt/model.h"
#include "kernels/simt/simt.h"

namespace duet::simt {

void ldmatrix_x4(unsigned* r, const void* row, Place at);
void ldmatrix_x4_trans(unsigned* r, const void* row, Place at);
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Place at);
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, Place at);

}  // namespace duet::simt
