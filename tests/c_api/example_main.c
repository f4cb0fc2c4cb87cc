/* Calls the example of kernels/README.md: 64 orthogonal pairs, of which each row's loss is known. */
#include <duet/duet.h>
#include <math.h>
#include <stdio.h>

enum { kPairs = 64, kWidth = 32 };

duet_status infonce(duet_context* context, const float* a, const float* v, float* loss_a, float* loss_v,
                    float* statistics_a, float* statistics_v);

static float a[kPairs * kWidth], loss_a[kPairs], loss_v[kPairs], statistics_a[kPairs * DUET_CONTRASTIVE_STATISTICS],
    statistics_v[kPairs * DUET_CONTRASTIVE_STATISTICS];

int main(void) {
  /* Rows k and k + 32 are unit vector k: of the scores of a row two are 10 and the others 0. */
  const double expected = log(2 * exp(10) + kPairs - 2) - 10;
  duet_context* context = NULL;
  int k;
  for (k = 0; k < kPairs; ++k) a[k * kWidth + k % kWidth] = 1;
  if (duet_context_create(NULL, &context) != DUET_STATUS_OK ||
      infonce(context, a, a, loss_a, loss_v, statistics_a, statistics_v) != DUET_STATUS_OK) {
    fprintf(stderr, "example: %s\n", duet_last_error());
    return 1;
  }
  for (k = 0; k < kPairs; ++k)
    if (!(fabs(loss_a[k] - expected) < 1e-5 && fabs(loss_v[k] - expected) < 1e-5)) {
      fprintf(stderr, "example: row %d: expected %g, got %g and %g\n", k, expected, loss_a[k], loss_v[k]);
      return 1;
    }
  duet_context_destroy(context);
  return 0;
}
