// Streams, events and captured graphs through the C interface. On the CPU a call is done when it returns.
#include <memory>
#include <string>

#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

struct DestroyEvent {
  void operator()(duet_event* event) const { duet_event_destroy(event); }
};
struct DestroyGraph {
  void operator()(duet_graph* graph) const { duet_graph_destroy(graph); }
};
using Event = std::unique_ptr<duet_event, DestroyEvent>;
using Graph = std::unique_ptr<duet_graph, DestroyGraph>;

Event make_event(duet_context* context) {
  duet_event* made = nullptr;
  SUCCEED_CALL(duet_event_create(context, &made));
  REQUIRE(made != nullptr);
  return Event(made);
}

// A context on a stream of its own.
class StreamContext {
 public:
  explicit StreamContext(duet_fault* faults = nullptr) {
    SUCCEED_CALL(duet_stream_create(device.kind, 0, &stream_));
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.device = device.kind, options.stream = stream_, options.threads = 1, options.faults = faults;
    SUCCEED_CALL(duet_context_create(&options, &context_));
  }
  ~StreamContext() {
    duet_context_destroy(context_);
    duet_stream_destroy(device.kind, stream_);
  }
  StreamContext(const StreamContext&) = delete;
  operator duet_context*() const { return context_; }
  void* stream() const { return stream_; }

 private:
  void* stream_ = nullptr;
  duet_context* context_ = nullptr;
};

// Floats of a context's memory.
class Buffer {
 public:
  Buffer(duet_context* context, int64_t size) : context_(context), size_(size) {
    void* data = nullptr;
    SUCCEED_CALL(duet_memory_allocate(context, static_cast<size_t>(size) * sizeof(float), &data));
    data_ = static_cast<float*>(data);
  }
  ~Buffer() { duet_memory_release(context_, data_); }
  Buffer(const Buffer&) = delete;
  operator float*() const { return data_; }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(float); }
  void set(float value) {
    const std::vector<float> values(static_cast<size_t>(size_), value);
    SUCCEED_CALL(duet_memory_copy(context_, data_, values.data(), bytes()));
    SUCCEED_CALL(duet_context_synchronize(context_));
  }
  // The value of every element; NaN where they differ.
  float value() const {
    std::vector<float> values(static_cast<size_t>(size_));
    SUCCEED_CALL(duet_memory_copy(context_, values.data(), data_, bytes()));
    SUCCEED_CALL(duet_context_synchronize(context_));
    for (const float each : values)
      if (each != values[0]) return std::nanf("");
    return values[0];
  }

 private:
  duet_context* context_;
  int64_t size_;
  float* data_ = nullptr;
};

// to += from, which is above 0, through a kernel: what ReLU at from adds to a gradient where from itself comes back.
void add(duet_context* context, float* from, float* to) {
  duet_activation_inputs relu = DUET_ACTIVATION_INPUTS_INIT;
  relu.kind = DUET_ACTIVATION_KIND_RELU, relu.x = duet_f32_matrix(from, 1, 8);
  REQUIRE_MESSAGE(duet_activation_backward(
                      context, &relu,
                      sized<duet_activation_gradients>({.grad_outputs = duet_f32_matrix(from, 1, 8),
                                                        .grad_x = duet_f32_matrix(to, 1, 8)})) == DUET_STATUS_OK,
                  duet_last_error());
}

void copy(duet_context* context, const Buffer& from, const Buffer& to) {
  REQUIRE_MESSAGE(duet_memory_copy(context, to, from, to.bytes()) == DUET_STATUS_OK, duet_last_error());
}

}  // namespace

TEST_CASE("a stream is its device's; the CPU has none") {
  void* stream = &stream;
  FAIL_CALL(duet_stream_create(device.kind, 0, nullptr), DUET_STATUS_INVALID_ARGUMENT, "stream_create: stream: null");
  FAIL_CALL(duet_stream_create(static_cast<duet_device>(2), 0, &stream), DUET_STATUS_INVALID_ARGUMENT,
            "device: unknown value 2");
  SUCCEED_CALL(duet_stream_create(device.kind, 0, &stream));
  CHECK((stream == nullptr) == on_cpu());
  if (!on_cpu()) {
    void* other = nullptr;
    SUCCEED_CALL(duet_stream_create(device.kind, 0, &other));
    CHECK(other != stream);
    duet_stream_destroy(device.kind, other);
    other = &other;
    CHECK(duet_stream_create(device.kind, 1000, &other) == DUET_STATUS_CUDA_ERROR);
    CHECK(other == nullptr);
  } else {
    void* other = &other;
    int32_t count = 0;
    if (duet_device_count(DUET_DEVICE_CUDA, &count) != DUET_STATUS_OK)
      CHECK(duet_stream_create(DUET_DEVICE_CUDA, 0, &other) != DUET_STATUS_OK);
  }
  duet_stream_destroy(device.kind, stream);
  duet_stream_destroy(device.kind, nullptr);
}

