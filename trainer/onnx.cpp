#include "trainer/onnx.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "kernels/core/norm.h"
#include "runtime/printable.h"
#include "runtime/safetensors.h"
#include "trainer/protobuf.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

constexpr int64_t kOperatorSet = 17, kIrVersion = 8;

// Field numbers and constants of onnx.proto.
enum ModelField { kIr = 1, kProducer = 2, kProducerVersion = 3, kGraph = 7, kOperators = 8, kMetadata = 14 };
enum GraphField { kNode = 1, kGraphName = 2, kInitializer = 5, kInput = 11, kOutput = 12 };
enum NodeField { kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kOperator = 4, kAttribute = 5 };
enum AttributeField { kAttributeName = 1, kFloat = 2, kInt = 3, kInts = 8, kAttributeType = 20 };
enum AttributeType { kTypeFloat = 1, kTypeInt = 2, kTypeInts = 7 };
enum TensorField { kDims = 1, kDataType = 2, kTensorName = 8, kRawData = 9 };
enum class Element { float32 = 1, float64 = 11 };

// Names that a file could have stay for inputs and outputs: what is between them has a slash.
constexpr const char *kEmbedding = "_embedding", *kLogits = "_logits";
constexpr const char *kLeastNorm = "/least_norm", *kLogitScale = "/logit_scale", *kSqrtHalf = "/sqrt_half",
                     *kOne = "/one", *kHalf = "/half";

// Nodes and weights in the order in which they are added.
class Graph {
 public:
  void weight(const std::string& name, Element element, const std::vector<int64_t>& shape, const void* data,
              size_t bytes) {
    ProtobufMessage tensor;
    for (const int64_t extent : shape) tensor.integer(kDims, extent);
    tensor.integer(kDataType, static_cast<int64_t>(element)).text(kTensorName, name);
    tensor.text(kRawData, std::string_view(static_cast<const char*>(data), bytes));
    graph_.message(kInitializer, tensor);
  }
  template <class T>
  std::string constant(const std::string& name, T value) {
    weight(name, std::is_same_v<T, double> ? Element::float64 : Element::float32, {}, &value, sizeof value);
    return name;
  }
  std::string vector(const std::string& name, const std::vector<double>& values) {
    weight(name, Element::float64, {std::ssize(values)}, values.data(), values.size() * sizeof(double));
    return name;
  }
  std::string vector(const std::string& name, const std::vector<float>& values) {
    weight(name, Element::float32, {std::ssize(values)}, values.data(), values.size() * sizeof(float));
    return name;
  }

  // One output, of this name, which is the node's too.
  std::string node(const std::string& operation, const std::vector<std::string>& inputs, const std::string& output,
                   const std::vector<ProtobufMessage>& attributes = {}) {
    ProtobufMessage made;
    for (const std::string& input : inputs) made.text(kNodeInput, input);
    made.text(kNodeOutput, output).text(kNodeName, output).text(kOperator, operation);
    for (const ProtobufMessage& attribute : attributes) made.message(kAttribute, attribute);
    graph_.message(kNode, made);
    return output;
  }
  static ProtobufMessage attribute(const std::string& name, int64_t value) {
    return ProtobufMessage().text(kAttributeName, name).integer(kInt, value).integer(kAttributeType, kTypeInt);
  }
  static ProtobufMessage attribute(const std::string& name, float value) {
    return ProtobufMessage().text(kAttributeName, name).number(kFloat, value).integer(kAttributeType, kTypeFloat);
  }
  static ProtobufMessage attribute(const std::string& name, std::initializer_list<int64_t> values) {
    ProtobufMessage made;
    made.text(kAttributeName, name);
    for (const int64_t value : values) made.integer(kInts, value);
    return made.integer(kAttributeType, kTypeInts);
  }

  // A float32 matrix of any number of rows, which has this name, and so many columns.
  void input(const std::string& name, const std::string& rows, int64_t columns) { end(kInput, name, rows, columns); }
  void output(const std::string& name, const std::string& rows, int64_t columns) { end(kOutput, name, rows, columns); }

  ProtobufMessage finish() { return graph_.text(kGraphName, "duet"); }

 private:
  void end(GraphField field, const std::string& name, const std::string& rows, int64_t columns) {
    const ProtobufMessage any = ProtobufMessage().text(2, rows), fixed = ProtobufMessage().integer(1, columns);
    const ProtobufMessage shape = ProtobufMessage().message(1, any).message(1, fixed);
    const ProtobufMessage tensor =
        ProtobufMessage().integer(1, static_cast<int64_t>(Element::float32)).message(2, shape);
    graph_.message(field, ProtobufMessage().text(1, name).message(2, ProtobufMessage().message(1, tensor)));
  }

  ProtobufMessage graph_;
};

// One modality's part of the graph.
class Side {
 public:
  Side(Graph& graph, const Model& model, int side) : graph_(graph), description_(model.description()), side_(side) {
    name_ = description_.modalities[static_cast<size_t>(side)];
  }

