// Any bytes as a .npy file: features and labels are read, or Error says why not.
#include "data/npy.h"

#include <cstddef>
#include <cstdint>

#include "kernels/core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto reads = [&](auto&& body) {
    try {
      body(duet::data::parse_npy(std::as_bytes(std::span(data, size)), "fuzzed.npy"));
    } catch (const duet::Error&) {
    }
  };
  reads([](const duet::data::NpyView& view) { duet::data::read_features(view, duet::data::FortranOrder::accept); });
  reads([](const duet::data::NpyView& view) { duet::data::read_labels(view); });
  return 0;
}
