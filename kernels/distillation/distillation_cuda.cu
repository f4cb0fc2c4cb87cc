// Plan of the forward pass. A block walks over tiles of 128 x 128 pairs (in fp32 and tf32x3 a tile of 128 x 64, two
// blocks an SM) and holds both products, student and teacher, in 64 + 64 registers a thread; each is the loop of
// tiles.h over d, one's first steps under the other's last, the student's rows kept. Then the registers are passed over
// three times: exponentials of the student, exponentials and cross sums of the teacher, and, the teacher's registers
// being free, W and the sums over positives. Each pass reduces rows and columns at once, by shuffles and in shared
// memory where a stage was. A tile leaves 7 numbers a row and a column, 7 KB beside 256 KB of operands; merge_sums adds
// them up in the order of the tiles, once a block of 4096 x 16384; a thread a row then writes losses and statistics. 2
// products, no n x m memory: (n + m) (d + d') words of packed operands, 4 C + 100 bytes of the rest a row, 45 MB of
// partials.
//
// One H200, bf16, d = 512, cycles of an SM a tile (figures of tiles.h): mma 2 x 7,200 with its barriers, then the
// epilogue of about 2,400 instructions a warp, 8 warps on 4 schedulers at 0.6 a cycle: 7,800, with the next student's
// loads beside it; 128 ex2 and 64 lg2 a thread are 3,100 cycles of the special-function units within. L2 131 KB (rows
// kept) + 262 KB at 24 B: 16,400, beside all. 22,900 cycles, 32 tiles for each of 128 SMs a block: n = m = 32768 has
// 16, 6.7 ms, 330 TFLOP/s; partials (470 MB written, read once) 0.2 ms. With backward: distillation_gradient_cuda.cu.
#include "kernels/distillation/distillation_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kFinishThreads = 128;

struct Partials {
  SumPartials rows, columns;
};
Partials partials_of(const PairSums& sums) { return {sums.row_partials(), sums.column_partials()}; }

struct ForwardTile {
  DistillationView view;
  Partials student, teacher, target;
  float *own_student, *own_teacher;
};

template <duet_precision P>
__global__ void __launch_bounds__(DistillationTile<P>::kThreads, DistillationTile<P>::kBlocks)
    forward_kernel(ForwardTile to, Walk<DistillationTile<P>> walk) {
  using T = DistillationTile<P>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  typename T::Loop loop{shared, walk.kept_steps};
  for (int tile = walk.first(); tile < walk.end(); ++tile) {
    const TilePlace place = walk.place(tile);
    typename T::Values student, teacher;
    const auto of_teacher = dots_of<T>(to.view.teacher, place);
    T::multiply(loop, dots_of<T>(to.view.student, place, true), of_teacher, student);
    T::multiply(loop, of_teacher, dots_of<T>(to.view.student, walk.place(tile + 1), true), teacher);
    scale_dots<T>(to.view.student.factor(), place, student);
    scale_dots<T>(to.view.teacher.factor(), place, teacher);
    const OwnPairs own_pair = own_pairs<T>(to.view.agreement, place);
    take_own_scores<T>(own_pair, place, student, to.own_student);
    take_own_scores<T>(own_pair, place, teacher, to.own_teacher);
    if (to.view.bounded()) {
      take_exponentials<T, true, false>(loop.scratch(), place, student, student, to.student.rows, to.student.columns);
      take_exponentials<T, true, true>(loop.scratch(), place, teacher, student, to.teacher.rows, to.teacher.columns);
    } else {
      take_exponentials<T, false, false>(loop.scratch(), place, student, student, to.student.rows, to.student.columns);
      take_exponentials<T, false, true>(loop.scratch(), place, teacher, student, to.teacher.rows, to.teacher.columns);
    }
    if (to.view.agreement.groups > 0)
      target_sums<T, true>(loop.scratch(), to.view.agreement, place, own_pair, student, to.target.rows,
                           to.target.columns);
  }
}

// One direction's losses and statistics.
struct Finish {
  const RunningSum *student, *teacher;
  const float *own_student, *own_teacher;
  Direction direction;
  bool own_positive;  // own pairs, where there are any
  const float* kappa;
  Vector<float> loss;
  Matrix<float> statistics;
};

__global__ void __launch_bounds__(kFinishThreads) finish_kernel(Finish to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kFinishThreads + threadIdx.x;
  if (i >= to.loss.size) return;
  const OwnAndOthers student = to.direction.parts(i, to.own_student, to.student[i]),
                     teacher = to.direction.parts(i, to.own_teacher, to.teacher[i]);
  const double kappa = to.kappa ? to.kappa[i] : 0, mean = to.teacher[i].cross / to.teacher[i].sum * kLn2;
  const float loss =
      distillation_loss(student, teacher, mean, to.direction.others(i), to.own_positive, kappa, to.statistics.row(i));
  to.loss[i] = to.direction.partners == 0 ? 0 : loss;
}

void finish(const duet_context& context, const Finish& to) {
  DUET_LAUNCH(finish_kernel, (to.loss.size + kFinishThreads - 1) / kFinishThreads, kFinishThreads, 0, context.stream)
  (to);
}

}  // namespace

size_t distillation_workspace(const duet_context& context, const DistillationInputs& inputs) {
  if (distillation_is_small(context, inputs)) return small_distillation_workspace(inputs);
  Workspace measure;
  DistillationScratch(measure, context, inputs);
  return measure.used();
}

void distillation_forward(const duet_context& context, const DistillationInputs& in, const DistillationOutputs& out,
                          const duet_workspace& workspace) {
  if (distillation_is_small(context, in)) return small_distillation_forward(context, in, out);
  Workspace pieces(workspace);
  DistillationScratch scratch(pieces, context, in);
  const ForwardTile to{scratch.prepare(context, in),
                       partials_of(scratch.student_sums),
                       partials_of(scratch.teacher_sums),
                       partials_of(scratch.target_sums),
                       scratch.own_student,
                       scratch.own_teacher};
  const bool classes = to.view.agreement.groups > 0;
  scratch.student_sums.begin(context);
  scratch.teacher_sums.begin(context);
  if (classes) scratch.target_sums.begin(context);
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    using T = DistillationTile<kPrecision>;
    for_each_block(scratch.n, scratch.m, kBlockRows, kForwardColumns, [&](const Block& block) {
      const Walk<T> walk(context, block, to.view.student.a.steps(), false);
      DUET_LAUNCH(forward_kernel<kPrecision>, walk.blocks(), T::kThreads, walk.shared_bytes(), context.stream)
      (to, walk);
      if (classes)
        merge_sums(context, block, T::kColumns, {&scratch.student_sums, &scratch.teacher_sums, &scratch.target_sums});
      else
        merge_sums(context, block, T::kColumns, {&scratch.student_sums, &scratch.teacher_sums});
    });
  });
  const PairSums* target = classes ? &scratch.target_sums : nullptr;
  const bool own_positive = bool(in.class_a);  // classes of no column: own pairs are the only positives
  finish(context,
         {scratch.student_sums.rows(), scratch.teacher_sums.rows(), scratch.own_student, scratch.own_teacher,
          row_direction(to.view.agreement, target), own_positive, in.kappa_a.data, out.row_loss, out.row_statistics});
  finish(context, {scratch.student_sums.columns(), scratch.teacher_sums.columns(), scratch.own_student,
                   scratch.own_teacher, column_direction(to.view.agreement, target), own_positive, in.kappa_v.data,
                   out.column_loss, out.column_statistics});
}

}  // namespace duet::cuda
