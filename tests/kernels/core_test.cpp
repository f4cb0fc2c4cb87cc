// The ground under every operation: contexts, status, errors, structs of older and newer callers, views, the workspace.
#include <cctype>
#include <string>
#include <thread>

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/core/arguments.h"
#include "kernels/normalization/normalization_backends.h"
#include "kernels/optimizer/optimizer_backends.h"
#include "kernels/retrieval/retrieval_backends.h"
#include "kernels/supervision/supervision_backends.h"
#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

// What body throws, as the C interface reports it.
template <class Body>
std::string refusal(duet_status expected, Body&& body) {
  CHECK(duet::guard("core", [&] { body(); }) == expected);
  return duet_last_error();
}

// A struct that has grown by a field since its first version.
struct Grown {
  size_t struct_size;
  int64_t first, added;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

template <>
inline constexpr size_t duet::kFirstSize<Grown> = offsetof(Grown, added);

TEST_CASE("a context takes its options") {
  duet_context* context = nullptr;
  SUCCEED_CALL(duet_context_create(nullptr, &context));
  CHECK(duet_context_threads(context) >= 1);
  duet_context_destroy(context);
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = 3;
  for (const auto precision : {DUET_PRECISION_FP32, DUET_PRECISION_TF32X3, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
    options.precision = precision;
    SUCCEED_CALL(duet_context_create(&options, &context));
    CHECK(duet_context_threads(context) == 3);
    duet_context_destroy(context);
  }
  duet_context_destroy(nullptr);
  CHECK(duet_context_threads(nullptr) == 0);
}

TEST_CASE("a context refuses what it cannot be") {
  duet_context* context = nullptr;
  FAIL_CALL(duet_context_create(nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT, "context_create: context: null");
  for (const int32_t threads : {-1, 1025}) {
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.threads = threads;
    FAIL_CALL(duet_context_create(&options, &context), DUET_STATUS_INVALID_ARGUMENT,
              "options.threads: expected 0 to 1024, got " + std::to_string(threads));
  }
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = DUET_DEVICE_CUDA;
  if (duet_context_create(&options, &context) == DUET_STATUS_OK)
    duet_context_destroy(context);  // a build and machine with a device
  else
    CHECK(contains(duet_last_error(), "device"));
  CHECK(context == nullptr);
}

TEST_CASE("structs of older callers are read as far as they go, sizes of none and of newer ones refused") {
  for (const size_t size : {sizeof(Grown), duet::kFirstSize<Grown>}) {
    const Grown given{size, 5, 7};
    const Grown known = duet::load(&given, "grown");
    CHECK(known.struct_size == size);
    CHECK(known.first == 5);
    CHECK(known.added == (size == sizeof(Grown) ? 7 : 0));  // a caller that knows of no such field: it is not read
  }
  for (const size_t size : {size_t{0}, duet::kFirstSize<Grown> - 1, sizeof(Grown) + 1, ~size_t{0}}) {
    const Grown given{size, 5, 7};
    CHECK(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { duet::load(&given, "grown"); }) ==
          "core: grown.struct_size: expected 16 to 24 as the struct's _INIT sets it, got " + std::to_string(size));
  }
  // The same through calls.
  duet_context* context = nullptr;
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  Array<uint32_t> words(3, 1);
  for (const size_t size : {size_t{0}, sizeof(size_t)}) {
    options.struct_size = draw.struct_size = size;
    const std::string wanted = " as the struct's _INIT sets it, got " + std::to_string(size);
    FAIL_CALL(duet_context_create(&options, &context), DUET_STATUS_INVALID_ARGUMENT,
              "options.struct_size: expected 48" + wanted);
    FAIL_CALL(duet_random_words(Context(1), &draw, sized<duet_random_words_outputs>({.words = words.vector()})),
              DUET_STATUS_INVALID_ARGUMENT, "inputs.struct_size: expected 40" + wanted);
  }
}

TEST_CASE("every status has its name") {
  CHECK(std::string(duet_status_name(DUET_STATUS_OK)) == "DUET_STATUS_OK");
  CHECK(std::string(duet_status_name(DUET_STATUS_INVALID_ARGUMENT)) == "DUET_STATUS_INVALID_ARGUMENT");
  CHECK(std::string(duet_status_name(DUET_STATUS_WORKSPACE_TOO_SMALL)) == "DUET_STATUS_WORKSPACE_TOO_SMALL");
  CHECK(std::string(duet_status_name(DUET_STATUS_UNSUPPORTED)) == "DUET_STATUS_UNSUPPORTED");
  CHECK(std::string(duet_status_name(DUET_STATUS_CUDA_ERROR)) == "DUET_STATUS_CUDA_ERROR");
  CHECK(std::string(duet_status_name(DUET_STATUS_OUT_OF_MEMORY)) == "DUET_STATUS_OUT_OF_MEMORY");
  CHECK(std::string(duet_status_name(DUET_STATUS_IO_ERROR)) == "DUET_STATUS_IO_ERROR");
  CHECK(std::string(duet_status_name(DUET_STATUS_INTERNAL_ERROR)) == "DUET_STATUS_INTERNAL_ERROR");
  CHECK(DUET_STATUS_OK == 0);
}

TEST_CASE("what is thrown becomes a status with the operation's name") {
  CHECK(refusal(DUET_STATUS_INVALID_ARGUMENT, [] { duet::require(false, "tau: got ", 3); }) == "core: tau: got 3");
  CHECK(refusal(DUET_STATUS_UNSUPPORTED, [] { throw duet::Error(DUET_STATUS_UNSUPPORTED, "no"); }) == "core: no");
  CHECK(refusal(DUET_STATUS_OUT_OF_MEMORY, [] { throw std::bad_alloc(); }) == "core: out of host memory");
  CHECK(refusal(DUET_STATUS_INTERNAL_ERROR, [] { throw std::runtime_error("broken"); }) == "core: broken");
  CHECK(refusal(DUET_STATUS_INTERNAL_ERROR, [] { throw 1; }) == "core: unknown exception");
  CHECK_THROWS_AS(duet::succeed(DUET_STATUS_INTERNAL_ERROR), duet::Error);
  CHECK_NOTHROW(duet::succeed(DUET_STATUS_OK));
}

TEST_CASE("the last error is its thread's own") {
  FAIL_CALL(duet_context_create(nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT, "context: null");
  std::string fresh = "unset", failed;
  std::thread([&] {
    fresh = duet_last_error();
    duet_random_words(nullptr, nullptr, sized<duet_random_words_outputs>({.words = duet_vector{}}));
    failed = duet_last_error();
  }).join();
  CHECK(fresh.empty());
  CHECK(contains(failed, "random_words: inputs: null"));
  CHECK(contains(duet_last_error(), "context: null"));
  // A call that succeeds leaves the text of the failure before it.
  Context context(1);
  CHECK(contains(duet_last_error(), "context: null"));
}

TEST_CASE("the library says what it is") {
  const std::string version = duet_version();
  int dots = 0;
  for (const char c : version) {
    CHECK((c == '.' || std::isdigit(static_cast<unsigned char>(c))));
    dots += c == '.';
  }
  CHECK(dots == 2);
  CHECK(std::string(duet_simd_target()).size() > 0);
}

TEST_CASE("a matrix view is checked") {
  Floats array(3, 4, 2);
  const auto check = [](const duet_matrix& view, int64_t rows, int64_t columns) {
    return duet::matrix<const float>(view, "x", rows, columns);
  };
  const auto good = check(array.matrix(), 3, 4);
  CHECK((good.rows == 3 && good.columns == 4 && good.stride == 6));
  CHECK(good.row(2) == array.data() + 12);
  CHECK(good.part(1, 2, 2, 2).data == array.data() + 8);
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(array.matrix(), 3, 5); }),
                 "x: expected 3 x 5, got 3 x 4"));
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(array.matrix(), duet::kAny, 5); }),
                 "x: expected any x 5, got 3 x 4"));
  const std::pair<duet_dtype, std::string> others[] = {{DUET_DTYPE_F16, "f16"}, {DUET_DTYPE_BF16, "bf16"},
                                                       {DUET_DTYPE_I32, "i32"}, {DUET_DTYPE_I64, "i64"},
                                                       {DUET_DTYPE_U32, "u32"}, {DUET_DTYPE_F64, "f64"}};
  for (const auto& other : others) {
    duet_matrix view = array.matrix();
    view.dtype = other.first;
    CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, 3, 4); }),
                   "x: expected dtype f32, got " + other.second));
  }
  duet_matrix view = array.matrix();
  view.row_stride = 3;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, 3, 4); }),
                 "x: expected a row stride of at least 4, got 3"));
  view.row_stride = int64_t{1} << 31;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, 3, 4); }),
                 "x: expected a row stride below 2^31"));
  for (const int64_t stride :
       {int64_t{0}, int64_t{3}, int64_t{1} << 31, int64_t{-1}}) {  // of a single row none is read
    view = array.part(1, 0, 1, 4);
    view.row_stride = stride;
    CHECK(check(view, 1, 4).stride == 4);
    view = array.part(0, 0, 3, 0);
    view.row_stride = stride;
    CHECK(check(view, 3, 0).stride == 0);
  }
  view = array.part(0, 0, 3, 1);
  CHECK(check(view, 3, 1).stride == 6);
  view.row_stride = 0;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, 3, 1); }),
                 "x: expected a row stride of at least 1, got 0"));
  view = array.part(0, 0, 1, int64_t{1} << 31);
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, 1, duet::kAny); }),
                 "x: expected below 2^31 columns, got 2147483648"));
  view = array.matrix();
  view.rows = (int64_t{1} << 45) / 6 + 1;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, duet::kAny, 4); }),
                 "x: expected at most 2^45 elements, got 5864062014806 rows of 6"));
  view = array.matrix();
  view.rows = -1;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, duet::kAny, 4); }),
                 "x: expected any x 4, got -1 x 4"));
  view = array.matrix();
  view.data = nullptr;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(view, 3, 4); }), "x: null data for 3 x 4"));
  view.rows = 0;
  CHECK(check(view, 0, 4).rows == 0);  // nothing to point at
  CHECK_FALSE(duet::matrix<float>(duet_matrix{}, "x", 3, 4, duet::Need::optional));
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { check(duet_matrix{}, 3, 4); }),
                 "x: expected 3 x 4, got 0 x 0"));
}

