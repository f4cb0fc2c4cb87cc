#include "data/dataset.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <system_error>

#include "data/label_table.h"
#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

std::filesystem::path npy(const std::filesystem::path& folder, const std::string& stem) {
  return folder / (stem + ".npy");
}

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
            " modalities (arrays beside the labels), found ", joined(found),
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

// Of a path and an array in it, without folders.
std::string last_part(const std::string& name) { return name.substr(name.rfind('/') + 1); }

// What a split has beside its features.
struct Rows {
  LabelColumn labels;
  std::vector<int32_t> groups;  // as Split has them
};

Rows read_rows(const DatasetFiles& files, const std::string& split) {
  std::optional<LabelColumn> labels = files.labels(split);
  require(labels.has_value(), files.place(split),
          ": no labels (labels.npy, .csv or .tsv); expected a label a row, -1 where there is none");
  Rows rows{std::move(*labels), {}};
  if (!contains(files.arrays(split), kGroups)) return rows;
  const StoredArray groups = files.open(split, kGroups);
  rows.groups = group_numbers(read_labels(groups.view));
  require(std::ssize(rows.groups) == rows.labels.rows(), groups.view.name, ": ", rows.groups.size(), " rows; expected ",
          rows.labels.rows(), " as in ", last_part(rows.labels.name));
  return rows;
}

void require_rows(const FeatureSource& source, int64_t rows, const std::string& counted) {
  require(source.rows() == rows, source.name(), ": ", source.rows(), " rows; expected ", rows, " as in ",
          last_part(counted));
}

