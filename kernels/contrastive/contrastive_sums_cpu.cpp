#include "kernels/contrastive/contrastive_sums_cpu.h"

#include "kernels/contrastive/relation_cpu.h"
#include "kernels/pairs/driver_cpu.h"

namespace duet::cpu {

void contrastive_merge(const duet_context& context, Matrix<const double> left, Matrix<const double> right,
                       Matrix<double> sums) {
  for_each_line(context, sums.rows, [&](int64_t k) {
    MergedSums all = MergedSums::load(left.row(k));
    all.add(MergedSums::load(right.row(k)));
    all.store(sums.row(k));
  });
}

void contrastive_close(const duet_context& context, duet_contrastive_kind kind, bool relation,
                       Matrix<const double> sums, Vector<float> loss, Matrix<float> statistics) {
  if (relation) return relation_close(context, kind, sums, loss, statistics);
  for_each_line(context, sums.rows,
                [&](int64_t k) { loss[k] = close_softmax(MergedSums::load(sums.row(k)), statistics.row(k)); });
}

}  // namespace duet::cpu
