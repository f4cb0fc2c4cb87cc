/* Cross-modal triplet loss, anchors = rows of x (METHOD.md 3); the other direction is the same call with the sides
   exchanged.
   row_loss[i] = sum of [D_ip + margin - D_in]_+ over the triplets of anchor i, weighted; row_active[i] = the weight of
   those active.
   T = sum row_loss / sum row_active is a call of its own (duet_triplet_loss), so that several parts can add up first;
   active = 0 gives T = 0.
   mining all: every triplet, weights of METHOD.md 2 from classes, trust, annotated rows and paired; or, where class_x
   and class_y are null, hard labels (full trust, and paired is then not read).
   mining hard, semihard, distance_weighted: hard labels; distance_weighted takes every positive of the anchor with each
   drawn negative.
   Groups (METHOD.md 2): by hard labels pairs are what they are to duet_mining_hard(); by classes a pair of one group
   has pos = 1 and neg = 0 whatever its trust, as the own pair of a paired batch has. With exclude_own the own pair has
   pos = neg = 0, paired or not, and is in no triplet. What the mining does not read is null, else the call is refused:
   classes, annotated and trust beside labels, labels and label_sets beside classes, draw without distance_weighted.
   Forward leaves, where sum_x or sum_y is given, what backward needs, in one pass over the triplets where forward and
   backward take two: then duet_triplet_add_gradient() is the backward pass. NaN in a weight, or in a distance of a
   column that weighs (labels: is positive or negative), gives NaN in its anchor's terms and gradients. Time O(n m log
   m) for all; workspace O(n + m d log n), never n x m. Same inputs, same bits. On the CPU a part of the anchors,
   against all of y, has the bits of its rows in the whole batch; for DUET_METRIC_SQEUCLIDEAN the derivatives by y are a
   sum over the anchors as METHOD.md 0.1 has it, so sum_y of parts that are nodes there are added to the bits of the
   whole's. Workspace: duet_triplet_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_TRIPLET_TRIPLET_H
#define DUET_TRIPLET_TRIPLET_H

#include "../core/context.h"
#include "../core/view.h"
#include "../distance/distance.h"
#include "../mining/mining.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which triplets (METHOD.md 3). */
typedef enum duet_triplet_mining {
  DUET_TRIPLET_MINING_ALL = 0,              /* every one */
  DUET_TRIPLET_MINING_HARD = 1,             /* the farthest positive with the nearest negative */
  DUET_TRIPLET_MINING_SEMIHARD = 2,         /* every positive with the nearest negative beyond it */
  DUET_TRIPLET_MINING_DISTANCE_WEIGHTED = 3 /* every positive with each drawn negative */
} duet_triplet_mining;

