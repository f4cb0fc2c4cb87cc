// The families of operations that take matrices, each called by one function, so that a test of bad input goes through
// all of them.
#pragma once

#include "tests/kernels/bad_input_pairs.h"
#include "tests/kernels/bad_input_rows.h"

namespace duet::test {

struct Family {
  const char* name;
  Outcome (*run)(const Call&);
  const char *input, *output;  // what its calls name the first of them
  bool scratch = true;         // whether it takes a workspace
  bool pairs = true;           // whether rows of its inputs are numbered in int32
  char needs = ' ';            // 'n' or 'm': of what it needs one at least, a slot to take or a row to gather from
};
inline const Family kFamilies[] = {
    {"distance", calls::distance, "inputs.x", "outputs.distances"},
    {"mining", calls::mining, "inputs.x", "outputs.rows.negative_index"},
    {"triplet", calls::triplet, "inputs.x", "outputs.row_loss"},
    {"alignment", calls::alignment, "inputs.a", "outputs.lse_row"},
    {"distillation", calls::distillation, "inputs.student_a", "outputs.row_loss"},
    {"contrastive", calls::contrastive, "inputs.a", "outputs.row_loss"},
    {"retrieval", calls::retrieval, "inputs.queries", "outputs.indices"},
    {"linear", calls::linear, "inputs.x", "outputs.outputs", true, false},
    {"head", calls::head, "inputs.x[0]", "outputs.u[0]", true, false},
    {"activation", calls::activation, "inputs.x", "gradients.grad_x", false, false},
    {"normalization", calls::normalization, "inputs.x", "outputs.outputs", false, false},
    {"cross_entropy", calls::cross_entropy, "inputs.logits", "outputs.row_loss", false, false},
    {"decorrelation", calls::decorrelation, "inputs.a", "outputs.loss"},
    {"gather", calls::gather, "inputs.source", "outputs.rows", false, false, 'm'},
    {"cross_entropy_all", calls::cross_entropy_all, "inputs.logits[0]", "outputs.row_loss[0]", false, false},
    {"gather_batch", calls::gather_batch, "inputs.sources[0]", "outputs.rows[0]", false, false, 'm'},
    {"step_begin", calls::step_begin, "mail.values", "outputs.values", false, false, 'n'}};

}  // namespace duet::test
