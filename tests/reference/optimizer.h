// One step of AdamW and of SGD with the teacher's moving average, element by element in double, for tests alone.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/optimizer/optimizer.h"

namespace duet::reference {

using Doubles = std::vector<double>;

struct OptimizerState {
  Doubles parameter, first_moment, second_moment, teacher;
};

inline void move_teacher(OptimizerState& state, double momentum) {
  for (std::size_t k = 0; k < state.teacher.size(); ++k)
    state.teacher[k] = momentum * state.teacher[k] + (1 - momentum) * state.parameter[k];
}

inline void adamw(OptimizerState& state, const Doubles& gradient, const duet_adamw_inputs& options, double rate,
                  int64_t step) {
  const double beta1 = options.beta1, beta2 = options.beta2, t = static_cast<double>(step);
  for (std::size_t k = 0; k < gradient.size(); ++k) {
    double &theta = state.parameter[k], &m = state.first_moment[k], &v = state.second_moment[k];
    m = beta1 * m + (1 - beta1) * gradient[k];
    v = beta2 * v + (1 - beta2) * gradient[k] * gradient[k];
    theta -= rate * options.decay * theta;
    theta -= rate * (m / (1 - std::pow(beta1, t))) / (std::sqrt(v / (1 - std::pow(beta2, t))) + options.eps);
  }
  move_teacher(state, options.teacher_momentum);
}

inline void sgd(OptimizerState& state, const Doubles& gradient, const duet_sgd_inputs& options, double rate) {
  for (std::size_t k = 0; k < gradient.size(); ++k) {
    state.first_moment[k] = options.momentum * state.first_moment[k] + gradient[k] + options.decay * state.parameter[k];
    state.parameter[k] -= rate * state.first_moment[k];
  }
  move_teacher(state, options.teacher_momentum);
}

}  // namespace duet::reference
