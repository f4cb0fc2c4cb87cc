// What forward and backward of the contrastive losses share on the GPU: the pieces of the workspace, and the view that
// their kernels read.
#pragma once

#include "kernels/contrastive/contrastive_formula.h"
#include "kernels/contrastive/sigmoid_formula.h"
#include "kernels/pairs/driver_cuda.h"

namespace duet::cuda {

// With W or a softplus and the sums that go with them a thread has registers for 64 dots, not for 128.
template <duet_precision P>
using ContrastiveTile = DualTile<P>;

struct ContrastiveView {
  ScoreView scores;
  AgreementView agreement;
  const float* bias;  // sigmoid
};

struct ContrastiveScratch {
  ContrastiveScratch(Workspace& workspace, const duet_context& context, const ContrastiveInputs& in)
      : n(in.a.rows),
        m(in.v.rows),
        tile_columns(dual_columns(context.precision)),
        sigmoid(in.kind == DUET_CONTRASTIVE_KIND_SIGMOID),
        scores(workspace, context.precision, n, m, in.a.columns),
        agreement(workspace, n, m, in.class_a.columns),
        sums(workspace, n, m, tile_columns, sigmoid ? Shift::no : Shift::yes, Cross::no,
             sigmoid ? Directions::rows : Directions::both),
        target_sums(workspace, has_target_sums(in) ? n : 0, has_target_sums(in) ? m : 0, tile_columns, Shift::no,
                    Cross::yes),
        own(workspace.take<float>(n)),
        weights(workspace, sigmoid ? 0 : n, sigmoid ? 0 : m),
        scale_sums(workspace, n, m, tile_columns),
        bias_sums(workspace, n, m, tile_columns),
        products(workspace, context.precision, n, m, in.a.columns) {}

  static bool has_target_sums(const ContrastiveInputs& in) {
    return in.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE && in.class_a.columns > 0;
  }

  ContrastiveView prepare(const duet_context& context, const ContrastiveInputs& in) {
    scores.prepare(context, in.a, in.v, in.scale);
    agreement.prepare(context, in.class_a, in.class_v, in.trust_a, in.trust_v, in.paired, in.first_row,
                      in.first_column);
    return {scores.view(), agreement.view(), in.bias.data};
  }

  int64_t n, m;
  int tile_columns;
  bool sigmoid;
  ScoreRows scores;
  AgreementRows agreement;
  SweepSums sums;         // of exponentials; sigmoid: of a row's losses
  SweepSums target_sums;  // N and -sum pos s
  float* own;             // n: the score of a row with its own column
  GradientWeights weights;
  TileSums scale_sums, bias_sums;
  BlockGradients products;
};

// sigmoid_formula.h at one x.
struct Sigmoid {
  float x, decay;

  // The exponent in two parts: rounded to one, it would cost e^-|x| ten units in the last place from |x| = 16 on.
  __device__ explicit Sigmoid(float at) : x(at) {
    constexpr float kMost = 200;                             // e^-kMost is 0
    const float size = fabsf(x) > kMost ? kMost : fabsf(x);  // NaN stays
    const float high = __fmul_rn(size, -kLog2E), low = fmaf(size, -kLog2ELow, fmaf(size, -kLog2E, -high)),
                e = ptx::exp2(high);
    decay = fmaf(e, low * static_cast<float>(kLn2), e);
  }
  __device__ float loss(float weight) const { return sigmoid_pair_loss(x, decay, weight); }
  __device__ float gradient(float weight) const { return sigmoid_pair_slope(x, decay, weight); }
};

// The gradient weights of a row or a column: w (P - What), nothing without a target.
struct ContrastiveGradientWeight {
  Matrix<const float> statistics;
  Vector<const float> weight;  // without data: 0

  __device__ GradientWeight operator()(int64_t i) const {
    GradientWeight to{};
    if (!weight) return to;
    const float* of = statistics.row(i);
    const float w = weight_of(of, weight, i);
    to.student_log_sum = of[kLogSum];
    to.student = taking_part(w, of[kLogSum]);
    to.target = w == 0 ? 0 : w / of[kPositives];
    return to;
  }
  // At its own pair.
  __device__ double own(int64_t i) const {
    return own_pull(statistics.row(i), weight_of(statistics.row(i), weight, i));
  }
};

// The losses on a relation of pairs (contrastive_relation_cuda.cu).
size_t relation_contrastive_workspace(const duet_context& context, const ContrastiveInputs& inputs);
void relation_contrastive_forward(const duet_context& context, const ContrastiveInputs& inputs,
                                  const ContrastiveOutputs& outputs, const duet_workspace& workspace);
void relation_contrastive_backward(const duet_context& context, const ContrastiveInputs& inputs,
                                   Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                                   const ContrastiveGradients& gradients, const duet_workspace& workspace);

// One launch a pass for small batches (contrastive_small_cuda.cu): whether it is for these, and then its passes.
bool contrastive_is_small(const duet_context& context, const ContrastiveInputs& inputs);
size_t small_contrastive_workspace(const ContrastiveInputs& inputs);
void small_contrastive_forward(const duet_context& context, const ContrastiveInputs& inputs,
                               const ContrastiveOutputs& outputs);
void small_contrastive_backward(const duet_context& context, const ContrastiveInputs& inputs,
                                Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                                const ContrastiveGradients& gradients, const duet_workspace& workspace);

}  // namespace duet::cuda
