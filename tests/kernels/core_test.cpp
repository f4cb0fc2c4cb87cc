// The ground under every operation: contexts, status, errors, structs of older and newer callers, views, the workspace, the partition of work.
#include <atomic>
#include <cctype>
#include <string>
#include <thread>

#include "kernels/core/check.h"
#include "kernels/cpu/parallel.h"
#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

// What body throws, as the C interface reports it.
template <class Body>
std::string refusal(duet_status expected, Body&& body) {
  CHECK(duet::guard("core", [&] { body(); }) == expected);
  return duet_last_error();
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

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
  FAIL_CALL(duet_context_create(nullptr, nullptr), DUET_INVALID_ARGUMENT, "context_create: context: null");
  for (const int32_t threads : {-1, 1025}) {
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.threads = threads;
    FAIL_CALL(duet_context_create(&options, &context), DUET_INVALID_ARGUMENT, "options.threads: expected 0 to 1024, got " + std::to_string(threads));
  }
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = DUET_CUDA;
  if (duet_context_create(&options, &context) == DUET_OK)
    duet_context_destroy(context);  // a build and machine with a device
  else
    CHECK(contains(duet_last_error(), "device"));
  CHECK(context == nullptr);
}

TEST_CASE("structs of older callers are read as far as they go, those of newer ones refused") {
  duet_context* context = nullptr;
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = 5;
  options.struct_size = offsetof(duet_context_options, threads);  // a caller that knows of no threads: they are not read
  SUCCEED_CALL(duet_context_create(&options, &context));
  duet_context_destroy(context);
  const auto known = duet::load(&options, "options");
  CHECK(known.threads == 0);
  CHECK(known.struct_size == options.struct_size);
  for (const size_t size : {size_t{0}, sizeof(size_t) - 1, sizeof options + 1}) {
    options.struct_size = size;
    FAIL_CALL(duet_context_create(&options, &context), DUET_INVALID_ARGUMENT,
              "options.struct_size: expected at most " + std::to_string(sizeof options) + ", got " + std::to_string(size));
  }
  // The same through an operation whose inputs are a struct.
  duet_random_draw draw = DUET_RANDOM_DRAW_INIT;
  draw.first_element = 9;
  draw.struct_size = offsetof(duet_random_draw, first_element);
  Array<uint32_t> older(3, 1), newer(3, 1);
  SUCCEED_CALL(duet_random_words(Context(1), &draw, older.vector()));
  draw = DUET_RANDOM_DRAW_INIT;
  SUCCEED_CALL(duet_random_words(Context(1), &draw, newer.vector()));
  CHECK(older.same_bits(newer));
}

TEST_CASE("every status has its name") {
  CHECK(std::string(duet_status_name(DUET_OK)) == "DUET_OK");
  CHECK(std::string(duet_status_name(DUET_INVALID_ARGUMENT)) == "DUET_INVALID_ARGUMENT");
  CHECK(std::string(duet_status_name(DUET_WORKSPACE_TOO_SMALL)) == "DUET_WORKSPACE_TOO_SMALL");
  CHECK(std::string(duet_status_name(DUET_UNSUPPORTED)) == "DUET_UNSUPPORTED");
  CHECK(std::string(duet_status_name(DUET_CUDA_ERROR)) == "DUET_CUDA_ERROR");
  CHECK(std::string(duet_status_name(DUET_OUT_OF_MEMORY)) == "DUET_OUT_OF_MEMORY");
  CHECK(std::string(duet_status_name(DUET_IO_ERROR)) == "DUET_IO_ERROR");
  CHECK(std::string(duet_status_name(DUET_INTERNAL_ERROR)) == "DUET_INTERNAL_ERROR");
  CHECK(DUET_OK == 0);
}

TEST_CASE("what is thrown becomes a status with the operation's name") {
  CHECK(refusal(DUET_INVALID_ARGUMENT, [] { duet::require(false, "tau: got ", 3); }) == "core: tau: got 3");
  CHECK(refusal(DUET_UNSUPPORTED, [] { throw duet::Error(DUET_UNSUPPORTED, "no"); }) == "core: no");
  CHECK(refusal(DUET_OUT_OF_MEMORY, [] { throw std::bad_alloc(); }) == "core: out of host memory");
  CHECK(refusal(DUET_INTERNAL_ERROR, [] { throw std::runtime_error("broken"); }) == "core: broken");
  CHECK(refusal(DUET_INTERNAL_ERROR, [] { throw 1; }) == "core: unknown exception");
  CHECK_THROWS_AS(duet::succeed(DUET_INTERNAL_ERROR), duet::Error);
  CHECK_NOTHROW(duet::succeed(DUET_OK));
}

TEST_CASE("the last error is its thread's own") {
  FAIL_CALL(duet_context_create(nullptr, nullptr), DUET_INVALID_ARGUMENT, "context: null");
  std::string fresh = "unset", failed;
  std::thread([&] {
    fresh = duet_last_error();
    duet_random_words(nullptr, nullptr, duet_vector{});
    failed = duet_last_error();
  }).join();
  CHECK(fresh.empty());
  CHECK(contains(failed, "random_words: draw: null"));
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
  CHECK(std::string(duet_blas_core()).size() > 0);
}

