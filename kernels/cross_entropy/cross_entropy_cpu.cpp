// A batch has about a thousand logits, so plain C++ in double: the vector units would save microseconds a step.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cross_entropy/cross_entropy_backends.h"

namespace duet::cpu {
namespace {

constexpr int64_t kRows = 64;  // rows of a work item

struct RowSums {
  double largest;  // passes over NaN; the sum does not
  double sum;      // sum_c exp(z_c - largest)
};

RowSums row_sums(const float* z, int64_t classes) {
  RowSums sums{-HUGE_VAL, 0};
  for (int64_t c = 0; c < classes; ++c) sums.largest = std::max<double>(sums.largest, z[c]);
  for (int64_t c = 0; c < classes; ++c) sums.sum += std::exp(z[c] - sums.largest);
  return sums;
}

}  // namespace

void cross_entropy_forward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<float> row_loss) {
  const int64_t classes = logits.columns;
  parallel_chunks(context, logits.rows, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const float *z = logits.row(i), *q = targets.row(i);
      const RowSums sums = row_sums(z, classes);
      double mass = 0, inner = 0;
      for (int64_t c = 0; c < classes; ++c) {
        mass += q[c];
        if (q[c] != 0) inner += q[c] * (z[c] - sums.largest);  // 0 log 0 = 0, also where the logit is -inf
      }
      row_loss[i] = classes == 0 ? 0 : static_cast<float>(mass * std::log(sums.sum) - inner);
    }
  });
}

void cross_entropy_backward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<const float> row_weight,
                            Matrix<float> grad_logits) {
  const int64_t classes = logits.columns;
  parallel_chunks(context, logits.rows, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const float *z = logits.row(i), *q = targets.row(i);
      float* grad = grad_logits.row(i);
      const RowSums sums = row_sums(z, classes);
      double mass = 0;
      for (int64_t c = 0; c < classes; ++c) mass += q[c];
      for (int64_t c = 0; c < classes; ++c) grad[c] += static_cast<float>(row_weight[i] * (std::exp(z[c] - sums.largest) / sums.sum * mass - q[c]));
    }
  });
}

}  // namespace duet::cpu
