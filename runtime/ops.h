// The differentiable operations: each runs a kernel into a new tensor of the tape and records how its gradient runs
// back. The formulas, shapes and edge cases are those of kernels/<operation>/<operation>.h; what stands here is how
// they are wired.
//
// Gradients flow into the tensors passed as arguments of their own, where these require one. What is passed inside a
// kernel's options (classes, annotated rows, trust, labels and their sets, the teacher, factors of gradients) is
// constant; its memory must live until backward. A scalar tensor (scale, bias, a weight, a divisor) is read when the
// kernel runs, so it may change from step to step. An absent tensor is Tensor{}.
#pragma once

#include <array>
#include <initializer_list>
#include <span>

#include "runtime/tape.h"
#include "runtime/tensor.h"

namespace duet::ops {

// n x m distances between the rows of x (n x d) and y (m x d).
Tensor distance(Tape& tape, const Tensor& x, const Tensor& y, duet_metric metric);

// T, the mean hinge over the triplets with anchors in x (METHOD.md 3): a scalar. x and y of options are set here.
Tensor triplet(Tape& tape, const Tensor& x, const Tensor& y, duet_triplet_inputs options);

// Where a batch's part begins, and whether its own pairs, rows of equal global index, take no part.
struct OwnPairs {
  bool exclude = false;
  int64_t first_row = 0, first_column = 0;
};
// Log-sum-exps of the scores of a (n x d) and v (m x d): n + m values, those of the rows first. row_part() takes them
// apart.
Tensor alignment_lse(Tape& tape, const Tensor& a, const Tensor& v, const Tensor& scale,
                     duet_metric score = DUET_METRIC_INNER, const OwnPairs& own = {});
// P, n x m: the only operation on pairs that stores a matrix beside distance().
Tensor alignment_probabilities(Tape& tape, const Tensor& a, const Tensor& v, const Tensor& scale,
                               duet_metric score = DUET_METRIC_INNER, const OwnPairs& own = {});

// The terms of KL distillation: n row terms, then m column terms. student_a, student_v and scale of options are set
// here.
Tensor distillation_terms(Tape& tape, const Tensor& student_a, const Tensor& student_v, const Tensor& scale,
                          duet_distillation_inputs options);
// The terms of a contrastive loss: n row terms, then m column terms (sigmoid: the n row terms alone). a, v, scale and
// bias of options are set here; bias is read by sigmoid alone. The options' grad_factor_a and grad_factor_v, scalars
// that backward reads, multiply the gradients of a and v.
Tensor contrastive_terms(Tape& tape, const Tensor& a, const Tensor& v, const Tensor& scale, const Tensor& bias,
                         duet_contrastive_inputs options);
// Which elements a dropout drops: words of stream 5.
struct Dropout {
  float drop_probability = 0;
  uint32_t layer = 0;
  uint64_t seed = 0;
  Step step;              // read when the kernel runs, forward and backward alike; it must not move in between
  int64_t first_row = 0;  // global index of the tensor's first row

  duet_dropout_options options() const;
};

// x weight^T + bias: x B x in, weight out x in, bias out or absent.
Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias);
// dropout(relu(x weight^T + bias)) with the bits of the three operations; what they would store in between is not
// there.
Tensor linear_relu(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias, const Dropout& dropout = {});

Tensor activation(Tape& tape, const Tensor& x, duet_activation_kind kind);
Tensor dropout(Tape& tape, const Tensor& x, const Dropout& dropout);

// eps: the least norm that a row is divided by; 0: METHOD.md 1.
Tensor unit_rows(Tape& tape, const Tensor& x, float eps = 0);
// gain, offset: d values or absent.
Tensor layer_norm(Tape& tape, const Tensor& x, const Tensor& gain, const Tensor& offset, float eps = 1e-5f);
// dropout(activation(layer norm)) with the bits of the three operations; what they would store in between is not there.
Tensor layer_norm(Tape& tape, const Tensor& x, const Tensor& gain, const Tensor& offset,
                  duet_activation_kind activation, const Dropout& dropout);

// What a classification head says of a modality: unit rows (B x d) and logits (B x C).
struct Head {
  Tensor embeddings, logits;
};
// The heads of 1 to DUET_HEAD_MODALITIES modalities, B x d each, that share a classifier, in one call each way: unit
// rows u of each x, and output_scale (u weight^T + bias). weight C x d, bias C or absent. The list of heads is the
// tape's, of this step.
std::span<const Head> head(Tape& tape, std::initializer_list<Tensor> x, const Tensor& weight, const Tensor& bias,
                           float output_scale = 1);

// B cross-entropies of logits (B x C) against targets (B x C, constant).
Tensor cross_entropy_terms(Tape& tape, const Tensor& logits, const Tensor& targets);
// The same of several logits of one shape, in one call: those of the first, then those of the second, ... row_part()
// takes them apart.
Tensor cross_entropy_terms(Tape& tape, std::initializer_list<Tensor> logits, const Tensor& targets);
// L_dis (METHOD.md 6.8): a scalar.
Tensor decorrelation(Tape& tape, const Tensor& a, const Tensor& v, float eps = 1e-5f);

// Rows of source by number; the indices must live until backward.
Tensor gather(Tape& tape, const Tensor& source, Indices indices);
// The same of several sources, which are constant, and of labels, in one call. labels: absent or as many as a source
// has rows; to: as many as indices.
std::array<Tensor, 2> gather_batch(Tape& tape, const std::array<Tensor, 2>& sources, Indices indices,
                                   Labels labels = {}, int32_t* to = nullptr);

// sum_i weights_i values_i / divisor: a scalar, 0 where the divisor is 0. Weights and divisor are constant; absent: 1
// and the number of values.
Tensor weighted_mean(Tape& tape, const Tensor& values, const Tensor& weights = {}, const Tensor& divisor = {});
// The loss terms of a step and their weighted total (METHOD.md 6.11), in one call each way. A term is one mean, or half
// the sum of two; a mean of one value without weights and divisor is that value. Weights and divisors are constant.
// total: a scalar; values: a value a term, constant.
struct Mean {
  Tensor values, weights, divisor;
};
struct LossTerm {
  Tensor weight;
  Mean first, second;  // second absent: one mean
};
struct LossTerms {
  Tensor total, values;
};
LossTerms loss_terms(Tape& tape, std::span<const LossTerm> terms);
// The two means of a loss over pairs, from its terms: the first n are the rows'. Absent weights: 1.
LossTerm both_directions(const Tensor& weight, const Tensor& terms, int64_t n, const Tensor& row_weight = {},
                         const Tensor& column_weight = {});

}  // namespace duet::ops
