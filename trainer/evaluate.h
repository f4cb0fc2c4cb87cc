// Measures a model: embeds a split with the teacher in evaluation mode and ranks it in both directions (METHOD.md 7).
#pragma once

#include <functional>

#include "data/dataset.h"
#include "trainer/evaluation.h"
#include "trainer/model.h"
#include "trainer/ranking.h"

namespace duet {

// split: preprocessed as the model's inputs want it.
Evaluation evaluate(duet_context* context, const Model& model, const data::Split& split);
// The same of embeddings that are there already; row i of a and row i of v are a pair. groups: empty, or one a row:
// rows of one group are one item, a row of group -1 is an item of its own. between: called before each part of the
// work, which takes about a second at most; what it throws ends the call. sets: what labels are numbers in, where a row
// may have several.
Evaluation evaluate(duet_context* context, const data::Features& a, const data::Features& v,
                    const std::vector<int32_t>& labels, const std::vector<int32_t>& groups = {},
                    const std::function<void()>& between = {}, const data::LabelSets& sets = {});
// The same, of the rows of split.
Evaluation evaluate(duet_context* context, const data::Features& a, const data::Features& v, const data::Split& split,
                    const std::function<void()>& between = {});
// One direction, of two sets of their own or of one set within itself.
OneWayEvaluation evaluate(duet_context* context, const RankedRows& queries, const RankedRows& gallery, Pairing pairing,
                          const std::function<void()>& between = {});

}  // namespace duet
