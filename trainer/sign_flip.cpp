#include "trainer/sign_flip.h"

#include <cmath>

#include "kernels/core/philox.h"

namespace duet {
namespace {

constexpr uint32_t kStreamSigns = 12;  // step = draw, element = difference
constexpr double kRounding = 1e-12;

}  // namespace

SignFlipTest sign_flip_test(std::span<const double> differences) {
  const auto count = std::ssize(differences);
  double sum = 0, sizes = 0;
  for (const double value : differences) sum += value, sizes += std::abs(value);
  const double least = std::abs(sum) - kRounding * sizes;
  // negative: whether difference i takes the other sign.
  const auto is_hit = [&](auto negative) {
    double flipped = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double value = differences[static_cast<size_t>(i)];
      flipped += negative(i) ? -value : value;
    }
    return std::abs(flipped) >= least;
  };
  int64_t hits = 0;
  if (count <= kMostExactSigns) {
    // The first sign stays: with all of them turned the size of the sum is the same.
    const int64_t all = int64_t{1} << (count > 0 ? count - 1 : 0);
    for (int64_t signs = 0; signs < all; ++signs) hits += is_hit([&](int64_t i) { return ((signs << 1) >> i) & 1; });
    return {static_cast<double>(hits) / static_cast<double>(all), true};
  }
  for (int64_t draw = 0; draw < kSignDraws; ++draw)
    hits += is_hit([&](int64_t i) {
      return random_word(0, kStreamSigns, static_cast<uint32_t>(draw), static_cast<uint64_t>(i)) >> 31;
    });
  return {static_cast<double>(1 + hits) / static_cast<double>(1 + kSignDraws), false};
}

}  // namespace duet
