// A warp owns a row of up to 2048 classes, a block a longer one (kernels/cuda/rows.h), in double as on the CPU. Bytes: 8 a logit forward, 16
// backward; the second and third reading of a row come from L1. An exponential in double is some 30 operations, forward one a logit, backward two: at
// 17 T/s of an H200 1.8 and 3.5 ps a logit, where bandwidth (4.8 TB/s) asks 1.7 and 3.3 ps. A batch of 128 x 10 is two launches' worth of time,
// whatever they do.
#include "kernels/cross_entropy/cross_entropy_backends.h"
#include "kernels/cuda/rows.h"

namespace duet::cuda {
namespace {

struct RowSums {
  double largest;  // passes over NaN; the sum does not
  double sum;      // sum_c exp(z_c - largest)
};

template <class Team, int kWidth>
__device__ RowSums row_sums(const float* z, int64_t classes) {
  double largest = -HUGE_VAL;
  Team::template each<kWidth>(classes, [&](int64_t c) {
    const Pack<kWidth> logit = load<kWidth>(z + c);
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) largest = LargerNumber{}(largest, logit.at[e]);
  });
  largest = Team::reduce(largest, LargerNumber{});
  const double sum = Team::template sum_over<kWidth>(classes, [=](int64_t c) {
    const Pack<kWidth> logit = load<kWidth>(z + c);
    double part = 0;
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) part += exp(logit.at[e] - largest);
    return part;
  });
  return {largest, sum};
}

template <class Team, int kWidth>
__device__ double mass_of(const float* q, int64_t classes) {
  return Team::template sum_over<kWidth>(classes, [=](int64_t c) {
    const Pack<kWidth> target = load<kWidth>(q + c);
    double part = 0;
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) part += target.at[e];
    return part;
  });
}

struct Forward {
  Matrix<const float> logits, targets;
  Vector<float> row_loss;

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const float *const z = logits.row(i), *const q = targets.row(i);
    const int64_t classes = logits.columns;
    const RowSums sums = row_sums<Team, kWidth>(z, classes);
    const double mass = mass_of<Team, kWidth>(q, classes);
    const double inner = Team::template sum_over<kWidth>(classes, [=](int64_t c) {
      const Pack<kWidth> logit = load<kWidth>(z + c), target = load<kWidth>(q + c);
      double part = 0;
      DUET_UNROLL
      for (int e = 0; e < kWidth; ++e)
        if (target.at[e] != 0) part += target.at[e] * (logit.at[e] - sums.largest);  // 0 log 0 = 0, also where the logit is -inf
      return part;
    });
    if (Team::thread() == 0) row_loss[i] = classes == 0 ? 0 : static_cast<float>(mass * log(sums.sum) - inner);
  }
};

struct Backward {
  Matrix<const float> logits, targets;
  Vector<const float> row_weight;
  Matrix<float> grad_logits;

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const float *const z = logits.row(i), *const q = targets.row(i);
    float* const to = grad_logits.row(i);
    const RowSums sums = row_sums<Team, kWidth>(z, logits.columns);
    const double weight = row_weight[i], share = mass_of<Team, kWidth>(q, logits.columns) / sums.sum;
    Team::template each<kWidth>(logits.columns, [=](int64_t c) {
      const Pack<kWidth> logit = load<kWidth>(z + c), target = load<kWidth>(q + c);
      Pack<kWidth> grad = load<kWidth>(to + c);
      DUET_UNROLL
      for (int e = 0; e < kWidth; ++e) grad.at[e] += static_cast<float>(weight * (exp(logit.at[e] - sums.largest) * share - target.at[e]));
      store(to + c, grad);
    });
  }
};

}  // namespace

void cross_entropy_forward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<float> row_loss) {
  const bool wide = logits.columns % 4 == 0 && aligned(logits) && aligned(targets);
  for_each_row(context, logits.rows, logits.columns, wide, Forward{logits, targets, row_loss});
}

void cross_entropy_backward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<const float> row_weight,
                            Matrix<float> grad_logits) {
  const bool wide = logits.columns % 4 == 0 && aligned(logits) && aligned(targets) && aligned(grad_logits);
  for_each_row(context, logits.rows, logits.columns, wide, Backward{logits, targets, row_weight, grad_logits});
}

}  // namespace duet::cuda
