/* Pairwise distances D = dist(X, Y), METHOD.md 1. No distance is negative, cosine is in [0, 2]; equal rows give exactly
   0; close pairs are recomputed directly. Backward adds into grad_x and grad_y; a null gradient is not computed.
   euclidean has gradient 0 where D = 0, cosine where a row's norm is below 1e-12. NaN in a row gives NaN in its
   distances. Same inputs, same bits. n = 0 or m = 0: nothing to write. Workspace: duet_distance_workspace(), enough for
   either pass. Errors: DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_DISTANCE_DISTANCE_H
#define DUET_DISTANCE_DISTANCE_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A distance or a similarity (METHOD.md 1). */
typedef enum duet_metric {
  DUET_METRIC_INNER = 0,       /* x_i.y_j, a similarity */
  DUET_METRIC_SQEUCLIDEAN = 1, /* sum_k (x_ik - y_jk)^2 */
  DUET_METRIC_EUCLIDEAN = 2,   /* its root */
  DUET_METRIC_COSINE = 3       /* 1 - the cosine of the rows' angle */
} duet_metric;

typedef struct duet_distance_inputs {
  size_t struct_size;  /* set by DUET_DISTANCE_INPUTS_INIT */
  duet_const_matrix x; /* n x d, features: view.h */
  duet_const_matrix y; /* m x d, features */
  duet_metric metric;  /* which distance */
  int32_t reserved;    /* 0 */
} duet_distance_inputs;
#define DUET_DISTANCE_INPUTS_INIT DUET_INIT(duet_distance_inputs, )
typedef struct duet_distance_outputs {
  size_t struct_size;    /* set by DUET_DISTANCE_OUTPUTS_INIT */
  duet_matrix distances; /* n x m, float32: D */
} duet_distance_outputs;
#define DUET_DISTANCE_OUTPUTS_INIT DUET_INIT(duet_distance_outputs, )
typedef struct duet_distance_gradients {
  size_t struct_size; /* set by DUET_DISTANCE_GRADIENTS_INIT */
  /* n x m, float32: D as forward gave it. euclidean needs it; with it cosine's gradients of close pairs keep their
     digits; any other metric refuses it. */
  duet_const_matrix distances;
  duet_const_matrix grad_distances; /* n x m, float32: d loss / d D */
  duet_matrix grad_x;               /* n x d, float32: d loss / d x is added; may be null */
  duet_matrix grad_y;               /* m x d, float32: d loss / d y is added; may be null */
} duet_distance_gradients;
#define DUET_DISTANCE_GRADIENTS_INIT DUET_INIT(duet_distance_gradients, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_distance_workspace(const duet_context* context, const duet_distance_inputs* inputs,
                                             size_t* bytes);
DUET_API duet_status duet_distance_forward(duet_context* context, const duet_distance_inputs* inputs,
                                           const duet_distance_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_distance_backward(duet_context* context, const duet_distance_inputs* inputs,
                                            const duet_distance_gradients* gradients, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
