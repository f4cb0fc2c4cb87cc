// A warp owns a row of up to 2048 classes, a block owns a longer row (kernels/cuda/rows.h).
// Bytes: 8 a logit forward, 16 backward.
// Operations, in double: one exponential a logit forward, two backward.
#include "kernels/cross_entropy/cross_entropy_backends.h"
#include "kernels/cuda/rows.h"

namespace duet::cuda {
namespace {

// The softmax of a row. The largest logit is kept apart from the others, so that no 1 - p of a confident p is formed.
struct RowSums {
  double largest;  // NaN is skipped here, but not in the sum
  int64_t at;      // the first class that has it; classes where none has
  double others;   // sum over the other classes of exp(z_c - largest)
};

template <class Team, int kWidth>
__device__ RowSums row_sums(const float* z, int64_t classes) {
  Placed mine{-HUGE_VAL, classes};
  Team::template each<kWidth>(classes, [&](int64_t c) {
    const Pack<kWidth> logit = load<kWidth>(z + c);
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e)
      if (logit.at[e] > mine.value) mine = {logit.at[e], c + e};
  });
  const Placed of_row = Team::reduce(mine, LargerFirst{});
  const double others = Team::template sum_over<kWidth>(classes, [=](int64_t c) {
    const Pack<kWidth> logit = load<kWidth>(z + c);
    double part = 0;
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) part += c + e == of_row.at ? 0 : exp(logit.at[e] - of_row.value);
    return part;
  });
  return {of_row.value, of_row.at, others + (of_row.value - of_row.value)};  // NaN where it is infinite
}

// The sum of q over all classes but one.
template <class Team, int kWidth>
__device__ double mass_beside(const float* q, int64_t classes, int64_t left_out) {
  return Team::template sum_over<kWidth>(classes, [=](int64_t c) {
    const Pack<kWidth> target = load<kWidth>(q + c);
    double part = 0;
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) part += c + e == left_out ? 0 : target.at[e];
    return part;
  });
}

struct Forward : CrossEntropyForward {
  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const float *const z = logits.row(i), *const q = targets.row(i);
    const int64_t classes = logits.columns;
    const RowSums sums = row_sums<Team, kWidth>(z, classes);
    const double mass = mass_beside<Team, kWidth>(q, classes, -1);
    const double inner = Team::template sum_over<kWidth>(classes, [=](int64_t c) {
      const Pack<kWidth> logit = load<kWidth>(z + c), target = load<kWidth>(q + c);
      double part = 0;
      DUET_UNROLL
      for (int e = 0; e < kWidth; ++e)
        if (target.at[e] != 0)
          part += target.at[e] * (sums.largest - logit.at[e]);  // 0 log 0 = 0, also where the logit is -inf
      return part;
    });
    if (Team::thread() == 0) row_loss[i] = classes == 0 ? 0 : static_cast<float>(mass * log1p(sums.others) + inner);
  }
};

struct Backward : CrossEntropyBackward {
  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    if (row_weight[i] == 0) return;  // adds nothing, even where its logits are NaN
    const float *const z = logits.row(i), *const q = targets.row(i);
    float* const to = grad_logits.row(i);
    const RowSums sums = row_sums<Team, kWidth>(z, logits.columns);
    const double other_mass = mass_beside<Team, kWidth>(q, logits.columns, sums.at),
                 own_mass = sums.at < logits.columns ? q[sums.at] : 0;
    const double weight = row_weight[i], share = (other_mass + own_mass) / (1 + sums.others);
    Team::template each<kWidth>(logits.columns, [=](int64_t c) {
      const Pack<kWidth> logit = load<kWidth>(z + c), target = load<kWidth>(q + c);
      Pack<kWidth> grad = load<kWidth>(to + c);
      DUET_UNROLL
      for (int e = 0; e < kWidth; ++e) {
        // P mass - q of the largest class is formed from the other classes: their q less their P mass.
        const double difference = c + e == sums.at ? other_mass - sums.others * share
                                                   : exp(logit.at[e] - sums.largest) * share - target.at[e];
        grad.at[e] += static_cast<float>(weight * difference);
      }
      store(to + c, grad);
    });
  }
};

// Several logits of one shape. Their rows are numbered one after another.
template <class Part>
struct Parts {
  Part at[DUET_CROSS_ENTROPY_LOGITS];
  int64_t rows;  // of each

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    int part = 0;
    for (; i >= rows; ++part) i -= rows;
    at[part].template run<Team, kWidth>(i);
  }
};

template <class Part, class Given>
void run(const duet_context& context, const Given* given, int64_t count, bool (*is_wide)(const Given&)) {
  const int64_t rows = given[0].logits.rows, columns = given[0].logits.columns;
  Parts<Part> parts{};
  parts.rows = rows;
  bool wide = columns % 4 == 0;
  for (int64_t k = 0; k < count; ++k) {
    parts.at[k] = Part{given[k]};
    wide &= is_wide(given[k]);
  }
  for_each_row(context, rows * count, columns, wide, parts);
}

}  // namespace

void cross_entropy_forward(const duet_context& context, const CrossEntropyForward* parts, int64_t count) {
  run<Forward, CrossEntropyForward>(context, parts, count, [](const CrossEntropyForward& part) {
    return aligned(part.logits) && aligned(part.targets);
  });
}

void cross_entropy_backward(const duet_context& context, const CrossEntropyBackward* parts, int64_t count) {
  run<Backward, CrossEntropyBackward>(context, parts, count, [](const CrossEntropyBackward& part) {
    return aligned(part.logits) && aligned(part.targets) && aligned(part.grad_logits);
  });
}

}  // namespace duet::cuda
