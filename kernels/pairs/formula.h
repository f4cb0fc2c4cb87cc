// The namespace of a formula of pairs, between DUET_FORMULA_BEGIN and DUET_FORMULA_END. In the CPU's files for SIMD,
// which are compiled once a target, it is the target's, because a formula's numbers are vectors there; everywhere else
// it is duet. A formula file's guard lets it in once a target:
//   #if defined(DUET_NAME_FORMULA_H) == defined(HWY_TARGET_TOGGLE)
//   #ifdef DUET_NAME_FORMULA_H
//   #undef DUET_NAME_FORMULA_H
//   #else
//   #define DUET_NAME_FORMULA_H
//   #endif
#pragma once

#if defined(HWY_TARGET_INCLUDE)
#define DUET_FORMULA_BEGIN \
  HWY_BEFORE_NAMESPACE();  \
  namespace duet::cpu::HWY_NAMESPACE {
#define DUET_FORMULA_END \
  }                      \
  HWY_AFTER_NAMESPACE();
#else
#define DUET_FORMULA_BEGIN namespace duet {
#define DUET_FORMULA_END }
#endif
