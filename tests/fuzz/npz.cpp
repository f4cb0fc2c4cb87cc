// Any bytes as a .npz file: its arrays are read, or Error says why not.
#include <cstddef>
#include <cstdint>

#include "data/array_file.h"
#include "data/feature_source.h"
#include "data/labels.h"
#include "kernels/core/error.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const duet::fuzz::MemoryFile given(data, size);
  const auto tries = [](auto&& body) {
    try {
      body();
    } catch (const duet::Error&) {
    }
  };
  tries([&] {
    const auto file = duet::data::open_npz(given.path());
    for (const std::string& name : file->names())
      tries([&] {
        const duet::data::StoredArray array = file->open(name);
        tries([&] { duet::data::label_column(array.view); });
        tries([&] {
          const duet::data::FeatureSource source(array);
          std::vector<double> row(static_cast<size_t>(source.columns()));
          for (int64_t i = 0; i < source.rows(); ++i) source.read_row(i, row);
        });
      });
  });
  return 0;
}
