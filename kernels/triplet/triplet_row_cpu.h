// The triplets of one anchor from the row of its distances (METHOD.md 3).
#pragma once

#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/mining/mining_rows_cpu.h"

namespace duet::cpu {

// Loss and weight of an anchor's active triplets. Where grad is not null it takes dL/dD of the row (m), times scale.
struct RowSums {
  double loss = 0, active = 0;
};

// One thread's, for rows of m columns. The columns that weigh are numbered in their order; arrays in sorted order hold
// them nearest first.
struct TripletRowScratch {
  static constexpr int64_t kPadding = 64;  // whole vectors are written, and of sorted distances compared

  int32_t* column;                        // m: of each that weighs
  float *distance, *positive, *negative;  // m: theirs
  uint64_t* keys;                         // m, sorted: distance and number
  double* term;                           // 2 m: neg and neg d of each that weighs
  float *sorted_distance, *sorted_positive;
  double* negatives_below;  // 2 (m + 1), sorted: S0 and S1 of the nearer negatives, in turn
  double* positives_below;  // m + 1, sorted: S0 of the nearer positives
  int32_t *reached,
      *passed;  // of each as a positive: columns within its reach; as a negative: columns whose reach falls short of it
  RowSorter sorter;

  TripletRowScratch(Workspace& workspace, int64_t m);
};

// Numbers the columns that weigh, by the weights of METHOD.md 2; returns how many there are, or -1 where NaN decides:
// as a weight, or as the distance of a column that weighs. agreement: W of the row; trust without data: 1; own: the
// anchor's pair, or -1.
int64_t gather_soft(const float* distances, const float* agreement, Vector<const float> trust, int64_t own, int64_t m,
                    const TripletRowScratch& scratch);
// By the agreement where relation (write_relation) says kDifferent; 1 and 0 where it says kAlike, nothing where it says
// kNeither.
int64_t gather_related(const float* distances, const float* agreement, Vector<const float> trust,
                       const int32_t* relation, int64_t m, const TripletRowScratch& scratch);
int64_t gather_labelled(const float* distances, int32_t label, const int32_t* labels, int64_t m,
                        const TripletRowScratch& scratch);
// Whether gather_labelled would find NaN.
bool nan_decides(const float* distances, int32_t label, const int32_t* labels, int64_t m);

// Of the count columns that weigh.
RowSums triplets_all(int64_t m, int64_t count, float margin, double trust, double scale, float* grad,
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
