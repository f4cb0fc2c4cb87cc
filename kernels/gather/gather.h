/* Rows of a data set by index: rows[i] = source[indices[i]]. Backward adds grad_rows[i] into grad_source[indices[i]],
   in the order of i, so repeated indices always give the same sum. duet_gather_labels does the same for int32 labels.
   duet_gather_batch gathers up to four sources and the labels in one launch. No workspace. Errors:
   DUET_STATUS_INVALID_ARGUMENT; the message names an index out of range. CUDA: a call waits for the stream, because it
   must name an index out of range. It does not wait where its context records faults or where the stream is captured.
   Then rows out of range become NaN, labels become -1, and backward leaves them out. */
#ifndef DUET_GATHER_GATHER_H
#define DUET_GATHER_GATHER_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_gather_inputs {
  size_t struct_size;        /* set by DUET_GATHER_INPUTS_INIT */
  duet_const_matrix source;  /* N x d, float32; backward does not read it, and it may be null there */
  duet_const_vector indices; /* B, int64, each in [0, N) */
} duet_gather_inputs;
#define DUET_GATHER_INPUTS_INIT DUET_INIT(duet_gather_inputs, )
typedef struct duet_gather_outputs {
  size_t struct_size; /* set by DUET_GATHER_OUTPUTS_INIT */
  duet_matrix rows;   /* B x d, float32 */
} duet_gather_outputs;
#define DUET_GATHER_OUTPUTS_INIT DUET_INIT(duet_gather_outputs, )
typedef struct duet_gather_gradients {
  size_t struct_size;          /* set by DUET_GATHER_GRADIENTS_INIT */
  duet_const_matrix grad_rows; /* B x d, float32: d loss / d rows */
  duet_matrix grad_source;     /* N x d, float32: d loss / d source is added */
} duet_gather_gradients;
#define DUET_GATHER_GRADIENTS_INIT DUET_INIT(duet_gather_gradients, )

typedef struct duet_gather_labels_inputs {
  size_t struct_size;        /* set by DUET_GATHER_LABELS_INPUTS_INIT */
  duet_const_vector source;  /* N, int32 */
  duet_const_vector indices; /* B, int64, each in [0, N) */
} duet_gather_labels_inputs;
#define DUET_GATHER_LABELS_INPUTS_INIT DUET_INIT(duet_gather_labels_inputs, )
typedef struct duet_gather_labels_outputs {
  size_t struct_size; /* set by DUET_GATHER_LABELS_OUTPUTS_INIT */
  duet_vector labels; /* B, int32 */
} duet_gather_labels_outputs;
#define DUET_GATHER_LABELS_OUTPUTS_INIT DUET_INIT(duet_gather_labels_outputs, )

#define DUET_GATHER_SOURCES 4 /* the most of a batch */
/* What is read. */
typedef struct duet_gather_batch_inputs {
  size_t struct_size;               /* set by DUET_GATHER_BATCH_INPUTS_INIT */
  const duet_const_matrix* sources; /* an array of source_count, N x any each, float32 */
  int64_t source_count;             /* 1 to DUET_GATHER_SOURCES */
  duet_const_vector labels;         /* N, int32; may be null */
  duet_const_vector indices;        /* B, int64, each in [0, N) */
} duet_gather_batch_inputs;
#define DUET_GATHER_BATCH_INPUTS_INIT DUET_INIT(duet_gather_batch_inputs, )
typedef struct duet_gather_batch_outputs {
  size_t struct_size;      /* set by DUET_GATHER_BATCH_OUTPUTS_INIT */
  const duet_matrix* rows; /* an array of source_count, B x the columns of their source each, float32 */
  duet_vector labels;      /* B, int32; null where the inputs have none */
} duet_gather_batch_outputs;
#define DUET_GATHER_BATCH_OUTPUTS_INIT DUET_INIT(duet_gather_batch_outputs, )

DUET_API duet_status duet_gather_forward(duet_context* context, const duet_gather_inputs* inputs,
                                         const duet_gather_outputs* outputs);
DUET_API duet_status duet_gather_backward(duet_context* context, const duet_gather_inputs* inputs,
                                          const duet_gather_gradients* gradients);
/* labels[i] = source[indices[i]]. */
DUET_API duet_status duet_gather_labels(duet_context* context, const duet_gather_labels_inputs* inputs,
                                        const duet_gather_labels_outputs* outputs);
/* Several sources and the labels by the same indices. */
DUET_API duet_status duet_gather_batch(duet_context* context, const duet_gather_batch_inputs* inputs,
                                       const duet_gather_batch_outputs* outputs);

#ifdef __cplusplus
}
#endif
#endif
