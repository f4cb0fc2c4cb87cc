#include "tests/reference/gather.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/faults.h"

using namespace duet::test;

namespace {

struct Case {
  int64_t source_rows, columns, batch, padding;
};
// The last: past what a CUDA block sorts.
const Case kCases[] = {{1, 1, 1, 0},      {7, 3, 0, 0},       {7, 0, 5, 0},     {13, 67, 131, 0},
                       {13, 67, 131, 5},  {300, 129, 257, 3}, {41, 64, 133, 4}, {5, 132, 8, 0},
                       {997, 5, 1009, 0}, {1000, 4, 9, 0},    {29, 4, 8209, 0}};

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
      SUCCEED_CALL(duet_gather_forward(
          context, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
          sized<duet_gather_outputs>({.rows = rows.matrix()})));
      SUCCEED_CALL(duet_gather_labels(
          context, sized<duet_gather_labels_inputs>({.source = labels.vector(), .indices = indices.vector()}),
          sized<duet_gather_labels_outputs>({.labels = picked.vector()})));
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
        SUCCEED_CALL(duet_gather_backward(
            Context(threads), sized<duet_gather_inputs>({.indices = indices.vector()}),
            sized<duet_gather_gradients>({.grad_rows = grad_rows.matrix(), .grad_source = actual.matrix()})));
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
  SUCCEED_CALL(duet_gather_backward(
      Context(1), sized<duet_gather_inputs>({.indices = indices.vector()}),
      sized<duet_gather_gradients>({.grad_rows = grad_rows.matrix(), .grad_source = grad_source.matrix()})));
  CHECK(std::signbit(grad_source.at(1, 0)));
  CHECK(std::isnan(grad_source.at(3, 3)));
  CHECK(grad_source.at(2, 0) == 0);
  CHECK(grad_source.at(4, 0) == 0);
}

namespace {

// Sources of one data set, and where a batch of them goes.
struct Set {
  std::vector<Floats> sources, rows;
  Ints labels, picked;
  Longs indices;
  std::vector<duet_const_matrix> from;
  std::vector<duet_matrix> to;

  Set(Draw& draw, int64_t size, int64_t batch, const std::vector<int64_t>& columns, int64_t padding)
      : labels(draw.labels(size, 5, 0.2)), picked(batch, 1), indices(draw_indices(draw, {size, 0, batch, 0})) {
    for (const int64_t width : columns) {
      sources.push_back(draw.normals(size, width, 1, padding)), rows.emplace_back(batch, width, padding);
    }
    for (size_t k = 0; k < sources.size(); ++k) from.push_back(sources[k].matrix()), to.push_back(rows[k].matrix());
  }
  duet_gather_batch_inputs inputs() {
    duet_gather_batch_inputs in = DUET_GATHER_BATCH_INPUTS_INIT;
    in.sources = from.data(), in.source_count = static_cast<int64_t>(from.size());
    in.labels = labels.vector(), in.indices = indices.vector();
    return in;
  }
};

}  // namespace

TEST_CASE("gather takes rows of several sources and their labels at once") {
  struct Shape {
    int64_t size, batch;
    std::vector<int64_t> columns;
    int64_t padding;
  };
  for (const Shape& shape :
       {Shape{1, 1, {1}, 0}, Shape{20, 0, {3, 5}, 0}, Shape{97, 128, {128, 1024}, 0}, Shape{97, 33, {7, 129, 0, 64}, 1},
        Shape{13, 261, {130, 4, 131}, 2}, Shape{1009, 2003, {5, 12}, 0}}) {
    CAPTURE(shape.batch);
    Draw draw(5);
    Set set(draw, shape.size, shape.batch, shape.columns, shape.padding);
    std::vector<int64_t> chosen;
    for (int64_t i = 0; i < shape.batch; ++i) chosen.push_back(set.indices.at(i));
    duet_gather_batch_inputs inputs = set.inputs();
    const auto check = [&] {
      for (size_t k = 0; k < set.rows.size(); ++k)
        check_close(set.rows[k].values(), duet::reference::gather(set.sources[k].values(), shape.columns[k], chosen), 0,
                    "rows");
    };
    for (const int threads : thread_counts()) {
      const Context context(threads);
      for (Floats& rows : set.rows) rows.fill(kNaN);
      set.picked.fill(-7);
      SUCCEED_CALL(duet_gather_batch(
          context, &inputs, sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})));
      check();
      check_close(set.picked.values(), duet::reference::gather(set.labels.values(), 1, chosen), 0, "labels");
    }
    for (Floats& rows : set.rows) rows.fill(kNaN);
    inputs.labels = {};
    SUCCEED_CALL(duet_gather_batch(Context(1), &inputs, sized<duet_gather_batch_outputs>({.rows = set.to.data()})));
    check();
  }
}

