// METHOD.md 5, KL distillation: the bare formulas in double, for tests alone. Columns are rows of the transposes.
#pragma once

#include "tests/reference/agreement.h"
#include "tests/reference/alignment.h"

namespace duet::reference {

// pos_ij of section 2 (n x m); the number of classes follows from class_a.
inline Doubles positives(const Doubles& class_a, const Doubles& class_v, const Doubles& trust_v, int64_t n, int64_t m,
                         bool paired, int64_t first_row = 0, int64_t first_column = 0, const Doubles& annotated_a = {},
                         const Doubles& annotated_v = {}) {
  const int64_t classes = n == 0 ? 0 : static_cast<int64_t>(class_a.size()) / n;
  return agreement(class_a, class_v, trust_v, n, m, classes, paired, first_row, first_column, annotated_a, annotated_v)
      .positive;
}

struct RowTerms {
  Doubles loss;    // n
  Doubles grad_s;  // n x m: weight_i d loss_i / d s_ij
  Doubles parts;   // n x m: the sizes of what grad_s is the difference of
  // n x m: weight_i d loss_i / d scale, where that is not grad_s times the dot; else empty
  Doubles by_scale = {};
};

// (1-kappa_i) KL(P'_i || P_i) + kappa_i KL(What_i || P_i) of student scores s and teacher scores t (n x m), pos (n x m)
// unnormalised. empty: the row that has neither, -1: none.
inline RowTerms distillation_rows(const Doubles& s, const Doubles& t, const Doubles& pos, const Doubles& kappa,
                                  const Doubles& weight, int64_t n, int64_t m, int64_t empty = -1) {
  const Doubles log_p = log_softmax_rows(s, n, m), log_teacher = log_softmax_rows(t, n, m), p = softmax_rows(s, n, m),
                teacher = softmax_rows(t, n, m);
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m)};
  for (int64_t i = 0; i < n; ++i) {
    if (i == empty) continue;
    double total = 0;
    for (int64_t j = 0; j < m; ++j) total += pos[i * m + j];
    Doubles target(m);
    for (int64_t j = 0; j < m && total > 0; ++j) target[j] = pos[i * m + j] / total;
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      const double to_teacher = teacher[k] > 0 ? teacher[k] * (log_teacher[k] - log_p[k]) : 0;
      const double to_target = target[j] > 0 ? target[j] * (std::log(target[j]) - log_p[k]) : 0;
      out.loss[i] += (1 - kappa[i]) * to_teacher + kappa[i] * to_target;
      const Difference from_teacher = difference(p.data() + i * m, teacher.data() + i * m, m, j);
      const Difference from_target = total > 0 ? difference(p.data() + i * m, target.data(), m, j) : Difference{0, 0};
      out.grad_s[k] = weight[i] * ((1 - kappa[i]) * from_teacher.value + kappa[i] * from_target.value);
      out.parts[k] = std::abs(weight[i]) * ((1 - kappa[i]) * from_teacher.parts + kappa[i] * from_target.parts);
    }
  }
  return out;
}

}  // namespace duet::reference
