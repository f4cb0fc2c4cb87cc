#include "kernels/core/stream.h"

#include <memory>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

struct duet_event {
  const duet::Backend* backend;
  void* handle;
};

struct duet_graph {
  const duet::Backend* backend;
  void* handle;
};

using namespace duet;

duet_status duet_stream_create(duet_device device, int32_t device_index, void** stream) {
  return guard("stream_create", [&] {
    require(stream != nullptr, "stream: null");
    *stream = nullptr;
    // The CPU has no streams, whether this build has the CPU or not.
    if (enumerator(device, "device", DUET_DEVICE_CPU, DUET_DEVICE_CUDA) == DUET_DEVICE_CPU) return;
    const Backend* backend = backend_of(device);
    if (backend == nullptr) throw Error(DUET_STATUS_UNSUPPORTED, "device: this build has no CUDA backend");
    *stream = backend->create_stream(device_index);
  });
}

void duet_stream_destroy(duet_device device, void* stream) {
  const Backend* backend = backend_of(device);
  if (backend != nullptr && stream != nullptr) backend->destroy_stream(stream);
}

duet_status duet_event_create(duet_context* context, duet_event** event) {
  return guard("event_create", [&] {
    require(event != nullptr, "event: null");
    auto made = std::make_unique<duet_event>();
    const Current current(context);
    made->backend = context->backend;
    made->handle = current->create_event();
    *event = made.release();
  });
}

void duet_event_destroy(duet_event* event) {
  if (event == nullptr) return;
  event->backend->destroy_event(event->handle);
  delete event;
}

duet_status duet_event_record(duet_context* context, duet_event* event) {
  return guard("event_record", [&] {
    require(event != nullptr, "event: null");
    Current(context)->record_event(*context, event->handle);
  });
}

duet_status duet_event_await(duet_context* context, duet_event* event) {
  return guard("event_await", [&] {
    require(event != nullptr, "event: null");
    Current(context)->await_event(*context, event->handle);
  });
}

duet_status duet_event_done(duet_event* event, int32_t* done) {
  return guard("event_done", [&] {
    require(event != nullptr, "event: null");
    require(done != nullptr, "done: null");
    *done = event->backend->event_done(event->handle);
  });
}

duet_status duet_event_wait(duet_event* event) {
  return guard("event_wait", [&] {
    require(event != nullptr, "event: null");
    event->backend->wait_for_event(event->handle);
  });
}

duet_status duet_graph_begin(duet_context* context) {
  return guard("graph_begin", [&] { Current(context)->begin_graph(*context); });
}

duet_status duet_graph_end(duet_context* context, duet_graph** graph) {
  return guard("graph_end", [&] {
    require(graph != nullptr, "graph: null");
    auto made = std::make_unique<duet_graph>();
    const Current current(context);
    made->backend = context->backend;
    made->handle = current->end_graph(*context);
    *graph = made.release();
  });
}

void duet_graph_abandon(duet_context* context) {
  if (context != nullptr) context->backend->abandon_graph(*context);
}

duet_status duet_graph_shape(const duet_graph* graph, int64_t* nodes, int64_t* longest_path) {
  return guard("graph_shape", [&] {
    require(graph != nullptr, "graph: null");
    graph->backend->graph_shape(graph->handle, nodes, longest_path);
  });
}

duet_status duet_graph_launch(duet_context* context, const duet_graph* graph) {
  return guard("graph_launch", [&] {
    require(graph != nullptr, "graph: null");
    Current(context)->launch_graph(*context, graph->handle);
  });
}

void duet_graph_destroy(duet_graph* graph) {
  if (graph == nullptr) return;
  graph->backend->destroy_graph(graph->handle);
  delete graph;
}

void duet_range_begin(const char* name) {
  if (const Backend* backend = backend_of(DUET_DEVICE_CUDA)) backend->begin_range(name);
}

void duet_range_end(void) {
  if (const Backend* backend = backend_of(DUET_DEVICE_CUDA)) backend->end_range();
}
