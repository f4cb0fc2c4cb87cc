/* One optimizer step over any number of parameter tensors, with the teacher's moving average in the same pass
   (METHOD.md 6.2 and its optimizer). A slot is one tensor theta with its gradient g and its moments.
   adamw: first theta -= rate decay theta (decoupled decay), then
     m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
     theta -= rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
   sgd: b = momentum b + g + decay theta, theta -= rate b; second_moment is not read.
   Then, where teacher is not null, teacher = teacher_momentum teacher + (1 - teacher_momentum) theta.
   Last, theta and teacher are clamped to the slot's bounds, where it has any; NaN stays. gradient is not cleared.
   gradient_clip: the Euclidean norm |g| of all slots' gradients together, and the factor min(1, limit / |g|) by which a
   step multiplies g first where it is given as gradient_scale (clipping by the global norm, arXiv 1211.5063). Squares
   are summed in float64, in an order that the sizes fix. |g| = 0: factor 1; |g| NaN: NaN; |g| infinite: 0, and then g
   holds NaN where it was infinite. Its workspace is what duet_gradient_clip_workspace says; a step needs none.
   Errors: DUET_STATUS_INVALID_ARGUMENT (also sizes that differ within a slot, betas outside [0, 1), eps or limit not
   above 0, bounds out of order). */
#ifndef DUET_OPTIMIZER_OPTIMIZER_H
#define DUET_OPTIMIZER_OPTIMIZER_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The arrays of one parameter tensor, float32 of one size. */
typedef struct duet_optimizer_slot {
  duet_vector parameter;      /* theta: moved */
  duet_const_vector gradient; /* g */
  duet_vector first_moment;   /* m of adamw, b of sgd: moved; 0 at first */
  duet_vector second_moment;  /* v of adamw: moved; 0 at first */
  duet_vector teacher;        /* moved; may be null */
} duet_optimizer_slot;
/* The arrays of all parameter tensors. */
typedef struct duet_optimizer_slots {
  size_t struct_size;               /* set by DUET_OPTIMIZER_SLOTS_INIT */
  const duet_optimizer_slot* slots; /* an array of slot_count */
  int64_t slot_count;               /* 0 or more */
  size_t slot_size;                 /* of one; set by DUET_OPTIMIZER_SLOTS_INIT */
} duet_optimizer_slots;
#define DUET_OPTIMIZER_SLOTS_INIT DUET_INIT(duet_optimizer_slots, DUET_SET(slot_size, sizeof(duet_optimizer_slot)))

typedef struct duet_adamw_inputs {
  size_t struct_size;               /* set by DUET_ADAMW_INPUTS_INIT */
  duet_const_vector learning_rate;  /* 1, float32: rate */
  duet_const_vector step;           /* 1, int64: t, from 1 */
  duet_const_vector apply;          /* 1, int32: where it is 0 the call changes nothing; null: it always applies */
  duet_const_vector gradient_scale; /* 1, float32: g is multiplied by it first; null: 1 */
  const float* slot_decay;          /* of the host, one a slot: its decay is decay slot_decay[k]; null: 1 */
  const float* slot_low;            /* of the host, one a slot: the least theta and teacher; null, or -inf: none */
  const float* slot_high;           /* of the host, one a slot: the largest; null, or inf: none */
  float beta1;                      /* 0 to below 1 */
  float beta2;                      /* 0 to below 1 */
  float eps;                        /* above 0 */
  float decay;                      /* 0 or more */
  float teacher_momentum;           /* 0 to 1 */
  int32_t reserved;                 /* 0 */
} duet_adamw_inputs;
#define DUET_ADAMW_INPUTS_INIT                                                                    \
  DUET_INIT(duet_adamw_inputs, DUET_SET(beta1, 0.9f) DUET_SET(beta2, 0.999f) DUET_SET(eps, 1e-8f) \
                                   DUET_SET(decay, 1e-3f) DUET_SET(teacher_momentum, 0.95f))
typedef struct duet_sgd_inputs {
  size_t struct_size;               /* set by DUET_SGD_INPUTS_INIT */
  duet_const_vector learning_rate;  /* 1, float32: rate */
  duet_const_vector apply;          /* as of adamw, and so the following four */
  duet_const_vector gradient_scale; /* likewise */
  const float* slot_decay;          /* likewise */
  const float* slot_low;            /* likewise */
  const float* slot_high;           /* likewise */
  float momentum;                   /* 0 to below 1 */
  float decay;                      /* 0 or more */
  float teacher_momentum;           /* 0 to 1 */
  int32_t reserved;                 /* 0 */
} duet_sgd_inputs;
#define DUET_SGD_INPUTS_INIT \
  DUET_INIT(duet_sgd_inputs, DUET_SET(momentum, 0.9f) DUET_SET(decay, 1e-3f) DUET_SET(teacher_momentum, 0.95f))

typedef struct duet_gradient_clip_inputs {
  size_t struct_size; /* set by DUET_GRADIENT_CLIP_INPUTS_INIT */
  float limit;        /* above 0: the largest norm that is left as it is; infinite: the norm alone is wanted */
  int32_t reserved;   /* 0 */
} duet_gradient_clip_inputs;
#define DUET_GRADIENT_CLIP_INPUTS_INIT DUET_INIT(duet_gradient_clip_inputs, DUET_SET(limit, 1.0f))
typedef struct duet_gradient_clip_outputs {
  size_t struct_size; /* set by DUET_GRADIENT_CLIP_OUTPUTS_INIT */
  duet_vector norm;   /* 1, float32: |g| */
  duet_vector scale;  /* 1, float32: the factor */
} duet_gradient_clip_outputs;
#define DUET_GRADIENT_CLIP_OUTPUTS_INIT DUET_INIT(duet_gradient_clip_outputs, )

/* Of the slots their gradients alone are read; the other arrays may be null.
   bytes: what the workspace must hold. */
DUET_API duet_status duet_gradient_clip_workspace(const duet_context* context, const duet_optimizer_slots* slots,
                                                  size_t* bytes);
/* The norm of all gradients together, and the factor that brings it down to the limit. */
DUET_API duet_status duet_gradient_clip(duet_context* context, const duet_gradient_clip_inputs* inputs,
                                        const duet_optimizer_slots* slots, const duet_gradient_clip_outputs* outputs,
                                        duet_workspace workspace);
/* A step of AdamW. */
DUET_API duet_status duet_adamw_step(duet_context* context, const duet_adamw_inputs* inputs,
                                     const duet_optimizer_slots* slots);
/* A step of SGD with momentum. */
DUET_API duet_status duet_sgd_step(duet_context* context, const duet_sgd_inputs* inputs,
                                   const duet_optimizer_slots* slots);

#ifdef __cplusplus
}
#endif
#endif
