#include "kernels/core/stream.h"

#include <memory>
#include <optional>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/cuda/device.h"

struct duet_event {
#if DUET_CUDA_BACKEND
  std::optional<duet::cuda::Event> event;  // none of a CPU context
#endif
};

struct duet_graph {
#if DUET_CUDA_BACKEND
  duet::cuda::Graph graph;
#endif
};

namespace duet {
namespace {

#if DUET_CUDA_BACKEND
// The calling thread's ranges.
struct Ranges {
  std::optional<cuda::ProfilerRange> open[DUET_MOST_RANGES];
  int depth = 0;
};
thread_local Ranges ranges;
#endif

// What the CPU has none of.
template <class Cuda>
void on_cuda(const duet_context* context, const char* what, Cuda&& cuda) {
  dispatch(
      context, [&] { throw Error(DUET_STATUS_UNSUPPORTED, text(what, ": a CPU context has none")); }, cuda);
}

#if DUET_CUDA_BACKEND
cuda::Event& on_device(duet_event& event) {
  require(event.event.has_value(), "event: expected one of a CUDA context, got one of a CPU context");
  return *event.event;
}
#endif

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_stream_create(duet_device device, [[maybe_unused]] int32_t device_index, void** stream) {
  return guard("stream_create", [&] {
    require(stream != nullptr, "stream: null");
    *stream = nullptr;
    if (enumerator(device, "device", DUET_DEVICE_CPU, DUET_DEVICE_CUDA) == DUET_DEVICE_CPU) return;
#if DUET_CUDA_BACKEND
    const cuda::DeviceScope scope(device_index);
    *stream = cuda::Stream().release();
#else
    throw Error(DUET_STATUS_UNSUPPORTED, "device: this build has no CUDA backend");
#endif
  });
}

void duet_stream_destroy([[maybe_unused]] duet_device device, [[maybe_unused]] void* stream) {
#if DUET_CUDA_BACKEND
  if (stream) cuda::Stream::destroy(stream);
#endif
}

duet_status duet_event_create(duet_context* context, duet_event** event) {
  return guard("event_create", [&] {
    require(event != nullptr, "event: null");
    auto made = std::make_unique<duet_event>();
    dispatch(
        context, [] {},
        [&] {
#if DUET_CUDA_BACKEND
          made->event.emplace();
#endif
        });
    *event = made.release();
  });
}

void duet_event_destroy(duet_event* event) { delete event; }

duet_status duet_event_record(duet_context* context, duet_event* event) {
  return guard("event_record", [&] {
    require(event != nullptr, "event: null");
    dispatch(
        context, [] {},
        [&] {
#if DUET_CUDA_BACKEND
          on_device(*event).record(context->stream);
#endif
        });
  });
}

duet_status duet_event_await(duet_context* context, duet_event* event) {
  return guard("event_await", [&] {
    require(event != nullptr, "event: null");
    dispatch(
        context, [] {},
        [&] {
#if DUET_CUDA_BACKEND
          on_device(*event).wait(context->stream);
#endif
        });
  });
}

duet_status duet_event_done(duet_event* event, int32_t* done) {
  return guard("event_done", [&] {
    require(event != nullptr, "event: null");
    require(done != nullptr, "done: null");
    *done = 1;
#if DUET_CUDA_BACKEND
    if (event->event) *done = event->event->done();
#endif
  });
}

duet_status duet_event_wait(duet_event* event) {
  return guard("event_wait", [&] {
    require(event != nullptr, "event: null");
#if DUET_CUDA_BACKEND
    if (event->event) event->event->wait();
#endif
  });
}

duet_status duet_graph_begin(duet_context* context) {
  return guard("graph_begin", [&] { on_cuda(context, "graph", [&] { cuda::begin_capture(context->stream); }); });
}

duet_status duet_graph_end(duet_context* context, duet_graph** graph) {
  return guard("graph_end", [&] {
    require(graph != nullptr, "graph: null");
    on_cuda(context, "graph", [&] {
#if DUET_CUDA_BACKEND
      *graph = new duet_graph{cuda::end_capture(context->stream)};
#endif
    });
  });
}

void duet_graph_abandon([[maybe_unused]] duet_context* context) {
#if DUET_CUDA_BACKEND
  if (context && context->device == DUET_DEVICE_CUDA && context->stream) cuda::abandon_capture(context->stream);
#endif
}

duet_status duet_graph_shape([[maybe_unused]] const duet_graph* graph, [[maybe_unused]] int64_t* nodes,
                             [[maybe_unused]] int64_t* longest_path) {
  return guard("graph_shape", [&] {
    require(graph != nullptr, "graph: null");
#if DUET_CUDA_BACKEND
    const cuda::GraphShape shape = graph->graph.shape();
    if (nodes) *nodes = shape.nodes;
    if (longest_path) *longest_path = shape.longest_path;
#endif
  });
}

duet_status duet_graph_launch(duet_context* context, const duet_graph* graph) {
  return guard("graph_launch", [&] {
    require(graph != nullptr, "graph: null");
    on_cuda(context, "graph", [&] {
#if DUET_CUDA_BACKEND
      graph->graph.replay(context->stream);
#endif
    });
  });
}

void duet_graph_destroy(duet_graph* graph) { delete graph; }

void duet_range_begin([[maybe_unused]] const char* name) {
#if DUET_CUDA_BACKEND
  if (name && ranges.depth < DUET_MOST_RANGES) ranges.open[ranges.depth].emplace(name);
  ++ranges.depth;
#endif
}

void duet_range_end(void) {
#if DUET_CUDA_BACKEND
  if (ranges.depth == 0) return;
  --ranges.depth;
  if (ranges.depth < DUET_MOST_RANGES) ranges.open[ranges.depth].reset();
#endif
}
