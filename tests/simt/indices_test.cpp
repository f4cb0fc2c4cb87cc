// Arrays of more than 2^31 elements are too large to be run here; the arithmetic of their places is not.
#include <doctest/doctest.h>

#include "kernels/cuda/row_blocks.h"
#include "kernels/cuda/sweep.h"

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
