// The instructions of cuda/ptx.h as the emulator computes them.
#pragma once

#include "kernels/simt/language.h"
#include "kernels/simt/model.h"

namespace duet::cuda::ptx {

inline void cp_async16(void* shared, const void* global, int source_bytes = 16, DUET_SIMT_CALLER) {
  simt::cp_async16(shared, global, source_bytes, DUET_SIMT_PLACE);
}
inline void cp_async_commit() { simt::cp_async_commit(); }
template <int kGroupsLeft>
void cp_async_wait() {
  static_assert(kGroupsLeft >= 0);
  simt::cp_async_wait(kGroupsLeft);
}

inline void ldmatrix_x4(unsigned (&r)[4], const void* row, DUET_SIMT_CALLER) {
  simt::ldmatrix_x4(r, row, DUET_SIMT_PLACE);
}
inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4],
                              DUET_SIMT_CALLER) {
  simt::mma_m16n8k16_bf16(d, a, b, c, DUET_SIMT_PLACE);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4],
                             DUET_SIMT_CALLER) {
  simt::mma_m16n8k8_tf32(d, a, b, c, DUET_SIMT_PLACE);
}
inline unsigned to_tf32(float x) { return simt::model::to_tf32(x); }
inline unsigned pack_bf16(float lo, float hi) { return simt::model::to_bf16(lo) | simt::model::to_bf16(hi) << 16; }
inline float exp2(float x) { return simt::model::exp2_flushed(x); }
inline float sqrt(float x) { return simt::model::sqrt_flushed(x); }
inline float reciprocal(float x) { return simt::model::reciprocal_flushed(x); }

}  // namespace duet::cuda::ptx
