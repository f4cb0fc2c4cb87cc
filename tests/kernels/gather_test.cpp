#include "tests/reference/gather.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

struct Case {
  int64_t source_rows, columns, batch, padding;
};
// The last: past what a CUDA block sorts.
const Case kCases[] = {{1, 1, 1, 0},     {7, 3, 0, 0},   {7, 0, 5, 0},      {13, 67, 131, 0}, {13, 67, 131, 5}, {300, 129, 257, 3},
                       {41, 64, 133, 4}, {5, 132, 8, 0}, {997, 5, 1009, 0}, {1000, 4, 9, 0},  {29, 4, 8209, 0}};

enum class Indices { drawn, all_the_same, falling };

Longs draw_indices(Draw& draw, const Case& shape, Indices kind = Indices::drawn) {
  Longs indices(shape.batch, 1);
  for (int64_t i = 0; i < shape.batch; ++i)
    indices.at(i) = kind == Indices::drawn          ? draw.integer(0, shape.source_rows - 1)
                    : kind == Indices::all_the_same ? shape.source_rows / 2
                                                    : (shape.batch - i) % shape.source_rows;
  return indices;
}

}  // namespace

TEST_CASE("gather copies rows and labels") {
  for (const Case& shape : kCases) {
    CAPTURE(shape.batch);
    Draw draw(1);
    Floats source = draw.normals(shape.source_rows, shape.columns, 1, shape.padding);
    Ints labels = draw.labels(shape.source_rows, 5, 0.2);
    Longs indices = draw_indices(draw, shape);
    std::vector<int64_t> chosen;
    for (int64_t i = 0; i < shape.batch; ++i) chosen.push_back(indices.at(i));
    for (const int threads : thread_counts()) {
      Context context(threads);
      Floats rows(shape.batch, shape.columns, shape.padding);
      Ints picked(shape.batch, 1);
      SUCCEED_CALL(duet_gather_forward(context, source.matrix(), indices.vector(), rows.matrix()));
      SUCCEED_CALL(duet_gather_labels(context, labels.vector(), indices.vector(), picked.vector()));
      check_close(rows.values(), duet::reference::gather(source.values(), shape.columns, chosen), 0, "rows");
      check_close(picked.values(), duet::reference::gather(labels.values(), 1, chosen), 0, "labels");
    }
  }
}

TEST_CASE("gather backward adds repeated rows in order") {
  for (const Case& shape : kCases)
    for (const Indices kind : {Indices::drawn, Indices::all_the_same, Indices::falling}) {
      if (!affordable(shape.batch * 1000)) continue;  // the emulator sorts
      CAPTURE(shape.batch);
      CAPTURE(kind);
      Draw draw(2);
      Longs indices = draw_indices(draw, shape, kind);
      Floats grad_rows = draw.normals(shape.batch, shape.columns, 1, shape.padding);
      const Floats before = draw.normals(shape.source_rows, shape.columns, 1, shape.padding);
      // In float32 and in the order of the batch: the contract says so, to the bit.
      Floats expected = before;
      for (int64_t i = 0; i < shape.batch; ++i)
        for (int64_t k = 0; k < shape.columns; ++k) expected.at(indices.at(i), k) += grad_rows.at(i, k);
      for (const int threads : thread_counts()) {
        Floats actual = before;
        SUCCEED_CALL(duet_gather_backward(Context(threads), indices.vector(), grad_rows.matrix(), actual.matrix()));
        CHECK(actual.same_bits(expected));
      }
    }
}

TEST_CASE("gather backward leaves -0 and other rows' NaN where they are") {
  Longs indices(5, 1);
  for (int64_t i = 0; i < 5; ++i) indices.at(i) = i < 3 ? 1 : 3;
  Floats grad_rows(5, 4), grad_source(5, 4);
  grad_rows.fill(-0.0), grad_source.fill(-0.0);
  for (int64_t k = 0; k < 4; ++k) grad_rows.at(4, k) = grad_source.at(0, k) = std::nanf("");
  Floats expected = grad_source;
  for (int64_t k = 0; k < 4; ++k) expected.at(3, k) = grad_source.at(3, k) + grad_rows.at(4, k);
  SUCCEED_CALL(duet_gather_backward(Context(1), indices.vector(), grad_rows.matrix(), grad_source.matrix()));
  CHECK(std::signbit(grad_source.at(1, 0)));
  CHECK(std::isnan(grad_source.at(3, 3)));
  CHECK(grad_source.at(2, 0) == 0);
  CHECK(grad_source.at(4, 0) == 0);
}

TEST_CASE("gather refuses misuse") {
  Context context;
  Draw draw(3);
  Floats source = draw.normals(4, 3), rows(2, 3), narrow(2, 2);
  Longs indices(2, 1);
  indices.at(0) = 0, indices.at(1) = 4;
  FAIL_CALL(duet_gather_forward(context, source.matrix(), indices.vector(), rows.matrix()), DUET_INVALID_ARGUMENT,
            "indices[1]: expected 0 to 3, got 4");
  indices.at(1) = -1;
  FAIL_CALL(duet_gather_forward(context, source.matrix(), indices.vector(), rows.matrix()), DUET_INVALID_ARGUMENT, "indices[1]");
  indices.at(1) = 3;
  FAIL_CALL(duet_gather_forward(context, source.matrix(), indices.vector(), narrow.matrix()), DUET_INVALID_ARGUMENT,
            "rows: expected 2 x 3, got 2 x 2");
  FAIL_CALL(duet_gather_forward(nullptr, source.matrix(), indices.vector(), rows.matrix()), DUET_INVALID_ARGUMENT, "context: null");
}
