// What each backend implements of mining, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/mining/mining.h"
#include "kernels/pairs/relation.h"

namespace duet {

class Arguments;

struct MiningInputs {
  Matrix<const float> x, y;  // n x d, m x d
  Vector<const int32_t> labels_x, labels_y;
  Vector<const int32_t> group_x, group_y;  // without data: no groups
  duet_metric metric;
  int64_t first_row, first_column;
  bool exclude_own;
  LabelSets label_sets = {};

  RelationNumbers numbers() const {
    return {labels_x.data, labels_y.data, group_x.data, group_y.data, first_row - first_column,
            exclude_own,   label_sets};
  }
};

// n or m; any of them without data: not wanted.
struct MiningHardOutputs {
  Vector<int32_t> positive_index, negative_index;
  Vector<float> positive_distance, negative_distance;

  explicit operator bool() const { return positive_index || negative_index || positive_distance || negative_distance; }
};

struct MiningDraw {
  uint64_t seed;
  Vector<const int64_t> step;  // 1
  int64_t slots, total_columns;
};

// Checks inputs.draw for a call of m columns, whose rows and columns end before these global indices. context: whose
// memory the step lies in.
MiningDraw check_draw(const duet_context* context, const duet_mining_draw* given, int64_t end_row, int64_t end_column,
                      int64_t m, Arguments& arguments);

DUET_BACKEND_FUNCTION(size_t, mining_workspace, const duet_context& context, const MiningInputs& inputs)
DUET_BACKEND_FUNCTION(void, mining_hard, const duet_context& context, const MiningInputs& inputs,
                      const MiningHardOutputs& rows, const MiningHardOutputs& columns, const duet_workspace& workspace)
// The number of positive pairs: to count (1) in the context's memory, or to the host, which waits for the stream.
DUET_BACKEND_FUNCTION(void, mining_semihard_count, const duet_context& context, const MiningInputs& inputs,
                      Vector<int64_t> count, const duet_workspace& workspace)
DUET_BACKEND_FUNCTION(int64_t, mining_semihard_length, const duet_context& context, const MiningInputs& inputs,
                      const duet_workspace& workspace)
// triplets: as many rows as there are positive pairs; distances without data: not wanted.
DUET_BACKEND_FUNCTION(void, mining_semihard, const duet_context& context, const MiningInputs& inputs, float margin,
                      Matrix<int32_t> triplets, Matrix<float> distances, const duet_workspace& workspace)
DUET_BACKEND_FUNCTION(void, mining_distance_weighted, const duet_context& context, const MiningInputs& inputs,
                      const MiningDraw& draw, Matrix<int32_t> negatives, Matrix<float> distances,
                      const duet_workspace& workspace)

}  // namespace duet
