// The distillation loss of duet as an autograd function of libtorch: its value and gradients beside PyTorch's own
// formula, then a linear projection of each modality trained on it.
#include <duet/duet.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check(duet_status status) {
  if (status != DUET_STATUS_OK) throw std::runtime_error(duet_last_error());
}

duet_const_matrix given(const Tensor& t) { return duet_f32_const_matrix(t.data_ptr<float>(), t.size(0), t.size(1)); }
duet_const_vector given_vector(const Tensor& t) { return duet_f32_const_vector(t.data_ptr<float>(), t.numel()); }
duet_matrix written(Tensor& t) { return duet_f32_matrix(t.data_ptr<float>(), t.size(0), t.size(1)); }
duet_vector written_vector(Tensor& t) { return duet_f32_vector(t.data_ptr<float>(), t.numel()); }

// A context with its scratch memory, used by one thread at a time: a backward pass may come from another one.
class Engine {
 public:
  static Engine& shared() {
    static Engine engine;
    return engine;
  }
  template <class Call>
  void run(const duet_distillation_inputs& inputs, const Call& call) {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t bytes = 0;
    check(duet_distillation_workspace(context_.get(), &inputs, &bytes));
    scratch_.resize((bytes + sizeof(Line) - 1) / sizeof(Line));
    check(call(context_.get(), duet_workspace{scratch_.data(), bytes}));
  }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  struct Destroy {
    void operator()(duet_context* context) const { duet_context_destroy(context); }
  };
  Engine() {
    duet_context* context = nullptr;
    check(duet_context_create(nullptr, &context));
    context_.reset(context);
  }
  std::mutex mutex_;
  std::unique_ptr<duet_context, Destroy> context_;
  std::vector<Line> scratch_;
};

// a, v: n x d and m x d, the student's embeddings; teacher_a, teacher_v: those of the teacher, of any width; scale,
// teacher_scale: tensors of one element, 1 / temperature. The mean over rows and columns of KL(teacher || student) of
// the softmax over the other side, in nats.
class Distillation : public torch::autograd::Function<Distillation> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& a, const Tensor& v, const Tensor& teacher_a,
                        const Tensor& teacher_v, const Tensor& scale, const Tensor& teacher_scale) {
    const std::vector<Tensor> saved = contiguous({a, v, teacher_a, teacher_v, scale, teacher_scale});
    Tensor row_loss = torch::empty({a.size(0)}), column_loss = torch::empty({v.size(0)});
    Tensor rows = torch::empty({a.size(0), DUET_DISTILLATION_STATISTICS});
    Tensor columns = torch::empty({v.size(0), DUET_DISTILLATION_STATISTICS});
    const duet_distillation_inputs inputs = inputs_of(saved);
    duet_distillation_outputs outputs = DUET_DISTILLATION_OUTPUTS_INIT;
    outputs.row_loss = written_vector(row_loss), outputs.column_loss = written_vector(column_loss);
    outputs.row_statistics = written(rows), outputs.column_statistics = written(columns);
    Engine::shared().run(inputs, [&](duet_context* context, duet_workspace workspace) {
      return duet_distillation_forward(context, &inputs, &outputs, workspace);
    });
    variable_list kept(saved);
    kept.push_back(rows), kept.push_back(columns);
    ctx->save_for_backward(kept);
    return (row_loss.mean() + column_loss.mean()) / 2;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grad_loss) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "distillation: its gradient has none of its own");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &a = saved[0], &v = saved[1], &scale = saved[4];
    const Tensor row_weight = (grad_loss[0] / (2.0 * a.size(0))).expand({a.size(0)}).contiguous();
    const Tensor column_weight = (grad_loss[0] / (2.0 * v.size(0))).expand({v.size(0)}).contiguous();
    Tensor grad_a = torch::zeros_like(a), grad_v = torch::zeros_like(v), grad_scale = torch::zeros_like(scale);
    const duet_distillation_inputs inputs = inputs_of(saved);
    duet_distillation_gradients gradients = DUET_DISTILLATION_GRADIENTS_INIT;
    gradients.row_statistics = given(saved[6]), gradients.column_statistics = given(saved[7]);
    gradients.row_weight = given_vector(row_weight), gradients.column_weight = given_vector(column_weight);
    gradients.grad_a = written(grad_a), gradients.grad_v = written(grad_v);
    gradients.grad_scale = written_vector(grad_scale);
    Engine::shared().run(inputs, [&](duet_context* context, duet_workspace workspace) {
      return duet_distillation_backward(context, &inputs, &gradients, workspace);
    });
    return {grad_a, grad_v, Tensor(), Tensor(), grad_scale, Tensor()};
  }

 private:
  static std::vector<Tensor> contiguous(const std::vector<Tensor>& tensors) {
    std::vector<Tensor> out;
    for (const Tensor& tensor : tensors) {
      TORCH_CHECK(tensor.device().is_cpu() && tensor.scalar_type() == torch::kFloat32, "expected float32 on the CPU");
      out.push_back(tensor.contiguous());
    }
    return out;
  }
  static duet_distillation_inputs inputs_of(const std::vector<Tensor>& tensors) {
    duet_distillation_inputs inputs = DUET_DISTILLATION_INPUTS_INIT;
    inputs.student_a = given(tensors[0]), inputs.student_v = given(tensors[1]);
    inputs.teacher_a = given(tensors[2]), inputs.teacher_v = given(tensors[3]);
    inputs.scale = given_vector(tensors[4]), inputs.teacher_scale = given_vector(tensors[5]);
    return inputs;
  }
};

