/* Rows of a data set by index: rows[i] = source[index[i]]. source N x d, indices B (int64, each in [0, N)), rows B x d.
   Backward adds grad_rows[i] into grad_source[index[i]], in the order of i, so repeated indices always give the same
   sum.
   duet_gather_labels does the same for int32 labels. duet_gather_batch gathers up to four sources and the labels in one
   launch.
   No workspace. Errors: DUET_STATUS_INVALID_ARGUMENT; the message names an index out of range.
   CUDA: a call waits for the stream, because it must name an index out of range. It does not wait where its context
   records faults or where the stream is captured. Then rows out of range become NaN, labels become -1, and backward
   leaves them out. */
#ifndef DUET_GATHER_GATHER_H
#define DUET_GATHER_GATHER_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

DUET_API duet_status duet_gather_forward(duet_context* context, duet_matrix source, duet_vector indices,
                                         duet_matrix rows);
DUET_API duet_status duet_gather_backward(duet_context* context, duet_vector indices, duet_matrix grad_rows,
                                          duet_matrix grad_source);
DUET_API duet_status duet_gather_labels(duet_context* context, duet_vector source, duet_vector indices,
                                        duet_vector labels);

#define DUET_GATHER_SOURCES 4 /* the largest source_count */
typedef struct duet_gather_inputs {
  size_t struct_size;
  const duet_matrix* sources; /* N x any each */
  int64_t source_count;       /* 1 to DUET_GATHER_SOURCES */
  duet_vector labels;         /* N (int32), may be null */
  duet_vector indices;        /* B (int64), each in [0, N) */
} duet_gather_inputs;
#define DUET_GATHER_INPUTS_INIT \
  { sizeof(duet_gather_inputs) }

/* rows: an array of source_count matrices, B x the columns of their source. labels: B (int32), null where inputs has
   none. */
DUET_API duet_status duet_gather_batch(duet_context* context, const duet_gather_inputs* inputs, const duet_matrix* rows,
                                       duet_vector labels);

#ifdef __cplusplus
}
#endif
#endif
