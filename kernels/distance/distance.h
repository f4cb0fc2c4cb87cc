/* Pairwise distances D = dist(X, Y), METHOD.md 1.
   inputs: x n x d, y m x d. distances n x m. No distance is negative, cosine is in [0, 2]; equal rows give exactly 0;
   close pairs are recomputed directly. Backward reads distances (as forward gave them) for euclidean, and for cosine
   where they are not null: gradients of close pairs then keep their digits; any other metric refuses them. It adds into
   grad_x (n x d) and grad_y (m x d); a null gradient is not computed. euclidean has gradient 0 where D = 0, cosine
   where a row's norm is below 1e-12. NaN in a row gives NaN in its distances. Same inputs, same bits. n = 0 or m = 0:
   nothing to write. Workspace: duet_distance_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_DISTANCE_DISTANCE_H
#define DUET_DISTANCE_DISTANCE_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum duet_metric {
  DUET_METRIC_SQEUCLIDEAN = 0,
  DUET_METRIC_EUCLIDEAN = 1,
  DUET_METRIC_COSINE = 2,
  DUET_METRIC_INNER = 3 /* a similarity */
} duet_metric;

typedef struct duet_distance_inputs {
  size_t struct_size;
  duet_matrix x, y;
  duet_metric metric;
} duet_distance_inputs;
#define DUET_DISTANCE_INPUTS_INIT \
  { sizeof(duet_distance_inputs) }

DUET_API duet_status duet_distance_workspace(const duet_context* context, const duet_distance_inputs* inputs,
                                             size_t* bytes);
DUET_API duet_status duet_distance_forward(duet_context* context, const duet_distance_inputs* inputs,
                                           duet_matrix distances, duet_workspace workspace);
DUET_API duet_status duet_distance_backward(duet_context* context, const duet_distance_inputs* inputs,
                                            duet_matrix distances, duet_matrix grad_distances, duet_matrix grad_x,
                                            duet_matrix grad_y, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