FeatureSource open_features(const DatasetFiles& files, const std::string& split, const std::string& modality,
                            int64_t rows, const std::string& counted) {
  FeatureSource source(files.open(split, modality), files.pooling());
  require_rows(source, rows, counted);
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

std::vector<std::string> distinct_names(const std::vector<std::string>& names) {
  std::vector<std::string> out = names;
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  std::erase(out, "");
  return out;
}

// Those that are not among known names, which are ascending; ascending.
std::vector<std::string> others(const std::vector<std::string>& names, std::span<const std::string> known) {
  std::vector<std::string> out;
  std::ranges::set_difference(distinct_names(names), known, std::back_inserter(out));
  return out;
}

// Each name as its place in ascending known names, behind them in those beyond, which hold the others; "" as -1.
std::vector<int64_t> numbers_of(const std::vector<std::string>& names, std::span<const std::string> known,
                                std::span<const std::string> beyond) {
  std::vector<int64_t> out;
  out.reserve(names.size());
  for (const std::string& name : names) {
    const auto place = std::ranges::lower_bound(known, name);
    const bool is_known = place != known.end() && *place == name;
    out.push_back(name.empty() ? -1
                  : is_known   ? place - known.begin()
                               : std::ssize(known) + (std::ranges::lower_bound(beyond, name) - beyond.begin()));
  }
  return out;
}

std::string form_of(int64_t classes) {
  return classes > 0 ? text("several labels a row, of ", classes, " classes") : "one label a row";
}

std::vector<int64_t> numbers_below(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

void set_labels(Split& split, const LabelSets& rows) {
  SetLabels by_set = label_by_set(std::array{&rows});
  split.sets = std::move(by_set.sets);
  split.labels = std::move(by_set.labels[0]);
}

// Of both splits at once: sets, or numbers where both have them, else names.
void set_label_columns(Dataset& dataset, const LabelColumn& train, const LabelColumn& test) {
  require_one_form(test, train);
  if (train.sets.given()) {
    set_labels(dataset.train, train.sets);
    set_labels(dataset.test, test.sets);
    dataset.classes = static_cast<int32_t>(train.sets.classes);
    dataset.label_values = numbers_below(dataset.classes);
    return;
  }
  if (train.numbers && test.numbers) return set_labels(dataset, *train.numbers, *test.numbers);
  require(train.names && test.names, (train.names ? test : train).name, ": labels are numbers; expected names, as in ",
          (train.names ? train : test).name);
  const std::vector<std::string> known = distinct_names(*train.names);
  const std::vector<std::string> beyond = others(*test.names, known);
  const std::vector<int64_t> train_numbers = numbers_of(*train.names, known, {}),
                             test_numbers = numbers_of(*test.names, known, beyond);
  set_labels(dataset, train_numbers, test_numbers);
  dataset.label_names = known;
  dataset.label_names.insert(dataset.label_names.end(), beyond.begin(), beyond.end());
}

}  // namespace

void require_one_form(const LabelColumn& column, const LabelColumn& other) {
  require(column.sets.classes == other.sets.classes, column.name, ": ", form_of(column.sets.classes), "; expected ",
          form_of(other.sets.classes), ", as in ", other.name);
}

bool is_hidden(const std::filesystem::path& path) { return path.filename().string().starts_with('.'); }

std::optional<LabelColumn> DatasetFiles::labels(const std::string& split) const {
  if (!contains(arrays(split), kLabels)) return std::nullopt;
  return label_column(open(split, kLabels).view);
}

int64_t Split::labelled() const {
  return std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
}

int64_t rows_beyond(std::span<const int32_t> labels, int64_t classes) {
  return std::ranges::count_if(labels, [classes](int32_t label) { return label >= classes; });
}

std::vector<std::string> FolderFiles::splits() const {
  std::vector<std::string> out;
  std::error_code ignored;
  for (const char* split : {"train", "test", "val"})
    if (std::filesystem::is_directory(folder_ / split, ignored)) out.push_back(split);
  return out;
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

std::optional<LabelColumn> FolderFiles::labels(const std::string& split) const {
  const std::optional<std::filesystem::path> table = label_table_in(folder_ / split);
  if (!table) return DatasetFiles::labels(split);
  require(!contains(arrays(split), kLabels), place(split), ": both labels.npy and ", table->filename().string(),
          "; expected one of them");
  return read_label_table(*table);
}

std::optional<std::vector<std::string>> FolderFiles::ids(const std::string& split) const {
  return ids_in(folder_ / split);
}

StoredArray FolderFiles::open(const std::string& split, const std::string& array) const {
  return open_npy(npy(folder_ / split, array));
}

Dataset load_dataset(const DatasetFiles& files, const std::vector<std::string>& modalities, const InputOptions& options,
                     Residence* residence) {
  Dataset dataset;
  dataset.name = files.name();
  dataset.modalities = choose(files, "train", modalities);
  choose(files, "test", {dataset.modalities.begin(), dataset.modalities.end()});
  Rows train_rows = read_rows(files, "train"), test_rows = read_rows(files, "test");
  set_label_columns(dataset, train_rows.labels, test_rows.labels);
  dataset.train.groups = std::move(train_rows.groups);
  dataset.test.groups = std::move(test_rows.groups);
  for (size_t side = 0; side < kModalities; ++side) {
    Preprocessing& inputs = dataset.inputs[side];
    const std::string& name = dataset.modalities[side];
    {
      const FeatureSource train = open_features(files, "train", name, dataset.train.rows(), train_rows.labels.name);
      inputs = Preprocessing::fit(train, options.scaling[side]);
      inputs.limit = options.limit;
      if (const std::string pooled = train.pooled(); !pooled.empty()) inputs.reason += "; " + pooled;
      dataset.train.features[side] = inputs.apply(train, residence);
    }  // its bytes are gone before the next file's come
    const FeatureSource test = open_features(files, "test", name, dataset.test.rows(), test_rows.labels.name);
    require(test.columns() == dataset.width(static_cast<int>(side)), dataset.name, ": ", name, " has ", test.columns(),
            " columns in test; expected ", dataset.width(static_cast<int>(side)), " as in train");
    dataset.test.features[side] = inputs.apply(test, residence);
  }
  if (contains(files.splits(), "val"))
    dataset.validation =
        load_split(files, "val", dataset.modalities, dataset.inputs,
                   {dataset.class_values(), dataset.class_names(), dataset.several_labels(), train_rows.labels.name},
                   SplitUse::pairs, residence);
  return dataset;
}

namespace {

LabelIds ids_by_set(std::span<const LabelColumn* const> columns, const Classes& classes) {
  const int64_t known = std::ssize(classes.values);
  std::vector<const LabelSets*> rows;
  for (const LabelColumn* column : columns) {
    require_one_form(*column, *columns[0]);
    require(known == 0 || column->sets.classes == (classes.several ? known : 0), column->name, ": ",
            form_of(column->sets.classes), "; expected ", form_of(classes.several ? known : 0), ", as in ",
            classes.source);
    rows.push_back(&column->sets);
  }
  SetLabels by_set = label_by_set(rows);
  return {std::move(by_set.labels), numbers_below(by_set.sets.classes), {}, std::move(by_set.sets)};
}

}  // namespace

LabelIds ids_by_classes(std::span<const LabelColumn* const> columns, const Classes& classes) {
  if (classes.several || std::ranges::any_of(columns, [](const LabelColumn* column) { return column->sets.given(); }))
    return ids_by_set(columns, classes);
  const auto lacking = [&](const auto& has) {
    return std::ranges::find_if(columns, [&](const LabelColumn* column) { return !has(*column); });
  };
  const auto without_numbers = lacking([](const LabelColumn&column) { return column.numbers.has_value(); }),
             without_names = lacking([](const LabelColumn&column) { return column.names.has_value(); });
  LabelIds out;
  out.values.assign(classes.values.begin(), classes.values.end());
  out.names.assign(classes.names.begin(), classes.names.end());
  if (classes.names.empty() && without_numbers == columns.end()) {
    std::vector<int64_t> all;
    for (const LabelColumn* column : columns) all.insert(all.end(), column->numbers->begin(), column->numbers->end());
    const std::vector<int64_t> beyond = others(all, classes.values);
    for (const LabelColumn* column : columns) out.ids.push_back(ids_of(*column->numbers, classes.values, beyond));
    out.values.insert(out.values.end(), beyond.begin(), beyond.end());
    return out;
  }
  if (classes.names.empty())
    require(classes.values.empty(), (*without_numbers)->name,
            ": labels are names; expected numbers, which the model was trained on");
  if (without_names != columns.end())
    require(false, (*without_names)->name, ": labels are numbers; expected names, ",
            classes.names.empty() ? "as in " + last_part((*without_numbers)->name) : "which the model was trained on");
  std::vector<std::string> all;
  for (const LabelColumn* column : columns) all.insert(all.end(), column->names->begin(), column->names->end());
  const std::vector<std::string> beyond = others(all, classes.names);
  for (const LabelColumn* column : columns) {
    const std::vector<int64_t> numbers = numbers_of(*column->names, classes.names, beyond);
    out.ids.emplace_back(numbers.begin(), numbers.end());
  }
  out.names.insert(out.names.end(), beyond.begin(), beyond.end());
  out.values = numbers_below(std::ssize(out.names));
  return out;
}

Split load_split(const DatasetFiles& files, const std::string& split,
                 const std::array<std::string, kModalities>& modalities,
                 const std::array<Preprocessing, kModalities>& inputs, const Classes& classes, SplitUse use,
                 Residence* residence) {
  const std::vector<std::string> arrays = files.arrays(split);
  const auto is_missing = [&](const std::string& modality) { return !contains(arrays, modality); };
  if (use == SplitUse::pairs || std::ranges::all_of(modalities, is_missing))
    choose(files, split, {modalities.begin(), modalities.end()});
  Split out;
  std::string counted;  // what told the number of rows
  if (use != SplitUse::features) {
    Rows rows = read_rows(files, split);
    LabelIds labels = ids_by_classes(std::array{&rows.labels}, classes);
    out.labels = std::move(labels.ids[0]);
    out.label_values = std::move(labels.values);
    out.label_names = std::move(labels.names);
    out.sets = std::move(labels.sets);
    out.groups = std::move(rows.groups);
    counted = rows.labels.name;
  }
  for (size_t side = 0; side < kModalities; ++side) {
    if (is_missing(modalities[side])) continue;
    const FeatureSource source(files.open(split, modalities[side]), files.pooling());
    if (counted.empty()) {
      out.labels.assign(static_cast<size_t>(source.rows()), -1);
      counted = source.name();
    }
    require_rows(source, out.rows(), counted);
    out.features[side] = inputs[side].apply(source, residence);
  }
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
