/* Retrieval by cosine similarity, streamed over the gallery (METHOD.md 7): nothing stores queries x gallery.
   inputs: queries n x d, gallery m x d; query_labels n, gallery_labels m (int32; equal and not -1 = relevant); paired: the item with the query's
   global index is its own pair. Ties go to the lower index; a NaN score ranks last.
   duet_retrieval_forward writes one entry a query into whatever outputs are not null; a query that does not count (labelled -1, or without
   relevant item) has relevant = 0 and NaN in the scores of label-based measures, a query without an item of another class NaN in matching.
   duet_retrieval_top_k: the k best rows of the gallery for each query (indices n x k int32, -1 past m; scores n x k, NaN past m, may be
   null), best first. Equal rows have equal scores, and a query's entries do not depend on what else is in the call.
   Workspace: duet_retrieval_workspace(), enough for both. Errors: DUET_INVALID_ARGUMENT, DUET_WORKSPACE_TOO_SMALL. */
#ifndef DUET_RETRIEVAL_RETRIEVAL_H
#define DUET_RETRIEVAL_RETRIEVAL_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_retrieval_inputs {
  size_t struct_size;
  duet_matrix queries, gallery;
  duet_vector query_labels, gallery_labels; /* forward alone */
  int32_t paired;
  int64_t first_row, first_column;
} duet_retrieval_inputs;
#define DUET_RETRIEVAL_INPUTS_INIT \
  { sizeof(duet_retrieval_inputs) }

typedef struct duet_retrieval_outputs {
  size_t struct_size;
  duet_vector relevant;              /* int32: number of relevant items; 0: the query does not count */
  duet_vector average_precision;     /* AP */
  duet_vector precision_at_r;        /* (1/R) sum_{k <= R} P@k rel_k, whose mean is MAP@R */
  duet_vector precision_all_cutoffs; /* mean of P@k over all k, whose mean is map_all_cutoffs */
  duet_vector first_relevant_rank;   /* int32, from 0; recall@k is the share below k; -1 where the query does not count */
  duet_matrix precision_recall;      /* n x 11: largest P@k with recall >= l/10 */
  duet_vector matching;              /* share of items of other classes that score below the own pair, ties half; paired alone */
  duet_vector own_rank;              /* int32, from 0; pair recall@k is the share below k; -1 where the own pair is not in the gallery */
} duet_retrieval_outputs;
#define DUET_RETRIEVAL_OUTPUTS_INIT \
  { sizeof(duet_retrieval_outputs) }

DUET_API duet_status duet_retrieval_workspace(const duet_context* context, const duet_retrieval_inputs* inputs, size_t* bytes);
DUET_API duet_status duet_retrieval_forward(duet_context* context, const duet_retrieval_inputs* inputs, const duet_retrieval_outputs* outputs,
                                            duet_workspace workspace);
DUET_API duet_status duet_retrieval_top_k(duet_context* context, const duet_retrieval_inputs* inputs, duet_matrix indices, duet_matrix scores,
                                          duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