TEST_CASE("a vector view is checked") {
  Ints array(5, 1);
  CHECK(duet::vector<const int32_t>(array.vector(), "y", 5).size == 5);
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(array.vector(), "y", 4); }),
                 "y: expected 4 elements, got 5"));
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { duet::vector<float>(array.vector(), "y", 5); }),
                 "y: expected dtype f32, got i32"));
  duet_vector view = array.vector();
  view.data = nullptr;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(view, "y", 5); }),
                 "y: null data for 5 elements"));
  view = array.vector();
  view.size = (int64_t{1} << 45) + 1;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(view, "y", duet::kAny); }),
                 "y: expected at most 2^45 elements"));
  view.size = -1;
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(view, "y", duet::kAny); }),
                 "y: expected any elements, got -1"));
  CHECK_FALSE(duet::vector<float>(duet_vector{}, "y", 5, duet::Need::optional));
  // The views of plain arrays say what they view.
  float f[6] = {};
  int32_t i[6] = {};
  int64_t l[2] = {};
  uint32_t u[2] = {};
  const auto is_matrix = [](const auto& given, const void* data, duet_dtype dtype) {
    return given.data == data && given.rows == 2 && given.columns == 3 && given.row_stride == 3 &&
           given.dtype == dtype && given.reserved == 0;
  };
  CHECK((is_matrix(duet_f32_matrix(f, 2, 3), f, DUET_DTYPE_F32) &&
         is_matrix(duet_f32_const_matrix(f, 2, 3), f, DUET_DTYPE_F32) &&
         is_matrix(duet_matrix_as_const(duet_f32_matrix(f, 2, 3)), f, DUET_DTYPE_F32)));
  CHECK((is_matrix(duet_i32_matrix(i, 2, 3), i, DUET_DTYPE_I32) &&
         is_matrix(duet_i32_const_matrix(i, 2, 3), i, DUET_DTYPE_I32)));
  CHECK((is_matrix(duet_i64_matrix(l, 2, 3), l, DUET_DTYPE_I64) &&
         is_matrix(duet_i64_const_matrix(l, 2, 3), l, DUET_DTYPE_I64)));
  const auto is_vector = [](const auto& given, const void* data, duet_dtype dtype) {
    return given.data == data && given.size == 2 && given.dtype == dtype && given.reserved == 0;
  };
  CHECK((is_vector(duet_f32_vector(f, 2), f, DUET_DTYPE_F32) &&
         is_vector(duet_f32_const_vector(f, 2), f, DUET_DTYPE_F32) &&
         is_vector(duet_vector_as_const(duet_f32_vector(f, 2)), f, DUET_DTYPE_F32)));
  CHECK((is_vector(duet_i32_vector(i, 2), i, DUET_DTYPE_I32) &&
         is_vector(duet_i32_const_vector(i, 2), i, DUET_DTYPE_I32)));
  CHECK((is_vector(duet_i64_vector(l, 2), l, DUET_DTYPE_I64) &&
         is_vector(duet_i64_const_vector(l, 2), l, DUET_DTYPE_I64)));
  CHECK((is_vector(duet_u32_vector(u, 2), u, DUET_DTYPE_U32) &&
         is_vector(duet_u32_const_vector(u, 2), u, DUET_DTYPE_U32)));
}

