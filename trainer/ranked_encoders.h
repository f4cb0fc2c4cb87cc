// The encoders of a batch whose rows several ranks share out: each encodes rows of its own, all of them get the outputs
// of all rows, and what comes after the encoders every rank computes for itself. The encoders' gradients are sums over
// rows, added by the tree of runtime/ranks/block_tree.h, so that their bits do not depend on the number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/memory.h"
#include "runtime/ranks/block_tree.h"
#include "runtime/ranks/ranks.h"
#include "runtime/tape.h"
#include "trainer/model.h"

namespace duet {

// Rows first to first + count - 1 of a batch: those of a node of the tree.
struct BatchPart {
  int64_t first, count;
};

class RankedEncoders {
 public:
  // ranks, model and context are borrowed. context: of the CPU. most_rows: of a batch.
  RankedEncoders(Ranks& ranks, Model& model, duet_context* context, int64_t most_rows);

  // A batch of so many rows begins: which of them this rank encodes. Every part's gradients are 0.
  std::span<const BatchPart> begin(int64_t rows);
  // The student's values, with gradients of a part's own.
  ParameterView student(size_t part) const;
  // The outputs of all rows of the batch, rows x d, from those of this rank's parts. Its backward pass gives each part
  // its rows' gradients, and communicates nothing.
  Tensor gather(Tape& tape, std::span<const Tensor> of_parts, int64_t width);
  // After the backward pass: adds the sums over all rows into the model's gradients.
  void add_gradients();

 private:
  float* gradients_of(size_t part) const { return gradients_.data() + static_cast<int64_t>(part) * floats_; }

  Ranks& ranks_;
  Model& model_;
  duet_context* context_;
  int64_t floats_;                // of the encoders' parameters
  int64_t rows_ = 0, first_ = 0;  // of the batch; of them this rank's first
  std::vector<BatchPart> parts_;
  std::vector<const float*> nodes_;  // the gradients of each part
  DeviceArray<float> gradients_;     // of all of them
  std::vector<float> sum_;
};

}  // namespace duet
