/* What supervises a batch of pairs (METHOD.md 6.3, 6.4 and 6.10): the annotated split, class distributions q, trust t,
   kappa, lift, concord, and the weight of the pair term.
   A labelled sample is annotated where hide is 0 or where its coin of probability r succeeds. The label of every other
   sample is hidden. An annotated sample's q is 1 at its class, or with label_sets 1/k at each of its label's k classes.
   state: the u of 6.4 and concord. First u moves towards the mean of p, and concord towards the share of the batch's
     never-labelled samples whose heads agree. Then the moved values are used. Where outputs.predicted and
     outputs.concord are given the state stays as it was, so that a caller can drop a step after it has seen the counts;
     where they are not, the state itself is moved.
   With fewer than two classes heads cannot disagree; their agreement is then no evidence and counts as none. Ties of an
   argmax go to the lowest class. A class of prior 0 has lift 0. A distribution that the lift leaves without mass is
   used without the lift. NaN logits give NaN q, trust 0 and NaN u. B = 0: counts are 0 and the state does not change.
   Workspace: duet_supervision_workspace(). Errors: DUET_STATUS_INVALID_ARGUMENT (also a label of C or above, with
   label_sets of S or above, a ratio outside [0, 1]), DUET_STATUS_WORKSPACE_TOO_SMALL. CUDA: to check labels and ratio a
   call waits for the stream, unless its context records faults or its stream is captured; then such a label has a
   class_q of 0. Up to small_rows samples are one launch where 8 (B + 2) C bytes fit in 47 KiB. */
#ifndef DUET_SUPERVISION_SUPERVISION_H
#define DUET_SUPERVISION_SUPERVISION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_supervision_inputs {
  size_t struct_size;           /* set by DUET_SUPERVISION_INPUTS_INIT */
  duet_const_vector labels;     /* B, int32: below C, or S; -1: never labelled */
  duet_const_vector sample_ids; /* B, int64: of the samples in the data set, which their coins depend on */
  duet_const_matrix logits_a;   /* B x C, float32: of the teacher's first head */
  duet_const_matrix logits_v;   /* B x C, float32: of its second */
  duet_const_vector prior;      /* C, float32: class frequencies of the labelled training samples */
  duet_const_vector ratio;      /* 1, float32: r, 0 to 1 */
  duet_const_vector epoch;      /* 1, int64, 0 to below 2^32 */
  uint64_t seed;                /* of the run: the coin of stream 4 */
  double unread;      /* METHOD.md 6.9: what the labels tell of neither modality, 0 to 1; 1: nothing is known of them */
  double generality;  /* METHOD.md 6.9: how far pairs generalise, 0 to 1; 0: nothing is known of them */
  int32_t hide;       /* 0: annotated = labelled, as the baselines have it */
  int32_t lift;       /* 0: q = p */
  int32_t trust;      /* 0: every sample is trusted fully */
  float momentum;     /* of u and concord, 0 to 1 */
  float largest_lift; /* above 0 */
  float unannotated_kappa;      /* of a sample that is not annotated, 0 to 1 */
  float pair_weight_scale;      /* 0 or more */
  int32_t reserved;             /* 0 */
  duet_const_matrix label_sets; /* S x ceil(C/32), int32: the classes of each label, bit c % 32 of word c / 32 that of
                                   class c, others 0; null: a label is a class */
} duet_supervision_inputs;
#define DUET_SUPERVISION_INPUTS_INIT                                                                                  \
  DUET_INIT(duet_supervision_inputs, DUET_SET(hide, 1) DUET_SET(lift, 1) DUET_SET(trust, 1) DUET_SET(momentum, 0.95f) \
                                         DUET_SET(largest_lift, 100.0f) DUET_SET(unannotated_kappa, 0.5f)             \
                                             DUET_SET(pair_weight_scale, 1.0f) DUET_SET(unread, 1.0))

/* Read, and moved where the outputs take no copy. */
typedef struct duet_supervision_state {
  size_t struct_size;    /* set by DUET_SUPERVISION_STATE_INIT */
  duet_vector predicted; /* C, float32: u of 6.4, from 1/C */
  duet_vector concord;   /* 1, float32, from 0 */
} duet_supervision_state;
#define DUET_SUPERVISION_STATE_INIT DUET_INIT(duet_supervision_state, )

typedef struct duet_supervision_outputs {
  size_t struct_size;        /* set by DUET_SUPERVISION_OUTPUTS_INIT */
  duet_matrix class_q;       /* B x C, float32: q */
  duet_vector trust;         /* B, float32: t, 0 to 1 */
  duet_vector kappa;         /* B, float32, 0 to 1 */
  duet_vector annotated;     /* B, float32: 1 or 0 */
  duet_vector hidden_trust;  /* B, float32: trust where not annotated, else 0 */
  duet_vector counts;        /* 2, float32: number annotated, number of the others */
  duet_vector pair_weight;   /* 1, float32: w = pair_weight_scale (1 + 2 unread) ((1 - concord) + (1 - generality)^2
                                concord^8) */
  duet_vector predicted;     /* C, float32: the moved state; null with concord: the state itself is moved */
  duet_vector concord;       /* 1, float32: likewise */
  duet_vector anchor_weight; /* B, float32: 1 of a never-labelled sample, unread^2 of the others; may be null */
} duet_supervision_outputs;
#define DUET_SUPERVISION_OUTPUTS_INIT DUET_INIT(duet_supervision_outputs, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_supervision_workspace(const duet_context* context, const duet_supervision_inputs* inputs,
                                                size_t* bytes);
DUET_API duet_status duet_supervision_forward(duet_context* context, const duet_supervision_inputs* inputs,
                                              const duet_supervision_state* state,
                                              const duet_supervision_outputs* outputs, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
