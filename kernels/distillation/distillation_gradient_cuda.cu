// Plan of the backward pass, 4 products. A block owns a tile as in the forward pass and recomputes both its products; one pass over the registers
// makes d loss/d dot of them, two exponentials a pair where scores are bounded (four where not), with W formed for 8 pairs of a thread at a time,
// and stores the tile as G and as G^T, packed as operands. sweep.h multiplies a block of 4096 x 4096 of them (2 x 32 MB in bf16, in L2 in part) with
// v and a and adds to the gradients, one writer an element. d loss/d scale: a sum a tile, in place over the blocks, then one block over the tiles.
//
// One H200, bf16, n = m = 32768, d = 512: products of a tile 21,800 cycles of L2, epilogue about 1,700 instructions a warp, 5,600 cycles, 64 KB
// stored under it: 27,400 cycles, 7.8 ms; the two products with G at 390 TFLOP/s (sweep.h) 5.6 ms. With the forward pass' 6.9 ms 20.3 ms for 6
// products, 6.6 TFLOP: 325 TFLOP/s, 0.41 of the 790 that a bare product reaches.
#include "kernels/distillation/distillation_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kPullThreads = 128;

// One direction's factors.
struct SetPulls {
  PullFactors to;
  int64_t count, padded;
  Matrix<const float> statistics;
  const float *weight, *kappa, *trust;  // null: 0, 0, 1
};

// w ((1 - kappa)(P - P') + kappa (P - What)), the second part where there is a target.
__global__ void __launch_bounds__(kPullThreads) set_pulls_kernel(SetPulls set, DistillationView view) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kPullThreads + threadIdx.x;
  if (i >= set.padded) return;
  Pull pull{};
  if (i < set.count && set.weight) {
    const float* statistics = set.statistics.data + i * set.statistics.stride;
    const float weight = set.weight[i], kappa = set.kappa ? set.kappa[i] : 0, sum = statistics[2];
    pull.student_log_sum = statistics[0];
    pull.student = weight * ((1 - kappa) + (has_target(sum) ? kappa : 0));
    pull.teacher_log_sum = statistics[1];
    pull.teacher = -weight * (1 - kappa);
    pull.target = has_target(sum) ? static_cast<float>(static_cast<double>(weight) * kappa / sum) : 0;
  }
  pull.trust = i >= set.count ? 0 : set.trust ? set.trust[i] : 1;
  set_pull(set.to, i, pull, view.bounded());
}

struct GradientTile {
  DistillationView view;
  PullView pull;
  GradientBlock gradient;
  double* scale_sums;
};

template <duet_precision P>
__global__ void __launch_bounds__(DistillationTile<P>::kThreads, DistillationTile<P>::kBlocks) gradient_kernel(GradientTile to, Block block) {
  using T = DistillationTile<P>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  const TilePlace place = tile_of<T>(block, blockIdx.x);
  typename T::Values student, teacher;
  typename T::Loop loop{shared};
  const auto of_teacher = dots_of<T>(to.view.teacher, place);
  T::multiply(loop, dots_of<T>(to.view.student, place), of_teacher, student);
  T::multiply(loop, of_teacher, {}, teacher);
  const float scale = *to.view.student.scale, teacher_factor = to.view.teacher.factor();
  float sum;
  if (to.view.bounded())
    sum = pull_tile<T, true, true>(to.view.agreement, to.pull, place, scale, teacher_factor, student, teacher);
  else
    sum = pull_tile<T, false, true>(to.view.agreement, to.pull, place, scale, teacher_factor, student, teacher);
  take_tile<T>(to.gradient, place, student);
  const double total = block_sum(static_cast<double>(sum));
  if (threadIdx.x == 0) to.scale_sums[blockIdx.x] += total;
}

}  // namespace

void distillation_backward(const duet_context& context, const DistillationInputs& in, Matrix<const float> row_statistics,
                           Matrix<const float> column_statistics, const DistillationGradients& out, const duet_workspace& workspace) {
  if (!out.row_weight && !out.column_weight) return;
  Workspace pieces(workspace);
  DistillationScratch scratch(pieces, context, in);
  GradientTile to{scratch.prepare(context, in), scratch.pulls.view(), {}, scratch.scale_sums.data()};
  scratch.products.begin(context, in.student_a, nullptr, in.student_v, nullptr, out.a, out.v);
  scratch.scale_sums.begin(context);
  to.gradient = scratch.products.block();
  const auto set = [&](const PullFactors& pulls, Matrix<const float> statistics, Vector<const float> weight, Vector<const float> kappa,
                       Vector<const float> trust) {
    const int64_t padded = packed_rows(statistics.rows);
    DUET_LAUNCH(set_pulls_kernel, padded / kPullThreads, kPullThreads, 0, context.stream)
    (SetPulls{pulls, statistics.rows, padded, statistics, weight.data, kappa.data, trust.data}, to.view);
  };
  set(to.pull.rows, row_statistics, out.row_weight, in.kappa_a, in.trust_a);
  set(to.pull.columns, column_statistics, out.column_weight, in.kappa_v, in.trust_v);
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    using T = DistillationTile<kPrecision>;
    for_each_block(scratch.n, scratch.m, kBlockRows, kBackwardColumns, [&](const Block& block) {
      DUET_LAUNCH(gradient_kernel<kPrecision>, tiles_of<T>(block), T::kThreads, T::kSharedBytes, context.stream)(to, block);
      scratch.products.add(context, block);
    });
  });
  if (out.scale) scratch.scale_sums.add_to(context, out.scale.data);
}

}  // namespace duet::cuda
