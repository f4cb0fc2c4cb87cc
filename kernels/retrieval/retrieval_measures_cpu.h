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
  // With label sets: where each label's places begin, and behind the last of the `runs` labels their end.
  int64_t runs;
  int32_t* starts;
};

// Scratch of one thread.
struct MeasureScratch {
  double* precision;  // at each relevant item
  Ranker ranker;
  float* apart;  // with label sets: scores in another order, and kPadding more

  MeasureScratch(Workspace& workspace, int64_t gallery, bool label_sets)
      : precision(workspace.take<double>(gallery)),
        ranker(workspace, gallery),
        apart(label_sets ? workspace.take<float>(gallery + kPadding) : nullptr) {}
};

// scores: cleaned, all kLastScore where the query has no finite norm; that of the row that is left out becomes it.
void write_measures(const RetrievalInputs& inputs, const RetrievalOutputs& outputs, int64_t i, float* scores,
                    const GalleryOrder& order, const MeasureScratch& scratch);

}  // namespace duet::cpu
