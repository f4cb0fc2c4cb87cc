#include "trainer/preparation.h"

#include <algorithm>

#include "data/label_hiding.h"
#include "data/samples/samples.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

data::FortranOrder fortran_order(const Config& config) {
  return config.accept_fortran_order ? data::FortranOrder::accept : data::FortranOrder::refuse;
}

data::Dataset load(const Config& config) {
  if (!config.data.empty()) return data::load_dataset(config.data, config.modalities, fortran_order(config));
  data::Dataset digits = data::sample_dataset();
  if (config.modalities.empty()) return digits;
  for (const std::string& name : config.modalities)
    usage_require(std::ranges::find(digits.modalities, name) != digits.modalities.end(), digits.name, ": no modality '", name, "'; it has ",
                  digits.modalities[0], " and ", digits.modalities[1]);
  if (config.modalities[0] == digits.modalities[1]) {
    std::swap(digits.modalities[0], digits.modalities[1]);
    std::swap(digits.train.features[0], digits.train.features[1]);
    std::swap(digits.test.features[0], digits.test.features[1]);
  }
  return digits;
}

std::unique_ptr<data::BatchSampler> make_sampler(const Config& config, const Preparation& preparation) {
  const auto seed = static_cast<uint64_t>(config.seed);
  if (config.sampler == "balanced")
    return std::make_unique<data::BalancedBatches>(preparation.labels, config.balanced_classes, config.balanced_samples, seed);
  const int64_t rows = preparation.dataset.train.rows();
  usage_require(rows >= config.smallest_batch, preparation.dataset.name, ": ", rows, " training rows are fewer than smallest_batch ",
                config.smallest_batch);
  return std::make_unique<data::ShuffledBatches>(rows, config.batch_size, seed, config.smallest_batch);
}

}  // namespace

int64_t Preparation::labelled() const {
  return std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
}

Preparation prepare(const Config& config) {
  return reading_input([&] {
    Preparation made;
    made.dataset = load(config);
    made.labels = data::hide_labels(made.dataset.train.labels, config.labels, static_cast<uint64_t>(config.seed));
    usage_require(config.method == "contrastive" || made.labelled() > 0, made.dataset.name, ": no labelled training sample, and method '",
                  config.method, "' needs some (contrastive does without)");
    usage_require(made.dataset.test.rows() > 0, made.dataset.name, ": no test rows");

    ModelDescription& description = made.description;
    description.config = config;
    description.config.modalities.assign(made.dataset.modalities.begin(), made.dataset.modalities.end());
    description.modalities = made.dataset.modalities;
    description.classes = made.dataset.classes;
    const std::array<std::string*, data::kModalities> scaling = {&description.config.scaling_a, &description.config.scaling_v};
    const std::array<const char*, data::kModalities> keys = {"scaling_a", "scaling_v"};
    for (size_t side = 0; side < scaling.size(); ++side) {
      data::Preprocessing& inputs = description.inputs[side];
      inputs = data::Preprocessing::fit(made.dataset.train.features[side], data::parse_scaling(*scaling[side], keys[side]));
      inputs.limit = input_limit(config);
      *scaling[side] = data::scaling_name(inputs.scaling);
      inputs.apply(made.dataset.train.features[side], made.dataset.modalities[side]);
      inputs.apply(made.dataset.test.features[side], made.dataset.modalities[side]);
    }
    made.sampler = make_sampler(config, made);
    return made;
  });
}

data::Split load_for(const Model& model, const std::filesystem::path& data, const std::string& split) {
  return reading_input([&] {
    const ModelDescription& description = model.description();
    data::Split rows;
    std::string name;
    if (data.empty()) {
      Config config;
      config.modalities.assign(description.modalities.begin(), description.modalities.end());
      data::Dataset digits = load(config);
      rows = split == "train" ? std::move(digits.train) : std::move(digits.test);
      name = digits.name;
    } else {
      rows = data::load_split(data / split, description.modalities, fortran_order(description.config));
      name = (data / split).string();
    }
    for (size_t side = 0; side < description.inputs.size(); ++side)
      description.inputs[side].apply(rows.features[side], name + ": " + description.modalities[side]);
    return rows;
  });
}

}  // namespace duet
