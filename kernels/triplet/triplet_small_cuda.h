// The triplets of a batch whose launches cost more than its products.
#pragma once

#include "kernels/triplet/triplet_rows_cuda.h"

namespace duet::cuda {

// Whether a call takes this form: rows and columns at most context.small_rows (and kMostSmallPairs), at most 512
// columns in a row and 512 classes.
bool is_small(const duet_context& context, const TripletInputs& in);
size_t small_triplets_workspace(const TripletInputs& in);  // of calls that the context may send here; 0 of others
// One launch, two where a gradient is wanted. Gradients are added to, by nothing where to.active holds 0; where it is
// null they are written.
void small_triplets(const duet_context& context, const TripletInputs& in, const TripletOutputs& to,
                    const duet_workspace& workspace);

}  // namespace duet::cuda
