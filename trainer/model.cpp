#include "trainer/model.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <type_traits>
#include <utility>

#include "runtime/finite.h"
#include "runtime/printable.h"
#include "trainer/format.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

constexpr std::array<const char*, data::kModalities> kSides = {"a", "v"};
constexpr const char *kClassifier = "classifier", *kLogLossScale = "log_loss_scale";
constexpr const char* kLossBias = "loss_bias";
constexpr const char* kClassNames = "class_names";
constexpr const char *kLabels = "labels", *kSeveral = "several";
constexpr const char* kLossScale = "loss_scale";  // of 0.1.0, which kept the scale itself

duet_activation_kind activation_kind(const std::string& name) {
  return name == "relu"   ? DUET_ACTIVATION_KIND_RELU
         : name == "tanh" ? DUET_ACTIVATION_KIND_TANH
                          : DUET_ACTIVATION_KIND_GELU;
}

MlpOptions mlp_options(const Config& config, int64_t inputs) {
  return {inputs,
          config.hidden_units,
          config.embedding_dim,
          activation_kind(config.activation),
          static_cast<float>(config.dropout),
          config.layer_norm};
}

const std::string& metadata(const SafetensorsFile& file, const std::string& path, const std::string& key) {
  const auto found = file.metadata().find(key);
  usage_require(found != file.metadata().end(), path, ": not a duet model: no metadata '", key, "'");
  return found->second;
}

const NamedArray& find_vector(const SafetensorsFile& file, const std::string& path, const std::string& name) {
  const NamedArray* array = file.find(name);
  usage_require(array != nullptr && array->shape.size() == 1, path, ": not a duet model: no vector '", name, "'");
  return *array;
}

template <class T>
std::vector<T> read_vector(const SafetensorsFile& file, const NamedArray& array, duet_dtype dtype) {
  std::vector<T> values(static_cast<size_t>(array.size()));
  file.read(array.name, dtype, array.shape, values.data());
  return values;
}

// Mean or scale of the inputs: float64, or float32 in a model of 0.1.0.
std::vector<double> read_statistics(const SafetensorsFile& file, const NamedArray& array) {
  if (array.dtype != DUET_DTYPE_F32) return read_vector<double>(file, array, DUET_DTYPE_F64);
  const std::vector<float> values = read_vector<float>(file, array, DUET_DTYPE_F32);
  return {values.begin(), values.end()};
}

std::vector<int64_t> read_class_values(const SafetensorsFile& file, const std::string& path) {
  const int64_t outputs = find_vector(file, path, "classifier.bias").size();
  if (file.find("class_values") == nullptr) {  // a model of 0.1.0
    std::vector<int64_t> values(static_cast<size_t>(outputs));
    std::iota(values.begin(), values.end(), int64_t{0});
    return values;
  }
  std::vector<int64_t> values = read_vector<int64_t>(file, find_vector(file, path, "class_values"), DUET_DTYPE_I64);
  usage_require(std::max<int64_t>(1, std::ssize(values)) == outputs, path, ": class_values has ", values.size(),
                " values, classifier.bias ", outputs);
  usage_require(std::ranges::adjacent_find(values, std::greater_equal()) == values.end(), path,
                ": class_values are not ascending");
  return values;
}

// None where labels are numbers.
std::vector<std::string> read_class_names(const SafetensorsFile& file, size_t classes, const std::string& path) {
  const auto found = file.metadata().find(kClassNames);
  if (found == file.metadata().end()) return {};
  std::vector<std::string> names;
  try {
    const nlohmann::json list = read_json(found->second);
    bool sound = list.is_array() && list.size() == classes;
    for (const nlohmann::json& name : list) sound = sound && name.is_string();
    usage_require(sound, path, ": not a duet model: ", kClassNames, ": expected a list of ", classes, " strings");
    for (const nlohmann::json& name : list) names.push_back(name.get<std::string>());
  } catch (const JsonError& error) {
    throw UsageError(text(path, ": not a duet model: ", kClassNames, ": ", error.with_key()));
  }
  usage_require(std::ranges::adjacent_find(names, std::greater_equal()) == names.end(), path, ": ", kClassNames,
                " are not ascending");
  return names;
}

// The first models, of 0.1.0, have no number.
void check_format(const SafetensorsFile& file, const std::string& path) {
  const auto found = file.metadata().find(kFormatKey);
  if (found == file.metadata().end()) return;
  int64_t number = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [stop, error] = std::from_chars(found->second.data(), end, number);
  usage_require(error == std::errc() && stop == end, path, ": format: expected a whole number, got '",
                shown(found->second), "'");
  require_known_format(number, kModelFormat, path);
}

