// The head as unit rows and a dense layer, one modality after another, for both backends.
#pragma once

#include "kernels/head/head_backends.h"
#include "kernels/linear/linear_backends.h"
#include "kernels/normalization/normalization_backends.h"

namespace duet {

inline LinearInputs classifier_of(const HeadInputs& inputs, Matrix<const float> u) {
  return {u, inputs.weight, inputs.bias, inputs.output_scale, false, {}};
}

// Backend: linear_workspace(), linear_forward(), linear_backward(), unit_rows_forward() and unit_rows_backward() of a
// backend, and copy(context, from, to), which fills to with zeros where from is null.
template <class Backend>
struct HeadApart {
  Matrix<float> upstream;  // B x d: the gradient by the unit rows of a modality, that of its logits included
  duet_workspace layer;

  HeadApart(const duet_context& context, const HeadInputs& inputs, Workspace& workspace)
      : upstream(workspace.take_matrix<float>(inputs.rows(), inputs.columns())) {
    const size_t bytes = Backend::linear_workspace(context, classifier_of(inputs, inputs.x[0]));
    layer = {workspace.take<char>(static_cast<int64_t>(bytes)), bytes};
  }

  static size_t workspace(const duet_context& context, const HeadInputs& inputs) {
    Workspace measure;
    HeadApart(context, inputs, measure);
    return measure.used();
  }

  static void forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs,
                      Workspace workspace) {
    const HeadApart scratch(context, inputs, workspace);
    for (int64_t k = 0; k < inputs.count; ++k) {
      Backend::unit_rows_forward(context, inputs.x[k], inputs.eps, outputs.u[k]);
      Backend::linear_forward(context, classifier_of(inputs, outputs.u[k]), outputs.logits[k],
                              Workspace(scratch.layer));
    }
  }

  static void backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                       const HeadGradients& gradients, Workspace workspace) {
    const HeadApart scratch(context, inputs, workspace);
    for (int64_t k = inputs.count - 1; k >= 0; --k) {
      Matrix<const float> by_u = upstream.by_u[k];
      if (upstream.by_logits[k]) {
        LinearGradients layer{{}, gradients.weight, gradients.bias};
        if (gradients.x[k]) {
          Backend::copy(context, by_u, scratch.upstream);
          by_u = layer.x = scratch.upstream;
        }
        Backend::linear_backward(context, classifier_of(inputs, upstream.u[k]), {}, upstream.by_logits[k], layer,
                                 Workspace(scratch.layer));
      }
      if (gradients.x[k] && by_u) Backend::unit_rows_backward(context, inputs.x[k], inputs.eps, by_u, gradients.x[k]);
    }
  }
};

}  // namespace duet
