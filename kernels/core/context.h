/* The context: on which device, stream and number of threads a call runs. It touches no global setting of the host
   program. */
#ifndef DUET_CORE_CONTEXT_H
#define DUET_CORE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A kind of device. */
typedef enum duet_device {
  DUET_DEVICE_CPU = 0, /* the processors of the host */
  DUET_DEVICE_CUDA = 1 /* a GPU, or the emulator in its place */
} duet_device;

/* How a CUDA device computes tile products: three TF32 products that together are as accurate as fp32 (the default),
   plain fp32, one TF32 product, one BF16 product. Three TF32 products make NaN of an infinite element, because it
   leaves no finite rest. The CPU computes in fp32 whatever is asked. */
typedef enum duet_precision {
  DUET_PRECISION_TF32X3 = 0, /* three TF32 products */
  DUET_PRECISION_FP32 = 1,   /* plain fp32 */
  DUET_PRECISION_TF32 = 2,   /* one TF32 product */
  DUET_PRECISION_BF16 = 3    /* one BF16 product */
} duet_precision;

/* Any number of contexts may exist; each is used by one thread at a time, not always the same. A CPU context of more
   than one thread has threads of its own: the first call that needs them starts them, with every signal blocked but
   those of faults, and fails with DUET_STATUS_OUT_OF_MEMORY where one cannot be started (a later call tries again;
   outputs are then as any failed call leaves them); without work they sleep; destroying the context joins them. In a
   child made by fork() a context of the parent is refused with DUET_STATUS_INVALID_ARGUMENT by everything but
   duet_context_threads and duet_context_destroy; the child makes its own. */
typedef struct duet_context duet_context;

/* A value out of range that a kernel has met: argument[position] is value, and is expected within low ... high. */
typedef struct duet_fault {
  const char* argument; /* a text of the library; null: there is no fault */
  int64_t position;     /* -1: the argument is a scalar */
  double value;         /* what was met */
  double low;           /* the least that is expected */
  double high;          /* the largest */
} duet_fault;

/* How a context is made. */
typedef struct duet_context_options {
  size_t struct_size;       /* set by DUET_CONTEXT_OPTIONS_INIT */
  duet_device device;       /* where calls run and their memory lies */
  int32_t device_index;     /* CUDA: which of them, below duet_device_count() */
  int32_t threads;          /* CPU threads a call may use; 0: what the affinity mask and the cgroup's quota allow */
  duet_precision precision; /* CUDA: of tile products */
  void* stream;             /* CUDA: the cudaStream_t to work on, borrowed; null: the default stream */
  /* CUDA: where the first index, label or ratio out of range is noted, in the device's memory, filled with zeros;
     borrowed. Such a call then neither waits for the device nor fails, and keeps to its memory whatever the values are.
     null: a call looks at its values and refuses them, which waits for the device; while the stream is captured nothing
     is looked at. */
  duet_fault* faults;
  /* CUDA: operations on pairs and layers of at most so many rows (and columns) take forms of one launch a pass, where
     one is written; larger ones work in tiles. 0: 256; -1: always in tiles. Another form may give other bits. */
  int64_t small_rows;
} duet_context_options;

#define DUET_CONTEXT_OPTIONS_INIT DUET_INIT(duet_context_options, )

/* Makes a context. Errors: DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_UNSUPPORTED (no such backend in this build, no
   device, a GPU for which this build holds no code or that gives a block less than 99 KiB of shared memory: the text
   names the GPU and the reason).
   options: may be null: CPU, all allowed threads. */
DUET_API duet_status duet_context_create(const duet_context_options* options, duet_context** context);
/* Joins its threads and gives back its memory.
   context: may be null. */
DUET_API void duet_context_destroy(duet_context* context);
/* The CPU threads that a call on it may use. */
DUET_API int32_t duet_context_threads(const duet_context* context);

/* DUET_STATUS_INVALID_ARGUMENT, with the text of a call that had looked, where there is a fault.
   fault: a copy on the host of what options.faults names. */
DUET_API duet_status duet_fault_check(const duet_fault* fault);

/* The SIMD target that this processor runs: "AVX3", "AVX2", "SSE4"; "none" without the CPU backend. */
DUET_API const char* duet_simd_target(void);

#ifdef __cplusplus
}
#endif
#endif
