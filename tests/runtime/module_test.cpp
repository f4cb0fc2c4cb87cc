#include "runtime/module.h"

#include "kernels/core/error.h"
#include "tests/reference/activation.h"
#include "tests/reference/linear.h"
#include "tests/reference/normalization.h"
#include "tests/runtime/total.h"
#include "tests/support/gradcheck.h"

using namespace duet;
using namespace duet::test;

namespace {

constexpr int64_t kBatch = 9, kInputsA = 6, kInputsV = 4, kHidden = 8, kOutputs = 5, kClasses = 3;

// tanh, because relu's corner is no place for central differences.
MlpOptions options(int64_t inputs, bool layer_norm = false) {
  return {inputs, {kHidden}, kOutputs, DUET_ACTIVATION_KIND_TANH, 0.25f, layer_norm};
}

struct Model {
  ParameterStore store;
  EncoderPair encoders;
  Classifier classifier;
  Model(duet_context* context, bool layer_norm)
      : encoders(store, options(kInputsA, layer_norm), options(kInputsV, layer_norm)),
        classifier(store, "classifier", kOutputs, kClasses) {
    store.initialise(context, 21);
  }
  // The heads of both sides.
  std::span<const ops::Head> forward(Tape& tape, const ParameterView& view, Floats& x_a, Floats& x_v,
                                     const Mode& mode) const {
    const Tensor a = encoders.outputs_a(tape, view, Tensor::view(x_a.data(), kBatch, kInputsA), mode);
    return classifier.forward(tape, view,
                              {a, encoders.outputs_v(tape, view, Tensor::view(x_v.data(), kBatch, kInputsV), mode)});
  }
};

// The parameters in the order of the store, taken one after another.
struct Reader {
  const std::vector<Doubles>& parameters;
  size_t next = 0;
  const Doubles& take() { return parameters[next++]; }
};

Doubles linear(Reader& reader, const Doubles& x, int64_t in, int64_t out, double scale = 1) {
  const Doubles &weight = reader.take(), &bias = reader.take();
  return reference::Linear{kBatch, in, out, x, weight, bias, scale}.forward();
}

Doubles encoder(Reader& reader, Doubles x, int64_t inputs, bool layer_norm, const Doubles& factors) {
  x = linear(reader, x, inputs, kHidden);
  if (layer_norm) {
    const Doubles &gain = reader.take(), &offset = reader.take();
    x = reference::LayerNorm{kHidden, gain, offset, 1e-5f}.forward(x);
  }
  for (size_t k = 0; k < x.size(); ++k) x[k] = reference::activation(DUET_ACTIVATION_KIND_TANH, x[k]) * factors[k];
  return reference::unit_rows(linear(reader, x, kHidden, kOutputs), kOutputs, 1e-12);
}

}  // namespace

TEST_CASE("parameters have documented names, in order") {
  Context context(1);
  Model model(context, true);
  std::vector<std::string> names;
  for (int64_t k = 0; k < model.store.count(); ++k) names.push_back(model.store.parameter(k).name);
  std::vector<std::string> expected;
  for (const std::string encoder : {"encoder_a", "encoder_v"})
    for (const char* name :
         {".layer0.weight", ".layer0.bias", ".norm0.gain", ".norm0.offset", ".layer1.weight", ".layer1.bias"})
      expected.push_back(encoder + name);
  expected.insert(expected.end(), {"classifier.weight", "classifier.bias"});
  CHECK(names == expected);
  CHECK(model.store.parameter(0).shape == std::vector<int64_t>{kHidden, kInputsA});
  CHECK(model.store.parameter(0).bound == doctest::Approx(1 / std::sqrt(6.0)));
  CHECK(model.store.parameter(1).bound ==
        doctest::Approx(1 / std::sqrt(6.0)));  // a bias too is drawn by its layer's inputs
}

