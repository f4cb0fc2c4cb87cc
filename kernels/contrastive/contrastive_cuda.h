// What forward and backward of the contrastive losses share on the GPU: the pieces of the workspace, and the view that
// their kernels read.
#pragma once

#include "kernels/contrastive/contrastive_formula.h"
#include "kernels/contrastive/sigmoid_formula.h"
#include "kernels/pairs/relation_cuda.h"

namespace duet::cuda {

// With W or a softplus and the sums that go with them a thread has registers for 64 dots, not for 128.
template <duet_precision P>
using ContrastiveTile = DualTile<P>;

inline RelationView relation_of(const duet_context& context, const ContrastiveInputs& in, const RelationRows& rows) {
  return rows.prepare(context, in.labels_a, in.labels_v, in.group_a, in.group_v, in.exclude_own, own_offset(in));
}

struct ContrastiveView {
  ScoreView scores;
  AgreementView agreement;
  const float* bias;      // sigmoid
  RelationView relation;  // of its groups
};

// body(std::bool_constant, std::bool_constant) with whether the sigmoid's rows have numbers, and are annotated.
template <class Body>
void with_sigmoid_rows(const AgreementView& agreement, bool numbered, Body&& body) {
  if (agreement.annotated)
    body(std::true_type(), std::true_type());
  else if (numbered)
    body(std::true_type(), std::false_type());
  else
    body(std::false_type(), std::false_type());
}

struct ContrastiveScratch {
  ContrastiveScratch(Workspace& workspace, const duet_context& context, const ContrastiveInputs& in)
      : n(in.a.rows),
        m(in.v.rows),
        tile_columns(dual_columns(context.precision)),
        sigmoid(in.kind == DUET_CONTRASTIVE_KIND_SIGMOID),
        numbered(sigmoid && (in.related || in.annotated)),
        scores(workspace, context.precision, n, m, in.a.columns),
        agreement(workspace, n, m, in.class_a.columns, in.has_groups() && !sigmoid, bool(in.annotated)),
        relation(workspace, numbered ? n : 0, numbered ? m : 0),
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
    return in.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE && (in.class_a.columns > 0 || in.has_groups());
  }

  ContrastiveView prepare(const duet_context& context, const ContrastiveInputs& in) {
    scores.prepare(context, in.a, in.v, in.scale);
    AgreementItems items{{}, {}, false, in.annotated};
    if (!sigmoid) items.group_a = in.group_a, items.group_v = in.group_v, items.exclude_own = in.exclude_own;
    agreement.prepare(context, in.class_a, in.class_v, in.trust_a, in.trust_v, in.paired, in.first_row, in.first_column,
                      items);
    ContrastiveView view{scores.view(), agreement.view(), in.bias.data, {}};
    if (numbered) view.relation = relation_of(context, in, relation);
    return view;
  }

  int64_t n, m;
  int tile_columns;
  bool sigmoid;
  bool numbered;  // the sigmoid's rows have the numbers of a relation, of which all may be none
  ScoreRows scores;
  AgreementRows agreement;
  RelationRows relation;
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
    to.student = checked_weight(w, of[kLogSum]);
    to.target = w == 0 ? 0 : w / of[kPositives];
    return to;
  }
  // At its own pair.
  __device__ double own(int64_t i) const {
    return own_score_gradient(statistics.row(i), weight_of(statistics.row(i), weight, i));
  }
};

// What a sigmoid's pairs of kRows rows of a thread weigh. kRelated: the call has groups, leaves out own pairs, or has
// annotated rows. The numbers of a row and of a column are compared at the pair: bits of a whole tile (TileRelation)
// would spill.
template <class T, bool kRelated, int kRows>
class SigmoidPairs {
 public:
  __device__ __forceinline__ SigmoidPairs(const ContrastiveView& view, const TilePlace& place, int first)
      : own_(own_pairs<T>(view.agreement, place)), first_(first) {}

  __device__ __forceinline__ void at_column(int) {}
  // Of row first + r and column c of the thread's; w: the weight of its classes.
  __device__ __forceinline__ float weight(int r, int c, float w) const { return own(r, c) ? 1 : w; }
  __device__ __forceinline__ bool taken(int, int) const { return true; }

 private:
  __device__ __forceinline__ bool own(int r, int c) const { return own_.any && own_(T::row(first_ + r), T::column(c)); }

  OwnPairs own_;
  int first_;
};
template <class T, int kRows>
class SigmoidPairs<T, true, kRows> {
 public:
  __device__ __forceinline__ SigmoidPairs(const ContrastiveView& view, const TilePlace& place, int first)
      : own_(own_pairs<T>(true, view.relation.own, place)),
        excluded_(view.relation.exclude_own),
        first_(first),
        columns_(view.relation.v + place.first_column) {
    DUET_UNROLL
    for (int r = 0; r < kRows; ++r) rows_[r] = __ldg(view.relation.a + place.first_row + T::row(first + r)).y;
  }

  __device__ __forceinline__ void at_column(int c) { column_ = __ldg(columns_ + T::column(c)).y; }
  __device__ __forceinline__ float weight(int r, int c, float w) const {
    return own(r, c) || rows_[r] == column_ ? 1 : w;
  }
  __device__ __forceinline__ bool taken(int r, int c) const { return !(excluded_ && own(r, c)); }

 private:
  __device__ __forceinline__ bool own(int r, int c) const { return own_.any && own_(T::row(first_ + r), T::column(c)); }

  OwnPairs own_;
  bool excluded_;
  int first_, column_ = 0, rows_[kRows];
  const int2* columns_;
};

// The losses that are formulas of a relation of pairs (contrastive_relation_cuda.cu).
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
