/* Memory that a context's kernels reach: the host's for the CPU, the device's for CUDA. Fills, copies, allocations and
   releases happen in the order of the context's stream, and return before they are done where that is a device's. All
   of them are refused with DUET_STATUS_INVALID_ARGUMENT where context is null; CUDA's own failures are
   DUET_STATUS_CUDA_ERROR. */
#ifndef DUET_CORE_MEMORY_H
#define DUET_CORE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Uninitialised, aligned to 256 bytes; null for 0 bytes. CUDA: from the device's stream-ordered pool, and not while the
   stream is captured.
   Errors: DUET_STATUS_OUT_OF_MEMORY (the text says how much was asked for, and of a device how much is free).
   bytes: 0 or more.
   data: where the address goes. */
DUET_API duet_status duet_memory_allocate(duet_context* context, size_t bytes, void** data);
/* Gives it back. Work put on the context's stream before may still use it.
   data: may be null. */
DUET_API duet_status duet_memory_release(duet_context* context, void* data);

/* Every one of bytes becomes byte.
   data: may be null where bytes is 0.
   byte: 0 to 255.
   bytes: 0 or more. */
DUET_API duet_status duet_memory_fill(duet_context* context, void* data, int32_t byte, size_t bytes);
/* Either end in the context's memory or the host's; the two do not overlap. Of pageable memory of the host CUDA takes a
   copy first, or waits; with pinned memory neither.
   to: may be null where bytes is 0.
   from: likewise.
   bytes: 0 or more. */
DUET_API duet_status duet_memory_copy(duet_context* context, void* to, const void* from, size_t bytes);

/* Memory of the host, aligned to 256 bytes, that a device copies to and from without waiting: page-locked for CUDA,
   plain for the CPU. Uninitialised; null for 0 bytes. Errors: DUET_STATUS_OUT_OF_MEMORY.
   bytes: 0 or more.
   data: where the address goes. */
DUET_API duet_status duet_pinned_allocate(duet_context* context, size_t bytes, void** data);
/* Gives it back.
   data: may be null. */
DUET_API duet_status duet_pinned_release(duet_context* context, void* data);

/* Returns when all that was put on the context's stream is done. Errors: DUET_STATUS_CUDA_ERROR, also where a kernel
   has failed since. */
DUET_API duet_status duet_context_synchronize(duet_context* context);

#ifdef __cplusplus
}
#endif
#endif
