// A block of threads that visits several tiles: the same bits for any number of multiprocessors, and for any amount of
// shared memory to keep rows in.
// Where that holds no tile of 128 x 256, others are walked over: the same bits again of whatever is no sum along rows
// or columns.
#include "kernels/core/dispatch.h"
#include "kernels/cuda/tiles.h"
#include "tests/simt/schedules.h"
#include "tests/support/arrays.h"

using namespace duet;
using namespace duet::test;

namespace {

struct Outputs {
  Floats distances, lse_row, lse_column;
  Floats row_loss, column_loss, row_statistics, column_statistics;
  Ints positives, negatives;

  Outputs(int64_t n, int64_t m)
      : distances(n, m),
        lse_row(n, 1),
        lse_column(m, 1),
        row_loss(n, 1),
        column_loss(m, 1),
        row_statistics(n, DUET_DISTILLATION_STATISTICS),
        column_statistics(m, DUET_DISTILLATION_STATISTICS),
        positives(n, 1),
        negatives(m, 1) {}
  bool same_bits(const Outputs& other) const {
    return lse_row.same_bits(other.lse_row) && lse_column.same_bits(other.lse_column) && same_bits_of_any_tiles(other);
  }
  // The sums of alignment take a tile's columns (and rows) at once; distillation's tiles are 128 x 128 on every device.
  bool same_bits_of_any_tiles(const Outputs& other) const {
    return distances.same_bits(other.distances) && row_loss.same_bits(other.row_loss) &&
           column_loss.same_bits(other.column_loss) && row_statistics.same_bits(other.row_statistics) &&
           column_statistics.same_bits(other.column_statistics) && positives.same_bits(other.positives) &&
           negatives.same_bits(other.negatives);
  }
};

struct Problem {
  Floats x, y, teacher_x, teacher_y, scale;
  Ints labels_x, labels_y;
};

template <class Inputs, class Measure, class Call>
void call(duet_context& context, const Inputs& inputs, Measure measure, Call&& run) {
  size_t bytes = 0;
  SUCCEED_CALL(measure(&context, &inputs, &bytes));
  const Scratch scratch(bytes);
  SUCCEED_CALL(run(scratch.view()));
}

duet_context context_of(duet_precision precision, int multiprocessors, int64_t shared_bytes) {
  duet_context context;
  context.backend = backend_of(DUET_DEVICE_CUDA);
  context.device = DUET_DEVICE_CUDA;
  context.precision = precision;
  context.multiprocessors = multiprocessors;
  context.shared_bytes = shared_bytes;
  return context;
}

Outputs walk(Problem& p, duet_precision precision, int multiprocessors, int64_t shared_bytes) {
  duet_context context = context_of(precision, multiprocessors, shared_bytes);
  Outputs out(p.x.rows(), p.y.rows());

  duet_distance_inputs distance = DUET_DISTANCE_INPUTS_INIT;
  distance.x = p.x.matrix(), distance.y = p.y.matrix(), distance.metric = DUET_METRIC_EUCLIDEAN;
  call(context, distance, duet_distance_workspace, [&](duet_workspace scratch) {
    return duet_distance_forward(&context, &distance,
                                 sized<duet_distance_outputs>({.distances = out.distances.matrix()}), scratch);
  });

  duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
  alignment.a = p.x.matrix(), alignment.v = p.y.matrix(), alignment.scale = p.scale.vector();
  call(context, alignment, duet_alignment_workspace, [&](duet_workspace scratch) {
    return duet_alignment_forward(
        &context, &alignment,
        sized<duet_alignment_outputs>({.lse_row = out.lse_row.vector(), .lse_column = out.lse_column.vector()}),
        scratch);
  });

  duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
  mining.x = p.x.matrix(), mining.y = p.y.matrix(), mining.labels_x = p.labels_x.vector(),
  mining.labels_y = p.labels_y.vector(), mining.metric = DUET_METRIC_SQEUCLIDEAN;
  duet_mining_hard_side rows = DUET_MINING_HARD_SIDE_INIT, columns = DUET_MINING_HARD_SIDE_INIT;
  rows.positive_index = out.positives.vector(), columns.negative_index = out.negatives.vector();
  call(context, mining, duet_mining_workspace, [&](duet_workspace scratch) {
    return duet_mining_hard(&context, &mining, sized<duet_mining_hard_outputs>({.rows = &rows, .columns = &columns}),
                            scratch);
  });

  duet_distillation_inputs distillation = DUET_DISTILLATION_INPUTS_INIT;
  distillation.student_a = p.x.matrix(), distillation.student_v = p.y.matrix();
  distillation.teacher_a = p.teacher_x.matrix(), distillation.teacher_v = p.teacher_y.matrix();
  distillation.scale = p.scale.vector(), distillation.teacher_scale = p.scale.vector();
  call(context, distillation, duet_distillation_workspace, [&](duet_workspace scratch) {
    return duet_distillation_forward(
        &context, &distillation,
        sized<duet_distillation_outputs>({.row_loss = out.row_loss.vector(),
                                          .column_loss = out.column_loss.vector(),
                                          .row_statistics = out.row_statistics.matrix(),
                                          .column_statistics = out.column_statistics.matrix()}),
        scratch);
  });
  return out;
}

}  // namespace

