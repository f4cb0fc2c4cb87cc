// `duet import`: every array of every split as DIR/SPLIT/ARRAY.npy and the rows' ids as DIR/SPLIT/ids.txt, all of
// them or none.
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <system_error>

#include "data/array_write.h"
#include "data/label_table.h"
#include "data/source_files.h"
#include "runtime/files/atomic_file.h"
#include "runtime/printable.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/input_files.h"
#include "trainer/interrupt.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

struct Target {
  std::string split, array;  // array: empty: the ids of the rows
  fs::path path;
};

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) refuse_output(text(folder.string(), ": cannot make the folder: ", error.message()), error.value());
}

// Ids, labels, which may be a table, or another array.
struct Content {
  std::optional<std::vector<std::string>> ids;
  std::optional<data::LabelColumn> labels;
  data::StoredArray array;

  void write(AtomicFile& file) const {
    if (ids)
      for (const std::string& id : *ids) file.write((id + "\n").data(), id.size() + 1);
    else if (labels)
      data::write_npy(file, *labels);
    else
      data::write_npy(file, array.view);
  }
  std::string words() const {
    if (ids) return text(ids->size(), " ids");
    if (labels && labels->sets.given())
      return text(labels->rows(), " rows of labels, of ", labels->sets.classes, " classes");
    if (labels) return text(labels->rows(), labels->numbers ? " labels" : " labels, names");
    std::vector<int64_t> shape = array.view.shape;
    shape[0] = array.view.rows();
    return text(data::shape_text(shape), " ", data::type_name(array.view.type), " of ", array.view.name);
  }
};

Content read_content(const data::DatasetFiles& files, const Target& target) {
  return reading_input([&] {
    Content out;
    if (target.array.empty()) {
      out.ids = files.ids(target.split);
    } else if (target.array == data::kLabels) {
      out.labels = files.labels(target.split);
    } else {
      out.array = files.open(target.split, target.array);
      const data::ArrayView& view = out.array.view;
      usage_require(!view.shape.empty() && view.rows() > 0, view.name, ": no rows; expected at least one");
    }
    return out;
  });
}

class ImportCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("SOURCE", sources_, "files, or folders of them")->required();
    add_path(app, "--out", out_, "folder to write to; it is made where it is not there", "DIR")->required();
    add_key(app, "--map", "map", config_, "ARRAY/SPLIT=PATH,...");
    add_force(app, force_);
  }
  int run() override;

 private:
  std::unique_ptr<data::DatasetFiles> open_sources() const;
  std::vector<Target> targets_of(const data::DatasetFiles& files) const;

  std::vector<std::string> sources_;
  std::optional<fs::path> out_;
  Config config_;
  bool force_ = false;
};

std::unique_ptr<data::DatasetFiles> ImportCommand::open_sources() const {
  for (const std::string& source : sources_) usage_require(!source.empty(), "SOURCE: expected a path, got nothing");
  return reading_input([&]() -> std::unique_ptr<data::DatasetFiles> {
    if (sources_.size() == 1) return data::open_dataset(sources_[0], config_.map, data::Pooling::mean);
    return std::make_unique<data::SourceFiles>(std::vector<fs::path>(sources_.begin(), sources_.end()), config_.map);
  });
}

// Every file that will be written, none of which is an input or, without --force, there.
std::vector<Target> ImportCommand::targets_of(const data::DatasetFiles& files) const {
  InputFiles inputs;
  for (const std::string& source : sources_) inputs.add(source);
  std::vector<Target> targets;
  reading_input([&] {
    if (files.splits().empty()) files.arrays("train");  // says what is not there
    for (const std::string& split : files.splits()) {
      std::vector<std::string> arrays = files.arrays(split);
      if (files.labels(split) && std::ranges::find(arrays, data::kLabels) == arrays.end())
        arrays.push_back(data::kLabels);
      for (const std::string& array : arrays) {
        usage_require(is_modality_name(array), files.place(split), ": '", shown(array),
                      "' is no name of a file (--map gives it another)");
        targets.push_back({split, array, *out_ / split / (array + ".npy")});
      }
      if (files.ids(split)) targets.push_back({split, "", *out_ / split / data::kIdsFile});
    }
  });
  usage_require(!targets.empty(), files.name(), ": no split train, test or val");
  for (const Target& target : targets) {
    inputs.require_apart(target.path);
    std::error_code ignored;
    usage_require(force_ || !fs::exists(fs::symlink_status(target.path, ignored)), target.path.string(),
                  ": not written: it is there already (--force writes over it)");
  }
  return targets;
}

int ImportCommand::run() {
  const std::unique_ptr<data::DatasetFiles> files = open_sources();
  const std::vector<Target> targets = targets_of(*files);
  const InterruptGuard interrupt;  // from here on there are files
  std::vector<std::unique_ptr<AtomicFile>> written;
  std::vector<std::string> lines;
  for (const Target& target : targets) {
    const Content content = read_content(*files, target);
    if (!content.ids && !content.labels && data::is_text(content.array.view.type)) {
      lines.push_back(text(content.array.view.name, ": left out: strings are no features"));
      continue;
    }
    make_folder(target.path.parent_path());
    try {
      written.push_back(std::make_unique<AtomicFile>(target.path));
    } catch (const FileError& error) {
      refuse_output(error.what(), error.reason());
    }
    content.write(*written.back());
    lines.push_back(text(target.path.string(), ": ", content.words()));
    written.back()->sync();
    if (const int number = interrupt.requested()) {
      std::cerr << "interrupted: nothing is written\n";
      return kExitSignal + number;
    }
  }
  for (const auto& file : written) file->commit();
  for (const std::string& words : lines) std::cout << printable(words) << '\n';
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_import() { return std::make_unique<ImportCommand>(); }

}  // namespace duet
