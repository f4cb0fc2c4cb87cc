/* What supervises a batch of pairs (METHOD.md 6.3, 6.4 and 6.10): the annotated split, class distributions q, trust t,
   kappa, lift, concord, and the weight of the pair term.
   inputs: labels B (int32, -1: never labelled), sample_ids B (int64); logits_a, logits_v B x C: the teacher's two
     heads; prior C: class frequencies of the labelled training samples; ratio 1: r; epoch 1 (int64); seed: of the
     coins, which are stream 4.
   A labelled sample is annotated where hide is 0 or where its coin of probability r succeeds. The label of every other
   sample is hidden.
   state: predicted C, the u of 6.4, initially 1/C; concord 1, initially 0. First u moves towards the mean of p, and
     concord towards the share of the batch's never-labelled samples whose heads agree. Then the moved values are used.
   outputs: class_q B x C; trust, kappa B; annotated B: 1 or 0; hidden_trust B: trust where not annotated, else 0;
     counts 2: the number of annotated samples and of the others; pair_weight 1: w = pair_weight_scale (1 + 2 unread)
     ((1 - concord) + (1 - generality)^2 concord^8); predicted C, concord 1, optional: the moved state. Where these two
     are given the state stays as it was, so that a caller can drop a step after it has seen the counts; where they are
     not, the state itself is moved. anchor_weight B, optional: 1 for a never-labelled sample, unread^2 for the others.
   With fewer than two classes heads cannot disagree; their agreement is then no evidence and counts as none. Ties of an
   argmax go to the lowest class. A class of prior 0 has lift 0. A distribution that the lift leaves without mass is
   used without the lift. NaN logits give NaN q, trust 0 and NaN u. B = 0: counts are 0 and the state does not change.
   Workspace: duet_supervision_workspace(). Errors: DUET_STATUS_INVALID_ARGUMENT (also a label of C or above, a ratio
   outside [0, 1]), DUET_STATUS_WORKSPACE_TOO_SMALL. CUDA: to check labels and ratio a call waits for the stream, unless
   its context records faults or its stream is captured; then a label of C or above has a class_q of 0. Up to small_rows
   samples are one launch where 8 (B + 2) C bytes fit in 47 KiB. */
#ifndef DUET_SUPERVISION_SUPERVISION_H
#define DUET_SUPERVISION_SUPERVISION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_supervision_inputs {
  size_t struct_size;
  duet_vector labels, sample_ids;
  duet_matrix logits_a, logits_v;
  duet_vector prior, ratio, epoch;
  uint64_t seed;
  int32_t hide;            /* 0: annotated = labelled, as the baselines have it */
  int32_t lift;            /* 0: q = p */
  int32_t trust;           /* 0: every sample is trusted fully */
  float momentum;          /* of u and concord: 0.95 */
  float largest_lift;      /* 100 */
  float unannotated_kappa; /* 0.5 */
  float pair_weight_scale; /* 1 */
  double unread;     /* METHOD.md 6.9: what the labels tell of neither modality, 0 to 1; 1: nothing is known of them */
  double generality; /* METHOD.md 6.9: how far pairs generalise, 0 to 1; 0: nothing is known of them */
} duet_supervision_inputs;
#define DUET_SUPERVISION_INPUTS_INIT                                                                                \
  {                                                                                                                 \
    sizeof(duet_supervision_inputs), {0}, {0}, {0}, {0}, {0}, {0}, {0}, 0, 1, 1, 1, 0.95f, 100.0f, 0.5f, 1.0f, 1.0, \
        0.0                                                                                                         \
  }

typedef struct duet_supervision_state {
  size_t struct_size;
  duet_vector predicted, concord;
} duet_supervision_state;
#define DUET_SUPERVISION_STATE_INIT \
  { sizeof(duet_supervision_state) }

typedef struct duet_supervision_outputs {
  size_t struct_size;
  duet_matrix class_q;
  duet_vector trust, kappa, annotated, hidden_trust, counts, pair_weight;
  duet_vector predicted, concord;
  duet_vector anchor_weight;
} duet_supervision_outputs;
#define DUET_SUPERVISION_OUTPUTS_INIT \
  { sizeof(duet_supervision_outputs) }

DUET_API duet_status duet_supervision_workspace(const duet_context* context, const duet_supervision_inputs* inputs,
                                                size_t* bytes);
DUET_API duet_status duet_supervision_forward(duet_context* context, const duet_supervision_inputs* inputs,
                                              const duet_supervision_state* state,
                                              const duet_supervision_outputs* outputs, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
