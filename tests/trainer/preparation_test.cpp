// What a run reads is what its model reads: inputs scaled to the same bits, labels by value, groups.
#include "trainer/preparation.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "runtime/device.h"
#include "runtime/safetensors.h"
#include "tests/trainer/program.h"

using namespace duet;
using namespace duet::testing;

namespace {

// The small set with labels and groups that take all their bits, one test row of a label that training lacks.
Config write_set(const fs::path& folder) {
  data::Dataset dataset = data::synthetic_dataset(small_set());
  dataset.label_values = {-9'000'000'000, -7, 4, int64_t{1} << 62, 5};
  dataset.test.labels[2] = 4;
  std::vector<int64_t> groups;
  for (int64_t i = 0; i < dataset.test.rows(); ++i) groups.push_back((int64_t{1} << 50) + i / 5);
  test::write_dataset(folder, dataset);
  test::write_labels(folder / "test/groups.npy", groups);
  Config config;
  config.data = folder;
  config.hidden_units = {24};
  config.embedding_dim = 8;
  return config;
}

// The file as 0.1.0 wrote it: statistics in float32, no class values.
void write_as_0_1_0(const fs::path& from, const fs::path& to) {
  const SafetensorsFile file(from);
  std::vector<std::vector<float>> statistics;
  statistics.reserve(file.arrays().size());
  std::vector<NamedArray> arrays;
  for (NamedArray array : file.arrays()) {
    if (array.name == "class_values") continue;
    if (array.dtype == DUET_DTYPE_F64) {
      std::vector<double> wide(static_cast<size_t>(array.size()));
      file.read(array.name, DUET_DTYPE_F64, array.shape, wide.data());
      array.dtype = DUET_DTYPE_F32;
      array.data = statistics.emplace_back(wide.begin(), wide.end()).data();
    }
    arrays.push_back(array);
  }
  Metadata metadata = file.metadata();
  metadata.erase("format");
  write_safetensors(to, arrays, metadata);
}

}  // namespace

TEST_CASE("a model scales, labels and groups a split as its run did") {
  const TemporaryFolder folder;
  const Config config = write_set(folder / "data");
  const Preparation preparation = prepare(config);
  CHECK(preparation.description.class_values == std::vector<int64_t>{-9'000'000'000, -7, 4, int64_t{1} << 62});
  const Device device({.threads = 1});
  Model(preparation.description, device.context()).save(folder / "model.safetensors");
  const auto model = Model::load(folder / "model.safetensors", device.context());
  CHECK(model->description().class_values == preparation.description.class_values);
  for (const auto& [name, expected] :
       {std::pair{"train", &preparation.dataset.train}, std::pair{"test", &preparation.dataset.test}}) {
    const data::Split split = load_for(*model, config.data, name);
    for (const size_t side : {0, 1}) {
      CHECK(split.features[side].values == expected->features[side].values);
      CHECK(model->description().inputs[side].mean == preparation.description.inputs[side].mean);
      CHECK(model->description().inputs[side].scale == preparation.description.inputs[side].scale);
      CHECK(model->description().inputs[side].reason == "zscore (as in training)");
    }
    CHECK(split.labels == expected->labels);
    CHECK(split.groups == expected->groups);
  }
  CHECK(preparation.dataset.test.groups.size() == 60);
}

TEST_CASE("a model of 0.1.0 scales in float32, and its classes are 0 to C - 1") {
  const TemporaryFolder folder;
  const Config config = write_set(folder / "data");
  const Preparation preparation = prepare(config);
  const Device device({.threads = 1});
  Model(preparation.description, device.context()).save(folder / "model.safetensors");
  write_as_0_1_0(folder / "model.safetensors", folder / "old.safetensors");
  const auto model = Model::load(folder / "old.safetensors", device.context());
  CHECK(model->description().class_values == std::vector<int64_t>{0, 1, 2, 3});
  const data::Split split = load_for(*model, config.data, "test");
  // By value: 4 was a class of training and is none of this model's, nor is any other but none.
  CHECK(data::rows_beyond(split.labels, 4) == 60);
  const data::Features raw = data::read_features(fs::path(config.data) / "test/audio.npy");
  const data::Preprocessing& inputs = preparation.description.inputs[0];
  for (int64_t i = 0; i < raw.rows; ++i)
    for (int64_t k = 0; k < raw.columns; ++k) {
      const auto mean = static_cast<float>(inputs.mean[static_cast<size_t>(k)]),
                 scale = static_cast<float>(inputs.scale[static_cast<size_t>(k)]);
      REQUIRE(split.features[0].row(i)[k] == std::clamp((raw.row(i)[k] - mean) * scale, -5.0f, 5.0f));
    }
}

TEST_CASE("a run says how its inputs are scaled and what is odd about its labels") {
  const TemporaryFolder folder;
  Preparation preparation = prepare(write_set(folder / "data"));
  ModelDescription& description = preparation.description;
  using Lines = std::vector<std::string>;
  CHECK(scaling_notes(description) ==
        Lines{"audio: zscore (auto: negative values)", "visual: zscore (auto: negative values)"});
  CHECK(label_notes(description, preparation.dataset.test, "test") ==
        Lines{"1 of 60 rows of the test split have labels that the training split lacks: they count for relevance, "
              "never for training"});
  CHECK(label_notes(description, preparation.dataset.train, "train").empty());
  description.class_values.resize(19'999);
  CHECK(class_notes(description).empty());
  description.class_values.resize(20'000);
  REQUIRE(class_notes(description).size() == 1);
  CHECK(class_notes(description)[0].starts_with("warning: 20000 classes"));
}
