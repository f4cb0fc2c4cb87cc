#include "trainer/initial_weights.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "kernels/core/error.h"
#include "runtime/printable.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

std::optional<int64_t> number_of(const ParameterStore& store, const std::string& name) {
  for (int64_t number = 0; number < store.count(); ++number)
    if (store.parameter(number).name == name) return number;
  return std::nullopt;
}

std::string shape_text(const Parameter& parameter) {
  return parameter.shape.size() > 1 ? text(parameter.rows(), " x ", parameter.columns()) : text(parameter.rows());
}

bool same_scaling(const data::Preprocessing& a, const data::Preprocessing& b) {
  return a.scaling == b.scaling && a.mean == b.mean && a.scale == b.scale && a.limit == b.limit;
}

}  // namespace

std::vector<std::string> take_initial_weights(Model& model, duet_context* context) {
  const ModelDescription& now = model.description();
  const fs::path given = now.config.init;
  std::error_code ignored;
  const fs::path path = fs::is_directory(given, ignored) ? given / kModelFile : given;
  const std::string name = path.string();
  const std::unique_ptr<Model> source = Model::load(path, context);
  const ModelDescription& was = source->description();
  usage_require(was.modalities[0] != now.modalities[1] || was.modalities[1] != now.modalities[0], name,
                ": its modalities are ", was.modalities[0], " and ", was.modalities[1], " in this order; --modalities ",
                was.modalities[0], ",", was.modalities[1], " takes them so");
  usage_require(was.config.activation == now.config.activation, name, ": activation: the model has ",
                was.config.activation, ", the run ", now.config.activation);

  std::vector<std::string> lines = {text("weights from ", name)};
  const bool same_classes = was.class_values == now.class_values && was.several_labels == now.several_labels;
  const ParameterStore& from = source->parameters();
  ParameterStore& to = model.parameters();
  const std::vector<float> values = from.read(ParameterKind::teacher);
  std::vector<float> taken = to.read(ParameterKind::value);
  for (int64_t number = 0; number < to.count(); ++number) {
    const Parameter& parameter = to.parameter(number);
    if (parameter.name.starts_with("classifier.") && !same_classes) continue;
    const std::optional<int64_t> there = number_of(from, parameter.name);
    const bool encodes = parameter.name.starts_with("encoder_");
    if (!there && !encodes) {
      lines.push_back(text(parameter.name, ": none in the model; it starts anew"));
      continue;
    }
    usage_require(there.has_value(), name, ": no ", parameter.name, ", which the run's encoders have");
    const Parameter& old = from.parameter(*there);
    usage_require(old.shape == parameter.shape, name, ": ", parameter.name, ": the model's is ", shape_text(old),
                  ", the run's ", shape_text(parameter));
    std::copy_n(values.data() + old.offset, parameter.rows() * parameter.columns(), taken.data() + parameter.offset);
  }
  for (int64_t number = 0; number < from.count(); ++number) {
    const std::string& unused = from.parameter(number).name;
    usage_require(!unused.starts_with("encoder_") || number_of(to, unused), name, ": its encoders have ", unused,
                  ", and the run's do not");
  }
  if (!same_classes) lines.push_back("the model's labels are others: the classifier starts anew");
  for (size_t side = 0; side < data::kModalities; ++side)
    if (!same_scaling(was.inputs[side], now.inputs[side]))
      lines.push_back(now.modalities[side] + ": scaled by this data, not as the model's inputs were");
  to.write(ParameterKind::value, taken);
  to.write(ParameterKind::teacher, taken);
  return lines;
}

}  // namespace duet
