#include "data/source_files.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code refused;
  fs::directory_iterator entry(folder, refused), end;
  for (; !refused && entry != end; entry.increment(refused))
    if (!is_hidden(entry->path())) found.push_back(entry->path());
  if (refused) throw Error(DUET_STATUS_IO_ERROR, text(folder.string(), ": ", refused.message()));
  std::ranges::sort(found);
  return found;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool holds(const fs::path& folder, bool (*is_wanted)(const fs::path&)) {
  return std::ranges::any_of(entries_of(folder), is_wanted);
}

std::string joined_names(const std::vector<fs::path>& paths) {
  std::string out;
  for (const fs::path& path : paths) out += (out.empty() ? "" : ", ") + path.string();
  return out;
}

}  // namespace

ArrayTable::ArrayTable(const std::vector<fs::path>& sources) {
  for (const fs::path& source : sources) {
    if (is_folder(source))
      add_folder(source, "", true);
    else
      add_file(source, "", sources.size() == 1);
  }
  require(!entries_.empty(), joined_names(sources),
          ": no arrays in it; expected some, or a folder of .npy, .npz, .safetensors, .h5, .hdf5 or .mat files");
}

void ArrayTable::add_folder(const fs::path& folder, const std::string& prefix, bool recurses) {
  for (const fs::path& path : entries_of(folder)) {
    if (is_folder(path) && recurses)
      add_folder(path, prefix + path.filename().string() + "/", false);
    else if (!is_folder(path) && has_array_ending(path))
      add_file(path, prefix, false);
  }
}

void ArrayTable::add_file(const fs::path& path, const std::string& prefix, bool alone) {
  const std::shared_ptr<const ArrayFile> file = open_array_file(path);
  const std::vector<std::string> names = file->names();
  const std::string stem = prefix + path.stem().string();
  for (const std::string& name : names) {
    const bool only = names.size() == 1 && (!alone || name.empty());
    const std::string place = only ? stem : alone ? name : stem + "/" + name;
    require(entries_.emplace(place, Entry{file, name}).second, path.string(), ": a second array '", shown(place),
            "'; expected names that differ");
  }
}

std::vector<std::string> ArrayTable::paths() const {
  std::vector<std::string> out;
  for (const auto& [path, entry] : entries_) out.push_back(path);
  return out;
}

StoredArray ArrayTable::open(const std::string& path) const {
  const auto entry = entries_.find(path);
  require(entry != entries_.end(), "no array '", shown(path), "'");
  return entry->second.file->open(entry->second.array);
}

SourceFiles::SourceFiles(const std::vector<fs::path>& sources, const std::vector<std::string>& mappings,
                         Pooling pooling)
    : name_(joined_names(sources)), table_(sources), pooling_(pooling) {
  const std::vector<std::string> paths = table_.paths();
  layout_ = mappings.empty() ? detect_layout(paths, name_) : mapped_layout(mappings, paths, name_);
  if (!layout_.flags.empty()) read_flags();
  read_orders();
}

void SourceFiles::read_flags() {
  const StoredArray flags = table_.open(layout_.flags);
  const LabelColumn column = label_column(flags.view);
  require(!column.sets.given(), flags.view.name, ": shape ", shape_text(flags.view.shape),
          "; expected one flag a row, 1 or train, 0 or test");
  flagged_ = column.rows();
  for (int64_t i = 0; i < flagged_; ++i) {
    const std::string word =
        column.names ? (*column.names)[static_cast<size_t>(i)] : text((*column.numbers)[static_cast<size_t>(i)]);
    const bool train = word == "1" || word == "train", test = word == "0" || word == "test";
    require(train || test, flags.view.name, ": row ", i, " is '", shown(word), "'; expected 1 or train, 0 or test");
    rows_[train ? "train" : "test"].push_back(i);
  }
  for (const char* split : {"train", "test"})
    require(rows_.contains(split), flags.view.name, ": no row of ", split, "; expected some");
}

void SourceFiles::read_orders() {
  for (const auto& [split, path] : layout_.orders) rows_[split] = read_labels(table_.open(path).view);
}

std::vector<std::string> SourceFiles::splits() const {
  std::vector<std::string> out;
  for (const char* split : {"train", "test", "val"})
    if (layout_.splits.contains(split)) out.push_back(split);
  return out;
}

std::vector<std::string> SourceFiles::arrays(const std::string& split) const {
  const auto found = layout_.splits.find(split);
  require(found != layout_.splits.end(), name_, ": no split '", split, "'");
  std::vector<std::string> out;
  for (const auto& [array, path] : found->second) out.push_back(array);
  return out;
}

StoredArray SourceFiles::open(const std::string& split, const std::string& array) const {
  const auto found = layout_.splits.find(split);
  require(found != layout_.splits.end() && found->second.contains(array), place(split), ": no array '", shown(array),
          "'");
  StoredArray out = table_.open(found->second.at(array));
  const auto chosen = rows_.find(split);
  if (chosen == rows_.end()) return out;
  ArrayView& view = out.view;
  require(!view.shape.empty(), view.name, ": a single value; expected a row a sample");
  require(flagged_ < 0 || view.shape[0] == flagged_, view.name, ": ", view.shape[0], " rows; expected ", flagged_,
          " as in ", layout_.flags);
  for (const int64_t row : chosen->second)
    require(row >= 0 && row < view.shape[0], view.name, ": ", view.shape[0], " rows; expected row ", row, ", which ",
            split, "'s order names");
  view.taken = chosen->second;
  return out;
}

std::unique_ptr<DatasetFiles> open_dataset(const fs::path& path, const std::vector<std::string>& mappings,
                                           Pooling pooling) {
  std::error_code ignored;
  bool arrays = fs::is_regular_file(path, ignored), npy = false;
  if (is_folder(path)) {
    arrays = holds(path, has_array_ending);
    for (const char* split : {"train", "test"}) {
      if (!is_folder(path / split)) continue;
      npy = npy || holds(path / split, [](const fs::path& file) { return file.extension() == ".npy"; });
      arrays = arrays || holds(path / split, has_array_ending);
    }
  }
  if (npy || !arrays) return std::make_unique<FolderFiles>(path, pooling);
  return std::make_unique<SourceFiles>(std::vector<fs::path>{path}, mappings, pooling);
}

}  // namespace duet::data