TEST_CASE("a workspace measures what it hands out, and is checked") {
  const auto take = [](duet::Workspace& workspace) {
    return std::pair{workspace.take<float>(3), workspace.take<double>(9)};
  };
  duet::Workspace measure;
  CHECK(take(measure).first == nullptr);
  CHECK(measure.used() == 64 + 128);
  const Scratch scratch(measure.used());
  duet::Workspace real(scratch.view());
  const auto [first, second] = take(real);
  CHECK(static_cast<void*>(first) == scratch.view().data);
  CHECK(reinterpret_cast<char*>(second) - reinterpret_cast<char*>(first) == 64);
  CHECK(real.used() == measure.used());
  CHECK_NOTHROW(real.check(192));
  CHECK(contains(refusal(DUET_STATUS_WORKSPACE_TOO_SMALL, [&] { real.check(193); }),
                 "workspace: expected 193 bytes, got 192"));
  CHECK(contains(refusal(DUET_STATUS_WORKSPACE_TOO_SMALL,
                         [&] {
                           duet::Workspace(duet_workspace{nullptr, 192}).check(192);
                         }),
                 "workspace: expected 192 bytes, got 0"));
  CHECK(contains(refusal(DUET_STATUS_INVALID_ARGUMENT,
                         [&] {
                           duet::Workspace(duet_workspace{static_cast<char*>(scratch.view().data) + 4, 64}).check(64);
                         }),
                 "workspace: expected 64-byte alignment"));
  CHECK_NOTHROW(duet::Workspace(duet_workspace{}).check(0));
  // No size wraps round: not of a piece, not of a product of extents, not of a sum.
  const auto refused = [](auto&& body) { return refusal(DUET_STATUS_OUT_OF_MEMORY, body); };
  duet::Workspace large;
  CHECK(refused([&] { large.take<float>(int64_t{1} << 62); }) ==
        "core: workspace: 4.61169e+18 elements of 4 bytes are more than memory can hold");
  CHECK(contains(refused([&] { large.take<double>(-1); }), "workspace: "));
  CHECK(contains(refused([&] { large.take_matrix<float>(int64_t{1} << 33, int64_t{1} << 31); }),
                 "workspace: 1.84467e+19 elements of 4 bytes"));
  CHECK(large.used() == 0);
  large.take<char>(int64_t{1} << 60);
  CHECK(contains(refused([&] { large.take<char>(1); }), "workspace: 1 elements of 1 bytes"));
}

