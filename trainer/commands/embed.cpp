// `duet embed`: writes the embeddings of a split, a .npy a modality.
#include <iostream>

#include "data/npy.h"
#include "runtime/files/atomic_file.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/input_files.h"
#include "trainer/interrupt.h"
#include "trainer/output_files.h"
#include "trainer/preparation.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

// All or none: none appears before all are on the disk. Where files are replaced, a system that refuses the second
// name leaves the first: what it replaced is gone.
class EmbeddingFiles {
 public:
  EmbeddingFiles(const std::vector<fs::path>& paths, bool replaces)
      : paths_(paths), replaces_(replaces), files_(paths.size()) {
    for (size_t side = 0; side < files_.size(); ++side) make(side);
  }

  void write(const std::vector<data::Features>& embeddings) {
    for (size_t side = 0; side < files_.size(); ++side) {
      const std::string header = data::features_header(embeddings[side]);
      files_[side]->write(header.data(), header.size());
      files_[side]->write(embeddings[side].values.data(), embeddings[side].values.size() * sizeof(float));
      files_[side]->sync();
    }
  }

  void commit() {
    try {
      for (size_t side = 0; side < files_.size(); ++side) {
        if (replaces_)
          files_[side]->commit();
        else if (!files_[side]->commit_new())
          refuse_existing(paths_[side]);
      }
    } catch (...) {
      std::error_code ignored;
      for (size_t side = 0; side < files_.size() && !replaces_; ++side)
        if (files_[side]->placed()) fs::remove(paths_[side], ignored);  // it is ours
      throw;
    }
  }

 private:
  void make(size_t side) {
    try {
      files_[side].emplace(paths_[side]);
    } catch (const FileError& error) {
      refuse_output(error.what(), error.reason());
    }
  }

  std::vector<fs::path> paths_;
  bool replaces_;
  std::vector<std::optional<AtomicFile>> files_;
};

class EmbedCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    add_run(app, run_);
    add_best(app, best_);
    add_split(app, data_, split_);
    place_.declare(app);
    add_path(app, "--out", out_, "folder to write to; it is made where it is not there", "DIR")->required();
    add_force(app, force_);
  }
  int run() override;

 private:
  std::vector<fs::path> files(const Model& model, const std::vector<size_t>& sides) const;

  std::optional<fs::path> run_, data_, out_;
  std::string split_ = "test";
  Workplace place_;
  bool best_ = false, force_ = false;
};

// The files that embed writes, one each of these modalities of the model: none is a file that it reads, and one that is
// there is written over where --force says so.
std::vector<fs::path> EmbedCommand::files(const Model& model, const std::vector<size_t>& sides) const {
  InputFiles inputs;
  inputs.add(*run_);
  if (const fs::path data = data_for(data_, model); !data.empty()) inputs.add(data);
  std::vector<fs::path> files;
  for (const size_t side : sides) {
    const fs::path& file = files.emplace_back(*out_ / (model.description().modalities[side] + ".npy"));
    require_free(inputs, file, force_);
  }
  return files;
}

int EmbedCommand::run() {
  const Device device(place_.choose().options);
  const std::unique_ptr<Model> model = load_model(*run_, best_, device.context());
  const data::Split split = load_for(*model, data_for(data_, *model), split_, data::SplitUse::features);
  std::vector<size_t> sides;
  for (size_t side = 0; side < split.features.size(); ++side)
    if (split.features[side].rows > 0) sides.push_back(side);
  const std::vector<fs::path> paths = files(*model, sides);
  const std::vector<std::string> notes = scaling_notes(model->description());
  std::vector<data::Features> embeddings;
  for (const size_t side : sides) {
    print_notes({notes[side]});
    embeddings.push_back(model->embed(device.context(), static_cast<int>(side), split.features[side],
                                      model->description().config.evaluation_block_rows));
  }
  const InterruptGuard interrupt;  // from here on there are files
  make_output_folder(*out_);
  EmbeddingFiles written(paths, force_);
  written.write(embeddings);
  if (const int number = interrupt.requested()) {
    std::cerr << "interrupted: nothing is written\n";
    return kExitSignal + number;
  }
  written.commit();
  for (size_t side = 0; side < paths.size(); ++side)
    std::cout << shown_path(paths[side]) << ": " << embeddings[side].rows << " x " << embeddings[side].columns << '\n';
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_embed() { return std::make_unique<EmbedCommand>(); }

}  // namespace duet