TEST_CASE("an event is done when what was recorded is") {
  const StreamContext context, other;
  const Event event = make_event(context);
  int32_t done = -1;
  SUCCEED_CALL(duet_event_done(event.get(), &done));
  CHECK(done == 1);  // never recorded
  SUCCEED_CALL(duet_event_wait(event.get()));
  Buffer x(context, 8), y(context, 8);
  x.set(3), y.set(0);
  copy(context, x, y);
  SUCCEED_CALL(duet_event_record(context, event.get()));
  SUCCEED_CALL(duet_event_await(other, event.get()));
  copy(other, y, x);
  SUCCEED_CALL(duet_event_wait(event.get()));
  SUCCEED_CALL(duet_event_done(event.get(), &done));
  CHECK(done == 1);
  SUCCEED_CALL(duet_context_synchronize(other));
  CHECK((x.value() == 3 && y.value() == 3));
}

TEST_CASE("misuse of events is refused by name") {
  const StreamContext context;
  const Event event = make_event(context);
  duet_event* none = nullptr;
  int32_t done = 0;
  FAIL_CALL(duet_event_create(context, nullptr), DUET_STATUS_INVALID_ARGUMENT, "event_create: event: null");
  FAIL_CALL(duet_event_create(nullptr, &none), DUET_STATUS_INVALID_ARGUMENT, "event_create: context: null");
  CHECK(none == nullptr);
  FAIL_CALL(duet_event_record(context, nullptr), DUET_STATUS_INVALID_ARGUMENT, "event_record: event: null");
  FAIL_CALL(duet_event_record(nullptr, event.get()), DUET_STATUS_INVALID_ARGUMENT, "event_record: context: null");
  FAIL_CALL(duet_event_await(context, nullptr), DUET_STATUS_INVALID_ARGUMENT, "event_await: event: null");
  FAIL_CALL(duet_event_await(nullptr, event.get()), DUET_STATUS_INVALID_ARGUMENT, "event_await: context: null");
  FAIL_CALL(duet_event_done(nullptr, &done), DUET_STATUS_INVALID_ARGUMENT, "event_done: event: null");
  FAIL_CALL(duet_event_done(event.get(), nullptr), DUET_STATUS_INVALID_ARGUMENT, "event_done: done: null");
  FAIL_CALL(duet_event_wait(nullptr), DUET_STATUS_INVALID_ARGUMENT, "event_wait: event: null");
  duet_event_destroy(nullptr);
  // An event of the CPU is none of a stream.
  duet_context* cpu = nullptr;
  if (on_cpu() || duet_context_create(nullptr, &cpu) != DUET_STATUS_OK) return;
  const Event of_cpu = make_event(cpu);
  FAIL_CALL(duet_event_record(context, of_cpu.get()), DUET_STATUS_INVALID_ARGUMENT,
            "event: expected one of a CUDA context, got one of a CPU context");
  FAIL_CALL(duet_event_await(context, of_cpu.get()), DUET_STATUS_INVALID_ARGUMENT,
            "event: expected one of a CUDA context, got one of a CPU context");
  duet_context_destroy(cpu);
}

TEST_CASE("a graph of two branches does nothing until it is launched, and the whole each time") {
  const StreamContext context, other;
  if (on_cpu()) {
    duet_graph* graph = nullptr;
    FAIL_CALL(duet_graph_begin(context), DUET_STATUS_UNSUPPORTED, "graph_begin: graph: a CPU context has none");
    FAIL_CALL(duet_graph_end(context, &graph), DUET_STATUS_UNSUPPORTED, "graph_end: graph: a CPU context has none");
    CHECK(graph == nullptr);
    duet_graph_abandon(context);
    return;
  }
  Buffer x(context, 8), a(context, 8), b(context, 8);
  x.set(3), a.set(100), b.set(100);
  const Event forked = make_event(context), joined = make_event(context);
  SUCCEED_CALL(duet_graph_begin(context));
  // a = x, b = x; then a += x on one stream beside b += x, b += x on the other; then a += b, x = a.
  copy(context, x, a);
  copy(context, x, b);
  REQUIRE(duet_event_record(context, forked.get()) == DUET_STATUS_OK);
  REQUIRE(duet_event_await(other, forked.get()) == DUET_STATUS_OK);
  add(context, x, a);
  add(other, x, b), add(other, x, b);
  REQUIRE(duet_event_record(other, joined.get()) == DUET_STATUS_OK);
  REQUIRE(duet_event_await(context, joined.get()) == DUET_STATUS_OK);
  add(context, b, a);
  copy(context, a, x);
  duet_graph* made = nullptr;
  REQUIRE_MESSAGE(duet_graph_end(context, &made) == DUET_STATUS_OK, duet_last_error());
  const Graph graph(made);
  int64_t nodes = 0, longest_path = 0;
  SUCCEED_CALL(duet_graph_shape(graph.get(), &nodes, &longest_path));
  CHECK((nodes == 7 && longest_path == 6));
  SUCCEED_CALL(duet_graph_shape(graph.get(), nullptr, nullptr));
  CHECK((x.value() == 3 && a.value() == 100 && b.value() == 100));
  for (const float expected : {15.0f, 75.0f, 375.0f}) {  // 2 x + 3 x
    SUCCEED_CALL(duet_graph_launch(context, graph.get()));
    CHECK((x.value() == expected && a.value() == expected && b.value() == expected / 5 * 3));
  }
  SUCCEED_CALL(duet_graph_launch(other, graph.get()));
  SUCCEED_CALL(duet_context_synchronize(other));
  CHECK(x.value() == 1875);
}

