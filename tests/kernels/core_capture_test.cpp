// Every call that puts work on a stream, recorded through the C interface and replayed once: the bits of the call as it
// is made directly.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/bad_input_calls.h"
#include "tests/kernels/every_call.h"

using namespace duet::test;

namespace {

class Stream {
 public:
  Stream() { SUCCEED_CALL(duet_stream_create(device.kind, 0, &stream_)); }
  ~Stream() { duet_stream_destroy(device.kind, stream_); }
  Stream(const Stream&) = delete;
  operator void*() const { return stream_; }

 private:
  void* stream_ = nullptr;
};

using Made = std::function<duet_status()>;

duet_status directly(duet_context* context, const Made& call) {
  const duet_status status = call();
  SUCCEED_CALL(duet_context_synchronize(context));
  return status;
}

// before_launch: what is looked at when the call is recorded and not yet done.
duet_status recorded_then(duet_context* context, const Made& call, const std::function<void()>& before_launch) {
  REQUIRE(duet_graph_begin(context) == DUET_STATUS_OK);
  if (const duet_status status = call(); status != DUET_STATUS_OK) {
    duet_graph_abandon(context);
    return status;
  }
  duet_graph* graph = nullptr;
  REQUIRE_MESSAGE(duet_graph_end(context, &graph) == DUET_STATUS_OK, duet_last_error());
  int64_t nodes = 0;
  SUCCEED_CALL(duet_graph_shape(graph, &nodes, nullptr));
  CHECK(nodes > 0);
  before_launch();
  SUCCEED_CALL(duet_graph_launch(context, graph));
  SUCCEED_CALL(duet_context_synchronize(context));
  duet_graph_destroy(graph);
  return DUET_STATUS_OK;
}
duet_status recorded(duet_context* context, const Made& call) {
  return recorded_then(context, call, [] {});
}

std::vector<Doubles> results_of(const Family& family, duet_status (*make)(duet_context*, const Made&)) {
  const Stream stream;
  Call call;
  call.stream = stream, call.make = make;
  const Outcome outcome = family.run(call);
  CHECK_MESSAGE(outcome.status == DUET_STATUS_OK, duet_last_error());
  return outcome.results;
}

bool same_bits(const std::vector<Doubles>& a, const std::vector<Doubles>& b) {
  if (a.size() != b.size()) return false;
  for (size_t k = 0; k < a.size(); ++k)
    if (a[k].size() != b[k].size() || std::memcmp(a[k].data(), b[k].data(), a[k].size() * sizeof(double)) != 0)
      return false;
  return true;
}

// What the arrays hold after each of the calls.
using Trace = std::vector<std::pair<std::string, every_call::Arrays>>;

enum class Way { direct, recorded };

Trace trace_of(Way way) {
  const Stream stream;
  const Context context(1, DUET_PRECISION_TF32X3, stream);
  Trace trace;
  every_call::Arrays arrays;
  const auto visit = [&](const std::string& name, const Made& call) {
    CAPTURE(name);
    if (way == Way::recorded && name == "mining_semihard")
      FAIL_CALL(recorded(context, call), DUET_STATUS_UNSUPPORTED, "mining_semihard: outputs.triplets: ");
    if (way == Way::direct || name == "mining_semihard") {
      SUCCEED_CALL(directly(context, call));
    } else {
      const every_call::Arrays before = arrays;
      SUCCEED_CALL(recorded_then(context, call, [&] { CHECK(arrays.same_bits(before)); }));
    }
    trace.emplace_back(name, arrays);
  };
  every_call::visit_all({context, visit}, arrays);
  return trace;
}

std::string read(const char* path) {
  std::ifstream in(std::filesystem::path(DUET_PROJECT_DIR) / path);
  REQUIRE_MESSAGE(in.good(), path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("a call of an operation, recorded and replayed, gives the bits of the call") {
  if (on_cpu()) {
    FAIL_CALL(duet_graph_begin(Context(1)), DUET_STATUS_UNSUPPORTED, "graph_begin: graph: a CPU context has none");
    return;
  }
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    CHECK(same_bits(results_of(family, recorded), results_of(family, directly)));
  }
  const Trace expected = trace_of(Way::direct), replayed = trace_of(Way::recorded);
  REQUIRE(replayed.size() == expected.size());
  for (size_t k = 0; k < expected.size(); ++k) {
    CAPTURE(expected[k].first);
    CHECK(replayed[k].second.same_bits(expected[k].second));
  }
}

TEST_CASE("every call of the library is recorded by this test, or is none that puts work on a stream") {
  std::string calls;
  for (const char* const file : {"bad_input_pairs.h", "bad_input_rows.h", "every_call.h", "optimizer_steps.h"})
    calls += read((std::string("tests/kernels/") + file).c_str());
  // What makes, asks, waits or records, and what the CPU alone has; an event and a copy in a graph are
  // core_stream_test.cpp's.
  const std::set<std::string> others = {
      "duet_context_create",     "duet_context_destroy",    "duet_context_synchronize", "duet_context_threads",
      "duet_contrastive_close",  "duet_contrastive_merge",  "duet_device_count",        "duet_device_describe",
      "duet_distillation_close", "duet_distillation_merge", "duet_dlpack_const_matrix", "duet_dlpack_const_vector",
      "duet_dlpack_describe",    "duet_dlpack_matrix",      "duet_dlpack_vector",       "duet_event_await",
      "duet_event_create",       "duet_event_destroy",      "duet_event_done",          "duet_event_record",
      "duet_event_wait",         "duet_fault_check",        "duet_graph_abandon",       "duet_graph_begin",
      "duet_graph_destroy",      "duet_graph_end",          "duet_graph_launch",        "duet_graph_shape",
      "duet_last_error",         "duet_memory_allocate",    "duet_memory_release",      "duet_pinned_allocate",
      "duet_pinned_release",     "duet_range_begin",        "duet_range_end",           "duet_simd_target",
      "duet_status_name",        "duet_stream_create",      "duet_stream_destroy",      "duet_version"};
  std::ifstream symbols(std::filesystem::path(DUET_PROJECT_DIR) / "tests/c_api/symbols.txt");
  int64_t recorded_calls = 0;
  for (std::string symbol; symbols >> symbol;) {
    CAPTURE(symbol);
    const bool asks = symbol.size() > 10 && symbol.compare(symbol.size() - 10, 10, "_workspace") == 0;
    const bool here = calls.find("return " + symbol + "(") != std::string::npos;
    CHECK((here || asks || others.count(symbol) == 1));
    recorded_calls += here && !asks;
  }
  CHECK(recorded_calls >= 50);
}
