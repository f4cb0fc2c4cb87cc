// The SIMD targets that this processor runs, one after another.
#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <cstdint>

namespace duet::test {

// body() with each target in turn as the one that calls choose.
template <class Body>
void for_each_simd_target(Body&& body) {
  const int64_t supported = hwy::SupportedTargets();
  for (int64_t rest = supported & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    CAPTURE(hwy::TargetName(target));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace duet::test
