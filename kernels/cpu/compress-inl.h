// Moves the lanes that a mask names to the front. Compiled once a SIMD target.
#if defined(DUET_CPU_COMPRESS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_COMPRESS_INL_H_
#undef DUET_CPU_COMPRESS_INL_H_
#else
#define DUET_CPU_COMPRESS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kernels/cpu/compress_table.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Of vectors of floats or int32 under one mask. Highway's own table for 8 lanes is an automatic array, which GCC 12
// copies to the stack each time.
class Compressor {
 public:
  using Float = hn::ScalableTag<float>;
  using Integer = hn::RebindToSigned<Float>;

  HWY_INLINE explicit Compressor(hn::Mask<Float> taken) : taken_(taken) {
#if HWY_TARGET == HWY_AVX2
    uint8_t bits[8] = {};
    hn::StoreMaskBits(Float(), taken, bits);
    const hn::Rebind<uint8_t, Integer> bytes;
    lanes_ = hn::PromoteTo(Integer(), hn::LoadU(bytes, kCompressTable.lanes[bits[0]]));
#endif
  }
  HWY_INLINE int64_t count() const { return static_cast<int64_t>(hn::CountTrue(Float(), taken_)); }
  // Writes a whole vector. The lanes behind the first count() are unspecified.
  HWY_INLINE void store(hn::Vec<Float> values, float* to) const {
#if HWY_TARGET == HWY_AVX2
    hn::StoreU(hn::TableLookupLanes(values, hn::IndicesFromVec(Float(), lanes_)), Float(), to);
#else
    hn::StoreU(hn::Compress(values, taken_), Float(), to);
#endif
  }
  HWY_INLINE void store(hn::Vec<Integer> values, int32_t* to) const {
    store(hn::BitCast(Float(), values), reinterpret_cast<float*>(to));
  }

 private:
  hn::Mask<Float> taken_;
#if HWY_TARGET == HWY_AVX2
  hn::Vec<Integer> lanes_;
#endif
};

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
