#include "data/dataset.h"

#include <algorithm>
#include <system_error>

#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

constexpr const char* kLabels = "labels";

std::filesystem::path npy(const std::filesystem::path& folder, const std::string& stem) { return folder / (stem + ".npy"); }

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out.empty() ? "none" : out;
}

std::array<std::string, kModalities> choose(const std::filesystem::path& split_folder, const std::vector<std::string>& wanted) {
  const std::vector<std::string> found = list_modalities(split_folder);
  if (wanted.empty()) {
    require(found.size() == kModalities, split_folder.string(), ": expected ", kModalities, " modalities (.npy files beside labels.npy), found ",
            joined(found), found.size() > kModalities ? "; choose two with --modalities A,B" : "");
    return {found[0], found[1]};
  }
  require(wanted.size() == kModalities, "modalities: expected two names, got ", wanted.size(), " (", joined(wanted), ")");
  require(wanted[0] != wanted[1], "modalities: expected two different names, got ", wanted[0], " twice");
  for (const std::string& name : wanted)
    require(std::find(found.begin(), found.end(), name) != found.end(), split_folder.string(), ": no modality ", name, "; found ", joined(found));
  return {wanted[0], wanted[1]};
}

}  // namespace

std::vector<std::string> list_modalities(const std::filesystem::path& split_folder) {
  std::vector<std::string> found;
  std::error_code refused;
  std::filesystem::directory_iterator entry(split_folder, refused), end;
  for (; !refused && entry != end; entry.increment(refused)) {
    const std::filesystem::path& path = entry->path();
    if (path.extension() == ".npy" && path.stem() != kLabels) found.push_back(path.stem().string());
  }
  if (refused) throw Error(DUET_IO_ERROR, text(split_folder.string(), ": ", refused.message(), "; expected a folder of .npy files"));
  std::sort(found.begin(), found.end());
  return found;
}

Split load_split(const std::filesystem::path& split_folder, const std::array<std::string, kModalities>& modalities) {
  Split split;
  choose(split_folder, {modalities.begin(), modalities.end()});
  const std::filesystem::path labels = npy(split_folder, kLabels);
  std::error_code ignored;
  require(std::filesystem::exists(labels, ignored), split_folder.string(), ": no labels.npy; expected a label a row, -1 where there is none");
  split.labels = read_labels(labels);
  for (size_t side = 0; side < kModalities; ++side) {
    const std::filesystem::path path = npy(split_folder, modalities[side]);
    split.features[side] = read_features(path);
    require(split.features[side].rows == split.rows(), path.string(), ": ", split.features[side].rows, " rows; expected ", split.rows(),
            " as in labels.npy");
  }
  return split;
}

Dataset load_dataset(const std::filesystem::path& folder, const std::vector<std::string>& modalities) {
  Dataset dataset;
  dataset.name = folder.string();
  dataset.modalities = choose(folder / "train", modalities);
  dataset.train = load_split(folder / "train", dataset.modalities);
  dataset.test = load_split(folder / "test", dataset.modalities);
  complete_dataset(dataset);
  return dataset;
}

void complete_dataset(Dataset& dataset) {
  for (size_t side = 0; side < kModalities; ++side) {
    const Features &train = dataset.train.features[side], &test = dataset.test.features[side];
    require(train.columns == test.columns, dataset.name, ": ", dataset.modalities[side], " has ", test.columns, " columns in test; expected ",
            train.columns, " as in train");
  }
  dataset.classes = 0;
  for (const Split* split : {&dataset.train, &dataset.test})
    for (const int32_t label : split->labels) dataset.classes = std::max(dataset.classes, label + 1);
}

void write_dataset(const std::filesystem::path& folder, const Dataset& dataset) {
  for (const auto& [name, split] : {std::pair{"train", &dataset.train}, std::pair{"test", &dataset.test}}) {
    std::error_code refused;
    std::filesystem::create_directories(folder / name, refused);
    if (refused) throw Error(DUET_IO_ERROR, text((folder / name).string(), ": cannot create: ", refused.message()));
    for (size_t side = 0; side < kModalities; ++side) write_features(npy(folder / name, dataset.modalities[side]), split->features[side]);
    write_labels(npy(folder / name, kLabels), split->labels);
  }
}

}  // namespace duet::data
