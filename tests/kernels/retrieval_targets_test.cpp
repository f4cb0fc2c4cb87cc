// The vector loops of retrieval, on every SIMD target that this processor runs.
#include "tests/kernels/retrieval_problem.h"
#include "tests/support/simd_targets.h"

using namespace duet::test;

TEST_CASE("retrieval agrees with the reference on every SIMD target") {
  RetrievalProblem problem = draw_problem(41, 30, 700, 6, 3, 0.1, 0);
  // Rows of signs score one of 17 numbers, exact on every target: hundreds of relevant items of one score are sorted
  // and counted.
  Draw draw(43);
  RetrievalProblem signs{Floats(300, 16), Floats(2000, 16), draw.labels(300, 5), draw.labels(2000, 5)};
  for (Floats* side : {&signs.queries, &signs.gallery})
    for (int64_t i = 0; i < side->rows(); ++i)
      for (int64_t k = 0; k < 16; ++k) side->at(i, k) = draw.normal() < 0 ? -1 : 1;
  const RetrievalResult expected = run_retrieval(signs);
  check_measures(expected, signs, 0);
  for_each_simd_target([&] {
    check_measures(run_retrieval(problem), problem, 1e-6);
    CHECK(run_retrieval(signs).same_bits(expected));
  });
}
