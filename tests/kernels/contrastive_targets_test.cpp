// The vector loops of the contrastive losses, on every SIMD target that this processor runs.
#include "tests/kernels/contrastive_problem.h"
#include "tests/support/simd_targets.h"

using namespace duet::test;
using namespace duet::test::contrastive;

TEST_CASE("contrastive losses agree with the reference on every SIMD target") {
  for_each_simd_target([] {
    for (const Variant variant : kAllVariants) {
      CAPTURE(static_cast<int>(variant));
      Draw draw(81);
      Problem problem = draw_problem(draw, variant, 71, 83, 19, 20, 4, 1);
      const Losses losses = forward(problem);
      check_losses(problem, losses, problem.tolerance());
      const Weights weights{draw.choice(71, {1, 0.3, 0, -0.5}), draw.choice(83, {1, 0.3, 0, -0.5})};
      const Gradients before = prefilled(problem);
      check_gradients(problem, weights, before, backward(problem, losses, weights, 2, before));
    }
  });
}
