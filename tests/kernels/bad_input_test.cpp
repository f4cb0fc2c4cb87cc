// What a caller may get wrong or leave unusual, for an operation of every family alike: shapes, null views, misaligned
// rows, nothing at all, widths that are a multiple of nothing, a device that is not there. What only one operation can
// be given wrong stands in its own test.
#include <array>
#include <functional>

#include "tests/kernels/bad_input_calls.h"

using namespace duet::test;

namespace {

bool same_values(const std::vector<Doubles>& a, const std::vector<Doubles>& b) {
  bool same = a.size() == b.size();
  for (size_t k = 0; same && k < a.size(); ++k) {
    same = a[k].size() == b[k].size();
    for (size_t e = 0; same && e < a[k].size(); ++e)
      same = a[k][e] == b[k][e] || (std::isnan(a[k][e]) && std::isnan(b[k][e]));
  }
  return same;
}

void check_refused(const std::string& part, const std::function<void(duet_const_matrix&)>& spoil) {
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    Call call;
    call.spoil = [&](duet_const_matrix& view, void*, void*) { spoil(view); };
    FAIL_CALL(family.run(call).status, DUET_STATUS_INVALID_ARGUMENT, part);
  }
}

}  // namespace

TEST_CASE("wrong shapes are refused") {
  check_refused(": expected ", [](duet_const_matrix& view) { view.columns += 1, view.row_stride += 1; });
}

TEST_CASE("null views are refused") {
  check_refused(": null data for ", [](duet_const_matrix& view) { view.data = nullptr; });
}

TEST_CASE("a dtype that is none is refused") {
  for (const Family& family : kFamilies)
    for (const int32_t value : {-1, 7, 1 << 20}) {
      CAPTURE(family.name);
      Call call;
      call.spoil = [&](duet_const_matrix& view, void*, void*) { std::memcpy(&view.dtype, &value, 4); };
      FAIL_CALL(family.run(call).status, DUET_STATUS_INVALID_ARGUMENT,
                std::string(family.input) + ": expected dtype " + (family.pairs ? "f32, f16 or bf16" : "f32") +
                    ", got unknown value " + std::to_string(value));
    }
}

TEST_CASE("a first output or a workspace that shares memory with the first input is refused by both names") {
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    Call call;
    // The output's first element alone lies in the input's last row.
    call.spoil = [&](duet_const_matrix& view, void* output, void*) {
      view.data = static_cast<float*>(output) - (view.rows - 1) * view.row_stride;
    };
    FAIL_CALL(family.run(call).status, DUET_STATUS_INVALID_ARGUMENT,
              std::string(family.output) + ": shares memory with " + family.input);
    if (!family.scratch) continue;
    call.spoil = [&](duet_const_matrix& view, void*, void* workspace) { view.data = workspace; };
    FAIL_CALL(family.run(call).status, DUET_STATUS_INVALID_ARGUMENT,
              std::string("workspace: shares memory with ") + family.input);
  }
}

TEST_CASE("a single row needs no stride, and none is read") {
  for (const Family& family : kFamilies)
    for (const int64_t rows : {0, 1}) {
      CAPTURE(family.name);
      CAPTURE(rows);
      Call call;
      call.n = call.m = rows;
      if (rows == 0 && family.needs != ' ') continue;
      const Outcome plain = family.run(call);
      call.spoil = [](duet_const_matrix& view, void*, void*) { view.row_stride = 0; };
      const Outcome without = family.run(call);
      call.spoil = [](duet_const_matrix& view, void*, void*) { view.row_stride = INT64_MIN; };
      const Outcome absurd = family.run(call);
      REQUIRE_MESSAGE(without.status == DUET_STATUS_OK, duet_last_error());
      REQUIRE_MESSAGE(absurd.status == DUET_STATUS_OK, duet_last_error());
      CHECK(same_values(without.results, plain.results));
      CHECK(same_values(absurd.results, plain.results));
    }
}

TEST_CASE("views past every memory are refused by name, and so are rows past int32 on a side of pairs") {
  check_refused(": expected at most 2^45 elements, got ",
                [](duet_const_matrix& view) { view.rows = int64_t{1} << 45; });
  for (const Family& family : kFamilies) {
    if (!family.pairs) continue;  // rows alone
    CAPTURE(family.name);
    Call call;
    call.spoil = [](duet_const_matrix& view, void*, void*) { view.rows = int64_t{1} << 31; };
    FAIL_CALL(family.run(call).status, DUET_STATUS_INVALID_ARGUMENT,
              std::string(family.input) + ": expected below 2^31 rows, got 2147483648");
  }
}

TEST_CASE("rows past 2^31 elements apart are refused") {
  check_refused(": expected a row stride below 2^31, got 2147483648",
                [](duet_const_matrix& view) { view.row_stride = int64_t{1} << 31; });
}

TEST_CASE("misaligned rows, and widths that are a multiple of nothing, give what aligned rows give") {
  for (const Family& family : kFamilies)
    for (const int64_t d : {1, 5, 67}) {
      CAPTURE(family.name);
      CAPTURE(d);
      Call call;
      call.d = d;
      const Outcome aligned = family.run(call);
      call.misaligned = true;
      const Outcome misaligned = family.run(call);
      REQUIRE(aligned.status == DUET_STATUS_OK);
      REQUIRE(misaligned.status == DUET_STATUS_OK);
      // Sums over a row may take it by fours or one by one: float32's rounding of another order.
      for (size_t k = 0; k < aligned.results.size(); ++k)
        check_relative(misaligned.results[k], aligned.results[k], 1e-6, "result", 1e-7);
    }
}

TEST_CASE("n = 0, m = 0 and d = 0 are calls like others") {
  for (const Family& family : kFamilies)
    for (const std::array<int64_t, 3>& shape : {std::array<int64_t, 3>{0, 11, 5}, {9, 0, 5}, {0, 0, 5}, {9, 11, 0}}) {
      const int64_t n = shape[0], m = shape[1], d = shape[2];
      const std::string name = family.name;
      if ((family.needs == 'n' && n == 0) || (family.needs == 'm' && m == 0)) continue;
      CAPTURE(name);
      CAPTURE(n);
      CAPTURE(m);
      CAPTURE(d);
      Call call;
      call.n = n, call.m = m, call.d = d;
      const Outcome outcome = family.run(call);
      CHECK_MESSAGE(outcome.status == DUET_STATUS_OK, duet_last_error());
      if (name == "retrieval") continue;  // past the last item the scores are NaN
      for (const Doubles& result : outcome.results)
        for (const double value : result) CHECK(!std::isnan(value));
    }
}

TEST_CASE("a device that is not there is refused") {
  duet_context* context = nullptr;
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = DUET_DEVICE_CUDA;
  if (on_cpu()) {
    const duet_status status = duet_context_create(&options, &context);
    if (status == DUET_STATUS_OK) return duet_context_destroy(context);  // a build and machine with a device
    CHECK(status == DUET_STATUS_UNSUPPORTED);
    CHECK(std::string(duet_last_error()).find("options.device: ") != std::string::npos);
    return;
  }
  for (const int32_t index : {-1, 1000}) {
    options.device_index = index;
    FAIL_CALL(duet_context_create(&options, &context), DUET_STATUS_INVALID_ARGUMENT,
              "options.device_index: expected 0 to ");
  }
}
