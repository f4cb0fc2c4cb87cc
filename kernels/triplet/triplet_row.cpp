#include "kernels/triplet/triplet_row.h"

#include <algorithm>

namespace duet::cpu {

TripletRowScratch TripletRowScratch::take(Workspace& workspace, int64_t size, bool draws) {
  TripletRowScratch out{};
  for (float** part : {&out.positive, &out.negative, &out.sorted_distance, &out.sorted_positive, &out.sorted_negative})
    *part = workspace.take<float>(size);
  out.keys = workspace.take<uint64_t>(size);
  if (draws) out.draw = DrawScratch::take(workspace, size);
  return out;
}

TripletRowScratch TripletRowScratch::at(int64_t k) const {
  DrawScratch of_row = draw;
  if (draw.words) of_row = {draw.log_weight + k, draw.words + k};
  return {positive + k, negative + k, keys + k, sorted_distance + k, sorted_positive + k, sorted_negative + k, of_row};
}

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
    positive[j] = known & same ? 1.0f : 0.0f;
    negative[j] = known & !same ? 1.0f : 0.0f;
  }
}

bool weighs_nan(const float* distances, int64_t m, const TripletRowScratch& scratch) {
  const float *positive = scratch.positive, *negative = scratch.negative;
  int found = 0;
  for (int64_t j = 0; j < m; ++j) {
    const float weight = positive[j] + negative[j];  // both are at least 0
    found |= (weight != weight) | ((distances[j] != distances[j]) & (weight != 0));
  }
  return found != 0;
}

RowSums triplets_all(const float* distances, int64_t m, float margin, double trust, double scale, float* grad, const TripletRowScratch& scratch) {
  if (grad) std::fill_n(grad, m, 0.0f);
  RowSums sums;
  if (trust == 0) return sums;
  uint64_t* keys = scratch.keys;
  int64_t count = 0;
  for (int64_t j = 0; j < m; ++j) {
    keys[count] = sort_key(distances[j], j);
    count += (scratch.positive[j] != 0) | (scratch.negative[j] != 0);
  }
  sort_keys(keys, count);
  float *d = scratch.sorted_distance, *positive = scratch.sorted_positive, *negative = scratch.sorted_negative;
  double all_positive = 0;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t j = key_column(keys[r]);
    d[r] = key_distance(keys[r]);
    positive[r] = scratch.positive[j];
    negative[r] = scratch.negative[j];
    all_positive += positive[r];
  }
  // S0 and S1 (METHOD.md 3) of the negatives that r as a positive reaches, and the sum of pos over the positives that fall short of r as a
  // negative. Reach is rounded once, so every side of a triplet sees the same hinge.
  double within = 0, within_distance = 0, short_of = 0;
  int64_t reached = 0, passed = 0;
  for (int64_t r = 0; r < count; ++r) {
    const float reach = d[r] + margin;
    for (; reached < count && d[reached] < reach; ++reached) {
      within += negative[reached];
      within_distance += static_cast<double>(negative[reached]) * d[reached];
    }
    if (positive[r] != 0 && within != 0) {
      sums.loss += positive[r] * (reach * within - within_distance);
      sums.active += positive[r] * within;
    }
    if (!grad) continue;
    for (; passed < count && d[passed] + margin <= d[r]; ++passed) short_of += positive[passed];
    grad[key_column(keys[r])] = static_cast<float>(scale * trust * (positive[r] * within - negative[r] * (all_positive - short_of)));
  }
  sums.loss *= trust;
  sums.active *= trust;
  return sums;
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