typedef struct duet_triplet_inputs {
  size_t struct_size;            /* set by DUET_TRIPLET_INPUTS_INIT */
  duet_const_matrix x;           /* n x d, features (view.h): the anchors */
  duet_const_matrix y;           /* m x d, features */
  duet_const_matrix class_x;     /* n x C, float32: class distributions; null: labels decide */
  duet_const_matrix class_y;     /* m x C, float32 */
  duet_const_vector trust_x;     /* n, float32, 0 to 1; null: 1 */
  duet_const_vector trust_y;     /* m, float32, 0 to 1; null: 1 */
  duet_const_vector labels_x;    /* n, int32; -1: takes no part */
  duet_const_vector labels_y;    /* m, int32 */
  duet_const_vector group_x;     /* n, int32; below 0: of no group; null: no groups */
  duet_const_vector group_y;     /* m, int32; null where group_x is */
  int64_t first_row;             /* global index of row 0 of x, 0 or more */
  int64_t first_column;          /* global index of row 0 of y, 0 or more */
  const duet_mining_draw* draw;  /* distance_weighted alone; null elsewhere */
  duet_metric metric;            /* DUET_METRIC_INNER is refused: it is no distance */
  duet_triplet_mining mining;    /* which triplets */
  float margin;                  /* at least 0, in the metric's unit */
  int32_t paired;                /* not 0: rows of equal global index are a pair, a positive whatever its trust */
  int32_t exclude_own;           /* not 0: rows of equal global index are in no triplet */
  int32_t reserved;              /* 0 */
  duet_const_vector annotated_x; /* n, float32: not 0 where a row's classes are known; null: of no row */
  duet_const_vector annotated_y; /* m, float32; null where annotated_x is */
  duet_const_matrix label_sets;  /* S x w, int32: as of duet_mining_inputs; null: a label is a class */
} duet_triplet_inputs;
#define DUET_TRIPLET_INPUTS_INIT DUET_INIT(duet_triplet_inputs, )
typedef struct duet_triplet_outputs {
  size_t struct_size;     /* set by DUET_TRIPLET_OUTPUTS_INIT */
  duet_vector row_loss;   /* n, float32, in the metric's unit */
  duet_vector row_active; /* n, float32 */
  duet_matrix sum_x;      /* n x d, float32: d sum row_loss / d x, written, not added to; may be null */
  duet_matrix sum_y;      /* m x d, float32: d sum row_loss / d y, likewise */
} duet_triplet_outputs;
#define DUET_TRIPLET_OUTPUTS_INIT DUET_INIT(duet_triplet_outputs, )
typedef struct duet_triplet_gradients {
  size_t struct_size;          /* set by DUET_TRIPLET_GRADIENTS_INIT */
  duet_const_vector active;    /* 1, float32: sum row_active of the whole batch, a constant */
  duet_const_vector grad_loss; /* 1, float32: d loss / d T */
  duet_matrix grad_x;          /* n x d, float32: grad_loss dT/dx is added; may be null */
  duet_matrix grad_y;          /* m x d, float32: grad_loss dT/dy is added; may be null */
} duet_triplet_gradients;
#define DUET_TRIPLET_GRADIENTS_INIT DUET_INIT(duet_triplet_gradients, )

typedef struct duet_triplet_loss_inputs {
  size_t struct_size;           /* set by DUET_TRIPLET_LOSS_INPUTS_INIT */
  duet_const_vector row_loss;   /* any n, float32 */
  duet_const_vector row_active; /* n, float32 */
} duet_triplet_loss_inputs;
#define DUET_TRIPLET_LOSS_INPUTS_INIT DUET_INIT(duet_triplet_loss_inputs, )
typedef struct duet_triplet_loss_outputs {
  size_t struct_size; /* set by DUET_TRIPLET_LOSS_OUTPUTS_INIT */
  duet_vector loss;   /* 1, float32: T = sum row_loss / sum row_active, 0 where that is 0; summed in float64 */
  duet_vector active; /* 1, float32: sum row_active */
} duet_triplet_loss_outputs;
#define DUET_TRIPLET_LOSS_OUTPUTS_INIT DUET_INIT(duet_triplet_loss_outputs, )

/* What forward left for duet_triplet_add_gradient(). */
typedef struct duet_triplet_sums {
  size_t struct_size;      /* set by DUET_TRIPLET_SUMS_INIT */
  duet_const_matrix sum_x; /* n x d, float32, as forward wrote it; not read without grad_x */
  duet_const_matrix sum_y; /* m x d, float32, as forward wrote it; not read without grad_y */
} duet_triplet_sums;
#define DUET_TRIPLET_SUMS_INIT DUET_INIT(duet_triplet_sums, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_triplet_workspace(const duet_context* context, const duet_triplet_inputs* inputs,
                                            size_t* bytes);
DUET_API duet_status duet_triplet_forward(duet_context* context, const duet_triplet_inputs* inputs,
                                          const duet_triplet_outputs* outputs, duet_workspace workspace);
/* The batch's loss, from the terms of its rows. */
DUET_API duet_status duet_triplet_loss(duet_context* context, const duet_triplet_loss_inputs* inputs,
                                       const duet_triplet_loss_outputs* outputs);
/* grad_x += grad_loss / active sum_x, grad_y likewise; nothing where active is 0. */
DUET_API duet_status duet_triplet_add_gradient(duet_context* context, const duet_triplet_sums* sums,
                                               const duet_triplet_gradients* gradients);
DUET_API duet_status duet_triplet_backward(duet_context* context, const duet_triplet_inputs* inputs,
                                           const duet_triplet_gradients* gradients, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
