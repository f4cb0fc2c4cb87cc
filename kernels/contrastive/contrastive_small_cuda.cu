// A block of threads owns 4 rows of a or of v and reads all rows of the other side (cuda/small_pairs.h).
// Bytes: at n = m = 128, d = 64, 10 classes 37 KB a block, 2.4 MB in all, from L2.
// Products: forward two of scores, one a side, backward two more with G; W beside them. PLAN.md has the figures.
#include "kernels/contrastive/contrastive_cuda.h"
#include "kernels/cuda/small_pairs_backward.h"
#include "kernels/cuda/small_pairs_forward.h"

namespace duet::cuda {
namespace {

SmallPairs pairs_of(const ContrastiveInputs& in) {
  SmallPairs pairs({in.a, in.v}, {}, {in.class_a, in.class_v}, in.trust_a, in.trust_v, in.first_row - in.first_column);
  pairs.scale = in.scale.data;
  pairs.bias = in.bias.data;
  pairs.paired = in.paired;
  pairs.give({in.group_a, in.group_v, in.exclude_own, in.annotated});
  return pairs;
}

struct FinishSoftmax {
  static constexpr bool kTeacher = false;
  struct Side {
    Vector<float> loss;
    Matrix<float> statistics;
  } rows, columns;

  __device__ static float factor(const SmallScalars& scalars) { return scalars.scale * kLog2E; }
  __device__ void operator()(int side, int64_t i, const SmallRow& row, const SmallScalars&) const {
    const RunningSum others = row.exponentials<false>(row.scores);
    const OtherPositives positives = row.positives<false>();
    if (lane_of_warp() > 0) return;
    const Side to = side == 0 ? rows : columns;
    to.loss[i] = softmax_loss(row.parts(row.scores, others), positives, to.statistics.row(i));
  }
};

struct FinishSigmoid {
  static constexpr bool kTeacher = false;
  Vector<float> loss;

  __device__ static float factor(const SmallScalars&) { return 1; }
  __device__ void operator()(int, int64_t i, const SmallRow& row, const SmallScalars& scalars) const {
    float sum = 0;
    for (int j = lane_of_warp(); j < row.count; j += 32)
      sum += Sigmoid(fmaf(row.scores[j], scalars.scale, scalars.bias))
                 .loss(j == row.own  ? 1
                       : row.weights ? row.weights[j]
                                     : 0);
    const double total = warp_sum(static_cast<double>(sum));
    if (lane_of_warp() == 0) loss[i] = static_cast<float>(total);
  }
};

// The Form of the sigmoid. Rows alone have weights.
struct SmallSigmoid {
  static constexpr bool kTeacher = false, kOwnApart = false;
  using Terms = float;
  const float* row_weight;

  __device__ __forceinline__ float terms(int side, int64_t i, const float*) const {
    return side == 0 ? row_weight[i] : 1;
  }
  __device__ __forceinline__ float of_pair(float dot, float, float w, float own, float other,
                                           const SmallScalars& scalars) const {
    const float weight = own * other;
    // What has no weight takes no part, though x be NaN.
    return weight == 0 ? 0 : weight * Sigmoid(fmaf(dot, scalars.scale, scalars.bias)).gradient(w);
  }
};

}  // namespace

bool contrastive_is_small(const duet_context& context, const ContrastiveInputs& in) {
  const bool sigmoid_of_groups = in.related && in.kind == DUET_CONTRASTIVE_KIND_SIGMOID;  // the tiles' alone
  return !sigmoid_of_groups && are_small(context, in.a.rows, in.v.rows, {in.a.columns, in.class_a.columns});
}

size_t small_contrastive_workspace(const ContrastiveInputs& in) {
  Workspace measure;
  SmallSums(measure, in.a.rows);
  return measure.used();
}

void small_contrastive_forward(const duet_context& context, const ContrastiveInputs& in,
                               const ContrastiveOutputs& out) {
  if (in.kind == DUET_CONTRASTIVE_KIND_SIGMOID)
    small_forward(context, pairs_of(in), false, FinishSigmoid{out.row_loss});
  else
    small_forward(context, pairs_of(in), true,
                  FinishSoftmax{{out.row_loss, out.row_statistics}, {out.column_loss, out.column_statistics}});
}

void small_contrastive_backward(const duet_context& context, const ContrastiveInputs& in,
                                Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                                const ContrastiveGradients& out, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  const SmallSums sums(pieces, in.a.rows);
  const auto run = [&](const auto& form) {
    small_backward(
        context,
        SmallBackward<std::decay_t<decltype(form)>>{
            pairs_of(in), form, {out.a, out.v}, {in.grad_factor_a.data, in.grad_factor_v.data}, nullptr, nullptr},
        sums, out.scale.data, out.bias.data);
  };
  if (in.kind == DUET_CONTRASTIVE_KIND_SIGMOID)
    run(SmallSigmoid{out.row_weight.data});
  else
    run(SmallSoftmax<ContrastiveGradientWeight, false>{
        {{row_statistics, out.row_weight}, {column_statistics, out.column_weight}}});
}

}  // namespace duet::cuda
