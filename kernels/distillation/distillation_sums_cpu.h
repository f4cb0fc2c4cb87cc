// What the pairs of a call add to a row or a column of distillation, as parts of a batch are merged by it
// (distillation.h's DUET_DISTILLATION_SUMS), and what becomes of it (CPU).
#pragma once

#include "kernels/cpu/log_sum.h"
#include "kernels/distillation/distillation_formula.h"

namespace duet::cpu {

struct DistillationSums {
  LogSum student, teacher;  // of the other pairs; the student's cross is not of it
  double own_student, own_teacher;
  bool has_own;
  double count;  // of the other pairs
  OtherPositives positives;

  static DistillationSums load(const double* from) {
    return {{from[0], from[1]}, {from[2], from[3], from[4]}, from[5], from[6], from[7] != 0, from[8],
            {from[9], from[10]}};
  }
  void store(double* to) const {
    const double all[DUET_DISTILLATION_SUMS] = {
        student.reference,   student.sum, teacher.reference, teacher.sum,    teacher.cross, own_student, own_teacher,
        has_own ? 1.0 : 0.0, count,       positives.weight,  positives.cross};
    for (int k = 0; k < DUET_DISTILLATION_SUMS; ++k) to[k] = all[k];
  }
  void add(const DistillationSums& right) {
    ShiftFactor factor;
    student.add(right.student, factor);
    teacher.add(right.teacher, factor);
    if (right.has_own) has_own = true, own_student = right.own_student, own_teacher = right.own_teacher;
    count += right.count;
    positives.weight += right.positives.weight, positives.cross += right.positives.cross;
  }

  // Its loss, and its statistics; agreement: whether there are classes or groups.
  float close(bool agreement, double kappa, float* statistics) const {
    const OwnAndOthers of_student(own_student, count == 0 ? -HUGE_VAL : student.log(), has_own);
    const OwnAndOthers of_teacher(own_teacher, count == 0 ? -HUGE_VAL : teacher.log(), has_own);
    const float loss =
        distillation_loss(of_student, of_teacher, teacher.cross / teacher.sum, positives, agreement, kappa, statistics);
    return count == 0 && !has_own ? 0 : loss;
  }
};

}  // namespace duet::cpu
