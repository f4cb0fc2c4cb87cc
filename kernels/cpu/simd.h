// Facts about the SIMD side of the CPU backend, for files that are compiled once (vector-inl.h is for those compiled
// once a target).
#pragma once

namespace duet::cpu {

// The Highway target that calls run on this processor: "AVX3", "AVX2" or "SSE4" on x86.
const char* simd_target();

}  // namespace duet::cpu
