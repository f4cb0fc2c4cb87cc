// A test of paired differences that assumes nothing of their distribution but that, were there no effect, each would be
// as likely with the other sign (Fisher, "The Design of Experiments", 1935).
#pragma once

#include <cstdint>
#include <span>

namespace duet {

// So many differences have all their signs tried, 2^19 up to the sign of the whole; of more, so many draws are.
inline constexpr int64_t kMostExactSigns = 20, kSignDraws = 100'000;

struct SignFlipTest {
  double p = 1;       // two-sided
  bool exact = true;  // all signs; else kSignDraws of a fixed seed, p = (1 + hits) / (1 + draws)
};

// p: the share of the 2^n sign vectors s with |sum of s_i d_i| >= |sum of d_i|, equal sums within 1e-12 of the sum of
// |d_i|. Of n differences it is 2^(1 - n) or more: 0.0625 of five. Of none it is 1.
SignFlipTest sign_flip_test(std::span<const double> differences);

}  // namespace duet
