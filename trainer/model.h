// A model: two encoders and the classifier they share (METHOD.md 6.1), with all that is needed to use it on new files.
//
// model.safetensors holds the moving average of the parameters, which is what is scored:
//   encoder_a.layerK.weight, .bias, encoder_v.layerK.weight, .bias
//       the layers, out x in and out (encoder_a.normK.gain, .offset with layer_norm)
//   classifier.weight, classifier.bias
//       max(1, classes) x embedding_dim, max(1, classes)
//   log_loss_scale
//       ln(1 / temperature), where it was learned
//   loss_bias
//       the bias of the pair loss sigmoid, where it was learned
//   input_a.mean, input_a.scale, input_v.mean, input_v.scale
//       float64, a value a column of the inputs: clip((x - mean) scale, +-limit)
//   class_values
//       int64, the label of each class, ascending
// and as metadata: class_names (a JSON list, in the order of class_values), where labels are names; labels ("several"),
// where a row may have several; format
// (trainer/format.h), duet_version, config (JSON), modality_a, modality_v, scaling_a, scaling_v. A model of 0.1.0 has
// float32 for float64, scales in float32, and lacks class_values and format, its classes being 0 to C - 1. It holds
// loss_scale, 1 / temperature, for log_loss_scale.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "runtime/module.h"
#include "runtime/safetensors.h"
#include "trainer/config.h"

namespace duet {

struct ModelDescription {
  Config config;
  std::array<std::string, data::kModalities> modalities;
  std::array<data::Preprocessing, data::kModalities> inputs;
  std::vector<int64_t> class_values;     // the label of each class, ascending
  std::vector<std::string> class_names;  // the same where labels are names; else empty
  bool several_labels = false;           // a row may have several

  int64_t classes() const { return static_cast<int64_t>(class_values.size()); }
  int64_t width(int modality) const { return static_cast<int64_t>(inputs[static_cast<size_t>(modality)].mean.size()); }
  data::Classes called() const { return {class_values, class_names, several_labels}; }
};

// Scaled inputs are clipped to plus or minus this; infinite where they are not.
double input_limit(const Config& config);

// A row's embedding overflowed, though every weight of the model is finite.
class EmbeddingNotFinite : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Model {
 public:
  // Draws the student from the config's seed; the teacher is its copy. The parameters lie in the context's memory; it
  // must outlive the model. Throws std::runtime_error, naming modality and column, where the mean or the scale of an
  // input is not finite.
  Model(ModelDescription description, duet_context* context);

  // Throws UsageError, naming the file, unless it is a model of this program in a format that it knows;
  // std::runtime_error, naming the tensor, where one of its numbers is NaN or infinite.
  static std::unique_ptr<Model> load(const std::filesystem::path& path, duet_context* context);
  // Under a temporary name, synced, renamed: whoever reads path sees a whole model. Refuses to write a number that is
  // NaN or infinite.
  void save(const std::filesystem::path& path) const;
  // The same with more in it, under names that no part of a model has; whoever loads it takes the model alone. Numbers
  // may be NaN or infinite: the caller has looked at the model's.
  Checksum save_with(const std::filesystem::path& path, std::span<const NamedArray> more,
                     const Metadata& more_metadata) const;

  const ModelDescription& description() const { return description_; }
  ParameterStore& parameters() { return parameters_; }
  const ParameterStore& parameters() const { return parameters_; }
  const EncoderPair& encoders() const { return encoders_; }
  const Classifier& classifier() const { return classifier_; }
  // The parameters that read rows, the encoders' and the classifier's, are the first so many floats of each kind.
  int64_t row_floats() const;
  const std::optional<LearnedScale>& learned_scale() const { return learned_scale_; }
  // The number of the bias of the pair loss sigmoid among the parameters, where it is learned.
  const std::optional<int64_t>& learned_bias() const { return learned_bias_; }

  // The teacher's embeddings of preprocessed features, block_rows at a time, on the context's device and back. Throws
  // EmbeddingNotFinite, naming modality and row, where one is not finite. between: called before each block; what it
  // throws ends the call. first_row: what the first row is called then.
  data::Features embed(duet_context* context, int modality, const data::Features& features, int64_t block_rows,
                       const std::function<void()>& between = {}, int64_t first_row = 0) const;

 private:
  Checksum write(const std::filesystem::path& path, std::span<const NamedArray> more, const Metadata& more_metadata,
                 Values values) const;

  ModelDescription description_;
  ParameterStore parameters_;
  EncoderPair encoders_;
  Classifier classifier_;
  std::optional<LearnedScale> learned_scale_;
  std::optional<int64_t> learned_bias_;
};

}  // namespace duet
