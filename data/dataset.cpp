#include "data/dataset.h"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

// Arrays that are no modality.
constexpr const char *kLabels = "labels", *kGroups = "groups";

std::filesystem::path npy(const std::filesystem::path& folder, const std::string& stem) {
  return folder / (stem + ".npy");
}

// As the copies that a Mac leaves beside each file on a foreign disk.
bool is_hidden(const std::filesystem::path& path) { return path.filename().string().starts_with('.'); }

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out.empty() ? "none" : out;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

std::array<std::string, kModalities> choose(const DatasetFiles& files, const std::string& split,
                                            const std::vector<std::string>& wanted) {
  std::vector<std::string> found = files.arrays(split);
  std::erase_if(found, [](const std::string& array) { return array == kLabels || array == kGroups; });
  if (wanted.empty()) {
    require(found.size() == kModalities, files.place(split), ": expected ", kModalities,
            " modalities (.npy files beside labels.npy), found ", joined(found),
            found.size() > kModalities ? "; choose two with --modalities A,B" : "");
    return {found[0], found[1]};
  }
  require(wanted.size() == kModalities, "modalities: expected two names, got ", wanted.size(), " (", joined(wanted),
          ")");
  require(wanted[0] != wanted[1], "modalities: expected two different names, got ", wanted[0], " twice");
  for (const std::string& name : wanted)
    require(contains(found, name), files.place(split), ": no modality '", name, "'; found ", joined(found));
  return {wanted[0], wanted[1]};
}

// What a split has beside its features.
struct Rows {
  std::vector<int64_t> labels;
  std::vector<int32_t> groups;  // as Split has them
};

Rows read_rows(const DatasetFiles& files, const std::string& split) {
  const std::vector<std::string> arrays = files.arrays(split);
  require(contains(arrays, kLabels), files.place(split),
          ": no labels.npy; expected a label a row, -1 where there is none");
  Rows rows;
  rows.labels = read_labels(files.open(split, kLabels).view);
  if (!contains(arrays, kGroups)) return rows;
  const StoredArray groups = files.open(split, kGroups);
  rows.groups = group_numbers(read_labels(groups.view));
  require(rows.groups.size() == rows.labels.size(), groups.view.name, ": ", rows.groups.size(), " rows; expected ",
          rows.labels.size(), " as in labels.npy");
  return rows;
}

FeatureSource open_features(const DatasetFiles& files, const std::string& split, const std::string& modality,
                            int64_t rows) {
  FeatureSource source(files.open(split, modality), files.pooling());
  require(source.rows() == rows, source.name(), ": ", source.rows(), " rows; expected ", rows, " as in labels.npy");
  return source;
}

std::vector<int64_t> distinct(std::span<const int64_t> labels) {
  std::vector<int64_t> values(labels.begin(), labels.end());
  std::erase(values, -1);
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

std::vector<int64_t> others(std::span<const int64_t> labels, std::span<const int64_t> classes) {
  std::vector<int64_t> out;
  std::ranges::set_difference(distinct(labels), classes, std::back_inserter(out));
  return out;
}

// Place of value in ascending values that hold it.
int64_t place_of(int64_t value, std::span<const int64_t> values) {
  return std::ranges::lower_bound(values, value) - values.begin();
}

std::vector<int32_t> ids_of(std::span<const int64_t> labels, std::span<const int64_t> classes,
                            std::span<const int64_t> beyond) {
  require(classes.size() + beyond.size() <= INT32_MAX, "labels: more than 2^31 - 1 distinct values");
  std::vector<int32_t> ids;
  ids.reserve(labels.size());
  for (const int64_t label : labels) {
    const bool known = std::ranges::binary_search(classes, label);
    const int64_t id = label == -1 ? -1
                       : known     ? place_of(label, classes)
                                   : std::ssize(classes) + place_of(label, beyond);
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

}  // namespace

int64_t Split::rows_beyond(int64_t classes) const {
  return std::ranges::count_if(labels, [classes](int32_t label) { return label >= classes; });
}

std::vector<std::string> FolderFiles::arrays(const std::string& split) const {
  std::vector<std::string> found;
  std::error_code refused;
  std::filesystem::directory_iterator entry(folder_ / split, refused), end;
  for (; !refused && entry != end; entry.increment(refused))
    if (entry->path().extension() == ".npy" && !is_hidden(entry->path()))
      found.push_back(entry->path().stem().string());
  if (refused)
    throw Error(DUET_STATUS_IO_ERROR, text(place(split), ": ", refused.message(), "; expected a folder of .npy files"));
  std::sort(found.begin(), found.end());
  return found;
}

StoredArray FolderFiles::open(const std::string& split, const std::string& array) const {
  return open_npy(npy(folder_ / split, array));
}

Dataset load_dataset(const DatasetFiles& files, const std::vector<std::string>& modalities,
                     const InputOptions& options) {
  Dataset dataset;
  dataset.name = files.name();
  dataset.modalities = choose(files, "train", modalities);
  choose(files, "test", {dataset.modalities.begin(), dataset.modalities.end()});
  Rows train_rows = read_rows(files, "train"), test_rows = read_rows(files, "test");
  set_labels(dataset, train_rows.labels, test_rows.labels);
  dataset.train.groups = std::move(train_rows.groups);
  dataset.test.groups = std::move(test_rows.groups);
  for (size_t side = 0; side < kModalities; ++side) {
    Preprocessing& inputs = dataset.inputs[side];
    const std::string& name = dataset.modalities[side];
    {
      const FeatureSource train = open_features(files, "train", name, dataset.train.rows());
      inputs = Preprocessing::fit(train, options.scaling[side]);
      inputs.limit = options.limit;
      if (const std::string pooled = train.pooled(); !pooled.empty()) inputs.reason += "; " + pooled;
      dataset.train.features[side] = inputs.apply(train);
    }  // its bytes are gone before the next file's come
    const FeatureSource test = open_features(files, "test", name, dataset.test.rows());
    require(test.columns() == dataset.width(static_cast<int>(side)), dataset.name, ": ", name, " has ", test.columns(),
            " columns in test; expected ", dataset.width(static_cast<int>(side)), " as in train");
    dataset.test.features[side] = inputs.apply(test);
  }
  return dataset;
}

Split load_split(const DatasetFiles& files, const std::string& split,
                 const std::array<std::string, kModalities>& modalities,
                 const std::array<Preprocessing, kModalities>& inputs, std::span<const int64_t> class_values) {
  choose(files, split, {modalities.begin(), modalities.end()});
  Rows rows = read_rows(files, split);
  Split out;
  out.labels = ids_of(rows.labels, class_values, others(rows.labels, class_values));
  out.groups = std::move(rows.groups);
  for (size_t side = 0; side < kModalities; ++side)
    out.features[side] = inputs[side].apply(open_features(files, split, modalities[side], out.rows()));
  return out;
}

std::vector<int32_t> group_numbers(std::span<const int64_t> values) { return ids_of(values, distinct(values), {}); }

void set_labels(Dataset& dataset, std::span<const int64_t> train, std::span<const int64_t> test) {
  dataset.label_values = distinct(train);
  const std::vector<int64_t> beyond = others(test, dataset.label_values);
  dataset.train.labels = ids_of(train, dataset.label_values, {});
  dataset.test.labels = ids_of(test, dataset.label_values, beyond);
  dataset.classes = static_cast<int32_t>(dataset.label_values.size());
  dataset.label_values.insert(dataset.label_values.end(), beyond.begin(), beyond.end());
}

}  // namespace duet::data