TEST_CASE("gather of a batch notes the first index out of range where its context notes faults") {
  NotingContext context;
  Draw draw(6);
  Set set(draw, 20, 300, {4, 9}, 0);
  const duet_gather_batch_inputs inputs = set.inputs();
  SUCCEED_CALL(duet_gather_batch(
      context, &inputs, sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})));
  CHECK(context.taken() == "");
  set.indices.at(271) = 20, set.indices.at(280) = int64_t{1} << 40, set.indices.at(299) = -1;
  if (on_cpu()) {
    FAIL_CALL(
        duet_gather_batch(context, &inputs,
                          sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})),
        DUET_STATUS_INVALID_ARGUMENT, "inputs.indices[271]: expected 0 to 19, got 20");
    return;
  }
  SUCCEED_CALL(duet_gather_batch(
      context, &inputs, sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})));
  set.indices.at(3) = -5;  // a later call's: the first stays
  SUCCEED_CALL(duet_gather_batch(
      context, &inputs, sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})));
  CHECK(context.taken() == "fault_check: inputs.indices[271]: expected 0 to 19, got 20");
  for (const int64_t i : {3, 271, 280, 299})
    CHECK((std::isnan(set.rows[0].at(i, 3)) && std::isnan(set.rows[1].at(i, 8)) && set.picked.at(i) == -1));
  CHECK(set.rows[1].at(270, 8) == set.sources[1].at(set.indices.at(270), 8));
  FAIL_CALL(duet_gather_batch(Context(1), &inputs,
                              sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.indices[3]: expected 0 to 19, got -5");
}

TEST_CASE("gather of a batch refuses misuse") {
  Context context;
  Draw draw(7);
  Set set(draw, 6, 3, {4, 2}, 0);
  const duet_gather_batch_inputs good = set.inputs();
  duet_gather_batch_inputs wrong = good;
  const auto fails = [&](const std::string& part) {
    FAIL_CALL(
        duet_gather_batch(context, &wrong,
                          sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})),
        DUET_STATUS_INVALID_ARGUMENT, part);
    wrong = good;
  };
  for (const int64_t count : {0, 5, -1}) {
    wrong.source_count = count;
    fails("inputs.source_count: expected 1 to 4, got " + std::to_string(count));
  }
  wrong.sources = nullptr;
  fails("inputs.sources: null for 2 matrices");
  wrong.struct_size = 8;
  fails("inputs.struct_size: expected ");
  wrong.labels.size = 5;
  fails("inputs.labels: expected 6 elements, got 5");
  wrong.labels = {};
  fails("labels: expected null without inputs.labels");
  wrong.indices.dtype = DUET_DTYPE_I32;
  fails("inputs.indices: expected dtype i64, got i32");
  set.from[1].rows = 5;
  fails("inputs.sources[1]: expected 6 x any, got 5 x 2");
  set.from[1].rows = 6;
  set.to[1].columns = 1;
  fails("rows[1]: expected 3 x 2, got 3 x 1");
  set.to[1] = set.to[0];
  set.to[1].columns = 2;
  fails("rows[1]: shares memory with outputs.rows[0]");
  set.to[1] = set.rows[1].matrix();
  set.to[0].data = set.sources[1].data();
  fails("rows[0]: shares memory with inputs.sources[1]");
  FAIL_CALL(duet_gather_batch(context, &good, sized<duet_gather_batch_outputs>({.labels = set.picked.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "rows: null for 2 matrices");
  FAIL_CALL(duet_gather_batch(context, nullptr,
                              sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  set.to[0] = set.rows[0].matrix();
  FAIL_CALL(duet_gather_batch(nullptr, &good,
                              sized<duet_gather_batch_outputs>({.rows = set.to.data(), .labels = set.picked.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
}

TEST_CASE("gather refuses misuse") {
  Context context;
  Draw draw(3);
  Floats source = draw.normals(4, 3), rows(2, 3), narrow(2, 2);
  Longs indices(2, 1);
  indices.at(0) = 0, indices.at(1) = 4;
  FAIL_CALL(
      duet_gather_forward(context, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                          sized<duet_gather_outputs>({.rows = rows.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "indices[1]: expected 0 to 3, got 4");
  indices.at(1) = -1;
  FAIL_CALL(
      duet_gather_forward(context, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                          sized<duet_gather_outputs>({.rows = rows.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "indices[1]");
  indices.at(1) = 3;
  FAIL_CALL(
      duet_gather_forward(context, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                          sized<duet_gather_outputs>({.rows = narrow.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "rows: expected 2 x 3, got 2 x 2");
  FAIL_CALL(
      duet_gather_forward(nullptr, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                          sized<duet_gather_outputs>({.rows = rows.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "context: null");
}
