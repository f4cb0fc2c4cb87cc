// From a config to all that a run needs: the data, its inputs scaled, its labels hidden, its batches; and every check
// that needs the data.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/sampler.h"
#include "trainer/evidence.h"
#include "trainer/model.h"

namespace duet {

struct Preparation {
  data::Dataset dataset;        // features scaled
  std::vector<int32_t> labels;  // of the training rows: those that the run may see; of validation rows that are taken
                                // from the training split, the data set's own are no others
  std::unique_ptr<data::BatchSampler> sampler;
  ModelDescription description;      // with the config resolved: modalities and scaling as chosen
  data::Residence residence;         // where the features lie
  std::optional<Evidence> evidence;  // METHOD.md 6.9, for psd; none where the config does not ask for it

  int64_t labelled() const;
};

// Throws UsageError, naming file, key or shape; Error where a file for features cannot be made. config has been
// validated. folder: where features beyond the key data_memory lie; empty: temporary_folder().
Preparation prepare(const Config& config, const std::filesystem::path& folder = {});
// A split for a model that is there already; data empty: the digits embedded in the program. "val" of data without one:
// the rows that the model's run would have taken out of the training split.
data::Split load_for(const Model& model, const std::filesystem::path& data, const std::string& split,
                     data::SplitUse use = data::SplitUse::pairs);

// The training split as the model's run had it, without the rows that validated.
struct TrainingRows {
  data::Split split;
  std::vector<int32_t> labels;  // those that the run might see
};
TrainingRows load_training_rows(const Model& model, const std::filesystem::path& data);

// What a command says of its inputs, none or some lines: how each modality is scaled and why; how many rows have labels
// that the training split lacks; a warning from 20,000 classes on. rows: what has these labels, "query rows".
std::vector<std::string> scaling_notes(const ModelDescription& description);
std::vector<std::string> label_notes(const ModelDescription& description, std::span<const int32_t> labels,
                                     const std::string& rows);
std::vector<std::string> label_notes(const ModelDescription& description, const data::Split& split,
                                     const std::string& split_name);
std::vector<std::string> class_notes(const ModelDescription& description);
// Where features lie, unless all are in memory.
std::vector<std::string> residence_notes(const Preparation& preparation);

}  // namespace duet
