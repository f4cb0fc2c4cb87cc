/* Random numbers that depend only on seed, stream, step and element (METHOD.md 0): Philox4x32-10, the same words on
   every backend.
   words[e] is word first_element + e of the draw. uniform[e] = low + (high - low) (word + 0.5) / 2^32, computed in
   float64 and rounded once. No workspace. Errors: DUET_STATUS_INVALID_ARGUMENT. */
#ifndef DUET_RANDOM_RANDOM_H
#define DUET_RANDOM_RANDOM_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_random_draw {
  size_t struct_size;
  uint64_t seed;
  uint32_t stream, step;
  uint64_t first_element;
} duet_random_draw;
#define DUET_RANDOM_DRAW_INIT \
  { sizeof(duet_random_draw) }

DUET_API duet_status duet_random_words(duet_context* context, const duet_random_draw* draw, duet_vector words);
DUET_API duet_status duet_random_uniform(duet_context* context, const duet_random_draw* draw, float low, float high,
                                         duet_vector values);

#ifdef __cplusplus
}
#endif
#endif
