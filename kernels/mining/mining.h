/* Triplet mining by hard labels, fused into the distance sweep (METHOD.md 3): indices (int32, -1 for none) and
   distances (NaN for none).
   inputs: x n x d (the anchors), y m x d; labels_x n, labels_y m (int32; a sample labelled -1 is neither anchor,
   positive nor negative).
   Ties go to the lowest index. A NaN distance sorts last: it is chosen only where nothing else is left, and then the
   index is -1 and the distance NaN. Indices count from the first row or column of the call's own views.
   first_row, first_column: global indices of the first row and column; only the random draws of distance_weighted
   depend on them.
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

typedef struct duet_mining_inputs {
  size_t struct_size;
  duet_matrix x, y;
  duet_vector labels_x, labels_y;
  duet_metric metric; /* inner is refused: it is no distance */
  int64_t first_row, first_column;
} duet_mining_inputs;
#define DUET_MINING_INPUTS_INIT \
  { sizeof(duet_mining_inputs) }

/* Per anchor: the farthest positive and the nearest negative. Each vector may be null. */
typedef struct duet_mining_hard_outputs {
  size_t struct_size;
  duet_vector positive_index, negative_index;       /* int32 */
  duet_vector positive_distance, negative_distance; /* float32 */
} duet_mining_hard_outputs;
#define DUET_MINING_HARD_OUTPUTS_INIT \
  { sizeof(duet_mining_hard_outputs) }

/* The draws of distance_weighted: slots negatives an anchor, stream 6 + 256 slot, element = global i * total_columns +
   global j. */
typedef struct duet_mining_draw {
  size_t struct_size;
  uint64_t seed;
  duet_vector step;      /* int64, size 1 */
  int64_t slots;         /* at least 1 */
  int64_t total_columns; /* columns of the whole batch; 0: m */
} duet_mining_draw;
#define DUET_MINING_DRAW_INIT \
  { sizeof(duet_mining_draw) }

DUET_API duet_status duet_mining_workspace(const duet_context* context, const duet_mining_inputs* inputs,
                                           size_t* bytes);
/* rows: anchors in x (vectors of n); columns: anchors in y (vectors of m); either may be null. One sweep serves both.
 */
DUET_API duet_status duet_mining_hard(duet_context* context, const duet_mining_inputs* inputs,
                                      const duet_mining_hard_outputs* rows, const duet_mining_hard_outputs* columns,
                                      duet_workspace workspace);
/* The number of positive pairs, that is of rows in the semihard list: count is int64, size 1. */
DUET_API duet_status duet_mining_semihard_count(duet_context* context, const duet_mining_inputs* inputs,
                                                duet_vector count, duet_workspace workspace);
/* triplets (count x 3, int32): anchor, positive, nearest negative n with D_ip < D_in < fl(D_ip + margin) or -1,
   row-major;
   distances (count x 2): D_ip and D_in, NaN where there is none; may be null. The list's length is checked against the
   labels, for which a CUDA context waits for its stream: the one call here that does, and that cannot be captured. */
DUET_API duet_status duet_mining_semihard(duet_context* context, const duet_mining_inputs* inputs, float margin,
                                          duet_matrix triplets, duet_matrix distances, duet_workspace workspace);
/* negatives (n x slots, int32) and their Euclidean distances (n x slots, may be null). x and y hold unit rows; metric
   is not read. */
DUET_API duet_status duet_mining_distance_weighted(duet_context* context, const duet_mining_inputs* inputs,
                                                   const duet_mining_draw* draw, duet_matrix negatives,
                                                   duet_matrix distances, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