TEST_CASE("two views share memory where an element of one is an element of the other") {
  // Every pair of small views of one buffer, each element counted.
  Draw draw(3);
  int shared = 0;
  for (int k = 0; k < 20000; ++k) {
    std::vector<float> buffer(64);
    const auto view = [&] {
      const int64_t rows = draw.integer(1, 5), columns = draw.integer(1, 6), stride = columns + draw.integer(0, 6);
      return duet::Matrix<float>{buffer.data() + draw.integer(0, 10), rows, columns, rows == 1 ? columns : stride};
    };
    const duet::Matrix<float> a = view(), b = view();
    bool expected = false;
    for (int64_t i = 0; i < a.rows * a.columns; ++i)
      for (int64_t j = 0; j < b.rows * b.columns; ++j)
        expected |= a.row(i / a.columns) + i % a.columns == b.row(j / b.columns) + j % b.columns;
    duet::Arguments arguments;
    arguments.add("a", duet::Matrix<const float>(a));
    arguments.add("b", b);
    const std::string text = expected ? refusal(DUET_STATUS_INVALID_ARGUMENT, [&] { arguments.check(); }) : "";
    REQUIRE((expected ? text == "core: b: shares memory with a"
                      : duet::guard("core", [&] { arguments.check(); }) == DUET_STATUS_OK));
    shared += expected;
  }
  CHECK((shared > 2000 && shared < 18000));
  duet::Arguments inputs;  // which may lie anywhere
  float one = 0;
  inputs.add("a", duet::Vector<const float>{&one, 1});
  inputs.add("b", duet::Vector<const float>{&one, 1});
  CHECK_NOTHROW(inputs.check());
}

