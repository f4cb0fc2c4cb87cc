#include "tests/reference/gather.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;

namespace {

struct Case {
  int64_t source_rows, columns, batch, padding;
};
const Case kCases[] = {{1, 1, 1, 0}, {7, 3, 0, 0}, {7, 0, 5, 0}, {13, 67, 131, 0}, {13, 67, 131, 5}, {300, 129, 257, 3}, {41, 64, 133, 4}};

Longs draw_indices(Draw& draw, const Case& shape) {
  Longs indices(shape.batch, 1);
  for (int64_t i = 0; i < shape.batch; ++i) indices.at(i) = draw.integer(0, shape.source_rows - 1);
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
  for (const Case& shape : kCases) {
    CAPTURE(shape.batch);
    Draw draw(2);
    Longs indices = draw_indices(draw, shape);
    Floats grad_rows = draw.normals(shape.batch, shape.columns, 1, shape.padding);
    const Floats before = draw.normals(shape.source_rows, shape.columns, 1, shape.padding);
    Doubles expected = before.values();
    for (int64_t i = 0; i < shape.batch; ++i)
      for (int64_t k = 0; k < shape.columns; ++k) expected[static_cast<size_t>(indices.at(i) * shape.columns + k)] += grad_rows.at(i, k);
    Floats first = before;
    SUCCEED_CALL(duet_gather_backward(Context(1), indices.vector(), grad_rows.matrix(), first.matrix()));
    // A sum of k values of size 1 in float32 is off by at most k half ulps of the largest partial sum.
    check_relative(first.values(), expected, 1e-6, "grad_source");
    for (const int threads : other_thread_counts()) {
      Floats again = before;
      SUCCEED_CALL(duet_gather_backward(Context(threads), indices.vector(), grad_rows.matrix(), again.matrix()));
      CHECK(again.same_bits(first));
    }
  }
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
