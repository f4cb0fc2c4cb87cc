// One direction of METHOD.md 7: what a model's queries find in a gallery, measured.
#pragma once

#include <functional>
#include <vector>

#include "data/features.h"
#include "data/label_sets.h"
#include "kernels/duet.h"
#include "trainer/evaluation.h"

namespace duet {

// Embeddings with what is known of their rows; it owns nothing.
struct RankedRows {
  const data::Features& rows;
  const std::vector<int32_t>& labels;  // one a row; -1: none, and then no query, but an item of the gallery
  const std::vector<int32_t>& groups;  // empty, or one a row: -1: of none
  const data::LabelSets& sets;         // what labels are numbers in; not given: each is a class
};

struct Pairing {
  bool paired = false;       // the gallery row of a query's number is its own pair, and so are those of its group
  bool exclude_own = false;  // the gallery row of a query's number is left out, as if it were not there
};

// groups count where the gallery has some too. Labels of both are numbers in equal sets. between: called before each
// part of the work, which takes about a second at most; what it throws ends the call. Memory: O(queries + gallery).
DirectionScores rank(duet_context* context, const RankedRows& queries, const RankedRows& gallery, Pairing pairing,
                     const std::function<void()>& between = {});

}  // namespace duet