nlohmann::json read_config(const SafetensorsFile& file, const std::string& path) {
  try {
    return read_json(metadata(file, path, "config"));
  } catch (const JsonError& error) {
    throw UsageError(path + ": not a duet model: its config: " + error.with_key());
  }
}

}  // namespace

double input_limit(const Config& config) {
  return config.input_limit > 0 ? config.input_limit : std::numeric_limits<double>::infinity();
}

namespace {

// Throws std::runtime_error, naming the column, where an input cannot be scaled.
void require_finite(const ModelDescription& description) {
  for (size_t side = 0; side < kSides.size(); ++side)
    for (const auto& [what, values] :
         {std::pair{"mean", &description.inputs[side].mean}, std::pair{"scale", &description.inputs[side].scale}}) {
      using Number = std::remove_cvref_t<decltype((*values)[0])>;
      const int64_t at = first_not_finite<Number>(values->data(), std::ssize(*values));
      if (at >= 0)
        throw std::runtime_error(text(description.modalities[side], ": the ", what, " of column ", at, " is ",
                                      not_finite_name((*values)[static_cast<size_t>(at)])));
    }
}

}  // namespace

Model::Model(ModelDescription description, duet_context* context)
    : description_(std::move(description)),
      encoders_(parameters_, mlp_options(description_.config, description_.width(0)),
                mlp_options(description_.config, description_.width(1))),
      classifier_(parameters_, kClassifier, description_.config.embedding_dim,
                  std::max<int64_t>(1, description_.classes()), static_cast<float>(description_.config.logit_scale)) {
  require_finite(description_);
  if (description_.config.learn_temperature)
    learned_scale_.emplace(parameters_, kLogLossScale, 1 / description_.config.temperature);
  // No bias of a score matters beyond the largest score.
  if (description_.config.learn_temperature && description_.config.pair_loss == "sigmoid")
    learned_bias_ =
        parameters_.add_bounded(kLossBias, description_.config.pair_bias, -LearnedScale::kMost, LearnedScale::kMost);
  parameters_.initialise(context, static_cast<uint64_t>(description_.config.seed));
}

int64_t Model::row_floats() const {
  if (learned_scale_) return parameters_.parameter(parameters_.number(kLogLossScale)).offset;
  return parameters_.all(ParameterKind::value).size();
}

void Model::save(const std::filesystem::path& path) const { write(path, {}, {}, Values::finite); }

Checksum Model::save_with(const std::filesystem::path& path, std::span<const NamedArray> more,
                          const Metadata& more_metadata) const {
  return write(path, more, more_metadata, Values::any);
}

Checksum Model::write(const std::filesystem::path& path, std::span<const NamedArray> more,
                      const Metadata& more_metadata, Values finite) const {
  // Values of eight bytes first: they and those of four then lie at multiples of their size.
  std::vector<NamedArray> arrays = {
      {"class_values", DUET_DTYPE_I64, {description_.classes()}, description_.class_values.data()}};
  Metadata metadata = {{kFormatKey, std::to_string(kModelFormat)},
                       {"duet_version", duet_version()},
                       {"config", to_json(description_.config).dump()}};
  if (!description_.class_names.empty()) metadata[kClassNames] = nlohmann::json(description_.class_names).dump();
  if (description_.several_labels) metadata[kLabels] = kSeveral;
  for (size_t side = 0; side < kSides.size(); ++side) {
    const data::Preprocessing& inputs = description_.inputs[side];
    const std::string name = kSides[side];
    const std::vector<int64_t> shape = {static_cast<int64_t>(inputs.mean.size())};
    arrays.push_back({"input_" + name + ".mean", DUET_DTYPE_F64, shape, inputs.mean.data()});
    arrays.push_back({"input_" + name + ".scale", DUET_DTYPE_F64, shape, inputs.scale.data()});
    metadata["modality_" + name] = description_.modalities[side];
    metadata["scaling_" + name] = data::scaling_name(inputs.scaling);
  }
  const std::vector<float> values = parameters_.read(ParameterKind::teacher);
  std::ranges::move(named_arrays(parameters_, values), std::back_inserter(arrays));
  arrays.insert(arrays.end(), more.begin(), more.end());
  std::stable_partition(arrays.begin(), arrays.end(), [](const NamedArray& array) {
    return array.dtype == DUET_DTYPE_I64 || array.dtype == DUET_DTYPE_F64;
  });
  metadata.insert(more_metadata.begin(), more_metadata.end());
  return write_safetensors(path, arrays, metadata, finite);
}

