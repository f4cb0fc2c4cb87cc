#include "runtime/random.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace duet {

void RandomDraw::permutation(std::span<int64_t> order) const {
  require(order.size() < (uint64_t{1} << 31), "permutation: expected fewer than 2^31 numbers, got ", order.size());
  // Word above number in 63 bits: sorting these keys in place sorts by word, then by number.
  const auto key = [&](size_t i) { return (uint64_t{word(i)} << 31) | i; };
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(key(i));
  std::sort(order.begin(), order.end());
  for (int64_t& entry : order) entry &= (int64_t{1} << 31) - 1;
}

}  // namespace duet
