/* One optimizer step over any number of parameter tensors, with the teacher's moving average in the same pass
   (METHOD.md 6.2 and its optimizer). A slot is one tensor theta with its gradient g and its moments.
   adamw: first theta -= rate decay theta (decoupled decay), then
     m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
     theta -= rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
   sgd: b = momentum b + g + decay theta, theta -= rate b; second_moment is not read.
   Then, where teacher is not null, teacher = teacher_momentum teacher + (1 - teacher_momentum) theta.
   Last, theta and teacher are clamped to the slot's bounds, where it has any; NaN stays.
   learning_rate (float32) and step t (int64, from 1) have size 1 in the context's memory. gradient is not cleared. No
   workspace.
   options.apply (int32, size 1 in the context's memory): where it is 0 the call changes nothing. Null: it always
     applies.
   options.slot_decay, slot_low, slot_high: arrays of slot_count numbers on the host, or null. The decay of slot k is
     options.decay slot_decay[k] (null: 1). Its bounds are slot_low[k] and slot_high[k] (null or infinite: none).
   Errors: DUET_STATUS_INVALID_ARGUMENT (also sizes that differ within a slot, betas outside [0, 1), eps not above 0,
   bounds out of order). */
#ifndef DUET_OPTIMIZER_OPTIMIZER_H
#define DUET_OPTIMIZER_OPTIMIZER_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_optimizer_slot {
  duet_vector parameter, gradient, first_moment, second_moment;
  duet_vector teacher; /* may be null */
} duet_optimizer_slot;

typedef struct duet_adamw_options {
  size_t struct_size;
  float beta1, beta2, eps, decay, teacher_momentum;
  duet_vector apply;
  const float *slot_decay, *slot_low, *slot_high;
} duet_adamw_options;
#define DUET_ADAMW_OPTIONS_INIT \
  { sizeof(duet_adamw_options), 0.9f, 0.999f, 1e-8f, 1e-3f, 0.95f }

typedef struct duet_sgd_options {
  size_t struct_size;
  float momentum, decay, teacher_momentum;
  duet_vector apply;
  const float *slot_decay, *slot_low, *slot_high;
} duet_sgd_options;
#define DUET_SGD_OPTIONS_INIT \
  { sizeof(duet_sgd_options), 0.9f, 1e-3f, 0.95f }

DUET_API duet_status duet_adamw_step(duet_context* context, const duet_optimizer_slot* slots, int64_t slot_count,
                                     const duet_adamw_options* options, duet_vector learning_rate, duet_vector step);
DUET_API duet_status duet_sgd_step(duet_context* context, const duet_optimizer_slot* slots, int64_t slot_count,
                                   const duet_sgd_options* options, duet_vector learning_rate);

#ifdef __cplusplus
}
#endif
#endif
