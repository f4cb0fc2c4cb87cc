#include "kernels/distillation/distillation_sums_cpu.h"

#include "kernels/pairs/driver_cpu.h"

namespace duet::cpu {

void distillation_merge(const duet_context& context, Matrix<const double> left, Matrix<const double> right,
                        Matrix<double> sums) {
  for_each_line(context, sums.rows, [&](int64_t k) {
    DistillationSums all = DistillationSums::load(left.row(k));
    all.add(DistillationSums::load(right.row(k)));
    all.store(sums.row(k));
  });
}

void distillation_close(const duet_context& context, Matrix<const double> sums, Vector<const float> kappa,
                        bool agreement, Vector<float> loss, Matrix<float> statistics) {
  for_each_line(context, sums.rows, [&](int64_t k) {
    loss[k] = DistillationSums::load(sums.row(k)).close(agreement, kappa ? kappa[k] : 0, statistics.row(k));
  });
}

}  // namespace duet::cpu
