// Features of float16 and bfloat16: every value of both is converted exactly, and a call gives the bits that it gives
// of the float32 of the same values.
#include <bit>

#include "kernels/core/arguments.h"
#include "tests/kernels/halves_problem.h"

using namespace duet;
using namespace duet::test;
using namespace duet::test::halves;

namespace {

constexpr duet_dtype kHalves[] = {DUET_DTYPE_F16, DUET_DTYPE_BF16};

struct Shape {
  int64_t n, m, d;
};

// The same call of halves and of float32, the bits compared.
void check_same(const Operation& operation, duet_dtype of_x, duet_dtype of_y, const Shape& shape, int64_t padding,
                int64_t shift, int threads) {
  CAPTURE(operation.name);
  CAPTURE(shape.n);
  CAPTURE(shape.m);
  CAPTURE(shape.d);
  CAPTURE(of_x);
  CAPTURE(of_y);
  CAPTURE(padding);
  Draw draw(31);
  Batch batch(draw, of_x, of_y, shape.n, shape.m, shape.d, padding, shift);
  const Context one(1), several(threads);
  Turn wide(one, batch.wide()), halves(several, batch.sides());
  operation.run(wide);
  operation.run(halves);
  REQUIRE_MESSAGE(wide.status == DUET_STATUS_OK, wide.error);
  REQUIRE_MESSAGE(halves.status == DUET_STATUS_OK, halves.error);
  CHECK(halves.bits == wide.bits);
}

}  // namespace

TEST_CASE("every float16 and every bfloat16 is converted exactly") {
  struct Form {
    int64_t rows, columns, padding, shift;  // of all 65536, row after row
  };
  for (const duet_dtype dtype : kHalves)
    for (const Form& form : {Form{256, 256, 0, 0},
                             {256, 256, 0, 1},
                             {512, 128, 4, 0},
                             {512, 128, 3, 0},
                             {241, 272, 5, 2},
                             {1, 65536, 0, 0},
                             {65536, 1, 0, 0},
                             {65536, 1, 1, 0}})
      for (const int threads : thread_counts()) {
        CAPTURE(dtype);
        CAPTURE(form.rows);
        CAPTURE(form.padding);
        Features x(dtype, form.rows, form.columns, form.padding, form.shift), y(dtype, 1, form.columns);
        y.set(0, 0, 0x3F80);
        for (int64_t k = 0; k < form.rows * form.columns; ++k)
          x.set(k / form.columns, k % form.columns, static_cast<uint16_t>(k));
        for (int64_t j = 0; j < form.columns; ++j) y.set(0, j, static_cast<uint16_t>(65535 - j));
        const Context context(threads);
        const Scratch scratch(x.bytes() + y.bytes() + 64);
        duet_workspace workspace = scratch.view();
        Arguments arguments(workspace);
        const Matrix<const float> of_x = arguments.side(x.view(), "x", kAny),
                                  of_y = arguments.side(y.view(), "y", of_x.columns);
        arguments.check(workspace, 64);
        CHECK(arguments.reserved() == x.bytes() + y.bytes());
        workspace = widen(context, arguments, workspace);
        device.synchronize();
        CHECK(workspace.bytes == 64);
        CHECK(workspace.data == static_cast<char*>(scratch.view().data) + x.bytes() + y.bytes());
        int64_t wrong = 0, first = -1;
        for (int64_t k = 0; k < form.rows * form.columns; ++k)
          if (std::bit_cast<uint32_t>(of_x.row(k / form.columns)[k % form.columns]) !=
              bits_of(static_cast<uint16_t>(k), dtype))
            first = wrong++ == 0 ? k : first;
        CAPTURE(first);
        CHECK(wrong == 0);
        for (int64_t j = 0; j < form.columns && j < 65536; ++j)
          if (std::bit_cast<uint32_t>(of_y.row(0)[j]) != bits_of(static_cast<uint16_t>(65535 - j), dtype)) ++wrong;
        CHECK(wrong == 0);
      }
}

