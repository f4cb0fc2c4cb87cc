// The triplets of one anchor from the row of its distances (METHOD.md 3).
#pragma once

#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/mining/mining_rows.h"

namespace duet::cpu {

// Loss and weight of an anchor's active triplets. Where grad is not null it takes dL/dD of the row (m), times scale.
struct RowSums {
  double loss = 0, active = 0;
};

// One thread's, for rows of m columns. Arrays in sorted order hold the columns that weigh, nearest first.
struct TripletRowScratch {
  static constexpr int64_t kPadding = 64;  // behind the sorted distances: whole vectors are compared

  float *positive, *negative;  // m: the weights of the row's columns
  uint64_t* keys;              // m, sorted
  float *sorted_distance, *sorted_positive, *sorted_negative;
  double *negatives_below, *distances_below, *positives_below;  // m + 1, sorted: S0 and S1 of the nearer negatives, S0 of the nearer positives
  int32_t *reached, *passed;  // of each as a positive: columns within its reach; as a negative: columns whose reach falls short of it
  RowSorter sorter;

  TripletRowScratch(Workspace& workspace, int64_t m);
};

// Weights of METHOD.md 2 of a row's columns; agreement: W of the row; trust without data: 1; own: the anchor's pair, or -1.
void soft_weights(const float* agreement, Vector<const float> trust, int64_t own, int64_t m, const TripletRowScratch& scratch);
void label_weights(int32_t label, const int32_t* labels, int64_t m, const TripletRowScratch& scratch);

struct WeightsOfRow {
  bool nan;  // decides something: it is a weight, or the distance of a column that weighs
  bool all;  // columns weigh
};
WeightsOfRow look_at_weights(const float* distances, int64_t m, const TripletRowScratch& scratch);

// all_weigh: as WeightsOfRow says.
RowSums triplets_all(const float* distances, int64_t m, bool all_weigh, float margin, double trust, double scale, float* grad,
                     const TripletRowScratch& scratch);

// Of mined triplets every one weighs 1.
class MinedRow {
 public:
  MinedRow(const float* distances, int64_t m, float margin, float* grad);
  void take(int64_t positive, int64_t negative);
  RowSums finish(double scale);

 private:
  const float* distances_;
  int64_t m_;
  float margin_;
  float* grad_;
  RowSums sums_;
};

}  // namespace duet::cpu
