/* Triplet mining by hard labels, fused into the distance sweep (METHOD.md 3): indices (int32, -1 for none) and
   distances (NaN for none). A pair of rows is positive where both are labelled (0 or more) alike, equally or by two
   rows of label_sets with a class in common, or both are of one group (the same group number, 0 or more); it is
   negative where both are labelled, not alike, and are not of one group (METHOD.md 2). So a sample labelled -1 has
   positives in its group alone, and no negatives. With exclude_own the own pair, of equal global indices, is neither: a
   set is mined with itself so.
   Ties go to the lowest index. A NaN distance sorts last: it is chosen only where nothing else is left, and then the
   index is -1 and the distance NaN. Indices count from the first row or column of the call's own views.
   Workspace: duet_mining_workspace(), enough for every call here; no n x m memory. Errors:
   DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_MINING_MINING_H
#define DUET_MINING_MINING_H

#include "../core/context.h"
#include "../core/view.h"
#include "../distance/distance.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The draws of distance_weighted: slots negatives an anchor, stream 6 + 256 slot, element = global i * total_columns +
   global j. */
typedef struct duet_mining_draw {
  size_t struct_size;     /* set by DUET_MINING_DRAW_INIT */
  uint64_t seed;          /* of the run */
  duet_const_vector step; /* int64, 1: number of the training step, 0 to below 2^32 */
  int64_t slots;          /* negatives an anchor, 1 to 2^24 */
  int64_t total_columns;  /* columns of the whole batch; 0: m */
} duet_mining_draw;
#define DUET_MINING_DRAW_INIT DUET_INIT(duet_mining_draw, )

typedef struct duet_mining_inputs {
  size_t struct_size;         /* set by DUET_MINING_INPUTS_INIT */
  duet_const_matrix x;        /* n x d, features (view.h): the anchors */
  duet_const_matrix y;        /* m x d, features */
  duet_const_vector labels_x; /* n, int32 */
  duet_const_vector labels_y; /* m, int32 */
  duet_const_vector group_x;  /* n, int32; below 0: of no group; null: no groups */
  duet_const_vector group_y;  /* m, int32; null where group_x is */
  int64_t first_row;          /* global index of row 0 of x, 0 or more: of exclude_own and distance_weighted's draws */
  int64_t first_column;       /* global index of row 0 of y, likewise */
  const duet_mining_draw* draw; /* of distance_weighted; not read elsewhere */
  duet_metric metric;           /* DUET_METRIC_INNER is refused: it is no distance */
  float margin;                 /* of semihard, at least 0, in the metric's unit; not read elsewhere */
  int32_t exclude_own;          /* not 0: the own pair is neither positive nor negative */
  int32_t reserved;             /* 0 */
  duet_const_matrix label_sets; /* S x w, int32: the classes of each label, bit c % 32 of word c / 32 that of class c;
                                   null: a label is a class */
} duet_mining_inputs;
#define DUET_MINING_INPUTS_INIT DUET_INIT(duet_mining_inputs, )

/* Per anchor: the farthest positive and the nearest negative. */
typedef struct duet_mining_hard_side {
  size_t struct_size;            /* set by DUET_MINING_HARD_SIDE_INIT */
  duet_vector positive_index;    /* int32, one an anchor; may be null, as each of these */
  duet_vector negative_index;    /* int32 */
  duet_vector positive_distance; /* float32 */
  duet_vector negative_distance; /* float32 */
} duet_mining_hard_side;
#define DUET_MINING_HARD_SIDE_INIT DUET_INIT(duet_mining_hard_side, )
typedef struct duet_mining_hard_outputs {
  size_t struct_size;                   /* set by DUET_MINING_HARD_OUTPUTS_INIT */
  const duet_mining_hard_side* rows;    /* anchors in x, vectors of n; null: not wanted */
  const duet_mining_hard_side* columns; /* anchors in y, vectors of m; null: not wanted. One sweep serves both. */
} duet_mining_hard_outputs;
#define DUET_MINING_HARD_OUTPUTS_INIT DUET_INIT(duet_mining_hard_outputs, )
typedef struct duet_mining_semihard_count_outputs {
  size_t struct_size; /* set by DUET_MINING_SEMIHARD_COUNT_OUTPUTS_INIT */
  duet_vector count;  /* 1, int64: the number of positive pairs, that is of rows in the semihard list */
} duet_mining_semihard_count_outputs;
#define DUET_MINING_SEMIHARD_COUNT_OUTPUTS_INIT DUET_INIT(duet_mining_semihard_count_outputs, )
typedef struct duet_mining_semihard_outputs {
  size_t struct_size;    /* set by DUET_MINING_SEMIHARD_OUTPUTS_INIT */
  duet_matrix triplets;  /* count x 3, int32, row-major: anchor, positive, nearest negative n with D_ip < D_in < fl(D_ip
                            + margin) or -1 */
  duet_matrix distances; /* count x 2, float32: D_ip and D_in, NaN where there is none; may be null */
} duet_mining_semihard_outputs;
#define DUET_MINING_SEMIHARD_OUTPUTS_INIT DUET_INIT(duet_mining_semihard_outputs, )
typedef struct duet_mining_distance_weighted_outputs {
  size_t struct_size;    /* set by DUET_MINING_DISTANCE_WEIGHTED_OUTPUTS_INIT */
  duet_matrix negatives; /* n x slots, int32 */
  duet_matrix distances; /* n x slots, float32: their Euclidean distances; may be null */
} duet_mining_distance_weighted_outputs;
#define DUET_MINING_DISTANCE_WEIGHTED_OUTPUTS_INIT DUET_INIT(duet_mining_distance_weighted_outputs, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_mining_workspace(const duet_context* context, const duet_mining_inputs* inputs,
                                           size_t* bytes);
/* Of each anchor the farthest positive and the nearest negative. */
DUET_API duet_status duet_mining_hard(duet_context* context, const duet_mining_inputs* inputs,
                                      const duet_mining_hard_outputs* outputs, duet_workspace workspace);
/* How many rows duet_mining_semihard() writes. */
DUET_API duet_status duet_mining_semihard_count(duet_context* context, const duet_mining_inputs* inputs,
                                                const duet_mining_semihard_count_outputs* outputs,
                                                duet_workspace workspace);
/* Of each positive pair the nearest negative beyond it, within the margin. The list's length is checked against the
   labels, for which a CUDA context waits for its stream: the one call here that does. DUET_STATUS_UNSUPPORTED where its
   stream is captured. */
DUET_API duet_status duet_mining_semihard(duet_context* context, const duet_mining_inputs* inputs,
                                          const duet_mining_semihard_outputs* outputs, duet_workspace workspace);
/* Draws negatives. x and y hold unit rows; metric is not read. */
DUET_API duet_status duet_mining_distance_weighted(duet_context* context, const duet_mining_inputs* inputs,
                                                   const duet_mining_distance_weighted_outputs* outputs,
                                                   duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