TEST_CASE("both encoders and the classifier from end to end, every parameter's gradient") {
  static const int64_t step = 4;
  for (const bool layer_norm : {false, true}) {
    for (const bool training : {false, true}) {
      CAPTURE(layer_norm);
      CAPTURE(training);
      Context context(2);
      Model model(context, layer_norm);
      Draw draw(5);
      Floats x_a = draw.normals(kBatch, kInputsA), x_v = draw.normals(kBatch, kInputsV);
      std::vector<Doubles> parameters;
      for (int64_t k = 0; k < model.store.count(); ++k) {
        const Tensor values = model.store.tensor(k, ParameterKind::value);
        parameters.emplace_back(values.data, values.data + values.size());
      }
      const Mode mode = training ? Mode::train(33, {&step, 1}, 100) : Mode::evaluation();
      const auto factors = [&](uint32_t layer) {
        return training ? reference::dropout_factors(0.25f, 33, layer, step, 100, kBatch, kHidden)
                        : Doubles(kBatch * kHidden, 1.0);
      };
      // Both sides' embeddings and logits, the classifier shared by the two.
      const auto in_double = [&](const std::vector<Doubles>& given) {
        Reader reader{given};
        const Doubles a = encoder(reader, x_a.values(), kInputsA, layer_norm, factors(0));
        const Doubles v = encoder(reader, x_v.values(), kInputsV, layer_norm, factors(1));
        const size_t classifier = reader.next;
        const Doubles logits_a = linear(reader, a, kOutputs, kClasses, 10);
        reader.next = classifier;
        return weigh(a) + 0.5 * weigh(v) + weigh(logits_a) + 0.25 * weigh(linear(reader, v, kOutputs, kClasses, 10));
      };
      const auto forward = [&](Tape& tape, const ParameterView& view) {
        const std::span<const ops::Head> heads = model.forward(tape, view, x_a, x_v, mode);
        const Tensor one = tape.constant(1), half = tape.constant(0.5f), quarter = tape.constant(0.25f);
        return total(tape, {times(one, weigh(tape, heads[0].embeddings)), times(half, weigh(tape, heads[1].embeddings)),
                            times(one, weigh(tape, heads[0].logits)), times(quarter, weigh(tape, heads[1].logits))});
      };
      Tape tape(context);
      const Tensor loss = forward(tape, model.store.student());
      CHECK(loss.item() == doctest::Approx(in_double(parameters)).epsilon(2e-5));
      tape.backward(loss);
      for (int64_t k = 0; k < model.store.count(); ++k) {
        const Tensor gradient = model.store.tensor(k, ParameterKind::gradient);
        const Doubles expected = central_differences(
            [&](const Doubles& x) {
              std::vector<Doubles> moved = parameters;
              moved[static_cast<size_t>(k)] = x;
              return in_double(moved);
            },
            parameters[static_cast<size_t>(k)]);
        check_relative(Doubles(gradient.data, gradient.data + gradient.size()), expected, 2e-5,
                       model.store.parameter(k).name, 1e-7);
      }
      // The teacher is a copy still: the same value, nothing recorded, nothing added to the gradients.
      const float before = model.store.tensor(0, ParameterKind::gradient).data[0];
      const Tensor taught = forward(tape, model.store.teacher());
      CHECK(taught.item() == loss.item());
      CHECK_FALSE(taught.requires_grad());
      CHECK(model.store.tensor(0, ParameterKind::gradient).data[0] == before);
    }
  }
}

TEST_CASE("an Mlp of ReLUs has the bits of its operations one by one") {
  static const int64_t step = 4;
  Context context(2);
  ParameterStore store;
  const Mlp mlp(store, "mlp", {kInputsA, {33, 64}, kOutputs, DUET_ACTIVATION_KIND_RELU, 0.25f}, 5);
  store.initialise(context, 1);
  Floats data = Draw(7).normals(kBatch, kInputsA);
  const Tensor x = Tensor::view(data.data(), kBatch, kInputsA);
  const auto run = [&](auto&& forward) {
    Tape tape(context);
    store.clear_gradients();
    const Tensor loss = weigh(tape, forward(tape));
    tape.backward(loss);
    const Tensor gradients = store.all(ParameterKind::gradient);
    std::vector<float> out(gradients.data, gradients.data + gradients.size());
    out.push_back(loss.item());
    return out;
  };
  for (const bool training : {false, true}) {
    const auto whole = run([&](Tape& tape) {
      return mlp.forward(tape, store.student(), x, training ? Mode::train(33, {&step, 1}, 100) : Mode::evaluation());
    });
    const auto apart = run([&](Tape& tape) {
      Tensor y = x;
      for (int64_t layer = 0; layer < 3; ++layer) {
        y = ops::linear(tape, y, store.student()[2 * layer], store.student()[2 * layer + 1]);
        if (layer == 2) break;
        y = ops::activation(tape, y, DUET_ACTIVATION_KIND_RELU);
        if (training) y = ops::dropout(tape, y, {0.25f, static_cast<uint32_t>(5 + layer), 33, {&step, 1}, 100});
      }
      return y;
    });
    CHECK(whole == apart);
  }
}

