#include "tests/simt/conformance.h"

#include <doctest/doctest.h>

#include "kernels/cuda/device.h"

TEST_CASE("every PTX instruction does on the device what the emulator's model says") {
  if (duet::cuda::device_count() == 0) {
    MESSAGE("skipped: there is no device");
    return;
  }
  for (const uint64_t seed : {1, 2, 3}) {
    for (const duet::conformance::Result& result : duet::conformance::run(seed)) {
      CAPTURE(seed);
      CAPTURE(result.instruction);
      CAPTURE(result.bound);
      CAPTURE(result.first_difference);
      CHECK(result.compared > 0);
      CHECK(result.differing == 0);
    }
  }
}
