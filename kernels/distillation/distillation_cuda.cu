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

struct Partials {
  SumPartials rows, columns;
};
Partials partials_of(const PairSums& sums) { return {sums.row_partials(), sums.column_partials()}; }

struct DistillationForward {
  static constexpr bool kAlone = false;
  DistillationView view;
  Partials of_student, of_teacher, of_target;
  float *own_student, *own_teacher;

  int steps() const { return view.student.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values student, teacher;
    const auto teacher_product = dots_of<T>(view.teacher, place);
    T::multiply(loop, dots_of<T>(view.student, place, true), teacher_product, student);
    T::multiply(loop, teacher_product, dots_of<T>(view.student, walk.place(tile + 1), true), teacher);
    scale_dots<T>(view.student.factor(), place, student);
    scale_dots<T>(view.teacher.factor(), place, teacher);
    const OwnPairs own_pair = own_pairs<T>(view.agreement, place);
    store_own_scores<T>(own_pair, place, student, own_student);
    store_own_scores<T>(own_pair, place, teacher, own_teacher);
    const bool bounded = view.bounded();
    accumulate_exponentials<T, false>(loop.scratch(), place, bounded, student, student, of_student.rows,
                                      of_student.columns);
    accumulate_exponentials<T, true>(loop.scratch(), place, bounded, teacher, student, of_teacher.rows,
                                     of_teacher.columns);
    if (view.agreement.groups > 0)
      accumulate_positives<T, true>(loop.scratch(), view.agreement, place, own_pair, student, of_target.rows,
                                    of_target.columns);
  }
};

// One direction's losses and statistics.
struct FinishDistillation {
  const RunningSum *student, *teacher;
  const float *own_student, *own_teacher;
  Direction direction;
  bool own_positive;  // own pairs, where there are any
  const float* kappa;
  Vector<float> loss;
  Matrix<float> statistics;

  __device__ void operator()(int64_t i) const {
    const OwnAndOthers of_student = direction.parts(i, own_student, student[i]),
                       of_teacher = direction.parts(i, own_teacher, teacher[i]);
    const double mean = teacher[i].cross / teacher[i].sum * kLn2;
    const float value = distillation_loss(of_student, of_teacher, mean, direction.others(i), own_positive,
                                          kappa ? kappa[i] : 0, statistics.row(i));
    loss.data[i] = direction.partners == 0 ? 0 : value;
  }
};

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
  const DistillationView view = scratch.prepare(context, in);
  const PairSums &student = scratch.student_sums, &teacher = scratch.teacher_sums, &target = scratch.target_sums;
  const DistillationForward forward{
      view, partials_of(student), partials_of(teacher), partials_of(target), scratch.own_student, scratch.own_teacher};
  const bool classes = view.agreement.groups > 0;
  with_precision(context.precision, [&](auto precision) {
    const auto sweep = [&](std::initializer_list<const PairSums*> sums) {
      sweep_forward<DistillationTile<decltype(precision)::value>>(context, scratch.n, scratch.m, kBlockRows, forward,
                                                                  sums);
    };
    if (classes)
      sweep({&student, &teacher, &target});
    else
      sweep({&student, &teacher});
  });
  const PairSums* positives = classes ? &target : nullptr;
  const bool own_positive = bool(in.class_a);  // classes of no column: own pairs are the only positives
  for_each_position(context, scratch.n,
                    FinishDistillation{student.rows(), teacher.rows(), scratch.own_student, scratch.own_teacher,
                                       row_direction(view.agreement, positives), own_positive, in.kappa_a.data,
                                       out.row_loss, out.row_statistics});
  for_each_position(context, scratch.m,
                    FinishDistillation{student.columns(), teacher.columns(), scratch.own_student, scratch.own_teacher,
                                       column_direction(view.agreement, positives), own_positive, in.kappa_v.data,
                                       out.column_loss, out.column_statistics});
}

}  // namespace duet::cuda