TEST_CASE("two contexts in two host threads at once give the bits that each gives alone") {
  // Three operations with their own scratch, random draws and threads; shapes past a block, so that both contexts are
  // at work at the same time.
  struct Work {
    Floats a, v, weight, scale, x;
    explicit Work(uint64_t seed) : a(0, 0), v(0, 0), weight(0, 0), scale(1, 1), x(0, 0) {
      Draw draw(seed);
      a = draw.unit_rows(300, 24), v = draw.unit_rows(280, 24), weight = Floats(300, 1).fill(1),
      x = draw.normals(300, 24);
      scale.fill(10);
    }
    std::vector<Doubles> run(int threads) {
      const Context context(threads);
      Floats row(300, 1), column(280, 1), grad_a = Floats(300, 24).fill(0), grad_v = Floats(280, 24).fill(0),
                                          dropped(300, 24);
      Ints nearest(300, 1), labels = Draw(5).labels(300, 4), others = Draw(6).labels(280, 4);
      duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
      in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
      size_t bytes = 0;
      duet::succeed(duet_alignment_workspace(context, &in, &bytes));
      const Scratch scratch(bytes);
      duet::succeed(duet_alignment_forward(
          context, &in, sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}),
          scratch.view()));
      duet::succeed(duet_alignment_backward(context, &in,
                                            sized<duet_alignment_gradients>({.lse_row = row.vector(),
                                                                             .grad_lse_row = weight.vector(),
                                                                             .grad_a = grad_a.matrix(),
                                                                             .grad_v = grad_v.matrix()}),
                                            scratch.view()));
      duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
      mining.metric = DUET_METRIC_SQEUCLIDEAN;
      mining.x = a.matrix(), mining.y = v.matrix(), mining.labels_x = labels.vector(),
      mining.labels_y = others.vector();
      duet::succeed(duet_mining_workspace(context, &mining, &bytes));
      const Scratch more(bytes);
      duet_mining_hard_side out = DUET_MINING_HARD_SIDE_INIT;
      out.negative_index = nearest.vector();
      duet::succeed(duet_mining_hard(context, &mining, sized<duet_mining_hard_outputs>({.rows = &out}), more.view()));
      duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
      const int64_t step = 3;
      options.drop_probability = 0.5f, options.step = duet_i64_const_vector(&step, 1);
      duet::succeed(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &options}),
                                         sized<duet_dropout_outputs>({.outputs = dropped.matrix()})));
      return {row.values(), column.values(), grad_a.values(), grad_v.values(), nearest.values(), dropped.values()};
    }
  };
  Work first(1), second(2);
  const std::vector<Doubles> alone_first = first.run(2), alone_second = second.run(2);
  for (const int threads : {1, 2}) {
    std::atomic<int> different = 0, ready = 0;
    const auto repeat = [&](Work& work, const std::vector<Doubles>& alone) {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      for (int k = 0; k < 20; ++k) different += work.run(threads) != alone;
    };
    std::thread other([&] { repeat(second, alone_second); });
    repeat(first, alone_first);
    other.join();
    CHECK(different == 0);
  }
}
