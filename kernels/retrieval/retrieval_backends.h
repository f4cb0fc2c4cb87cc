// What each backend implements of retrieval, on checked arguments.
#pragma once

#include <cstddef>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/host_device.h"
#include "kernels/core/label_sets.h"
#include "kernels/retrieval/retrieval.h"
#include "kernels/retrieval/retrieval_formula.h"

namespace duet {

struct RetrievalInputs {
  Matrix<const float> queries, gallery;
  Vector<const int32_t> query_labels, gallery_labels;  // without data in top_k
  bool paired, exclude_own;
  int64_t first_row, first_column;
  Vector<const int32_t> query_groups, gallery_groups;  // without data where not given, and in top_k
  Vector<const int64_t> cutoffs;                       // likewise
  LabelSets label_sets;

  // Query i's group, whose rows are its own pairs; below 0: none.
  DUET_HOST_DEVICE int32_t group(int64_t i) const { return query_groups ? query_groups[i] : -1; }
  // Without a group: the gallery row that is query i's own pair, -1 where there is none.
  DUET_HOST_DEVICE int64_t own(int64_t i) const { return paired && !exclude_own ? same_index(i) : -1; }
  // The gallery row that is no item of query i, -1 where there is none.
  DUET_HOST_DEVICE int64_t left_out(int64_t i) const { return exclude_own ? same_index(i) : -1; }

 private:
  DUET_HOST_DEVICE int64_t same_index(int64_t i) const {
    const int64_t j = i + first_row - first_column;
    return j >= 0 && j < gallery.rows ? j : -1;
  }
};

struct RetrievalOutputs {  // without data: not computed
  Vector<int32_t> relevant;
  Vector<float> average_precision, precision_at_r, precision_over_cutoffs;
  Matrix<float> recall, precision_recall;
  Vector<float> matching;
  Matrix<float> pair_recall;
};

DUET_BACKEND_FUNCTION(size_t, retrieval_workspace, const duet_context& context, int64_t queries, int64_t gallery,
                      int64_t columns, bool label_sets)
DUET_BACKEND_FUNCTION(void, retrieval_forward, const duet_context& context, const RetrievalInputs& inputs,
                      const RetrievalOutputs& outputs, Workspace workspace)
DUET_BACKEND_FUNCTION(void, retrieval_top_k, const duet_context& context, const RetrievalInputs& inputs,
                      Matrix<int32_t> indices, Matrix<float> scores, Workspace workspace)

}  // namespace duet
