// What each backend implements of alignment, on checked arguments. Outputs without data are not wanted.
#pragma once

#include "kernels/alignment/alignment.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {

struct AlignmentInputs {
  duet_metric score;
  Matrix<const float> a, v;  // n x d, m x d
  Vector<const float> scale;
  bool exclude_own;
  int64_t first_row, first_column;
};

struct AlignmentGradients {
  Matrix<float> a, v;
  Vector<float> scale;
};

// What a row of probabilities_backward needs of all its columns. d loss/d s_ij = P_ij (dP_ij - sum_k P_ik dP_ik) = P_ij
// (dP_ij - pivot + rest) with rest = sum_k P_ik (pivot - dP_ik); the pivot is dP of the largest P, whose own gradient
// would else be 1 - P of a confident P.
struct ProbabilityRow {
  float pivot, rest;
};

DUET_BACKEND_FUNCTION(size_t, alignment_workspace, const duet_context& context, const AlignmentInputs& inputs)
DUET_BACKEND_FUNCTION(void, alignment_forward, const duet_context& context, const AlignmentInputs& inputs,
                      Vector<float> lse_row, Vector<float> lse_column, const duet_workspace& workspace)
DUET_BACKEND_FUNCTION(void, alignment_backward, const duet_context& context, const AlignmentInputs& inputs,
                      Vector<const float> lse_row, Vector<const float> lse_column, Vector<const float> grad_lse_row,
                      Vector<const float> grad_lse_column, const AlignmentGradients& gradients,
                      const duet_workspace& workspace)
DUET_BACKEND_FUNCTION(void, alignment_probabilities, const duet_context& context, const AlignmentInputs& inputs,
                      Vector<const float> lse_row, Matrix<float> probabilities, const duet_workspace& workspace)
DUET_BACKEND_FUNCTION(void, alignment_probabilities_backward, const duet_context& context,
                      const AlignmentInputs& inputs, Matrix<const float> probabilities,
                      Matrix<const float> grad_probabilities, const AlignmentGradients& gradients,
                      const duet_workspace& workspace)

}  // namespace duet
