#include "kernels/simt/fiber.h"

DUET_SIMT_UNCHECKED_BEGIN
#include "kernels/simt/tensor_core.h"

namespace duet::simt {
namespace {

template <class Argument, void (*kCompute)(const Argument* const*)>
void complete(void* const* lanes, uint32_t) {
  const Argument* arguments[32];
  for (int lane = 0; lane < 32; ++lane) arguments[lane] = static_cast<const Argument*>(lanes[lane]);
  kCompute(arguments);
}

void load_matrix(unsigned* r, const void* row, const char* what, Place at, Completion complete) {
  check_aligned(row, 16, what, at);
  if (!is_shared(row, 16)) fail(what, " at ", at, ": the row is not in the block's shared memory");
  note_read(row, 16);
  model::LoadMatrix mine{r, static_cast<const uint16_t*>(row)};
  warp_collective(what, at, &mine, complete);
}

}  // namespace

void ldmatrix_x4(unsigned* r, const void* row, Place at) {
  load_matrix(r, row, "ldmatrix.x4", at, complete<model::LoadMatrix, model::load_matrices<false>>);
}
void ldmatrix_x4_trans(unsigned* r, const void* row, Place at) {
  load_matrix(r, row, "ldmatrix.x4.trans", at, complete<model::LoadMatrix, model::load_matrices<true>>);
}
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Place at) {
  model::Multiply mine{d, a, b, c};
  warp_collective("mma.m16n8k16.bf16", at, &mine, complete<model::Multiply, model::multiply<16>>);
}
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, Place at) {
  model::Multiply mine{d, a, b, c};
  warp_collective("mma.m16n8k8.tf32", at, &mine, complete<model::Multiply, model::multiply<8>>);
}

}  // namespace duet::simt
DUET_SIMT_UNCHECKED_END