  void add() {
    const Config& config = description_.config;
    const std::string rows = name_ + "_rows", encoder = side_ == 0 ? "/encoder_a" : "/encoder_v";
    graph_.input(name_, rows, description_.width(side_));
    std::string x = scaled();
    const auto layers = static_cast<int64_t>(config.hidden_units.size());
    for (int64_t k = 0; k <= layers; ++k) {
      const std::string number = std::to_string(k);
      x = linear(x, encoder + ".layer" + number, "layer" + number);
      if (k == layers) break;
      if (config.layer_norm)
        x = graph_.node(
            "LayerNormalization", {x, encoder + ".norm" + number + ".gain", encoder + ".norm" + number + ".offset"},
            own("norm" + number), {Graph::attribute("axis", int64_t{-1}), Graph::attribute("epsilon", 1e-5f)});
      x = activated(x, number);
    }
    const std::string length = graph_.node("ReduceL2", {x}, own("length"),
                                           {Graph::attribute("axes", {1}), Graph::attribute("keepdims", int64_t{1})});
    // First the clip: a row of zeros is divided by the least norm, and stays zeros.
    const std::string divisor = graph_.node("Clip", {length, kLeastNorm}, own("divisor"));
    const std::string embedding = graph_.node("Div", {x, divisor}, name_ + kEmbedding);
    graph_.output(embedding, rows, config.embedding_dim);
    const std::string plain = linear(embedding, "/classifier", "classifier");
    graph_.output(graph_.node("Mul", {plain, kLogitScale}, name_ + kLogits), rows,
                  std::max<int64_t>(1, description_.classes()));
  }

 private:
  std::string own(const std::string& what) const { return "/" + name_ + "/" + what; }

  std::string linear(const std::string& x, const std::string& weights, const std::string& output) {
    return graph_.node("Gemm", {x, weights + ".weight", weights + ".bias"}, own(output),
                       {Graph::attribute("transB", int64_t{1})});
  }

  // clip((x - mean) scale, +-limit), in float64 and then float32, as data::Preprocessing does.
  std::string scaled() {
    const data::Preprocessing& inputs = description_.inputs[static_cast<size_t>(side_)];
    if (inputs.single_precision) {
      const std::vector<float> mean(inputs.mean.begin(), inputs.mean.end()),
          scale(inputs.scale.begin(), inputs.scale.end());
      return scaled(name_, graph_.vector(own("mean"), mean), graph_.vector(own("scale"), scale),
                    static_cast<float>(inputs.limit));
    }
    const std::string wide = cast(name_, Element::float64, "wide");
    return cast(
        scaled(wide, graph_.vector(own("mean"), inputs.mean), graph_.vector(own("scale"), inputs.scale), inputs.limit),
        Element::float32, "inputs");
  }
  std::string cast(const std::string& x, Element to, const std::string& output) {
    return graph_.node("Cast", {x}, own(output), {Graph::attribute("to", static_cast<int64_t>(to))});
  }
  template <class T>
  std::string scaled(const std::string& x, const std::string& mean, const std::string& scale, T limit) {
    const std::string centred = graph_.node("Sub", {x, mean}, own("centred"));
    const std::string scaled = graph_.node("Mul", {centred, scale}, own("scaled"));
    if (std::isinf(limit)) return scaled;
    return graph_.node("Clip", {scaled, graph_.constant(own("lowest"), -limit), graph_.constant(own("highest"), limit)},
                       own("clipped"));
  }

  std::string activated(const std::string& x, const std::string& number) {
    const std::string& kind = description_.config.activation;
    const std::string output = own("activation" + number);
    if (kind != "gelu") return graph_.node(kind == "relu" ? "Relu" : "Tanh", {x}, output);
    // x (1 + erf(x / sqrt 2)) / 2
    const std::string argument = graph_.node("Mul", {x, kSqrtHalf}, output + "_argument");
    const std::string erf = graph_.node("Erf", {argument}, output + "_erf");
    const std::string sum = graph_.node("Add", {erf, kOne}, output + "_sum");
    const std::string half = graph_.node("Mul", {x, kHalf}, output + "_half");
    return graph_.node("Mul", {half, sum}, output);
  }

  Graph& graph_;
  const ModelDescription& description_;
  int side_;
  std::string name_;
};

}  // namespace

std::string onnx_model(const Model& model) {
  const ModelDescription& description = model.description();
  Graph graph;
  const auto& [a, v] = description.modalities;
  for (const std::string end : {kEmbedding, kLogits})
    usage_require(a + end != v && v + end != a, "modalities: ", shown(a), " and ", shown(v),
                  ": an output of one would have the other's name");
  const std::vector<float> values = model.parameters().read(ParameterKind::teacher);
  for (const NamedArray& array : named_arrays(model.parameters(), values))
    if (array.name.starts_with("encoder_") || array.name.starts_with("classifier."))  // else it is the losses'
      graph.weight("/" + array.name, Element::float32, array.shape, array.data,
                   static_cast<size_t>(array.size()) * sizeof(float));
  graph.constant(kLeastNorm, static_cast<float>(kSmallestNorm));
  graph.constant(kLogitScale, static_cast<float>(description.config.logit_scale));
  if (description.config.activation == "gelu") {
    graph.constant(kSqrtHalf, static_cast<float>(std::sqrt(0.5)));
    graph.constant(kOne, 1.0f);
    graph.constant(kHalf, 0.5f);
  }
  for (const int side : {0, 1}) Side(graph, model, side).add();

  ProtobufMessage made;
  made.integer(kIr, kIrVersion).text(kProducer, "duet").text(kProducerVersion, duet_version());
  made.message(kGraph, graph.finish());
  made.message(kOperators, ProtobufMessage().text(1, "").integer(2, kOperatorSet));
  const auto metadata = [&](const std::string& key, const std::string& value) {
    made.message(kMetadata, ProtobufMessage().text(1, key).text(2, value));
  };
  metadata("duet_version", duet_version());
  metadata("class_values", nlohmann::json(description.class_values).dump());
  usage_require(made.bytes().size() <= std::numeric_limits<int32_t>::max(), "the model takes ", made.bytes().size(),
                " bytes as ONNX; the format allows 2^31 - 1");
  return made.bytes();
}

}  // namespace duet
