// The measures of METHOD.md 7 for one query, from its scores.
#pragma once

#include "kernels/retrieval/retrieval_backends.h"
#include "kernels/retrieval/retrieval_ranks.h"

namespace duet::cpu {

// The order of the scores: the gallery's rows with a finite norm, sorted by label. A place is an index into this order.
struct GalleryOrder {
  int64_t items;
  int32_t *rows, *labels;  // of each place
  int32_t* places;         // of each row, -1 where it is left out
  int32_t* by_group;       // places sorted by their rows' group, where there are groups
};

// Scratch of one thread.
struct MeasureScratch {
  double* precision;  // at each relevant item
  Ranker ranker;

  MeasureScratch(Workspace& workspace, int64_t gallery)
      : precision(workspace.take<double>(gallery)), ranker(workspace, gallery) {}
};

// scores: cleaned, all kLastScore where the query has no finite norm; that of the row that is left out becomes it.
void write_measures(const RetrievalInputs& inputs, const RetrievalOutputs& outputs, int64_t i, float* scores,
                    const GalleryOrder& order, const MeasureScratch& scratch);

}  // namespace duet::cpu
