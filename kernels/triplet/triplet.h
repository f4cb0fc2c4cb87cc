/* Cross-modal triplet loss, anchors = rows of x (METHOD.md 3); the other direction is the same call with the sides
   exchanged.
   row_loss[i] = sum of [D_ip + margin - D_in]_+ over the triplets of anchor i, weighted; row_active[i] = the weight of
   those active.
   T = sum row_loss / sum row_active is a call of its own (duet_triplet_loss), so that several parts can add up first;
   active = 0 gives T = 0.
   mining all: every triplet, weights of METHOD.md 2 from class_x (n x C), class_y (m x C), trust_x (n), trust_y (m),
   paired; or, where class_x and class_y are null, hard labels (labels_x, labels_y int32, -1: takes no part; full trust,
   and paired is then not read).
   mining hard, semihard, distance_weighted: hard labels; distance_weighted takes every positive of the anchor with each
   drawn negative.
   Backward adds grad_loss dT/dx into grad_x (n x d), dT/dy into grad_y (m x d), either may be null; active is the whole
   batch's sum, a constant.
   What the mining does not read is null, else the call is refused: classes and trust beside labels, labels beside
   classes, draw.step without distance_weighted.
   NaN in a weight, or in a distance of a column that weighs (labels: is no -1), gives NaN in its anchor's terms and
   gradients.
   Time O(n m log m) for all; workspace O(n + m), never n x m. trust null: 1. Same inputs, same bits.
   Workspace: duet_triplet_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL.
   */
#ifndef DUET_TRIPLET_TRIPLET_H
#define DUET_TRIPLET_TRIPLET_H

#include "../core/context.h"
#include "../core/view.h"
#include "../distance/distance.h"
#include "../mining/mining.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum duet_triplet_mining {
  DUET_TRIPLET_MINING_ALL = 0,
  DUET_TRIPLET_MINING_HARD = 1,
  DUET_TRIPLET_MINING_SEMIHARD = 2,
  DUET_TRIPLET_MINING_DISTANCE_WEIGHTED = 3
} duet_triplet_mining;

typedef struct duet_triplet_inputs {
  size_t struct_size;
  duet_matrix x, y;
  duet_matrix class_x, class_y;
  duet_vector trust_x, trust_y;
  duet_vector labels_x, labels_y;
  duet_metric metric; /* inner is refused */
  duet_triplet_mining mining;
  float margin; /* at least 0 */
  int32_t paired;
  int64_t first_row, first_column;
  duet_mining_draw draw; /* distance_weighted alone */
} duet_triplet_inputs;
#define DUET_TRIPLET_INPUTS_INIT \
  { sizeof(duet_triplet_inputs) }

DUET_API duet_status duet_triplet_workspace(const duet_context* context, const duet_triplet_inputs* inputs,
                                            size_t* bytes);
/* row_loss, row_active: n. */
DUET_API duet_status duet_triplet_forward(duet_context* context, const duet_triplet_inputs* inputs,
                                          duet_vector row_loss, duet_vector row_active, duet_workspace workspace);
/* loss[0] = sum row_loss / sum row_active (0 where that is 0), active[0] = sum row_active; summed in float64. */
DUET_API duet_status duet_triplet_loss(duet_context* context, duet_vector row_loss, duet_vector row_active,
                                       duet_vector loss, duet_vector active);
/* Forward that also leaves what backward needs, in one pass over the triplets where forward and backward take two:
   sum_x (n x d) and sum_y (m x d) are written, not added to: the derivatives of sum row_loss. Either may be null. dT/dx
   = sum_x / active. */
DUET_API duet_status duet_triplet_forward_gradient(duet_context* context, const duet_triplet_inputs* inputs,
                                                   duet_vector row_loss, duet_vector row_active, duet_matrix sum_x,
                                                   duet_matrix sum_y, duet_workspace workspace);
/* grad_x += grad_loss / active sum_x, grad_y likewise; nothing where active is 0. A null gradient: not computed. */
DUET_API duet_status duet_triplet_add_gradient(duet_context* context, duet_vector active, duet_vector grad_loss,
                                               duet_matrix sum_x, duet_matrix sum_y, duet_matrix grad_x,
                                               duet_matrix grad_y);
/* active, grad_loss: size 1. */
DUET_API duet_status duet_triplet_backward(duet_context* context, const duet_triplet_inputs* inputs, duet_vector active,
                                           duet_vector grad_loss, duet_matrix grad_x, duet_matrix grad_y,
                                           duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
