#include "trainer/preparation.h"

#include <algorithm>

#include "data/held_out.h"
#include "data/label_hiding.h"
#include "data/samples/samples.h"
#include "data/source_files.h"
#include "runtime/files/available_memory.h"
#include "runtime/files/reading_limit.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

// Empty: the digits embedded in the program.
std::unique_ptr<data::DatasetFiles> files_in(const std::filesystem::path& folder, const Config& config) {
  if (folder.empty()) return std::make_unique<data::SampleFiles>();
  return data::open_dataset(folder, config.map, data::parse_pooling(config.pool, "pool"));
}

// The same with the validation split that the config takes out of the training split.
std::unique_ptr<data::DatasetFiles> with_validation(std::unique_ptr<data::DatasetFiles> files, const Config& config) {
  return std::make_unique<data::HeldOutFiles>(
      std::move(files), data::HoldOut{.share = config.validation, .labels = config.labels, .seed = config.seed});
}

// Where rows are held out, labels were hidden before.
std::vector<int32_t> visible_labels(const data::Split& train, const Config& config) {
  return config.validation > 0 ? train.labels : data::hide_labels(train.labels, train.sets, config.labels, config.seed);
}

constexpr uint64_t kMebibyte = 1 << 20;

uint64_t data_memory(const Config& config) {
  return config.data_memory > 0 ? static_cast<uint64_t>(config.data_memory) * kMebibyte : default_data_memory();
}
// Of a model's config, which may come from a larger machine.
uint64_t data_memory_here(const Config& config) { return std::min(data_memory(config), default_data_memory()); }

// Where what body reads is beyond the residence's memory and its folder has no room, the key is named.
template <class Body>
auto reading_into(const data::Residence& residence, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    if (error.status() != DUET_STATUS_OUT_OF_MEMORY) throw;
    throw Error(error.status(),
                text(error.what(), "; what is beyond data_memory (", residence.most() / kMebibyte, " MiB) lies there"));
  }
}

bool has_split(const data::DatasetFiles& files, const std::string& split) {
  const std::vector<std::string> splits = files.splits();
  return std::ranges::find(splits, split) != splits.end();
}

std::unique_ptr<data::BatchSampler> make_sampler(const Config& config, const Preparation& preparation) {
  const auto seed = static_cast<uint64_t>(config.seed);
  if (config.sampler == "balanced") {
    // Hiding labels leaves every class some. Of rows with several labels a class may be the rarest of none.
    const data::LabelSets& sets = preparation.dataset.train.sets;
    const std::vector<int32_t> strata = data::strata_of(preparation.labels, sets);
    std::vector<int32_t> distinct = strata;
    std::ranges::sort(distinct);
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    std::erase(distinct, -1);
    usage_require(config.balanced_classes <= std::ssize(distinct), preparation.dataset.name, ": balanced_classes ",
                  config.balanced_classes, " is more than the ", distinct.size(),
                  sets.given() ? " classes that are the rarest of a training row" : " classes of the training split");
    return std::make_unique<data::BalancedBatches>(strata, config.balanced_classes, config.balanced_samples, seed);
  }
  const int64_t rows = preparation.dataset.train.rows();
  usage_require(rows >= config.smallest_batch, preparation.dataset.name, ": ", rows,
                " training rows are fewer than smallest_batch ", config.smallest_batch);
  return std::make_unique<data::ShuffledBatches>(rows, config.batch_size, seed, config.smallest_batch);
}

}  // namespace

int64_t Preparation::labelled() const {
  return std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
}

Preparation prepare(const Config& config, const std::filesystem::path& folder) {
  return reading_input([&] {
    Preparation made;
    made.residence = data::Residence(data_memory(config), folder.empty() ? temporary_folder() : folder);
    const ReadingLimit limit(made.residence.most(), made.residence.folder());
    const data::InputOptions inputs = {
        {data::parse_scaling(config.scaling_a, "scaling_a"), data::parse_scaling(config.scaling_v, "scaling_v")},
        input_limit(config)};
    std::unique_ptr<data::DatasetFiles> files = files_in(config.data, config);
    if (config.validation > 0) files = with_validation(std::move(files), config);
    made.dataset = reading_into(made.residence,
                                [&] { return data::load_dataset(*files, config.modalities, inputs, &made.residence); });
    made.labels = visible_labels(made.dataset.train, config);
    usage_require(config.patience == 0 || made.dataset.validation.rows() > 0, made.dataset.name, ": patience ",
                  config.patience, " needs a validation split: val/ in the data set, or validation above 0");
    usage_require(config.method == "contrastive" || config.method == "psd" || made.labelled() > 0, made.dataset.name,
                  ": no labelled training sample, and method '", config.method,
                  "' needs some (contrastive and psd do without)");

    ModelDescription& description = made.description;
    description.config = config;
    description.config.modalities.assign(made.dataset.modalities.begin(), made.dataset.modalities.end());
    description.modalities = made.dataset.modalities;
    description.class_values.assign(made.dataset.class_values().begin(), made.dataset.class_values().end());
    description.class_names.assign(made.dataset.class_names().begin(), made.dataset.class_names().end());
    description.several_labels = made.dataset.several_labels();
    description.inputs = made.dataset.inputs;
    description.config.scaling_a = data::scaling_name(description.inputs[0].scaling);
    description.config.scaling_v = data::scaling_name(description.inputs[1].scaling);
    made.sampler = make_sampler(config, made);
    const auto& [a, v] = made.dataset.train.features;
    if (config.method == "psd" && config.pair_evidence && config.pair_weight > 0)
      made.evidence = measure_evidence(a, v, made.labels, made.dataset.classes, made.dataset.train.sets);
    return made;
  });
}

