/* Retrieval by cosine similarity, streamed over the gallery (METHOD.md 7): no matrix of queries x gallery is stored.
   Scores lie within [-1, 1]. Equal rows have equal scores, and the results of a query do not depend on the other
   queries of the call.

   duet_retrieval_forward writes one entry a query into each output that is not null. Where items have the same float32
   score, each measure is its expectation over all orders of them, so no measure depends on the order of the gallery. A
   gallery row with a NaN or an infinity is left out: it is no item, not relevant and not an own pair.
   A query without an entry gets NaN: a query with a NaN or an infinity in every measure; a query labelled -1, or
   without a relevant item, in the measures by label; a query labelled -1, or without an item of another class, in
   matching; a query without an own pair in this gallery in matching and pair_recall. The first two kinds of query have
   relevant = 0.

   duet_retrieval_top_k: the k best rows of the gallery for each query (indices n x k int32, -1 past m; scores n x k,
   NaN past m, may be null), best first, equal scores by lower index, NaN last.

   Workspace: duet_retrieval_workspace(), enough for both. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_RETRIEVAL_RETRIEVAL_H
#define DUET_RETRIEVAL_RETRIEVAL_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_retrieval_inputs {
  size_t struct_size;
  duet_matrix queries, gallery; /* n x d, m x d */
  /* The labels and all fields after them are read by forward only. n, m; int32: an item is relevant where its label is
     the query's and not negative. */
  duet_vector query_labels, gallery_labels;
  int32_t paired;                  /* whether the gallery row of the query's global index is its own pair */
  int64_t first_row, first_column; /* global indices of the first query and the first gallery row */
  /* n, m; int64, both or neither. With groups the gallery rows of the query's group are its own pairs; paired and the
     global indices are then not used. */
  duet_vector query_groups, gallery_groups;
  duet_vector cutoffs; /* K, int64, in the context's memory: the k of recall and pair_recall; of any size and order */
} duet_retrieval_inputs;
#define DUET_RETRIEVAL_INPUTS_INIT \
  { sizeof(duet_retrieval_inputs) }

typedef struct duet_retrieval_outputs {
  size_t struct_size;
  duet_vector relevant;          /* int32: number of relevant items; 0: the query does not count */
  duet_vector average_precision; /* AP */
  duet_vector precision_at_r;    /* (1/R) sum_{k <= R} P@k rel_k, whose mean is MAP@R */
  /* the AP truncated at j, averaged over j = 1 to m; its mean over the queries is map_over_cutoffs */
  duet_vector precision_over_cutoffs;
  duet_matrix recall;           /* n x K: the probability that a relevant item is in the first k */
  duet_matrix precision_recall; /* n x 11: largest P@k with recall >= l/10 */
  /* share of the items of other classes that score below the own pair (its best row); equal scores count half */
  duet_vector matching;
  duet_matrix pair_recall; /* n x K: the probability that an own pair is in the first k */
} duet_retrieval_outputs;
#define DUET_RETRIEVAL_OUTPUTS_INIT \
  { sizeof(duet_retrieval_outputs) }

DUET_API duet_status duet_retrieval_workspace(const duet_context* context, const duet_retrieval_inputs* inputs,
                                              size_t* bytes);
DUET_API duet_status duet_retrieval_forward(duet_context* context, const duet_retrieval_inputs* inputs,
                                            const duet_retrieval_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_retrieval_top_k(duet_context* context, const duet_retrieval_inputs* inputs,
                                          duet_matrix indices, duet_matrix scores, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
