#include "kernels/simt/tensor_core.h"

#include <cstring>

#include "kernels/simt/fiber.h"

DUET_SIMT_UNCHECKED_BEGIN
namespace duet::simt {
namespace {

struct LoadMatrix {
  unsigned* r;
  const uint16_t* row;
};

template <bool kTransposed>
void load_matrices(void* const* lanes, uint32_t) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(elements[row], static_cast<LoadMatrix*>(lanes[matrix * 8 + row])->row, sizeof elements[row]);
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, quad = lane % 4;
      const unsigned low = kTransposed ? elements[2 * quad][group] : elements[group][2 * quad];
      const unsigned high = kTransposed ? elements[2 * quad + 1][group] : elements[group][2 * quad + 1];
      static_cast<LoadMatrix*>(lanes[lane])->r[matrix] = low | high << 16;
    }
  }
}

void load_matrix(unsigned* r, const void* row, const char* what, Place at, Completion complete) {
  check_aligned(row, 16, what, at);
  if (!is_shared(row, 16)) fail(what, " at ", at, ": the row is not in the block's shared memory");
  note_read(row, 16);
  LoadMatrix mine{r, static_cast<const uint16_t*>(row)};
  warp_collective(what, at, &mine, complete);
}

struct Multiply {
  float* d;
  const unsigned *a, *b;
  const float* c;
};

// Eight columns of a row of B or D: one vector, so that the product is 16 k multiply-adds of vectors.
using Columns = float __attribute__((vector_size(32), aligned(16)));

float bf16_value(unsigned pair, int half) { return __builtin_bit_cast(float, half ? pair & 0xffff0000u : pair << 16); }
float tf32_value(unsigned bits) { return __builtin_bit_cast(float, bits & 0xffffe000u); }

template <int kDepth>
struct Operands {
  float a[16][kDepth];
  Columns b[kDepth];
};
void gather(Operands<16>& to, const Multiply& from, int group, int quad) {
  for (int i = 0; i < 4; ++i)
    for (int half = 0; half < 2; ++half) to.a[group + 8 * (i & 1)][2 * quad + 8 * (i >> 1) + half] = bf16_value(from.a[i], half);
  for (int i = 0; i < 2; ++i)
    for (int half = 0; half < 2; ++half) to.b[2 * quad + 8 * i + half][group] = bf16_value(from.b[i], half);
}
void gather(Operands<8>& to, const Multiply& from, int group, int quad) {
  for (int i = 0; i < 4; ++i) to.a[group + 8 * (i & 1)][quad + 4 * (i >> 1)] = tf32_value(from.a[i]);
  for (int i = 0; i < 2; ++i) to.b[quad + 4 * i][group] = tf32_value(from.b[i]);
}

// Done once a warp, by the lane that arrives last: products summed in float32 in order of k, then c added.
template <int kDepth>
void multiply(void* const* lanes, uint32_t) {
  Operands<kDepth> operands;
  Columns d[16];
  for (int lane = 0; lane < 32; ++lane) gather(operands, *static_cast<Multiply*>(lanes[lane]), lane / 4, lane % 4);
  for (int row = 0; row < 16; ++row) {
    Columns sum = operands.a[row][0] * operands.b[0];
    for (int k = 1; k < kDepth; ++k) sum += operands.a[row][k] * operands.b[k];
    d[row] = sum;
  }
  for (int lane = 0; lane < 32; ++lane) {
    const Multiply& mine = *static_cast<Multiply*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) mine.d[i] = mine.c[i] + d[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)];
  }
}

}  // namespace

void ldmatrix_x4(unsigned* r, const void* row, Place at) { load_matrix(r, row, "ldmatrix.x4", at, load_matrices<false>); }
void ldmatrix_x4_trans(unsigned* r, const void* row, Place at) { load_matrix(r, row, "ldmatrix.x4.trans", at, load_matrices<true>); }
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Place at) {
  Multiply mine{d, a, b, c};
  warp_collective("mma.m16n8k16.bf16", at, &mine, multiply<16>);
}
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, Place at) {
  Multiply mine{d, a, b, c};
  warp_collective("mma.m16n8k8.tf32", at, &mine, multiply<8>);
}

}  // namespace duet::simt
DUET_SIMT_UNCHECKED_END