// The same by PyTorch's operators, which keep matrices of n x m.
Tensor plain(const Tensor& a, const Tensor& v, const Tensor& teacher_a, const Tensor& teacher_v, const Tensor& scale,
             const Tensor& teacher_scale) {
  const Tensor scores = a.mm(v.t()) * scale, teacher = teacher_a.mm(teacher_v.t()) * teacher_scale;
  const auto divergence = [&](int64_t dim) {
    const Tensor wanted = teacher.log_softmax(dim);
    return (wanted.exp() * (wanted - scores.log_softmax(dim))).sum(dim).mean();
  };
  return (divergence(1) + divergence(0)) / 2;
}

Tensor unit_rows(const Tensor& rows) { return torch::nn::functional::normalize(rows); }

// The largest difference relative to the largest element.
double error_of(const Tensor& actual, const Tensor& expected) {
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

void expect_agreement() {
  const int64_t n = 37, m = 53;
  const Tensor teacher_a = unit_rows(torch::randn({n, 24})), teacher_v = unit_rows(torch::randn({m, 24}));
  const Tensor teacher_scale = torch::full({1}, 5.0f);
  std::vector<Tensor> ours{unit_rows(torch::randn({n, 16})), unit_rows(torch::randn({m, 16})), torch::full({1}, 10.0f)};
  std::vector<Tensor> theirs;
  for (Tensor& tensor : ours) {
    theirs.push_back(tensor.to(torch::kFloat64).requires_grad_());  // the reference is in double
    tensor.requires_grad_();
  }
  // Weighed, so that what comes from above is not 1.
  const Tensor loss = Distillation::apply(ours[0], ours[1], teacher_a, teacher_v, ours[2], teacher_scale);
  (loss * 3).backward();
  const auto in_double = [](const Tensor& t) { return t.to(torch::kFloat64); };
  const Tensor expected =
      plain(theirs[0], theirs[1], in_double(teacher_a), in_double(teacher_v), theirs[2], in_double(teacher_scale));
  (expected * 3).backward();
  std::printf("loss %.6f, by PyTorch's operators in double %.6f\n", loss.item<double>(), expected.item<double>());
  // KL and its gradients are within 2 e / tau + 2e-6 (kernels/README.md) with e = 1e-6 and 1 / tau = 10.
  const double tolerance = 2.2e-5;
  const char* const names[] = {"a", "v", "scale"};
  if (!(error_of(loss, expected) <= tolerance)) throw std::runtime_error("the loss differs");
  for (size_t k = 0; k < ours.size(); ++k) {
    const double error = error_of(ours[k].grad(), theirs[k].grad());
    std::printf("gradient of %s: within %.1e of its largest element\n", names[k], error);
    if (!(error <= tolerance)) throw std::runtime_error(std::string("the gradient of ") + names[k] + " differs");
  }
}

// Features of both modalities are linear in what the teacher knows, so that projections can follow it.
void train() {
  const int64_t n = 64, steps = 60;
  const Tensor known = torch::randn({n, 8});
  const Tensor audio = known.mm(torch::randn({8, 20})), visual = known.mm(torch::randn({8, 30}));
  const Tensor teacher = unit_rows(known), scale = torch::full({1}, 10.0f);
  torch::nn::Linear of_audio(20, 8), of_visual(30, 8);
  std::vector<Tensor> parameters = of_audio->parameters();
  for (const Tensor& parameter : of_visual->parameters()) parameters.push_back(parameter);
  torch::optim::Adam optimizer(parameters, torch::optim::AdamOptions(0.02));
  double first = 0, last = 0;
  for (int64_t step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    const Tensor loss =
        Distillation::apply(unit_rows(of_audio(audio)), unit_rows(of_visual(visual)), teacher, teacher, scale, scale);
    loss.backward();
    optimizer.step();
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  std::printf("training: loss %.4f in step 1, %.4f in step %d\n", first, last, static_cast<int>(steps));
  if (!(last < first / 2)) throw std::runtime_error("the loss has not fallen to half");
}

}  // namespace

int main() {
  try {
    torch::manual_seed(1);
    expect_agreement();
    train();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "example: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
