#include "kernels/triplet/triplet_row_cpu.h"

#include <algorithm>

namespace duet::cpu {

TripletRowScratch::TripletRowScratch(Workspace& workspace, int64_t m)
    : column(workspace.take<int32_t>(m + kPadding)),
      distance(workspace.take<float>(m + kPadding)),
      positive(workspace.take<float>(m + kPadding)),
      negative(workspace.take<float>(m + kPadding)),
      keys(workspace.take<uint64_t>(m)),
      term(workspace.take<double>(2 * m)),
      sorted_distance(workspace.take<float>(m + kPadding)),
      sorted_positive(workspace.take<float>(m)),
      negatives_below(workspace.take<double>(2 * (m + 1))),
      positives_below(workspace.take<double>(m + 1)),
      reached(workspace.take<int32_t>(m + kPadding)),
      passed(workspace.take<int32_t>(m + kPadding)),
      sorter(workspace, m) {}

MinedRow::MinedRow(const float* distances, int64_t m, float margin, float* grad)
    : distances_(distances), m_(m), margin_(margin), grad_(grad) {
  if (grad) std::fill_n(grad, m, 0.0f);
}

void MinedRow::take(int64_t positive, int64_t negative) {
  const float reach = distances_[positive] + margin_;
  if (!(distances_[negative] < reach)) return;
  sums_.loss += static_cast<double>(reach) - distances_[negative];
  sums_.active += 1;
  if (grad_) grad_[positive] += 1, grad_[negative] -= 1;  // counts, exact below 2^24
}

RowSums MinedRow::finish(double scale) {
  if (grad_ && sums_.active > 0)
    for (int64_t j = 0; j < m_; ++j) grad_[j] = static_cast<float>(scale * grad_[j]);
  return sums_;
}

}  // namespace duet::cpu
