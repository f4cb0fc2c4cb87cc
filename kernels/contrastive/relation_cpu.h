// The losses that are formulas of a relation of pairs on the CPU; the arguments of contrastive_backends.h.
#pragma once

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/pairs/related_pairs_cpu.h"

namespace duet::cpu {

RelatedPairs related_pairs(const ContrastiveInputs& inputs);

size_t relation_workspace(const duet_context& context, const ContrastiveInputs& inputs);
void relation_forward(const duet_context& context, const ContrastiveInputs& inputs, const ContrastiveOutputs& outputs,
                      const duet_workspace& workspace);
void relation_backward(const duet_context& context, const ContrastiveInputs& inputs, Matrix<const float> row_statistics,
                       Matrix<const float> column_statistics, const ContrastiveGradients& gradients,
                       const duet_workspace& workspace);
// What becomes of the sums of rows or columns of such a kind, of one sweep.
void relation_close(const duet_context& context, duet_contrastive_kind kind, Matrix<const double> sums,
                    Vector<float> loss, Matrix<float> statistics);

}  // namespace duet::cpu
