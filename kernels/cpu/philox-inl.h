// Philox of kernels/core/philox.h, several blocks at a time: the same words. Compiled once a SIMD target.
#if defined(DUET_CPU_PHILOX_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_PHILOX_INL_H
#undef DUET_CPU_PHILOX_INL_H
#else
#define DUET_CPU_PHILOX_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// Blocks are written a vector at a time: words must have room for blocks rounded up to a multiple of this.
constexpr int64_t kPhiloxGroup = 16;

// words[4 b + w] = random_block(seed, stream, step, first_block + b)[w]. Each 64-bit lane holds one word of one block
// in its low half; what is left in the high half is never read, so a round is two multiplications, two shifts and four
// exclusive ors.
inline void philox_blocks(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first_block, int64_t blocks,
                          uint32_t* HWY_RESTRICT words) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<uint64_t> d;
  const hn::Repartition<uint32_t, decltype(d)> d32;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  static_assert(2 * hn::MaxLanes(d) <= kPhiloxGroup);
  const auto multiply = [&](auto a, auto b) HWY_ATTR { return hn::MulEven(hn::BitCast(d32, a), hn::BitCast(d32, b)); };
  const auto low = hn::Set(d, 0xFFFFFFFFu), m0 = hn::Set(d, 0xD2511F53u), m1 = hn::Set(d, 0xCD9E8D57u);
  // Two vectors side by side: the rounds of one are a chain of multiplications that leaves the multiplier idle.
  for (int64_t b = 0; b < blocks; b += 2 * lanes) {
    const auto number = hn::Iota(d, first_block + static_cast<uint64_t>(b)),
               next = hn::Add(number, hn::Set(d, static_cast<uint64_t>(lanes)));
    auto c0 = number, c1 = hn::ShiftRight<32>(number), c2 = hn::Set(d, step), c3 = hn::Set(d, stream);
    auto e0 = next, e1 = hn::ShiftRight<32>(next), e2 = c2, e3 = c3;
    uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    const auto advance = [&](auto& w0, auto& w1, auto& w2, auto& w3) HWY_ATTR {
      const auto p = multiply(w0, m0), q = multiply(w2, m1);
      w0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(q), w1), hn::Set(d, key0));
      w1 = q;
      w2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p), w3), hn::Set(d, key1));
      w3 = p;
    };
    for (int round = 0; round < 10; ++round) {
      advance(c0, c1, c2, c3);
      advance(e0, e1, e2, e3);
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    const auto store = [&](auto w0, auto w1, auto w2, auto w3, int64_t at) HWY_ATTR {
      const auto first = hn::Or(hn::And(w0, low), hn::ShiftLeft<32>(w1)),
                 second = hn::Or(hn::And(w2, low), hn::ShiftLeft<32>(w3));
      hn::StoreInterleaved2(first, second, d, reinterpret_cast<uint64_t*>(words + 4 * at));
    };
    store(c0, c1, c2, c3, b);
    store(e0, e1, e2, e3, b + lanes);
  }
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