std::unique_ptr<Model> Model::load(const std::filesystem::path& path, duet_context* context) {
  return reading_input([&] {
    const SafetensorsFile file(path);
    const std::string name = path.string();
    check_format(file, name);
    // Not the caller's mistake, so no UsageError: the file is of the right kind and broken.
    if (const std::string fault = first_not_finite(file.arrays()); !fault.empty())
      throw std::runtime_error(name + ": " + fault);
    ModelDescription description;
    set_from_json(description.config, read_config(file, name), name);
    for (size_t side = 0; side < kSides.size(); ++side) {
      const std::string suffix = kSides[side];
      data::Preprocessing& inputs = description.inputs[side];
      description.modalities[side] = metadata(file, name, "modality_" + suffix);
      usage_require(is_modality_name(description.modalities[side]) &&
                        description.modalities[side] != description.modalities[1 - side],
                    name, ": modality_", suffix, ": expected a file's name without an ending, one a modality, got '",
                    shown(description.modalities[side]), "'");
      inputs.scaling =
          data::parse_scaling(shown(metadata(file, name, "scaling_" + suffix)), name + ": scaling_" + suffix);
      inputs.limit = input_limit(description.config);
      inputs.reason = text(data::scaling_name(inputs.scaling), " (as in training)");
      const NamedArray& mean = find_vector(file, name, "input_" + suffix + ".mean");
      inputs.single_precision = mean.dtype == DUET_DTYPE_F32;
      inputs.mean = read_statistics(file, mean);
      inputs.scale = read_statistics(file, find_vector(file, name, "input_" + suffix + ".scale"));
      usage_require(!inputs.mean.empty() && inputs.mean.size() == inputs.scale.size(), name, ": input_", suffix,
                    ".mean has ", inputs.mean.size(), " values, input_", suffix, ".scale ", inputs.scale.size());
    }
    description.class_values = read_class_values(file, name);
    description.class_names = read_class_names(file, description.class_values.size(), name);
    if (const auto labels = file.metadata().find(kLabels); labels != file.metadata().end()) {
      usage_require(labels->second == kSeveral, name, ": labels: expected '", kSeveral, "', got '",
                    shown(labels->second), "'");
      description.several_labels = true;
    }
    auto model = std::make_unique<Model>(std::move(description), context);
    const bool converts = model->learned_scale_ && !file.find(kLogLossScale) && file.find(kLossScale);
    read_parameters(file, model->parameters_, ParameterKind::teacher, "", converts ? kLogLossScale : "");
    if (converts) {
      const std::vector<float> scale = read_vector<float>(file, find_vector(file, name, kLossScale), DUET_DTYPE_F32);
      usage_require(scale.size() == 1 && scale[0] > 0, name, ": ", kLossScale, ": expected one number above 0");
      model->learned_scale_->set(model->parameters_, ParameterKind::teacher, scale[0]);
    }
    return model;
  });
}

data::Features Model::embed(duet_context* context, int modality, const data::Features& features, int64_t block_rows,
                            const std::function<void()>& between, int64_t first_row) const {
  data::Features embeddings(features.rows, description_.config.embedding_dim);
  Tape tape(context);
  const NoGradient no_gradient(tape);
  for (int64_t first = 0; first < features.rows; first += block_rows) {
    if (between) between();
    tape.reset();
    const int64_t rows = std::min(block_rows, features.rows - first);
    const Tensor x = tape.make(rows, features.columns);
    copy_bytes(context, x.data, features.row(first), static_cast<size_t>(x.size()) * sizeof(float));
    const Mode mode = Mode::evaluation();
    const Tensor block = modality == 0 ? encoders_.forward_a(tape, parameters_.teacher(), x, mode)
                                       : encoders_.forward_v(tape, parameters_.teacher(), x, mode);
    copy_to_host(context, std::span(embeddings.row(first), static_cast<size_t>(block.size())),
                 static_cast<const float*>(block.data));
    features.release(first, rows);
    for (int64_t i = 0; i < rows; ++i) {
      if (first_not_finite<float>(embeddings.row(first + i), embeddings.columns) >= 0)
        throw EmbeddingNotFinite(text(description_.modalities[static_cast<size_t>(modality)], ": row ",
                                      first_row + first + i,
                                      ": its embedding is not finite: the model's weights are too large for it"));
    }
  }
  return embeddings;
}

}  // namespace duet
