// A thread owns one Philox block, that is four neighbouring words of the draw.
// Bytes: 16 a block.
// Operations: some 100 a block; no products.
#include "kernels/core/philox.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/random/random_backends.h"

namespace duet::cuda {
namespace {

struct Words {
  uint32_t* to;

  __device__ void write(int64_t e, uint32_t word) const { to[e] = word; }
  __device__ void write(int64_t e, const PhiloxBlock& block) const {
    *reinterpret_cast<uint4*>(to + e) = uint4{block[0], block[1], block[2], block[3]};
  }
};

// The product is rounded before it is added, as the CPU's is, so that the values are the same.
struct Uniforms {
  double low, range;
  float* to;

  __device__ float value(uint32_t word) const {
    return static_cast<float>(__dadd_rn(low, __dmul_rn(range, uniform(word))));
  }
  __device__ void write(int64_t e, uint32_t word) const { to[e] = value(word); }
  __device__ void write(int64_t e, const PhiloxBlock& block) const {
    store<4>(to + e, {{value(block[0]), value(block[1]), value(block[2]), value(block[3])}});
  }
};

constexpr int kThreads = 256;

// skip: the number of words of the first block that lie before the range. wide: skip is 0 and `to` is aligned.
template <class Write>
__global__ void __launch_bounds__(kThreads)
    draw_kernel(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first_element, int64_t skip, int64_t size,
                bool wide, Write write) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 4 - skip;
  if (first >= size) return;
  const PhiloxBlock block = random_block(seed, stream, step, (first_element + static_cast<uint64_t>(first)) / 4);
  if (wide && first + 4 <= size) return write.write(first, block);
  DUET_UNROLL
  for (int k = 0; k < 4; ++k)
    if (first + k >= 0 && first + k < size) write.write(first + k, block.word[k]);
}

template <class Write>
void draw(const duet_context& context, const duet_random_inputs& draw, int64_t size, const Write& write) {
  if (size == 0) return;
  const int64_t skip = static_cast<int64_t>(draw.first_element % 4);
  DUET_LAUNCH(draw_kernel<Write>, ceil_div(size + skip, 4 * kThreads), kThreads, 0, context.stream)
  (draw.seed, draw.stream, draw.step, draw.first_element, skip, size, skip == 0 && aligned(write.to), write);
}

}  // namespace

void random_words(const duet_context& context, const duet_random_inputs& given, Vector<uint32_t> words) {
  draw(context, given, words.size, Words{words.data});
}

void random_uniform(const duet_context& context, const duet_random_inputs& given, double low, double high,
                    Vector<float> values) {
  draw(context, given, values.size, Uniforms{low, high - low, values.data});
}

}  // namespace duet::cuda
