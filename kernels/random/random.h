/* Random numbers that depend only on seed, stream, step and element (METHOD.md 0): Philox4x32-10, the same words on
   every backend.
   words[e] is word first_element + e of the draw. values[e] = low + (high - low) (word + 0.5) / 2^32, computed in
   float64 and rounded once. No workspace. Errors: DUET_STATUS_INVALID_ARGUMENT. */
#ifndef DUET_RANDOM_RANDOM_H
#define DUET_RANDOM_RANDOM_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_random_inputs {
  size_t struct_size;     /* set by DUET_RANDOM_INPUTS_INIT */
  uint64_t seed;          /* of the run */
  uint32_t stream;        /* what the numbers are for */
  uint32_t step;          /* of the training step, or of what moves on from draw to draw */
  uint64_t first_element; /* number of the first word in the draw */
  float low;              /* uniform alone: finite, at most high */
  float high;             /* uniform alone: finite */
} duet_random_inputs;
#define DUET_RANDOM_INPUTS_INIT DUET_INIT(duet_random_inputs, )
typedef struct duet_random_words_outputs {
  size_t struct_size; /* set by DUET_RANDOM_WORDS_OUTPUTS_INIT */
  duet_vector words;  /* any size, uint32 */
} duet_random_words_outputs;
#define DUET_RANDOM_WORDS_OUTPUTS_INIT DUET_INIT(duet_random_words_outputs, )
typedef struct duet_random_uniform_outputs {
  size_t struct_size; /* set by DUET_RANDOM_UNIFORM_OUTPUTS_INIT */
  duet_vector values; /* any size, float32 */
} duet_random_uniform_outputs;
#define DUET_RANDOM_UNIFORM_OUTPUTS_INIT DUET_INIT(duet_random_uniform_outputs, )

/* The words of a draw. */
DUET_API duet_status duet_random_words(duet_context* context, const duet_random_inputs* inputs,
                                       const duet_random_words_outputs* outputs);
/* Uniform numbers of low to high. */
DUET_API duet_status duet_random_uniform(duet_context* context, const duet_random_inputs* inputs,
                                         const duet_random_uniform_outputs* outputs);

#ifdef __cplusplus
}
#endif
#endif
