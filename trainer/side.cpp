#include "trainer/side.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "data/label_table.h"
#include "data/layout.h"
#include "data/source_files.h"
#include "runtime/printable.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string listed(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& each : paths) all += (all.empty() ? "" : ", ") + each;
  return shown(all);
}

// The file's only array, or the only one that is wanted. what: for messages.
template <class Wanted>
std::string array_of(const data::ArrayTable& table, const fs::path& path, const std::string& option,
                     const std::string& what, const Wanted& wanted) {
  const std::vector<std::string> paths = table.paths();
  if (paths.size() == 1) return paths[0];
  std::vector<std::string> found;
  std::ranges::copy_if(paths, std::back_inserter(found), wanted);
  usage_require(found.size() == 1, option, ": ", path.string(), ": expected one array ", what, "; found ",
                listed(found.empty() ? paths : found));
  return found[0];
}

std::string features_of(const data::ArrayTable& table, const fs::path& path, const std::string& option,
                        const std::string& modality) {
  return array_of(table, path, option, "named " + modality,
                  [&](const std::string& each) { return each == modality || each.ends_with("/" + modality); });
}

bool is_table(const fs::path& file) { return file.extension() == ".csv" || file.extension() == ".tsv"; }

data::LabelColumn labels_in(const fs::path& file, const std::string& option) {
  if (is_table(file)) return data::read_label_table(file);
  const data::ArrayTable table({file});
  return data::label_column(table.open(array_of(table, file, option, "of labels", data::names_labels)).view);
}

// Beside the features.
data::LabelColumn labels_beside(const Side& side) {
  const std::string within = side.array.substr(0, side.array.rfind('/') + 1);  // "test/" of "test/audio"
  const fs::path folder = is_folder(side.path / within) ? side.path / within
                          : is_folder(side.path)        ? side.path
                                                        : side.path.parent_path();
  const std::optional<fs::path> table = data::label_table_in(folder);
  const fs::path npy = folder / (std::string(data::kLabels) + ".npy");
  const data::ArrayTable arrays({side.path});
  std::vector<std::string> found;
  for (const std::string& each : arrays.paths())
    if (each.substr(0, each.rfind('/') + 1) == within && each != side.array && data::names_labels(each))
      found.push_back(each);
  std::error_code ignored;
  const bool in_folder = fs::exists(npy, ignored);
  usage_require(found.size() <= 1 && (!table || (found.empty() && !in_folder)), side.option, ": ", side.path.string(),
                ": labels in ", table ? table->filename().string() + " and " : "",
                found.empty() ? npy.filename().string() : "the array " + listed(found), "; ", side.option,
                "-labels FILE says which");
  if (!found.empty()) return data::label_column(arrays.open(found[0]).view);
  usage_require(table || in_folder, side.option, ": ", side.path.string(),
                ": no labels beside it (labels.npy, .csv or .tsv); ", side.option, "-labels FILE says where they are");
  return labels_in(table.value_or(npy), side.option);
}

}  // namespace

nlohmann::ordered_json Side::id(int64_t row) const {
  if (ids.empty()) return row;
  return ids[static_cast<size_t>(row)];
}

std::string Side::shown_id(int64_t row) const {
  return ids.empty() ? std::to_string(row) : printable(ids[static_cast<size_t>(row)]);
}

int modality_of(const Model& model, const std::string& option, const std::string& name) {
  const auto& names = model.description().modalities;
  const auto found = std::ranges::find(names, name);
  usage_require(found != names.end(), option, ": expected ", names[0], " or ", names[1], ", got '", shown(name), "'");
  return static_cast<int>(found - names.begin());
}

Side open_side(const Model& model, const std::string& option, const fs::path& path, int modality) {
  return reading_input([&] {
    const ModelDescription& description = model.description();
    const data::ArrayTable table({path});
    Side side{option,   path, features_of(table, path, option, description.modalities[static_cast<size_t>(modality)]),
              modality, {},   {}};
    side.features.emplace(table.open(side.array), data::parse_pooling(description.config.pool, "pool"));
    const fs::path folder = is_folder(path) ? path : path.parent_path();
    if (std::optional<std::vector<std::string>> ids = data::ids_in(folder)) {
      side.ids = std::move(*ids);
      usage_require(std::ssize(side.ids) == side.rows(), (folder / "ids.txt").string(), ": ", side.ids.size(),
                    " ids; expected ", side.rows(), " as ", side.features->name(), " has rows");
    }
    return side;
  });
}

data::LabelColumn read_labels(const Side& side, const std::optional<fs::path>& given) {
  return reading_input([&] {
    data::LabelColumn labels = given ? labels_in(*given, side.option + "-labels") : labels_beside(side);
    usage_require(labels.rows() == side.rows(), labels.name, ": ", labels.rows(), " rows; expected ", side.rows(),
                  " as in ", side.features->name());
    return labels;
  });
}

data::Features embed(const Model& model, duet_context* context, const Side& side, int64_t first, int64_t rows) {
  const ModelDescription& description = model.description();
  const data::Preprocessing& inputs = description.inputs[static_cast<size_t>(side.modality)];
  data::Features out(rows, description.config.embedding_dim);
  const int64_t block = description.config.evaluation_block_rows;
  for (int64_t done = 0; done < rows; done += block) {
    const int64_t count = std::min(block, rows - done);
    const data::Features scaled = reading_input([&] { return inputs.apply(*side.features, first + done, count); });
    const data::Features made = model.embed(context, side.modality, scaled, block, {}, first + done);
    std::ranges::copy(made.values, out.row(done));
  }
  return out;
}

}  // namespace duet
