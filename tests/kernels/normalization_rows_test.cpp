// The order in which layer norm sums over the rows of a batch (METHOD.md 0.1): the gradients of parts add up to those
// of the whole, bit for bit, and a row has its bits in any batch.
#include "tests/kernels/row_tree_parts.h"
#include "tests/reference/normalization.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/simd_targets.h"

using namespace duet::test;

namespace {

struct Layer {
  int64_t columns;
  Floats x, g, gain, offset;

  Layer(int64_t rows, int64_t given_columns, Draw draw = Draw(7))
      : columns(given_columns),
        x(draw.normals(rows, given_columns, 3, 2)),
        g(draw.normals(rows, given_columns, 1, 2)),
        gain(draw.normals(given_columns, 1)),
        offset(draw.normals(given_columns, 1)) {}

  // The outputs of the rows of a part, and the gradients of x, gain and offset by them, added to zeros.
  std::vector<Floats> pass(int64_t first, int64_t count, int threads, bool fuses) {
    Context context(threads);
    duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
    inputs.x = x.part(first, 0, count, columns), inputs.gain = gain.vector(), inputs.offset = offset.vector();
    inputs.fuses = fuses, inputs.activation = DUET_ACTIVATION_KIND_TANH;
    size_t bytes = 0;
    SUCCEED_CALL(duet_layer_norm_workspace(context, &inputs, &bytes));
    const Scratch scratch(bytes);
    std::vector<Floats> out{Floats(count, columns), Floats(count, columns), Floats(columns, 1), Floats(columns, 1)};
    for (Floats& each : out) each.fill(0);
    SUCCEED_CALL(
        duet_layer_norm_forward(context, &inputs, sized<duet_layer_norm_outputs>({.outputs = out[0].matrix()})));
    SUCCEED_CALL(
        duet_layer_norm_backward(context, &inputs,
                                 sized<duet_layer_norm_gradients>({.grad_outputs = g.part(first, 0, count, columns),
                                                                   .grad_x = out[1].matrix(),
                                                                   .grad_gain = out[2].vector(),
                                                                   .grad_offset = out[3].vector()}),
                                 scratch.view()));
    return out;
  }
  std::vector<Floats> sums(int64_t first, int64_t count, int threads, bool fuses) {
    const std::vector<Floats> out = pass(first, count, threads, fuses);
    return {out[2], out[3]};
  }
};

}  // namespace

TEST_CASE("layer norm's gradients of parts of a batch add up to those of the whole, bit for bit") {
  for (const int64_t rows : kTreeRowCounts)
    for (const int64_t columns : {37, 700}) {
      CAPTURE(rows);
      CAPTURE(columns);
      Layer layer(rows, columns);
      check_parts_add_up(rows, [&](int64_t first, int64_t count, int threads) {
        return layer.sums(first, count, threads, columns == 37);
      });
    }
}

TEST_CASE("layer norm's sums over many runs are one tree") {
  constexpr int64_t kRows = 1500;  // 47 runs of 32 rows
  Layer layer(kRows, 700);
  const auto whole = layer.sums(0, kRows, 2, false);
  const Node root = combined(7, 0, tree_blocks(kRows), [&](int level, int64_t k) {
    if (level != 2) return Node{};
    const int64_t first = k * 4 * kTreeRows;
    return Node{true, layer.sums(first, std::min(4 * kTreeRows, kRows - first), 1, false)};
  });
  CHECK(same_sums(root.sums, whole));
}

TEST_CASE("a row of a layer norm has the same outputs and gradient in any batch") {
  constexpr int64_t kRows = 300;
  Layer layer(kRows, 70);
  const std::vector<Floats> whole = layer.pass(0, kRows, 2, true);
  for (const auto& part_of : {std::pair<int64_t, int64_t>{0, 1}, {16, 7}, {33, 128}, {299, 1}}) {
    const int64_t first = part_of.first, count = part_of.second;
    CAPTURE(first);
    const std::vector<Floats> part = layer.pass(first, count, 1, true);
    for (size_t a = 0; a < 2; ++a)
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < layer.columns; ++j) REQUIRE(part[a].at(i, j) == whole[a].at(first + i, j));
  }
}

TEST_CASE("layer norm's sums over rows are one tree on every SIMD target") {
  for_each_simd_target([] {
    for (const int64_t rows : {1, 17, 48, 500}) {
      CAPTURE(rows);
      Layer layer(rows, 37);
      check_parts_add_up(
          rows, [&](int64_t first, int64_t count, int threads) { return layer.sums(first, count, threads, false); });
    }
  });
}