TEST_CASE("one side alone, and an empty batch") {
  Context context(1);
  Model model(context, false);
  Draw draw(6);
  Floats x = draw.normals(kBatch, kInputsA), y = draw.normals(kBatch, kInputsV);
  Tape tape(context);
  const Tensor x_a = Tensor::view(x.data(), kBatch, kInputsA), x_v = Tensor::view(y.data(), kBatch, kInputsV);
  const Mode mode = Mode::evaluation();
  const std::span<const ops::Head> both = model.forward(tape, model.store.teacher(), x, y, mode);
  const Tensor a = model.encoders.forward_a(tape, model.store.teacher(), x_a, mode),
               v = model.encoders.forward_v(tape, model.store.teacher(), x_v, mode);
  for (int64_t e = 0; e < a.size(); ++e) {
    CHECK(a.data[e] == both[0].embeddings.data[e]);
    CHECK(v.data[e] == both[1].embeddings.data[e]);
  }
  const Tensor none = model.encoders.forward_a(tape, model.store.student(), x_a.row_part(0, 0), mode);
  CHECK(none.rows == 0);
  CHECK(none.columns == kOutputs);
  const std::span<const ops::Head> of_none = model.classifier.forward(tape, model.store.student(), {none});
  REQUIRE(of_none.size() == 1);
  CHECK(of_none[0].embeddings.columns == kOutputs);
  CHECK(of_none[0].logits.rows == 0);
  CHECK(of_none[0].logits.columns == kClasses);
}

TEST_CASE("a learned scale is the exponential of its parameter, kept in its bounds") {
  Context context(1);
  Tape tape(context);
  for (const double start : {10.0, 0.1, 1000.0, 0.01, 1e6}) {
    CAPTURE(start);
    ParameterStore store;
    const LearnedScale scale(store, "log_scale", start);
    store.initialise(context, 1);
    const double kept = std::clamp(start, 0.1, 1000.0);
    const Tensor student = scale.forward(tape, store.student()), teacher = scale.forward(tape, store.teacher());
    CHECK(store.tensor(0, ParameterKind::value).item() == static_cast<float>(std::log(kept)));
    // The float32 of a logarithm below 7 is off by at most 2.4e-7, and the scale as much of itself, and its own
    // rounding.
    CHECK(std::abs(student.item() / kept - 1) <= 3e-7);
    CHECK(student.requires_grad());
    CHECK(!teacher.requires_grad());
    CHECK_FALSE(store.parameter(0).decays);
    scale.set(store, ParameterKind::teacher, 50);
    CHECK(scale.forward(tape, store.teacher()).item() == doctest::Approx(50).epsilon(3e-7));
    CHECK(scale.forward(tape, store.student()).item() == student.item());
    CHECK_THROWS_AS(scale.set(store, ParameterKind::teacher, 0), Error);
    CHECK_THROWS_AS(scale.set(store, ParameterKind::teacher, std::nan("")), Error);
  }
}

TEST_CASE("misuse of modules is named") {
  ParameterStore store;
  MlpOptions a = options(3), v = options(3);
  v.outputs = 7;
  CHECK_THROWS_AS(EncoderPair(store, a, v), Error);
  a.drop_probability = 1;
  CHECK_THROWS_AS(Mlp(store, "mlp", a), Error);
}