TEST_CASE("a fault in a replayed graph is noted when it happens, and the first one stays") {
  std::vector<duet_fault, DeviceAllocator<duet_fault>> faults(1, duet_fault{});
  const StreamContext context(faults.data());
  if (on_cpu()) {
    CHECK(duet_graph_begin(context) == DUET_STATUS_UNSUPPORTED);
    return;
  }
  Floats source = Floats(5, 3).fill(1), rows(2, 3);
  Longs indices = Longs(2, 1).fill(4);
  REQUIRE(duet_graph_begin(context) == DUET_STATUS_OK);
  REQUIRE(duet_gather_forward(context,
                              sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                              sized<duet_gather_outputs>({.rows = rows.matrix()})) == DUET_STATUS_OK);
  duet_graph* made = nullptr;
  REQUIRE(duet_graph_end(context, &made) == DUET_STATUS_OK);
  const Graph graph(made);
  const auto replay = [&](int64_t first, int64_t second) {
    indices.at(0) = first, indices.at(1) = second;
    SUCCEED_CALL(duet_graph_launch(context, graph.get()));
    SUCCEED_CALL(duet_context_synchronize(context));
  };
  replay(4, 0);
  CHECK(duet_fault_check(faults.data()) == DUET_STATUS_OK);
  replay(4, 5);
  CHECK((rows.at(0, 2) == 1 && std::isnan(rows.at(1, 2))));
  FAIL_CALL(duet_fault_check(faults.data()), DUET_STATUS_INVALID_ARGUMENT, "indices[1]: expected 0 to 4, got 5");
  replay(-1, 0);
  FAIL_CALL(duet_fault_check(faults.data()), DUET_STATUS_INVALID_ARGUMENT, "indices[1]: expected 0 to 4, got 5");
  faults[0] = {};
  replay(-1, 0);
  FAIL_CALL(duet_fault_check(faults.data()), DUET_STATUS_INVALID_ARGUMENT, "indices[0]: expected 0 to 4, got -1");
}

TEST_CASE("misuse of graphs is refused by name, and what was begun can be given up") {
  const StreamContext context, other;
  FAIL_CALL(duet_graph_shape(nullptr, nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT, "graph_shape: graph: null");
  FAIL_CALL(duet_graph_launch(context, nullptr), DUET_STATUS_INVALID_ARGUMENT, "graph_launch: graph: null");
  FAIL_CALL(duet_graph_begin(nullptr), DUET_STATUS_INVALID_ARGUMENT, "graph_begin: context: null");
  FAIL_CALL(duet_graph_end(context, nullptr), DUET_STATUS_INVALID_ARGUMENT, "graph_end: graph: null");
  duet_graph_abandon(nullptr);
  duet_graph_abandon(context);  // where nothing was begun
  duet_graph_destroy(nullptr);
  if (on_cpu()) return;
  const Context on_default_stream(1);
  duet_graph* graph = nullptr;
  FAIL_CALL(duet_graph_begin(on_default_stream), DUET_STATUS_CUDA_ERROR, "graph_begin: ");
  FAIL_CALL(duet_graph_end(context, &graph), DUET_STATUS_CUDA_ERROR, "graph_end: ");
  CHECK(graph == nullptr);
  Buffer x(context, 8), y(context, 8);
  x.set(1), y.set(2);
  REQUIRE(duet_graph_begin(context) == DUET_STATUS_OK);
  CHECK(duet_graph_begin(context) == DUET_STATUS_CUDA_ERROR);
  duet_graph_abandon(context);
  REQUIRE(duet_graph_begin(context) == DUET_STATUS_OK);
  void* memory = nullptr;
  CHECK(duet_memory_allocate(context, 8, &memory) == DUET_STATUS_CUDA_ERROR);
  CHECK(memory == nullptr);
  CHECK(duet_context_synchronize(context) == DUET_STATUS_CUDA_ERROR);
  duet_graph_abandon(context);
  // Given up with a branch that was never joined: both streams are free again, and nothing of it is done.
  const Event forked = make_event(context);
  REQUIRE(duet_graph_begin(context) == DUET_STATUS_OK);
  REQUIRE(duet_event_record(context, forked.get()) == DUET_STATUS_OK);
  REQUIRE(duet_event_await(other, forked.get()) == DUET_STATUS_OK);
  copy(other, y, x);
  CHECK(duet_graph_end(context, &graph) == DUET_STATUS_CUDA_ERROR);
  CHECK(graph == nullptr);
  duet_graph_abandon(context);
  SUCCEED_CALL(duet_context_synchronize(context));
  SUCCEED_CALL(duet_context_synchronize(other));
  CHECK(x.value() == 1);
  copy(other, y, x);
  SUCCEED_CALL(duet_context_synchronize(other));
  CHECK(x.value() == 2);
}
