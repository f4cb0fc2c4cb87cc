#include "data/samples/samples.h"

#include <algorithm>
#include <filesystem>

#include "data/preprocessing.h"
#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

TEST_CASE("samples: the built-in digits load without a path") {
  const Dataset digits = load_dataset(SampleFiles());
  CHECK(digits.name == "digits (built in)");
  CHECK(digits.modalities == std::array<std::string, 2>{"audio", "visual"});
  CHECK(digits.train.rows() == 2000);
  CHECK(digits.test.rows() == 400);
  CHECK(digits.width(0) == 128);
  CHECK(digits.width(1) == 400);
  CHECK(digits.classes == 10);
  check_refused(
      [] {
        load_dataset(SampleFiles(), {"audio", "smell"});
      },
      DUET_STATUS_INVALID_ARGUMENT, {"no modality 'smell'; found audio, visual"});
  CHECK(load_dataset(SampleFiles(), {"visual", "audio"}).width(0) == 400);
  for (int32_t c = 0; c < 10; ++c) {
    CHECK(std::count(digits.train.labels.begin(), digits.train.labels.end(), c) == 200);
    CHECK(std::count(digits.test.labels.begin(), digits.test.labels.end(), c) == 40);
  }
}

TEST_CASE("samples: what is built in is what lies in the tree") {
  const Dataset built_in = load_dataset(SampleFiles(), {}, kUnscaled),
                folder = load_dataset(FolderFiles(std::filesystem::path(DUET_PROJECT_DIR) / "data/samples/digits"), {},
                                      kUnscaled);
  for (const size_t side : {0, 1}) {
    CHECK(built_in.train.features[side].values == folder.train.features[side].values);
    CHECK(built_in.test.features[side].values == folder.test.features[side].values);
  }
  CHECK(built_in.train.labels == folder.train.labels);
  CHECK(built_in.test.labels == folder.test.labels);
}

TEST_CASE("samples: no two rows are the same, and auto z-scores both modalities") {
  const Dataset digits = load_dataset(SampleFiles(), {}, kUnscaled);
  for (const size_t side : {0, 1}) {
    std::vector<std::vector<float>> rows;
    for (const Split* split : {&digits.train, &digits.test})
      for (int64_t i = 0; i < split->rows(); ++i) {
        const float* const row = split->features[side].row(i);
        rows.emplace_back(row, row + split->features[side].columns);
      }
    std::sort(rows.begin(), rows.end());
    CHECK(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
  }
  for (const Preprocessing& chosen : load_dataset(SampleFiles()).inputs) CHECK(chosen.scaling == Scaling::zscore);
}
