// What each backend implements of contrastive, on checked arguments. Inputs without data are absent, outputs without
// data not wanted.
#pragma once

#include <cstddef>

#include "kernels/contrastive/contrastive.h"
#include "kernels/core/annotated.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/label_sets.h"

namespace duet {

struct ContrastiveInputs {
  duet_contrastive_kind kind;
  Matrix<const float> a, v;              // n x d, m x d
  Matrix<const float> class_a, class_v;  // n x C, m x C, both or neither; multi_positive, sigmoid
  Vector<const float> trust_a, trust_v;  // n, m; multi_positive
  Vector<const float> scale, bias;       // bias: sigmoid
  bool paired;
  int64_t first_row, first_column;
  Vector<const float> grad_factor_a, grad_factor_v;  // of what backward adds to a side's gradient; without data: 1
  // The relation of pairs (METHOD.md 5.6):
  Vector<const int32_t> labels_a, labels_v, group_a, group_v;  // n, m, n, m; both of a name or neither
  bool exclude_own;
  float margin;             // circle
  bool related;             // labels, groups or exclude_own were given, or the loss is of no other form
  bool weighted;            // a pair has a weight: of its classes, or the sigmoid's
  AnnotatedRows annotated;  // with classes
  LabelSets label_sets;     // with labels

  // By size: of no rows there is nothing to know, whether their data is null or not.
  bool has_labels() const { return labels_a.size > 0 || labels_v.size > 0; }
  bool has_groups() const { return group_a.size > 0 || group_v.size > 0; }
};

// Losses on a relation of pairs alone (METHOD.md 5.6 to 5.8).
inline bool has_relation(duet_contrastive_kind kind) { return kind >= DUET_CONTRASTIVE_KIND_DECOUPLED; }

// Whether the call is a formula of its relation, which pairs/ runs: all that have one, but where a pair has a weight.
inline bool is_formula(const ContrastiveInputs& inputs) { return inputs.related && !inputs.weighted; }

// Row i and column i + own_offset are an own pair of the relation. With classes the sigmoid knows none but those that
// it leaves out: a number past all columns then.
inline int64_t own_offset(const ContrastiveInputs& inputs) {
  const bool none = inputs.kind == DUET_CONTRASTIVE_KIND_SIGMOID && !inputs.paired && !inputs.exclude_own;
  return none ? INT64_MIN / 2 : inputs.first_row - inputs.first_column;
}

struct ContrastiveOutputs {  // all but row_loss: without data for sigmoid
  Vector<float> row_loss, column_loss;
  Matrix<float> row_statistics, column_statistics;  // n x 3, m x 3: contrastive.h
  Matrix<double> row_sums, column_sums;             // n x 7, m x 7; with data that side's loss and statistics have none
};

struct ContrastiveGradients {
  Vector<const float> row_weight, column_weight;  // upstream
  Matrix<float> a, v;
  Vector<float> scale, bias;
};

DUET_BACKEND_FUNCTION(size_t, contrastive_workspace, const duet_context& context, const ContrastiveInputs& inputs)
DUET_BACKEND_FUNCTION(void, contrastive_forward, const duet_context& context, const ContrastiveInputs& inputs,
                      const ContrastiveOutputs& outputs, const duet_workspace& workspace)
// The statistics are read by all kinds but sigmoid.
DUET_BACKEND_FUNCTION(void, contrastive_backward, const duet_context& context, const ContrastiveInputs& inputs,
                      Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                      const ContrastiveGradients& gradients, const duet_workspace& workspace)

// Of parts of a batch, on the CPU alone; sums, left and right: k x 7.
namespace cpu {
void contrastive_merge(const duet_context& context, Matrix<const double> left, Matrix<const double> right,
                       Matrix<double> sums);
// relation: whether the sums are those of a relation, as is_formula() has it.
void contrastive_close(const duet_context& context, duet_contrastive_kind kind, bool relation,
                       Matrix<const double> sums, Vector<float> loss, Matrix<float> statistics);
}  // namespace cpu

}  // namespace duet
