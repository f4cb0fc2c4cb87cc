/* Streams, events and graphs of a CUDA device, so that an engine without CUDA's headers can let calls of several
   contexts run side by side, and record a sequence of calls once and replay it. On the CPU a call is done when it
   returns: its streams are null, its events are done at once, and there are no graphs. Errors:
   DUET_STATUS_INVALID_ARGUMENT (a null), DUET_STATUS_UNSUPPORTED (no CUDA backend in this build, no graphs),
   DUET_STATUS_CUDA_ERROR. */
#ifndef DUET_CORE_STREAM_H
#define DUET_CORE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A stream for duet_context_options; it does not wait for the default stream.
   device_index: below duet_device_count().
   stream: where the new one goes. */
DUET_API duet_status duet_stream_create(duet_device device, int32_t device_index, void** stream);
/* Ends a stream.
   stream: may be null. */
DUET_API void duet_stream_destroy(duet_device device, void* stream);

/* A point in a stream: what was put on it before. */
typedef struct duet_event duet_event;
/* Makes an event of the context's device. */
DUET_API duet_status duet_event_create(duet_context* context, duet_event** event);
/* Ends an event.
   event: may be null. */
DUET_API void duet_event_destroy(duet_event* event);
/* The event stands for what is on the context's stream now. */
DUET_API duet_status duet_event_record(duet_context* context, duet_event* event);
/* What is put on the context's stream from now on waits for the event as it was last recorded. */
DUET_API duet_status duet_event_await(duet_context* context, duet_event* event);
/* Asks without waiting. An event that was never recorded is done.
   done: 1 where what was recorded is done, 0 where it is not. */
DUET_API duet_status duet_event_done(duet_event* event, int32_t* done);
/* The caller waits until what was recorded is done. */
DUET_API duet_status duet_event_wait(duet_event* event);

/* Calls that were recorded instead of done. Between begin and end every call of this context, and of contexts whose
   streams awaited an event of its stream, becomes a part of the graph; a stream that was drawn in must be awaited by
   this one before the end. What such calls read and write lies in the same places in every replay. The context's stream
   must not be the default one. Every operation can be a part but duet_mining_semihard, which says so. */
typedef struct duet_graph duet_graph;
/* Begins to record. */
DUET_API duet_status duet_graph_begin(duet_context* context);
/* Ends it, and makes the graph of what was recorded. */
DUET_API duet_status duet_graph_end(duet_context* context, duet_graph** graph);
/* Gives up what was begun, where a call failed in between. */
DUET_API void duet_graph_abandon(duet_context* context);
/* The nodes of a graph, as CUDA counts them: kernels, copies and fills; and how many of them the longest chain has in
   which each depends on the one before.
   nodes: how many; may be null.
   longest_path: of how many nodes; may be null. */
DUET_API duet_status duet_graph_shape(const duet_graph* graph, int64_t* nodes, int64_t* longest_path);
/* Puts a replay of the graph on the context's stream. */
DUET_API duet_status duet_graph_launch(duet_context* context, const duet_graph* graph);
/* Ends a graph.
   graph: may be null. */
DUET_API void duet_graph_destroy(duet_graph* graph);

enum { DUET_MOST_RANGES = 16 }; /* so deep ranges may lie one in another; deeper ones are left out */
/* Names what the calling thread does from here on in a profiler's time line (NVTX, where the build has the CUDA
   backend), until the matching end.
   name: must live until then. */
DUET_API void duet_range_begin(const char* name);
/* Ends the range that was the last to begin on this thread. */
DUET_API void duet_range_end(void);

#ifdef __cplusplus
}
#endif
#endif