TEST_CASE("the way over the tiles decides no bit") {
  constexpr int64_t kHopper = 227 * 1024, kAmpere = 163 * 1024, kLeast = cuda::kLeastSharedBytes,
                    kManyMultiprocessors = 1000;
  using Wide = cuda::SingleTile<DUET_PRECISION_BF16>;
  constexpr int64_t kLeastWide = Wide::kSharedBytes + Wide::kStaticBytes;  // no room to keep rows in
  const simt::Schedule before = simt::schedule();
  // Steps of k: too few to run on, all kept, some kept on the smaller device, some on the larger; the teacher's fewer,
  // as many, more.
  const struct {
    duet_precision precision;
    int64_t steps, teacher_steps;
  } cases[] = {{DUET_PRECISION_BF16, 2, 3},  {DUET_PRECISION_BF16, 3, 2},   {DUET_PRECISION_BF16, 5, 5},
               {DUET_PRECISION_TF32, 10, 4}, {DUET_PRECISION_TF32X3, 3, 4}, {DUET_PRECISION_FP32, 4, 1}};
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.precision));
    CAPTURE(c.steps);
    const int64_t words = cuda::elements_of_word(c.precision) * cuda::kStepWords, d = c.steps * words - 3,
                  teacher_d = c.teacher_steps * words;
    const int64_t n = 131, m = 300;  // two by two tiles of 128 x 256
    Draw draw(31);
    Problem problem{draw.unit_rows(n, d),
                    draw.unit_rows(m, d),
                    draw.unit_rows(n, teacher_d),
                    draw.unit_rows(m, teacher_d),
                    Floats(1, 1),
                    draw.labels(n, 5),
                    draw.labels(m, 5)};
    problem.scale.fill(9);
    simt::set_schedule({simt::Order::forward, 0});
    const Outputs apart = walk(problem, c.precision, kManyMultiprocessors, kLeastWide);
    simt::set_schedule({simt::Order::random, before.seed + static_cast<uint64_t>(c.steps)});
    INFO("repeat with: " << simt::repeat_command());
    CHECK(walk(problem, c.precision, 1, kAmpere).same_bits(apart));
    CHECK(walk(problem, c.precision, 1, kHopper).same_bits(apart));
    CHECK(walk(problem, c.precision, 2, kHopper).same_bits(apart));
    if (cuda::is_exact(c.precision)) continue;  // its tiles fit everywhere
    simt::play(simt::kLeastDevice);
    const Outputs narrow_apart = walk(problem, c.precision, kManyMultiprocessors, kLeast);
    CHECK(walk(problem, c.precision, 2, kLeast).same_bits(narrow_apart));
    simt::play({});
    CHECK(narrow_apart.same_bits_of_any_tiles(apart));
  }
  simt::set_schedule(before);
}

TEST_CASE("nor do the tiles of a gradient's products") {
  constexpr int64_t kRows = 5, kColumns = 7, kWidth = 130;  // one tile of 256 columns, or two of 128
  Draw draw(32);
  Floats x = draw.normals(kRows, kWidth), y = draw.normals(kColumns, kWidth), upstream = draw.normals(kRows, kColumns);
  duet_distance_inputs inputs = DUET_DISTANCE_INPUTS_INIT;
  inputs.x = x.matrix(), inputs.y = y.matrix(), inputs.metric = DUET_METRIC_COSINE;
  const auto gradients = [&](const simt::PlayedDevice& device) {
    simt::play(device);
    duet_context context = context_of(DUET_PRECISION_BF16, 2, static_cast<int64_t>(device.shared_bytes));
    Floats distances(kRows, kColumns);
    std::pair<Floats, Floats> out{Floats(kRows, kWidth).fill(1), Floats(kColumns, kWidth).fill(1)};
    call(context, inputs, duet_distance_workspace, [&](duet_workspace scratch) {
      return duet_distance_forward(&context, &inputs, sized<duet_distance_outputs>({.distances = distances.matrix()}),
                                   scratch);
    });
    call(context, inputs, duet_distance_workspace, [&](duet_workspace scratch) {
      return duet_distance_backward(&context, &inputs,
                                    sized<duet_distance_gradients>({.distances = distances.matrix(),
                                                                    .grad_distances = upstream.matrix(),
                                                                    .grad_x = out.first.matrix(),
                                                                    .grad_y = out.second.matrix()}),
                                    scratch);
    });
    simt::play({});
    return out;
  };
  const auto narrow = gradients(simt::kLeastDevice), wide = gradients({});
  CHECK(narrow.first.same_bits(wide.first));
  CHECK(narrow.second.same_bits(wide.second));
}
