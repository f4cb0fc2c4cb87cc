// Every instruction of kernels/cuda/ptx.h on the device at hand, under the emulator or on hardware, against the
// emulator's model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace duet::conformance {

struct Result {
  std::string instruction;
  int64_t compared = 0, differing = 0;  // values
  std::string first_difference;         // "" where none
  double worst = 0;                     // where the instruction is not exact: the largest error, in the unit of `bound`
  std::string bound;                    // "bit for bit", or what an error may be
};
std::vector<Result> run(uint64_t seed);

}  // namespace duet::conformance
