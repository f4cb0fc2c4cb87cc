// What forward and backward of the contrastive losses share on the GPU: the pieces of the workspace, and the view that their kernels read.
#pragma once

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/cuda/agreement.h"

namespace duet::cuda {

// With W or a softplus and the sums that go with them a thread has registers for 64 dots, not for 128.
template <duet_precision P>
using ContrastiveTile = DualTile<P>;
constexpr int contrastive_columns(duet_precision precision) {
  return is_exact(precision) ? ContrastiveTile<DUET_PRECISION_FP32>::kColumns : ContrastiveTile<DUET_PRECISION_BF16>::kColumns;
}

struct ContrastiveView {
  ScoreView scores;
  AgreementView agreement;
  const float* bias;  // sigmoid
};

struct ContrastiveScratch {
  ContrastiveScratch(Workspace& workspace, const duet_context& context, const ContrastiveInputs& in)
      : n(in.a.rows),
        m(in.v.rows),
        tile_columns(contrastive_columns(context.precision)),
        sigmoid(in.kind == DUET_SIGMOID),
        scores(workspace, context.precision, n, m, in.a.columns),
        agreement(workspace, n, m, in.class_a.columns),
        sums(workspace, n, m, tile_columns, sigmoid ? Shift::no : Shift::yes, Cross::no, sigmoid ? Directions::rows : Directions::both),
        target_sums(workspace, has_target_sums(in) ? n : 0, has_target_sums(in) ? m : 0, tile_columns, Shift::no, Cross::yes),
        own(workspace.take<float>(n)),
        pulls(workspace, sigmoid ? 0 : n, sigmoid ? 0 : m),
        scale_sums(workspace, n, m, tile_columns),
        bias_sums(workspace, n, m, tile_columns),
        products(workspace, context.precision, n, m, in.a.columns) {}

  static bool has_target_sums(const ContrastiveInputs& in) { return in.kind == DUET_MULTI_POSITIVE && in.class_a.columns > 0; }

  ContrastiveView prepare(const duet_context& context, const ContrastiveInputs& in) {
    scores.prepare(context, in.a, in.v, in.scale);
    agreement.prepare(context, in.class_a, in.class_v, in.trust_a, in.trust_v, in.paired, in.first_row, in.first_column);
    return {scores.view(), agreement.view(), in.bias.data};
  }

  int64_t n, m;
  int tile_columns;
  bool sigmoid;
  ScoreRows scores;
  AgreementRows agreement;
  PairSums sums;         // of exponentials; sigmoid: of a row's losses
  PairSums target_sums;  // N and -sum pos s
  float* own;            // n: the score of a row with its own column
  Pulls pulls;
  TileSums scale_sums, bias_sums;
  BlockGradients products;
};

// W softplus(-x) + (1 - W) softplus(x), and its derivative by x, both through e^-|x|.
struct Sigmoid {
  float x, decay;

  __device__ explicit Sigmoid(float at) : x(at), decay(ptx::exp2(-kLog2E * fabsf(at))) {}
  // (max(x, 0) - W x) + log(1 + e^-|x|): exact where W = 1 and x is large
  __device__ float loss(float weight) const { return fmaf(-weight, x, x < 0 ? 0 : x) + log1pf(decay); }
  __device__ float gradient(float weight) const { return (x < 0 ? decay : 1) / (1 + decay) - weight; }
};

}  // namespace duet::cuda
