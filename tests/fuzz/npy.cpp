// Any bytes as a .npy file: features and labels are read, or Error says why not.
#include "data/npy.h"

#include <cstddef>
#include <cstdint>

#include "data/feature_source.h"
#include "data/labels.h"
#include "kernels/core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto reads = [&](auto&& body) {
    try {
      body(duet::data::parse_npy(std::as_bytes(std::span(data, size)), "fuzzed.npy"));
    } catch (const duet::Error&) {
    }
  };
  reads([](const duet::data::ArrayView& view) { duet::data::read_features(view); });
  reads([](const duet::data::ArrayView& view) { duet::data::read_labels(view); });
  reads([](const duet::data::ArrayView& view) { duet::data::read_strings(view); });
  for (const auto pooling : {duet::data::Pooling::max, duet::data::Pooling::flatten})
    reads([&](const duet::data::ArrayView& view) {
      const duet::data::FeatureSource source({nullptr, view}, pooling);
      std::vector<double> row(static_cast<size_t>(source.columns()));
      for (int64_t i = 0; i < source.rows(); ++i) source.read_row(i, row);
    });
  return 0;
}
