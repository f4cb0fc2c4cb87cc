#include "kernels/triplet/triplet_row.h"

#include <algorithm>

namespace duet::cpu {

TripletRowScratch::TripletRowScratch(Workspace& workspace, int64_t m)
    : positive(workspace.take<float>(m)),
      negative(workspace.take<float>(m)),
      keys(workspace.take<uint64_t>(m)),
      sorted_distance(workspace.take<float>(m + kPadding)),
      sorted_positive(workspace.take<float>(m)),
      sorted_negative(workspace.take<float>(m)),
      negatives_below(workspace.take<double>(m + 1)),
      distances_below(workspace.take<double>(m + 1)),
      positives_below(workspace.take<double>(m + 1)),
      reached(workspace.take<int32_t>(m + kPadding)),
      passed(workspace.take<int32_t>(m + kPadding)),
      sorter(workspace, m) {}

void soft_weights(const float* agreement, Vector<const float> trust, int64_t own, int64_t m, const TripletRowScratch& scratch) {
  float *positive = scratch.positive, *negative = scratch.negative;
  for (int64_t j = 0; j < m; ++j) {
    const float rest = 1 - agreement[j];  // a sum of products of float32 may pass 1 by an ulp: that is no negative weight
    positive[j] = agreement[j];
    negative[j] = rest < 0 ? 0 : rest;
  }
  if (trust) {
    for (int64_t j = 0; j < m; ++j) positive[j] *= trust[j], negative[j] *= trust[j];
  }
  if (own >= 0) positive[own] = 1, negative[own] = 0;
}

void label_weights(int32_t label, const int32_t* labels, int64_t m, const TripletRowScratch& scratch) {
  float *positive = scratch.positive, *negative = scratch.negative;
  for (int64_t j = 0; j < m; ++j) {
    const bool known = (label >= 0) & (labels[j] >= 0), same = labels[j] == label;
    positive[j] = (known & same) ? 1.0f : 0.0f;
    negative[j] = (known & !same) ? 1.0f : 0.0f;
  }
}

MinedRow::MinedRow(const float* distances, int64_t m, float margin, float* grad) : distances_(distances), m_(m), margin_(margin), grad_(grad) {
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
