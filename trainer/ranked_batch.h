// A batch whose rows several ranks share out: each encodes and classifies rows of its own, in parts that are nodes of
// the tree over blocks of rows (runtime/ranks/block_tree.h). What depends on rows alone is computed for the parts; what
// a loss needs of all rows is gathered; sums over rows are added by the tree, so that their bits do not depend on the
// number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
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

  // These rows of a tensor that has all rows of the batch.
  Tensor of(const Tensor& all) const { return all.row_part(first, count); }
};

class RankedBatch {
 public:
  // ranks, model and context are borrowed. context: of the CPU. most_rows: of a batch.
  RankedBatch(Ranks& ranks, Model& model, duet_context* context, int64_t most_rows);

  // A batch of so many rows begins. Every part's gradients are 0.
  void begin(int64_t rows);
  // This rank's rows of it, and the parts that they are: each from a multiple of 32 rows on, none where it has no row.
  const BatchPart& own() const { return own_; }
  std::span<const BatchPart> parts() const { return parts_; }
  // The student's values, with gradients of a part's own.
  ParameterView student(size_t part) const;

  // A tensor of all rows of the batch, rows x columns, with what the parts' tensors hold in this rank's rows; gather()
  // brings the others. Its backward pass gives each part its rows' gradients, and communicates nothing.
  Tensor collect(Tape& tape, std::span<const Tensor> of_parts, int64_t columns);
  // Tensors of all rows, without padding, of which each rank has its own rows: all have all rows then.
  void gather(std::initializer_list<Tensor> tensors);
  // The sum over all rows, length floats a part, on every rank.
  void add(std::span<float* const> parts, std::span<float> sum);
  // The same of what is added otherwise: length items of item_bytes; add: of RankItems.
  void add(std::span<void* const> parts, int64_t length, int64_t item_bytes, std::span<std::byte> sum,
           const std::function<void(void* left, const void* right, int64_t count)>& add);
  // After the backward pass: adds the sums over all rows into the model's gradients.
  void add_gradients();

 private:
  IndexRange blocks_of(int rank, int64_t rows) const;
  size_t most_parts(int64_t most_rows) const;
  float* gradients_of(size_t part) const { return gradients_.data() + static_cast<int64_t>(part) * floats_; }

  Ranks& ranks_;
  Model& model_;
  duet_context* context_;
  int64_t floats_;  // of the parameters that rows are read by
  int64_t rows_ = 0;
  BatchPart own_ = {};
  std::vector<BatchPart> parts_;
  std::vector<float*> part_gradients_;
  DeviceArray<float> gradients_;  // of all parts
  std::vector<float> sum_;
  std::vector<std::byte> sent_, received_;
};

}  // namespace duet