data::Split load_for(const Model& model, const std::filesystem::path& data, const std::string& split,
                     data::SplitUse use) {
  return reading_input([&] {
    const ModelDescription& description = model.description();
    data::Residence residence(data_memory_here(description.config), temporary_folder());
    const ReadingLimit limit(residence.most(), residence.folder());
    std::unique_ptr<data::DatasetFiles> files = files_in(data, description.config);
    if (split == "val" && !has_split(*files, split)) {
      usage_require(description.config.validation > 0, files->name(),
                    ": no split val, and the model was trained without one");
      files = with_validation(std::move(files), description.config);
    }
    return reading_into(residence, [&] {
      return data::load_split(*files, split, description.modalities, description.inputs, description.called(), use,
                              &residence);
    });
  });
}

TrainingRows load_training_rows(const Model& model, const std::filesystem::path& data) {
  return reading_input([&] {
    const ModelDescription& description = model.description();
    const Config& config = description.config;
    data::Residence residence(data_memory_here(config), temporary_folder());
    const ReadingLimit limit(residence.most(), residence.folder());
    std::unique_ptr<data::DatasetFiles> files = files_in(data, config);
    if (config.validation > 0) files = with_validation(std::move(files), config);
    TrainingRows rows;
    rows.split = reading_into(residence, [&] {
      return data::load_split(*files, "train", description.modalities, description.inputs, description.called(),
                              data::SplitUse::pairs, &residence);
    });
    rows.labels = visible_labels(rows.split, config);
    return rows;
  });
}

std::vector<std::string> scaling_notes(const ModelDescription& description) {
  std::vector<std::string> lines;
  for (size_t side = 0; side < data::kModalities; ++side)
    lines.push_back(description.modalities[side] + ": " + description.inputs[side].reason);
  return lines;
}

std::vector<std::string> label_notes(const ModelDescription& description, std::span<const int32_t> labels,
                                     const std::string& rows) {
  // Sets have no class beyond those of their matrix.
  const int64_t count = description.several_labels ? 0 : data::rows_beyond(labels, description.classes());
  if (count == 0) return {};
  return {text(count, " of ", labels.size(), " ", rows,
               " have labels that the training split lacks: they count for relevance, never for training")};
}

std::vector<std::string> label_notes(const ModelDescription& description, const data::Split& split,
                                     const std::string& split_name) {
  return label_notes(description, split.labels, "rows of the " + split_name + " split");
}

std::vector<std::string> class_notes(const ModelDescription& description) {
  constexpr int64_t kManyClasses = 20'000;
  if (description.classes() < kManyClasses) return {};
  return {text("warning: ", description.classes(),
               " classes; time and memory of a step grow with them (are the labels classes?)")};
}

std::vector<std::string> residence_notes(const Preparation& preparation) {
  const data::Residence& residence = preparation.residence;
  if (residence.bytes_in_files() == 0) return {};
  const auto megabytes = [](uint64_t bytes) { return (bytes + 999'999) / 1'000'000; };
  const std::filesystem::path& folder = residence.folder();
  std::vector<std::string> lines = {text("features: ", megabytes(residence.bytes_in_files()), " of ",
                                         megabytes(residence.bytes()), " MB are beyond data_memory (",
                                         residence.most() / kMebibyte, " MiB): in a file in ", folder.string(),
                                         ", read as needed")};
  if (lies_in_memory(folder))
    lines.push_back(text("warning: ", folder.string(), " lies in memory itself (tmpfs): nothing is saved by it"));
  return lines;
}

}  // namespace duet