TEST_CASE("a matrix view is checked") {
  Floats array(3, 4, 2);
  const auto check = [](const duet_matrix& view, int64_t rows, int64_t columns) { return duet::matrix<const float>(view, "x", rows, columns); };
  const auto good = check(array.matrix(), 3, 4);
  CHECK((good.rows == 3 && good.columns == 4 && good.stride == 6));
  CHECK(good.row(2) == array.data() + 12);
  CHECK(good.part(1, 2, 2, 2).data == array.data() + 8);
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(array.matrix(), 3, 5); }), "x: expected 3 x 5, got 3 x 4"));
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(array.matrix(), duet::kAny, 5); }), "x: expected any x 5, got 3 x 4"));
  const std::pair<duet_dtype, std::string> others[] = {
      {DUET_F16, "f16"}, {DUET_BF16, "bf16"}, {DUET_I32, "i32"}, {DUET_I64, "i64"}, {DUET_U32, "u32"}};
  for (const auto& other : others) {
    duet_matrix view = array.matrix();
    view.dtype = other.first;
    CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(view, 3, 4); }), "x: expected dtype f32, got " + other.second));
  }
  duet_matrix view = array.matrix();
  view.row_stride = 3;
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(view, 3, 4); }), "x: expected a row stride of at least 4, got 3"));
  view.row_stride = int64_t{1} << 31;
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(view, 3, 4); }), "x: expected a row stride below 2^31"));
  view = array.matrix();
  view.rows = -1;
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(view, duet::kAny, 4); }), "x: expected any x 4, got -1 x 4"));
  view = array.matrix();
  view.data = nullptr;
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(view, 3, 4); }), "x: null data for 3 x 4"));
  view.rows = 0;
  CHECK(check(view, 0, 4).rows == 0);  // nothing to point at
  CHECK_FALSE(duet::matrix<float>(duet_matrix{}, "x", 3, 4, duet::Need::optional));
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { check(duet_matrix{}, 3, 4); }), "x: expected 3 x 4, got 0 x 0"));
}

TEST_CASE("a vector view is checked") {
  Ints array(5, 1);
  CHECK(duet::vector<const int32_t>(array.vector(), "y", 5).size == 5);
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(array.vector(), "y", 4); }), "y: expected 4 elements, got 5"));
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { duet::vector<float>(array.vector(), "y", 5); }), "y: expected dtype f32, got i32"));
  duet_vector view = array.vector();
  view.data = nullptr;
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(view, "y", 5); }), "y: null data for 5 elements"));
  view.size = -1;
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT, [&] { duet::vector<int32_t>(view, "y", duet::kAny); }), "y: expected any elements, got -1"));
  CHECK_FALSE(duet::vector<float>(duet_vector{}, "y", 5, duet::Need::optional));
  // The views of plain arrays say what they view.
  const float f[6] = {};
  const int32_t i[6] = {};
  const int64_t l[2] = {};
  const uint32_t u[2] = {};
  CHECK((duet_f32_matrix(f, 2, 3).row_stride == 3 && duet_f32_matrix(f, 2, 3).dtype == DUET_F32 && duet_i32_matrix(i, 3, 2).dtype == DUET_I32));
  CHECK((duet_f32_vector(f, 6).size == 6 && duet_i32_vector(i, 6).dtype == DUET_I32));
  CHECK((duet_i64_vector(l, 2).dtype == DUET_I64 && duet_u32_vector(u, 2).dtype == DUET_U32));
}

TEST_CASE("a workspace measures what it hands out, and is checked") {
  const auto take = [](duet::Workspace& workspace) { return std::pair{workspace.take<float>(3), workspace.take<double>(9)}; };
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
  CHECK(contains(refusal(DUET_WORKSPACE_TOO_SMALL, [&] { real.check(193); }), "workspace: expected 193 bytes, got 192"));
  CHECK(contains(refusal(DUET_WORKSPACE_TOO_SMALL,
                         [&] {
                           duet::Workspace(duet_workspace{nullptr, 192}).check(192);
                         }),
                 "workspace: expected 192 bytes, got 0"));
  CHECK(contains(refusal(DUET_INVALID_ARGUMENT,
                         [&] {
                           duet::Workspace(duet_workspace{static_cast<char*>(scratch.view().data) + 4, 64}).check(64);
                         }),
                 "workspace: expected 64-byte alignment"));
  CHECK_NOTHROW(duet::Workspace(duet_workspace{}).check(0));
}

TEST_CASE("work is handed out once, to threads that exist") {
  for (const int threads : thread_counts())
    for (const int64_t size : {0, 1, 7, 100}) {
      duet_context context;
      context.threads = threads;
      std::vector<std::atomic<int>> seen(static_cast<size_t>(size));
      std::atomic<int> strangers = 0;
      duet::cpu::parallel_chunks(context, size, 3, [&](int64_t first, int64_t count, int thread) {
        strangers += thread < 0 || thread >= threads;
        for (int64_t k = first; k < first + count; ++k) ++seen[static_cast<size_t>(k)];
      });
      CHECK(strangers == 0);
      for (const auto& times : seen) CHECK(times == 1);
    }
}
