// Losses over all pairs of a batch whose rows several ranks share out (ranked_batch.h). Each rank takes its rows
// against all columns: the terms and gradients of its rows are then complete. What a column's rows add up to, and the
// gradients of the columns' rows, are merged over the ranks by the tree over rows. A pair is computed once, by one
// rank.
//
// Tensors v and y hold all rows of the batch on every rank, and so do the options' vectors and matrices of their rows;
// of those of the rows of a and x the rank's own are read. The results are those of the operations of the same names,
// bit for bit. Of the gradients the rank's own rows are right.
#pragma once

#include "runtime/ops.h"
#include "trainer/ranked_batch.h"

namespace duet {

// Of the kinds that can be taken apart: all but ntxent.
bool can_be_shared_out(duet_contrastive_kind kind);
Tensor ranked_contrastive_terms(Tape& tape, RankedBatch& batch, const Tensor& a, const Tensor& v, const Tensor& scale,
                                const Tensor& bias, const duet_contrastive_inputs& options);
Tensor ranked_distillation_terms(Tape& tape, RankedBatch& batch, const Tensor& student_a, const Tensor& student_v,
                                 const Tensor& scale, const duet_distillation_inputs& options);
Tensor ranked_triplet(Tape& tape, RankedBatch& batch, const Tensor& x, const Tensor& y,
                      const duet_triplet_inputs& options);

}  // namespace duet
