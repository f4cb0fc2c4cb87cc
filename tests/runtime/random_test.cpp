#include "runtime/random.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/arrays.h"

using namespace duet;

TEST_CASE("Philox gives the published known answers") {
  // The known-answer vectors of Random123 for philox4x32-10: counter, key, result.
  CHECK(philox({0, 0, 0, 0}, 0, 0) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) == PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a draw's element does not depend on the order of drawing") {
  const RandomDraw draw{0x0123456789abcdefull, kStreamAnnotatedSplit, 3};
  std::vector<uint32_t> forward, backward;
  for (uint64_t e = 0; e < 100; ++e) forward.push_back(draw.word(e));
  for (uint64_t e = 100; e-- > 0;) backward.push_back(draw.word(e));
  std::reverse(backward.begin(), backward.end());
  CHECK(forward == backward);
  const PhiloxBlock block = philox({5, 0, 3, kStreamAnnotatedSplit}, 0x89abcdef, 0x01234567);
  for (uint64_t k = 0; k < 4; ++k) CHECK(draw.word(20 + k) == block[k]);
  CHECK(draw.word(uint64_t{1} << 40) ==
        philox({0, 64, 3, kStreamAnnotatedSplit}, 0x89abcdef, 0x01234567)[0]);  // 2^40 / 4 = 2^38
}

TEST_CASE("coins fall as often as they should") {
  const RandomDraw draw{7, kStreamLabelHiding, 0};
  for (const double p : {0.0, 0.03, 0.5, 1.0}) {
    int heads = 0;
    for (uint64_t e = 0; e < 20000; ++e) heads += draw.coin(e, p);
    CHECK(std::abs(heads / 20000.0 - p) <= 5 * std::sqrt(p * (1 - p) / 20000));  // five deviations; exact at 0 and 1
  }
  double sum = 0;
  for (uint64_t e = 0; e < 20000; ++e) {
    const double u = draw.uniform(e);
    REQUIRE(u > 0);
    REQUIRE(u < 1);
    sum += u;
  }
  CHECK(std::abs(sum / 20000 - 0.5) <= 5 * std::sqrt(1.0 / 12 / 20000));
}

TEST_CASE("a tensor filled by a draw holds its elements") {
  duet::test::Context context(2);
  const RandomDraw draw{11, kStreamInitialisation, 4};
  OwningTensor values(1009, 3);
  draw.fill_uniform(context, -0.5f, 2, values);
  for (uint64_t e = 0; e < 3027; ++e) REQUIRE(values.data()[e] == static_cast<float>(-0.5 + 2.5 * draw.uniform(e)));
}
