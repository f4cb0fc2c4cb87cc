// Elementwise (kernels/cuda/elementwise.h): a thread owns four neighbouring elements and draws their words itself, one Philox block where the first
// of them is a multiple of four in the draw, else two. A block is 20 multiplications of 32 x 32 bits and some 80 other operations: 25 an element,
// against the 50 that an H200 has time for while 8 bytes move (backward 12), so bandwidth stays the limit and no mask is stored.
#include "kernels/activation/activation_backends.h"
#include "kernels/core/philox.h"
#include "kernels/cuda/elementwise.h"

namespace duet::cuda {
namespace {

template <bool kAdd>
struct Drop {
  uint64_t seed, first_element;  // of element (0, 0)
  uint32_t stream, threshold;
  float keep_probability;
  const int64_t* step;
  Matrix<const float> source;
  Matrix<float> target;  // outputs, or grad_x to add to

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    const uint64_t element = first_element + static_cast<uint64_t>(i) * static_cast<uint64_t>(source.columns) + static_cast<uint64_t>(j);
    const uint32_t draw = static_cast<uint32_t>(*step), skip = static_cast<uint32_t>(element % 4);
    const PhiloxBlock block = random_block(seed, stream, draw, element / 4);
    const PhiloxBlock next = kWidth > 1 && skip > 0 ? random_block(seed, stream, draw, element / 4 + 1) : block;
    Pack<kWidth> value = load<kWidth>(source.row(i) + j);
    DUET_UNROLL
    for (uint32_t k = 0; k < kWidth; ++k) {
      const uint32_t word = pick(block, next, skip + k);
      value.at[k] = word < threshold ? 0.0f : value.at[k] / keep_probability;
    }
    if constexpr (kAdd) {
      const Pack<kWidth> before = load<kWidth>(target.row(i) + j);
      DUET_UNROLL
      for (int k = 0; k < kWidth; ++k) value.at[k] = before.at[k] + value.at[k];
    }
    store(target.row(i) + j, value);
  }

  // Word number of the eight, without an array that would have to lie in memory.
  __device__ static uint32_t pick(const PhiloxBlock& block, const PhiloxBlock& next, uint32_t number) {
    const PhiloxBlock& from = number < 4 ? block : next;
    const uint32_t low = number & 1 ? from[1] : from[0], high = number & 1 ? from[3] : from[2];
    return number & 2 ? high : low;
  }
};

template <bool kAdd>
void drop(const duet_context& context, const Dropout& dropout, Matrix<const float> source, Matrix<float> target) {
  const Drop<kAdd> body{dropout.seed,
                        static_cast<uint64_t>(dropout.first_row) * static_cast<uint64_t>(source.columns),
                        dropout.stream,
                        static_cast<uint32_t>(coin_threshold(dropout.drop_probability)),  // a float below 1 is at most 1 - 2^-24: it fits
                        1.0f - dropout.drop_probability,
                        dropout.step.data,
                        source,
                        target};
  for_each_element(context, source.rows, source.columns, contiguous(source) && contiguous(target), aligned(source) && aligned(target), body);
}

}  // namespace

void dropout_forward(const duet_context& context, const Dropout& dropout, Matrix<const float> x, Matrix<float> outputs) {
  drop<false>(context, dropout, x, outputs);
}

void dropout_backward(const duet_context& context, const Dropout& dropout, Matrix<const float> grad_outputs, Matrix<float> grad_x) {
  drop<true>(context, dropout, grad_outputs, grad_x);
}

}  // namespace duet::cuda
