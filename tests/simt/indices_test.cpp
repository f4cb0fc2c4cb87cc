// Arrays of more than 2^31 elements are too large to be run here; the arithmetic of their places is not.
#include <doctest/doctest.h>

#include <string>

#include "kernels/cuda/row_blocks.h"
#include "kernels/cuda/sweep.h"
#include "kernels/duet.h"

using namespace duet;
using namespace duet::cuda;

namespace {

// No memory stands behind it: only differences of addresses are looked at.
template <class T>
T* nowhere() {
  return reinterpret_cast<T*>(uintptr_t{1} << 20);
}

constexpr int64_t kSide = 262'144;  // 2^36 elements a matrix

}  // namespace

TEST_CASE("the last element of a view lies where 64 bits say") {
  const Matrix<float> view{nowhere<float>(), kSide, kSide, kSide + 3};
  const int64_t last = (kSide - 1) * (kSide + 3) + kSide - 1;
  CHECK(view.row(kSide - 1) + kSide - 1 - view.data == last);
  CHECK(view.part(kSide - 2, kSide - 2, 2, 2).row(1) + 1 - view.data == last);
  const Packed packed{nowhere<uint32_t>(), kSide};
  CHECK(packed.row(kSide - 1) - packed.words == (kSide - 1) * kSide);
}

TEST_CASE("blocks and tiles cover a matrix of 2^36 elements once") {
  using T = SingleTile<DUET_PRECISION_BF16>;
  int64_t covered = 0, last_row = 0, last_column = 0, blocks = 0;
  for_each_block(kSide - 1, kSide + 1, kBlockRows, kForwardColumns, [&](const Block& block) {
    covered += int64_t{block.rows} * block.columns;
    const TilePlace place = tile_of<T>(block, static_cast<unsigned>(tiles_of<T>(block) - 1));
    CHECK(place.first_row + place.rows == block.first_row + block.rows);
    CHECK(place.first_column + place.columns == block.first_column + block.columns);
    last_row = place.first_row + place.rows;
    last_column = place.first_column + place.columns;
    ++blocks;
  });
  CHECK(covered == (kSide - 1) * (kSide + 1));
  CHECK(last_row == kSide - 1);
  CHECK(last_column == kSide + 1);
  CHECK(blocks == 64 * 17);
  int64_t rows = 0;
  for_each_row_block(kSide - 1, block_rows(kSide - 1, kSide), [&](int64_t first, int64_t count) {
    CHECK(first == rows);
    rows += count;
  });
  CHECK(rows == kSide - 1);
  CHECK(block_rows(kSide, kSide) * kSide == kBlockElements);
}

TEST_CASE("a workspace past 2^32 bytes is added up in 64 bits") {
  Workspace measure;
  measure.take_matrix<float>(kSide, 65'537);
  CHECK(measure.used() == size_t{4} * 262'144 * 65'537);
}

TEST_CASE("what stores no n x m matrix needs less than 4 GiB of workspace at n = m = 262144, d = 256") {
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = DUET_DEVICE_CUDA;
  for (const duet_precision precision :
       {DUET_PRECISION_TF32X3, DUET_PRECISION_FP32, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
    CAPTURE(precision);
    options.precision = precision;
    duet_context* context = nullptr;
    REQUIRE(duet_context_create(&options, &context) == DUET_STATUS_OK);
    const duet_matrix rows = duet_f32_matrix(nowhere<float>(), kSide, 256),
                      classes = duet_f32_matrix(nowhere<float>(), kSide, 100);
    const duet_vector one = duet_f32_vector(nowhere<float>(), 1), labels = duet_i32_vector(nowhere<int32_t>(), kSide);
    size_t bytes = 0;
    const auto fits = [&](const std::string& operation, duet_status status) {
      CAPTURE(operation);
      CHECK(status == DUET_STATUS_OK);
      CHECK(bytes > 0);
      CHECK(bytes < size_t{4} << 30);
      bytes = 0;
    };
    duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
    alignment.a = alignment.v = rows, alignment.scale = one;
    fits("alignment", duet_alignment_workspace(context, &alignment, &bytes));
    duet_contrastive_inputs contrastive = DUET_CONTRASTIVE_INPUTS_INIT;
    contrastive.kind = DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, contrastive.a = contrastive.v = rows,
    contrastive.scale = one;
    contrastive.class_a = contrastive.class_v = classes;
    fits("contrastive", duet_contrastive_workspace(context, &contrastive, &bytes));
    duet_distillation_inputs distillation = DUET_DISTILLATION_INPUTS_INIT;
    distillation.student_a = distillation.student_v = distillation.teacher_a = distillation.teacher_v = rows;
    distillation.class_a = distillation.class_v = classes, distillation.scale = distillation.teacher_scale = one;
    fits("distillation", duet_distillation_workspace(context, &distillation, &bytes));
    duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
    mining.x = mining.y = rows, mining.labels_x = mining.labels_y = labels, mining.metric = DUET_METRIC_SQEUCLIDEAN;
    fits("mining", duet_mining_workspace(context, &mining, &bytes));
    duet_triplet_inputs triplet = DUET_TRIPLET_INPUTS_INIT;
    triplet.x = triplet.y = rows, triplet.class_x = triplet.class_y = classes, triplet.margin = 0.2f;
    triplet.metric = DUET_METRIC_SQEUCLIDEAN;
    fits("triplet", duet_triplet_workspace(context, &triplet, &bytes));
    duet_retrieval_inputs retrieval = DUET_RETRIEVAL_INPUTS_INIT;
    retrieval.queries = retrieval.gallery = rows;
    fits("retrieval", duet_retrieval_workspace(context, &retrieval, &bytes));
    duet_context_destroy(context);
  }
}
