// What both backends make of a row's (or column's) statistics.
#pragma once

#include <float.h>

#include "kernels/core/own_pair.h"
#include "kernels/distillation/distillation_backends.h"

namespace duet {

// Where in a row of statistics: log-sum-exps, N = sum pos, log-odds of the own pair.
enum DistillationStatistic { kStudentLogSum = 0, kTeacherLogSum = 1, kPositives = 2, kStudentLogOdds = 3, kTeacherLogOdds = 4 };

// One row's share of d loss/d score, w ((1 - kappa)(P - P') + kappa (P - What)): what multiplies P, P' and -pos. A row has no target where its N
// falls below the smallest normal float, whose reciprocal would be infinite; NaN counts as a target, so that it shows.
struct DistillationPull {
  float student, teacher, target;
  double to_teacher, to_target;  // w (1 - kappa); w kappa, 0 without a target

  DUET_HOST_DEVICE DistillationPull(const float* statistics, float weight, float kappa) {
    if (weight == 0) kappa = 0;  // takes no part, though its kappa be NaN
    const float sum = statistics[kPositives];
    const bool has_target = !(sum < FLT_MIN);
    student = weight * ((1 - kappa) + (has_target ? kappa : 0));
    teacher = -weight * (1 - kappa);
    target = has_target && weight != 0 ? static_cast<float>(static_cast<double>(weight) * kappa / sum) : 0;
    to_teacher = -static_cast<double>(teacher);
    to_target = has_target ? static_cast<double>(weight) * kappa : 0;
  }

  // The own pair's, a positive where the batch has classes.
  DUET_HOST_DEVICE double own(const float* statistics) const {
    const double x = statistics[kStudentLogOdds];
    double sum = 0;
    if (to_teacher != 0)
      sum +=
          taking_part(1, statistics[kStudentLogSum] + statistics[kTeacherLogSum]) * to_teacher * own_against_teacher(x, statistics[kTeacherLogOdds]);
    if (to_target != 0) sum += taking_part(1, statistics[kStudentLogSum]) * to_target * own_against_positives(x, statistics[kPositives]);
    return sum;
  }
};

// (1 - kappa) of the loss against the teacher and kappa of that against the agreement; what has no weight takes no part, though it be infinite.
DUET_HOST_DEVICE inline double mixed_loss(double kappa, double to_teacher, double to_target) {
  return (kappa == 1 ? 0 : (1 - kappa) * to_teacher) + (kappa == 0 ? 0 : kappa * to_target);
}

}  // namespace duet
