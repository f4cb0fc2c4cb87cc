// What both backends make of a row's (or column's) statistics.
#pragma once

#include "kernels/core/own_pair.h"
#include "kernels/distillation/distillation_backends.h"

namespace duet {

// Where in a row of statistics: log-sum-exps, N = sum pos, log-odds of the own pair.
enum DistillationStatistic {
  kStudentLogSum = 0,
  kTeacherLogSum = 1,
  kPositives = 2,
  kStudentLogOdds = 3,
  kTeacherLogOdds = 4
};

// One row's share of d loss/d score, w ((1 - kappa)(P - P') + kappa (P - What)): what multiplies P, P' and -pos.
struct DistillationRowWeights {
  float student, teacher, target;
  double to_teacher, to_target;  // w (1 - kappa); w kappa, 0 without a target

  DUET_HOST_DEVICE DistillationRowWeights(const float* statistics, float weight, float kappa) {
    if (weight == 0) kappa = 0;  // takes no part, though its kappa be NaN
    const float sum = statistics[kPositives];
    const bool there = has_target(sum);
    student = weight * ((1 - kappa) + (there ? kappa : 0));
    teacher = -weight * (1 - kappa);
    target = there && weight != 0 ? static_cast<float>(static_cast<double>(weight) * kappa / sum) : 0;
    to_teacher = -static_cast<double>(teacher);
    to_target = there ? static_cast<double>(weight) * kappa : 0;
  }

  // The own pair's, a positive where the batch has classes.
  DUET_HOST_DEVICE double own(const float* statistics) const {
    const double x = statistics[kStudentLogOdds];
    double sum = 0;
    if (to_teacher != 0)
      sum += checked_weight(1, statistics[kStudentLogSum] + statistics[kTeacherLogSum]) * to_teacher *
             own_against_teacher(x, statistics[kTeacherLogOdds]);
    if (to_target != 0)
      sum +=
          checked_weight(1, statistics[kStudentLogSum]) * to_target * own_against_positives(x, statistics[kPositives]);
    return sum;
  }
};

// (1 - kappa) of the loss against the teacher and kappa of that against the agreement; what has no weight takes no
// part, though it be infinite.
DUET_HOST_DEVICE inline double mixed_loss(double kappa, double to_teacher, double to_target) {
  return (kappa == 1 ? 0 : (1 - kappa) * to_teacher) + (kappa == 0 ? 0 : kappa * to_target);
}

// One row's statistics, and its loss in nats. mean: of t - s over the others, weighted by the teacher; own_positive:
// own pairs are positives, as they are where the batch has classes.
DUET_HOST_DEVICE inline float distillation_loss(const OwnAndOthers& student, const OwnAndOthers& teacher, double mean,
                                                const OtherPositives& others, bool own_positive, double kappa,
                                                float* statistics) {
  own_positive = own_positive && student.has_own;
  statistics[kStudentLogSum] = static_cast<float>(student.lse);
  statistics[kTeacherLogSum] = static_cast<float>(teacher.lse);
  statistics[kPositives] = static_cast<float>(others.weight + (own_positive ? 1 : 0));
  statistics[kStudentLogOdds] = static_cast<float>(student.log_odds);
  statistics[kTeacherLogOdds] = static_cast<float>(teacher.log_odds);
  const double to_target = has_target(statistics[kPositives]) ? target_loss(student, own_positive, others, true) : 0;
  return static_cast<float>(mixed_loss(kappa, teacher_loss(student, teacher, mean), to_target));
}

}  // namespace duet
