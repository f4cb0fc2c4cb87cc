// Plain C++ in double. A batch has about a thousand logits, so vector units would save only microseconds a step.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cross_entropy/cross_entropy_backends.h"

namespace duet::cpu {
namespace {

constexpr int64_t kRows = 64;  // rows of a work item

// The softmax of a row. The largest logit is kept apart from the others, so that no 1 - p of a confident p is formed.
struct RowSums {
  double largest;  // NaN is skipped here, but not in the sum
  int64_t at;      // the first class that has it
  double others;   // sum over the other classes of exp(z_c - largest)
};

RowSums row_sums(const float* z, int64_t classes) {
  RowSums sums{-HUGE_VAL, 0, 0};
  for (int64_t c = 0; c < classes; ++c)
    if (z[c] > sums.largest) sums.largest = z[c], sums.at = c;
  sums.others = sums.largest - sums.largest;  // NaN where it is infinite
  for (int64_t c = 0; c < sums.at; ++c) sums.others += std::exp(z[c] - sums.largest);
  for (int64_t c = sums.at + 1; c < classes; ++c) sums.others += std::exp(z[c] - sums.largest);
  return sums;
}

}  // namespace

void cross_entropy_forward(const duet_context& context, const CrossEntropyForward& part) {
  const auto &logits = part.logits, &targets = part.targets;
  const auto& row_loss = part.row_loss;
  const int64_t classes = logits.columns;
  parallel_chunks(context, logits.rows, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const float *z = logits.row(i), *q = targets.row(i);
      const RowSums sums = row_sums(z, classes);
      double mass = 0, inner = 0;
      for (int64_t c = 0; c < classes; ++c) {
        mass += q[c];
        if (q[c] != 0) inner += q[c] * (sums.largest - z[c]);  // 0 log 0 = 0, also where the logit is -inf
      }
      row_loss[i] = classes == 0 ? 0 : static_cast<float>(mass * std::log1p(sums.others) + inner);
    }
  });
}

void cross_entropy_backward(const duet_context& context, const CrossEntropyBackward& part) {
  const auto &logits = part.logits, &targets = part.targets;
  const auto& row_weight = part.row_weight;
  const auto& grad_logits = part.grad_logits;
  const int64_t classes = logits.columns;
  parallel_chunks(context, logits.rows, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      if (row_weight[i] == 0) continue;  // adds nothing, even where its logits are NaN
      const float *z = logits.row(i), *q = targets.row(i);
      float* grad = grad_logits.row(i);
      const RowSums sums = row_sums(z, classes);
      double other_mass = 0;
      for (int64_t c = 0; c < classes; ++c)
        if (c != sums.at) other_mass += q[c];
      const double share = (classes == 0 ? 0 : other_mass + q[sums.at]) / (1 + sums.others);
      for (int64_t c = 0; c < classes; ++c) {
        // P mass - q of the largest class is formed from the other classes: their q less their P mass.
        const double difference =
            c == sums.at ? other_mass - sums.others * share : std::exp(z[c] - sums.largest) * share - q[c];
        grad[c] += static_cast<float>(row_weight[i] * difference);
      }
    }
  });
}

}  // namespace duet::cpu
