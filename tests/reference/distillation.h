// METHOD.md 5, KL distillation: the bare formulas in double, for tests alone. Columns are rows of the transposes.
#pragma once

#include "tests/reference/alignment.h"

namespace duet::reference {

struct RowTerms {
  Doubles loss;    // n
  Doubles grad_s;  // n x m: weight_i d loss_i / d s_ij
};

// (1-kappa_i) KL(P'_i || P_i) + kappa_i KL(What_i || P_i) of student scores s and teacher scores t (n x m), pos (n x m) unnormalised.
inline RowTerms distillation_rows(const Doubles& s, const Doubles& t, const Doubles& pos, const Doubles& kappa, const Doubles& weight, int64_t n,
                                  int64_t m) {
  const Doubles lse = log_sum_exp_rows(s, n, m), teacher_lse = log_sum_exp_rows(t, n, m);
  RowTerms out{Doubles(n), Doubles(n * m)};
  for (int64_t i = 0; i < n; ++i) {
    double total = 0;
    for (int64_t j = 0; j < m; ++j) total += pos[i * m + j];
    for (int64_t j = 0; j < m; ++j) {
      const double log_p = s[i * m + j] - lse[i], log_teacher = t[i * m + j] - teacher_lse[i], p = std::exp(log_p), teacher = std::exp(log_teacher);
      const double target = total > 0 ? pos[i * m + j] / total : 0;
      const double to_teacher = teacher > 0 ? teacher * (log_teacher - log_p) : 0, to_target = target > 0 ? target * (std::log(target) - log_p) : 0;
      out.loss[i] += (1 - kappa[i]) * to_teacher + kappa[i] * to_target;
      out.grad_s[i * m + j] = weight[i] * ((1 - kappa[i]) * (p - teacher) + kappa[i] * ((total > 0 ? p : 0) - target));
    }
  }
  return out;
}

}  // namespace duet::reference