TEST_CASE("halves give the bits of the float32 of the same values") {
  const int threads = thread_counts().back();
  for (const Operation& operation : operations()) {
    check_same(operation, DUET_DTYPE_F16, DUET_DTYPE_BF16, {9, 11, 5}, 0, 0, threads);
    check_same(operation, DUET_DTYPE_BF16, DUET_DTYPE_F32, {9, 11, 8}, 3, 1, threads);
    check_same(operation, DUET_DTYPE_F32, DUET_DTYPE_F16, {11, 9, 4}, 4, 0, threads);
    check_same(operation, DUET_DTYPE_F16, DUET_DTYPE_F16, {1, 1, 1}, 0, 0, threads);
    for (const Shape& shape : {Shape{0, 11, 5}, {9, 0, 5}, {0, 0, 5}, {9, 11, 0}})
      check_same(operation, DUET_DTYPE_BF16, DUET_DTYPE_F16, shape, 0, 0, threads);
    if (affordable_tiles(130, 141, 37))
      check_same(operation, DUET_DTYPE_BF16, DUET_DTYPE_F16, {130, 141, 37}, 1, 0, threads);
  }
}

TEST_CASE("halves with an infinity, NaN or subnormal numbers give the bits of the same float32") {
  for (const Operation& operation : operations()) {
    CAPTURE(operation.name);
    Draw draw(3);
    Batch batch(draw, DUET_DTYPE_F16, DUET_DTYPE_BF16, 7, 6, 5, 0, 0);
    batch.x.set(1, 2, 0x7C00), batch.x.set(3, 0, 0x7E01), batch.y.set(2, 4, 0xFF80), batch.y.set(5, 1, 0x7FC1);
    batch.x.set(4, 4, 0x0001), batch.y.set(0, 0, 0x8001);
    const Context context(2);
    Turn wide(context, batch.wide()), halves(context, batch.sides());
    operation.run(wide);
    operation.run(halves);
    REQUIRE_MESSAGE(halves.status == DUET_STATUS_OK, halves.error);
    CHECK(halves.bits == wide.bits);
  }
}

TEST_CASE("halves take 4 bytes an element of the workspace, which is asked for without data and refused in one line") {
  for (const Operation& operation : operations()) {
    CAPTURE(operation.name);
    Draw draw(5);
    const int64_t n = operation.name.find("decorrelation") == 0 ? 10 : 9;
    Batch batch(draw, DUET_DTYPE_F16, DUET_DTYPE_BF16, n, 10, 6, 2, 0);
    const Context context(1);
    Turn plain(context, batch.wide()), halves(context, batch.sides());
    operation.run(plain);
    operation.run(halves);
    const bool teachers = operation.name.find("distillation") == 0;
    CHECK(halves.bytes - plain.bytes ==
          batch.x.bytes() + batch.y.bytes() + (teachers ? batch.teacher_x.bytes() + batch.teacher_y.bytes() : 0));
    // Without data a call fails, but its size query, which comes first, does not.
    Sides nothing = batch.sides();
    for (duet_const_matrix* view : {&nothing.x, &nothing.y, &nothing.teacher_x, &nothing.teacher_y})
      view->data = nullptr;
    Turn asked(context, nothing);
    operation.run(asked);
    CHECK(asked.bytes == halves.bytes);
    CHECK(asked.status == DUET_STATUS_INVALID_ARGUMENT);
    CHECK_MESSAGE(asked.error.find(": null data for ") != std::string::npos, asked.error);

    const auto refused = [&](auto space, duet_status status, const std::string& part) {
      Turn turn(context, batch.sides());
      turn.space = space;
      operation.run(turn);
      CHECK(turn.status == status);
      CHECK_MESSAGE(turn.error.find(part) != std::string::npos, turn.error);
      CHECK(turn.error.find('\n') == std::string::npos);
    };
    const std::string expected = "workspace: expected " + std::to_string(halves.bytes) + " bytes, got ";
    refused(
        [](void* data, size_t bytes) {
          return duet_workspace{data, bytes - 1};
        },
        DUET_STATUS_WORKSPACE_TOO_SMALL, expected + std::to_string(halves.bytes - 1));
    refused(
        [](void*, size_t bytes) {
          return duet_workspace{nullptr, bytes};
        },
        DUET_STATUS_WORKSPACE_TOO_SMALL, expected + '0');
    refused([](void*, size_t) { return duet_workspace{nullptr, 0}; }, DUET_STATUS_WORKSPACE_TOO_SMALL, expected + '0');
    refused(
        [](void* data, size_t bytes) {
          return duet_workspace{static_cast<char*>(data) + 32, bytes};
        },
        DUET_STATUS_INVALID_ARGUMENT, "workspace: expected 64-byte alignment");
  }
}

