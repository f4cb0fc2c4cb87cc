// The head of a small batch on CUDA: one launch a pass, for all modalities.
#pragma once

#include "kernels/head/head_backends.h"

namespace duet::cuda {

// Whether a head uses these forms: a small batch whose rows fit into shared memory beside each other, with a classifier
// of up to 64 KB, because every warp reads all of it. PLAN.md has the figures.
bool fits_small(const duet_context& context, const HeadInputs& inputs);

// fits_small must hold, and the batch must not be empty. No workspace.
void small_head_forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs);
void small_head_backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                         const HeadGradients& gradients);

}  // namespace duet::cuda
