// What each backend implements of head, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/head/head.h"

namespace duet {

inline constexpr int kMostModalities = DUET_HEAD_MODALITIES;

// The first `count` entries of each array are set.
struct HeadInputs {
  int64_t count;
  Matrix<const float> x[kMostModalities];  // B x d
  Matrix<const float> weight;              // C x d
  Vector<const float> bias;                // C, or null
  float eps, output_scale;

  int64_t rows() const { return x[0].rows; }
  int64_t columns() const { return weight.columns; }
  int64_t classes() const { return weight.rows; }
};

struct HeadOutputs {
  Matrix<float> u[kMostModalities], logits[kMostModalities];  // B x d, B x C
};

// What backward reads beside the inputs.
struct HeadUpstream {
  Matrix<const float> u[kMostModalities];                                 // B x d
  Matrix<const float> by_u[kMostModalities], by_logits[kMostModalities];  // B x d, B x C; each may be null
};

struct HeadGradients {
  Matrix<float> x[kMostModalities];  // B x d; each may be null
  Matrix<float> weight;              // C x d, or null
  Vector<float> bias;                // C, or null
};

DUET_BACKEND_FUNCTION(size_t, head_workspace, const duet_context& context, const HeadInputs& inputs)
DUET_BACKEND_FUNCTION(void, head_forward, const duet_context& context, const HeadInputs& inputs,
                      const HeadOutputs& outputs, Workspace workspace)
DUET_BACKEND_FUNCTION(void, head_backward, const duet_context& context, const HeadInputs& inputs,
                      const HeadUpstream& upstream, const HeadGradients& gradients, Workspace workspace)

}  // namespace duet
