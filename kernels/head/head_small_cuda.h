// The head of a small batch on CUDA: one launch a pass, for all modalities.
#pragma once

#include "kernels/head/head_backends.h"

namespace duet::cuda {

// Which heads take these forms: small batches whose rows fit into shared memory beside each other, of classifiers of up
// to 64 KB, which every warp reads once: 2.5 us of a multiprocessor's first-level cache. Past that the tiles of
// linear's small form are faster.
bool fits_small(const duet_context& context, const HeadInputs& inputs);

// On arguments of which fits_small holds, of batches that are not empty. No workspace.
void small_head_forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs);
void small_head_backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                         const HeadGradients& gradients);

}  // namespace duet::cuda
