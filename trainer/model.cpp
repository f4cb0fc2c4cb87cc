#include "trainer/model.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/safetensors.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

constexpr std::array<const char*, data::kModalities> kSides = {"a", "v"};

duet_activation_kind activation_kind(const std::string& name) { return name == "relu" ? DUET_RELU : name == "tanh" ? DUET_TANH : DUET_GELU; }

MlpOptions mlp_options(const Config& config, int64_t inputs) {
  return {inputs,           config.hidden_units, config.embedding_dim, activation_kind(config.activation), static_cast<float>(config.dropout),
          config.layer_norm};
}

const std::string& metadata(const SafetensorsFile& file, const std::string& path, const std::string& key) {
  const auto found = file.metadata().find(key);
  usage_require(found != file.metadata().end(), path, ": not a duet model: no metadata '", key, "'");
  return found->second;
}

std::vector<float> read_vector(const SafetensorsFile& file, const std::string& path, const std::string& name) {
  const NamedArray* array = file.find(name);
  usage_require(array != nullptr && array->shape.size() == 1, path, ": not a duet model: no vector '", name, "'");
  std::vector<float> values(static_cast<size_t>(array->size()));
  file.read(name, DUET_F32, array->shape, values.data());
  return values;
}

}  // namespace

float input_limit(const Config& config) {
  return config.input_limit > 0 ? static_cast<float>(config.input_limit) : std::numeric_limits<float>::infinity();
}

Model::Model(ModelDescription description, duet_context* context)
    : description_(std::move(description)),
      encoders_(parameters_, mlp_options(description_.config, description_.width(0)), mlp_options(description_.config, description_.width(1))),
      classifier_(parameters_, "classifier", description_.config.embedding_dim, std::max<int64_t>(1, description_.classes),
                  static_cast<float>(description_.config.logit_scale)) {
  if (description_.config.learn_temperature) learned_scale_.emplace(parameters_, "loss_scale", 1 / description_.config.temperature);
  parameters_.initialise(context, static_cast<uint64_t>(description_.config.seed));
}

void Model::save(const std::filesystem::path& path) const {
  std::vector<NamedArray> arrays = named_arrays(parameters_, ParameterKind::teacher);
  Metadata metadata = {{"duet_version", duet_version()}, {"config", to_json(description_.config).dump()}};
  for (size_t side = 0; side < kSides.size(); ++side) {
    const data::Preprocessing& inputs = description_.inputs[side];
    const std::string name = kSides[side];
    const std::vector<int64_t> shape = {static_cast<int64_t>(inputs.mean.size())};
    arrays.push_back({"input_" + name + ".mean", DUET_F32, shape, inputs.mean.data()});
    arrays.push_back({"input_" + name + ".scale", DUET_F32, shape, inputs.scale.data()});
    metadata["modality_" + name] = description_.modalities[side];
    metadata["scaling_" + name] = data::scaling_name(inputs.scaling);
  }
  write_safetensors(path, arrays, metadata);
}

std::unique_ptr<Model> Model::load(const std::filesystem::path& path, duet_context* context) {
  return reading_input([&] {
    const SafetensorsFile file(path);
    const std::string name = path.string();
    ModelDescription description;
    const nlohmann::json config = nlohmann::json::parse(metadata(file, name, "config"), nullptr, false);
    usage_require(!config.is_discarded(), name, ": not a duet model: its config is not JSON");
    set_from_json(description.config, config, name);
    for (size_t side = 0; side < kSides.size(); ++side) {
      const std::string suffix = kSides[side];
      data::Preprocessing& inputs = description.inputs[side];
      description.modalities[side] = metadata(file, name, "modality_" + suffix);
      inputs.scaling = data::parse_scaling(metadata(file, name, "scaling_" + suffix), name + ": scaling_" + suffix);
      inputs.limit = input_limit(description.config);
      inputs.mean = read_vector(file, name, "input_" + suffix + ".mean");
      inputs.scale = read_vector(file, name, "input_" + suffix + ".scale");
      usage_require(!inputs.mean.empty() && inputs.mean.size() == inputs.scale.size(), name, ": input_", suffix, ".mean has ", inputs.mean.size(),
                    " values, input_", suffix, ".scale ", inputs.scale.size());
    }
    description.classes = static_cast<int64_t>(read_vector(file, name, "classifier.bias").size());
    auto model = std::make_unique<Model>(std::move(description), context);
    read_parameters(file, model->parameters_, ParameterKind::teacher);
    return model;
  });
}

data::Features Model::embed(duet_context* context, int modality, const data::Features& features, int64_t block_rows) const {
  data::Features embeddings(features.rows, description_.config.embedding_dim);
  Tape tape(context);
  const NoGradient no_gradient(tape);
  for (int64_t first = 0; first < features.rows; first += block_rows) {
    tape.reset();
    const int64_t rows = std::min(block_rows, features.rows - first);
    // A tensor is a view that may be written through; this one is an input, which no operation writes.
    const Tensor x = Tensor::view(const_cast<float*>(features.row(first)), rows, features.columns);
    const Mode mode = Mode::evaluation();
    const Tensor block =
        modality == 0 ? encoders_.forward_a(tape, parameters_.teacher(), x, mode) : encoders_.forward_v(tape, parameters_.teacher(), x, mode);
    for (int64_t i = 0; i < rows; ++i) std::copy_n(block.data + i * block.stride, embeddings.columns, embeddings.row(first + i));
  }
  return embeddings;
}

}  // namespace duet
