// A tile of a product in registers: R rows x 2 vectors. Compiled once a SIMD target.
#if defined(DUET_CPU_REGISTER_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_REGISTER_TILE_INL_H_
#undef DUET_CPU_REGISTER_TILE_INL_H_
#else
#define DUET_CPU_REGISTER_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using PanelTag = hn::ScalableTag<float>;
using PanelVector = hn::Vec<PanelTag>;

// Rows of accumulators: two vectors each, two more for the loads and one for the broadcast must fit the register file
// (32 or 16).
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 ? 12 : 6;
// The most floats of a tile.
constexpr int kTileFloats = kTileRows * 2 * HWY_MAX_BYTES / static_cast<int>(sizeof(float));

template <int R>
struct RegisterTile {
  PanelVector low[R], high[R];

  // Unrolled, so that the accumulators are registers from load to store.
  HWY_INLINE void clear() {
    const PanelTag f;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) low[r] = high[r] = hn::Zero(f);
  }
  HWY_INLINE void load(const float* from, int64_t row) {
    const PanelTag f;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      low[r] = hn::LoadU(f, from + r * row);
      high[r] = hn::LoadU(f, from + r * row + lanes);
    }
  }
  HWY_INLINE void store(float* to, int64_t row) const {
    const PanelTag f;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      hn::StoreU(low[r], f, to + r * row);
      hn::StoreU(high[r], f, to + r * row + lanes);
    }
  }
  // tile = from + tile
  HWY_INLINE void add(const float* from, int64_t row) {
    const PanelTag f;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      low[r] = hn::Add(hn::LoadU(f, from + r * row), low[r]);
      high[r] = hn::Add(hn::LoadU(f, from + r * row + lanes), high[r]);
    }
  }
  HWY_INLINE void add(const RegisterTile& other) {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      low[r] = hn::Add(low[r], other.low[r]);
      high[r] = hn::Add(high[r], other.high[r]);
    }
  }
  HWY_INLINE void multiply(float by) {
    const PanelTag f;
    const PanelVector factor = hn::Set(f, by);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      low[r] = hn::Mul(factor, low[r]);
      high[r] = hn::Mul(factor, high[r]);
    }
  }
  // tile -= by from, by having an element a row
  HWY_INLINE void subtract(const float* by, const float* from, int64_t row) {
    const PanelTag f;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const PanelVector factor = hn::Set(f, by[r]);
      low[r] = hn::NegMulAdd(factor, hn::LoadU(f, from + r * row), low[r]);
      high[r] = hn::NegMulAdd(factor, hn::LoadU(f, from + r * row + lanes), high[r]);
    }
  }
  // tile = from + factor tile
  HWY_INLINE void multiply_and_add(float by, const float* from, int64_t row) {
    const PanelTag f;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
    const PanelVector factor = hn::Set(f, by);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      low[r] = hn::MulAdd(factor, low[r], hn::LoadU(f, from + r * row));
      high[r] = hn::MulAdd(factor, high[r], hn::LoadU(f, from + r * row + lanes));
    }
  }

  // Goes on with the chain of every element: over k < depth, element (r, k) of the left factor at given_a[r * a_row + k
  // * a_step], two vectors of the right one at b[k * b_step].
  HWY_INLINE void chain(int64_t depth, const float* given_a, int64_t a_row, int64_t a_step, const float* b,
                        int64_t b_step) {
    const PanelTag f;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
    // Of every third row a pointer, the rows between by address arithmetic: offsets of 12 rows from one pointer are
    // more than the registers hold, and those that go into vector registers come back on the port of a multiply-add.
    // The compiler must not see that the pointers keep their distances.
    constexpr int kGroups = (R + 2) / 3;
    const float* a[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      a[g] = given_a + 3 * g * a_row;
      asm("" : "+r"(a[g]));
    }
    for (int64_t k = 0; k < depth; ++k, b += b_step) {
      const PanelVector b_low = hn::LoadU(f, b), b_high = hn::LoadU(f, b + lanes);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const PanelVector value = hn::Set(f, a[r / 3][r % 3 * a_row]);
        low[r] = hn::MulAdd(value, b_low, low[r]);
        high[r] = hn::MulAdd(value, b_high, high[r]);
      }
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) a[g] += a_step;
    }
  }
};

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
