// What each backend implements of triplet, on checked arguments.
#pragma once

#include "kernels/core/annotated.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/mining/mining_backends.h"
#include "kernels/pairs/relation.h"
#include "kernels/triplet/triplet.h"

namespace duet {

struct TripletInputs {
  Matrix<const float> x, y;                  // n x d, m x d
  Matrix<const float> class_x, class_y;      // n x C, m x C; without data where labels decide
  Vector<const float> trust_x, trust_y;      // n, m; without data: 1
  Vector<const int32_t> labels_x, labels_y;  // n, m; without data where classes decide
  Vector<const int32_t> group_x, group_y;    // n, m; without data: no groups
  bool soft;                                 // classes and trust decide, not labels
  duet_metric metric;
  duet_triplet_mining mining;
  float margin;
  bool paired, exclude_own;
  int64_t first_row, first_column;
  MiningDraw draw;          // distance_weighted
  AnnotatedRows annotated;  // where classes decide
  LabelSets label_sets;     // where labels decide

  RelationNumbers numbers() const {
    return {labels_x.data, labels_y.data, group_x.data, group_y.data, first_row - first_column,
            exclude_own,   label_sets};
  }
};

// Derivatives of sum row_loss and the gradient that they are added to; without data: not wanted.
struct TripletSums {
  Matrix<const float> sum;
  Matrix<float> grad;
};

DUET_BACKEND_FUNCTION(size_t, triplet_workspace, const duet_context& context, const TripletInputs& inputs)
// sum_x, sum_y: the derivatives of sum row_loss, not computed without data.
DUET_BACKEND_FUNCTION(void, triplet_forward, const duet_context& context, const TripletInputs& inputs,
                      Vector<float> row_loss, Vector<float> row_active, Matrix<float> sum_x, Matrix<float> sum_y,
                      const duet_workspace& workspace)
// grad += grad_loss / active sum
DUET_BACKEND_FUNCTION(void, triplet_add_gradient, const duet_context& context, Vector<const float> active,
                      Vector<const float> grad_loss, const TripletSums& x, const TripletSums& y)
DUET_BACKEND_FUNCTION(void, triplet_loss, const duet_context& context, Vector<const float> row_loss,
                      Vector<const float> row_active, Vector<float> loss, Vector<float> active)
// active, grad_loss: 1; a gradient without data is not computed.
DUET_BACKEND_FUNCTION(void, triplet_backward, const duet_context& context, const TripletInputs& inputs,
                      Vector<const float> active, Vector<const float> grad_loss, Matrix<float> grad_x,
                      Matrix<float> grad_y, const duet_workspace& workspace)

}  // namespace duet