TEST_CASE("a half lies where its 2 bytes an element lie") {
  const Context context(1);
  // Behind 9 x 5 halves of x, 90 bytes: the workspace from byte 128 on, and outputs from 2 bytes past x.
  const size_t bytes_of_x = 90;
  Features x(DUET_DTYPE_F16, 9, 5), y(DUET_DTYPE_BF16, 4, 5);
  Draw draw(1);
  x.draw(draw), y.draw(draw);
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.x = x.view(), in.y = y.view(), in.metric = DUET_METRIC_SQEUCLIDEAN;
  size_t bytes = 0;
  SUCCEED_CALL(duet_distance_workspace(context, &in, &bytes));
  const Scratch memory(128 + bytes + 9 * 4 * sizeof(float)), scratch(bytes);
  char* const data = static_cast<char*>(memory.view().data);
  std::memcpy(data, x.data(), bytes_of_x);
  in.x.data = data;
  Floats expected(9, 4), out(9, 4);
  const auto forward = [&](void* distances, duet_workspace workspace) {
    return duet_distance_forward(
        context, &in,
        sized<duet_distance_outputs>({.distances = duet_f32_matrix(static_cast<float*>(distances), 9, 4)}), workspace);
  };
  SUCCEED_CALL(forward(expected.data(), scratch.view()));
  SUCCEED_CALL(forward(data + bytes_of_x + 2, scratch.view()));  // 92, the next float32
  CHECK(std::memcmp(data + bytes_of_x + 2, expected.data(), 9 * 4 * sizeof(float)) == 0);
  FAIL_CALL(forward(data + bytes_of_x - 2, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "outputs.distances: shares memory with inputs.x");
  SUCCEED_CALL(forward(out.data(), {data + 128, bytes}));
  CHECK(out.same_bits(expected));
  FAIL_CALL(forward(out.data(), {data + 64, bytes}), DUET_STATUS_INVALID_ARGUMENT,
            "workspace: shares memory with inputs.x");
  FAIL_CALL(forward(scratch.view().data, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "workspace: shares memory with outputs.distances");
}

TEST_CASE("halves are refused wherever they are no features, and by the same names as float32") {
  const Context context(1);
  Draw draw(1);
  Features x(DUET_DTYPE_F16, 6, 4), y(DUET_DTYPE_BF16, 6, 4);
  x.draw(draw), y.draw(draw);
  Floats out(6, 6), grad = Floats(6, 4).fill(0), scale = Floats(1, 1).fill(1), wide(6, 4);
  const Scratch scratch(1 << 20);
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.x = x.view(), in.y = y.view();
  size_t bytes = 0;
  const auto forward = [&](duet_matrix distances) {
    return duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = distances}), scratch.view());
  };
  SUCCEED_CALL(forward(out.matrix()));
  duet_matrix distances = out.matrix();
  distances.dtype = DUET_DTYPE_F16;
  FAIL_CALL(forward(distances), DUET_STATUS_INVALID_ARGUMENT, "outputs.distances: expected dtype f32, got f16");
  duet_matrix grad_x = grad.matrix();
  grad_x.dtype = DUET_DTYPE_BF16;
  FAIL_CALL(duet_distance_backward(context, &in,
                                   sized<duet_distance_gradients>({.grad_distances = out.matrix(), .grad_x = grad_x}),
                                   scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "gradients.grad_x: expected dtype f32, got bf16");
  in.y.dtype = DUET_DTYPE_I32;
  FAIL_CALL(forward(out.matrix()), DUET_STATUS_INVALID_ARGUMENT, "inputs.y: expected dtype f32, f16 or bf16, got i32");
  FAIL_CALL(duet_distance_workspace(context, &in, &bytes), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.y: expected dtype f32, f16 or bf16, got i32");
  in.y = y.view(), in.y.columns = 3;
  FAIL_CALL(forward(out.matrix()), DUET_STATUS_INVALID_ARGUMENT, "inputs.y: expected any x 4, got 6 x 3");
  in.y = y.view(), in.y.rows = int64_t{1} << 31;
  FAIL_CALL(forward(out.matrix()), DUET_STATUS_INVALID_ARGUMENT, "inputs.y: expected below 2^31 rows, got 2147483648");
  in.y = y.view(), in.y.row_stride = 3;
  FAIL_CALL(forward(out.matrix()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.y: expected a row stride of at least 4, got 3");

  duet_contrastive_inputs contrastive = DUET_CONTRASTIVE_INPUTS_INIT;
  contrastive.kind = DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, contrastive.a = x.view(), contrastive.v = y.view();
  contrastive.class_a = x.view(), contrastive.class_v = y.view(), contrastive.scale = scale.vector();
  FAIL_CALL(duet_contrastive_workspace(context, &contrastive, &bytes), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.class_a: expected dtype f32, got f16");
  duet_linear_inputs linear = DUET_LINEAR_INPUTS_INIT;
  linear.x = x.view(), linear.weight = grad.matrix();
  FAIL_CALL(duet_linear_workspace(context, &linear, &bytes), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.x: expected dtype f32, got f16");
  duet_unit_rows_inputs unit = DUET_UNIT_ROWS_INPUTS_INIT;  // without a workspace
  unit.x = y.view();
  FAIL_CALL(duet_unit_rows_forward(context, &unit, sized<duet_unit_rows_outputs>({.outputs = wide.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.x: expected dtype f32, got bf16");
}

TEST_CASE("a captured call is one launch more, and converts what the halves hold when it is replayed") {
  void* stream = nullptr;
  SUCCEED_CALL(duet_stream_create(device.kind, 0, &stream));
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = device.kind, options.stream = stream, options.threads = 1;
  duet_context* context = nullptr;
  SUCCEED_CALL(duet_context_create(&options, &context));
  Draw draw(1);
  Batch batch(draw, DUET_DTYPE_F16, DUET_DTYPE_BF16, 9, 11, 5, 1, 0);
  Floats out(9, 11), expected(9, 11);
  const auto forward = [&](const Sides& sides, Floats& to, duet_workspace workspace) {
    duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
    in.x = sides.x, in.y = sides.y, in.metric = DUET_METRIC_COSINE;
    REQUIRE_MESSAGE(duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = to.matrix()}),
                                          workspace) == DUET_STATUS_OK,
                    duet_last_error());
  };
  const Scratch scratch(1 << 20);
  const auto nodes_of = [&](const Sides& sides, Floats& to, duet_graph** graph) {
    REQUIRE_MESSAGE(duet_graph_begin(context) == DUET_STATUS_OK, duet_last_error());
    forward(sides, to, scratch.view());
    REQUIRE_MESSAGE(duet_graph_end(context, graph) == DUET_STATUS_OK, duet_last_error());
    int64_t nodes = 0;
    SUCCEED_CALL(duet_graph_shape(*graph, &nodes, nullptr));
    return nodes;
  };
  duet_graph *graph = nullptr, *graph_of_wide = nullptr;
  if (on_cpu()) {  // which has no graphs
    FAIL_CALL(duet_graph_begin(context), DUET_STATUS_UNSUPPORTED, "a CPU context has none");
  } else {
    CHECK(nodes_of(batch.sides(), out, &graph) == nodes_of(batch.wide(), expected, &graph_of_wide) + 1);
    for (const uint16_t half : {0x3C00, 0x4123}) {
      batch.x.set(2, 3, half), batch.y.set(10, 4, half);
      SUCCEED_CALL(duet_graph_launch(context, graph));
      SUCCEED_CALL(duet_context_synchronize(context));
      forward(batch.wide(), expected, scratch.view());
      SUCCEED_CALL(duet_context_synchronize(context));
      CHECK(out.same_bits(expected));
    }
  }
  duet_graph_destroy(graph);
  duet_graph_destroy(graph_of_wide);
  duet_context_destroy(context);
  duet_stream_destroy(device.kind, stream);
}
