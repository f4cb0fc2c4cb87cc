#include "kernels/core/philox.h"
#include "kernels/cpu/parallel.h"
#include "kernels/random/random_backends.h"

namespace duet::cpu {
namespace {

// Elements of a work item: tens of microseconds, which outweighs the cost of handing it to a thread.
constexpr int64_t kChunk = 4096;

// Calls write(e, word) for every element of the draw. A block of four words is computed once a chunk.
template <class Write>
void for_each_word(const duet_context& context, const duet_random_inputs& draw, int64_t size, Write&& write) {
  parallel_chunks(context, size, kChunk, [&](int64_t first, int64_t count, int) {
    PhiloxBlock block{};
    for (int64_t e = first; e < first + count; ++e) {
      const uint64_t element = draw.first_element + static_cast<uint64_t>(e);
      if (e == first || element % 4 == 0) block = random_block(draw.seed, draw.stream, draw.step, element / 4);
      write(e, block[element % 4]);
    }
  });
}

}  // namespace

void random_words(const duet_context& context, const duet_random_inputs& draw, Vector<uint32_t> words) {
  for_each_word(context, draw, words.size, [&](int64_t e, uint32_t word) { words[e] = word; });
}

void random_uniform(const duet_context& context, const duet_random_inputs& draw, double low, double high,
                    Vector<float> values) {
  for_each_word(context, draw, values.size,
                [&](int64_t e, uint32_t word) { values[e] = static_cast<float>(low + (high - low) * uniform(word)); });
}

}  // namespace duet::cpu
