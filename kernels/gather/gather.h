/* Rows of a data set by index: rows[i] = source[index[i]]. source N x d, indices B (int64, each in [0, N)), rows B x d.
   Backward adds grad_rows[i] into grad_source[index[i]], in the order of i, so repeated indices add up the same way every time.
   duet_gather_labels does the same for int32 labels. No workspace. Errors: DUET_INVALID_ARGUMENT (an index out of range is named).
   CUDA: to name it a call waits for the stream. While the stream is captured it does not: then rows out of range come out NaN, labels -1, and
   backward leaves them out. */
#ifndef DUET_GATHER_GATHER_H
#define DUET_GATHER_GATHER_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

DUET_API duet_status duet_gather_forward(duet_context* context, duet_matrix source, duet_vector indices, duet_matrix rows);
DUET_API duet_status duet_gather_backward(duet_context* context, duet_vector indices, duet_matrix grad_rows, duet_matrix grad_source);
DUET_API duet_status duet_gather_labels(duet_context* context, duet_vector source, duet_vector indices, duet_vector labels);

#ifdef __cplusplus
}
#endif
#endif
