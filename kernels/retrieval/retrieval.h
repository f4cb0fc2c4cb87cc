/* Retrieval by cosine similarity, streamed over the gallery (METHOD.md 7): no matrix of queries x gallery is stored.
   Scores lie within [-1, 1]. Equal rows have equal scores, and the results of a query do not depend on the other
   queries of the call.

   An item is a row of the gallery. It is relevant where its label and the query's are alike: equal and not negative, or
   both rows of label_sets with a class in common. An item of another class is labelled and not alike. Own pairs of a
   query of a group, a number of 0 or more, are all items of its group; the own pair of any other query is, with paired,
   the gallery row of its global index. With exclude_own that row is no item of the query, as if the gallery were
   without it: not ranked, not relevant, not an own pair, not in top_k.

   duet_retrieval_forward writes one entry a query into each output that is not null. Where items have the same float32
   score, each measure is its expectation over all orders of them, so no measure depends on the order of the gallery. A
   gallery row with a NaN or an infinity is left out: it is no item, not relevant and not an own pair.
   A query without an entry gets NaN: a query with a NaN or an infinity in every measure; a query labelled -1, or
   without a relevant item, in the measures by label; a query labelled -1, or without an item of another class, in
   matching; a query without an own pair in this gallery in matching and pair_recall. The first two kinds of query have
   relevant = 0.

   duet_retrieval_top_k: the k best rows of the gallery for each query, best first, equal scores by lower index, NaN
   last. Past what is there the index is -1 and the score NaN.

   Workspace: duet_retrieval_workspace(), enough for both. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_RETRIEVAL_RETRIEVAL_H
#define DUET_RETRIEVAL_RETRIEVAL_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What follows gallery is forward's alone, but for first_row, first_column, exclude_own. */
typedef struct duet_retrieval_inputs {
  size_t struct_size;               /* set by DUET_RETRIEVAL_INPUTS_INIT */
  duet_const_matrix queries;        /* n x d, features: view.h */
  duet_const_matrix gallery;        /* m x d, features */
  duet_const_vector query_labels;   /* n, int32: below 0: unlabelled */
  duet_const_vector gallery_labels; /* m, int32 */
  duet_const_vector query_groups;   /* n, int32; below 0: of none; null: no groups */
  duet_const_vector gallery_groups; /* m, int32; null where query_groups is */
  duet_const_vector cutoffs;        /* K, int64: the k of recall and pair_recall; of any size and order */
  int64_t first_row;                /* global index of the first query, 0 or more */
  int64_t first_column;             /* global index of the first gallery row, 0 or more */
  int32_t paired;                   /* not 0: the gallery row of the query's global index is its own pair */
  int32_t exclude_own;              /* not 0: that row is no item of the query */
  duet_const_matrix label_sets;     /* S x w, int32: the classes of each label, bit c % 32 of word c / 32 that of class
                                       c; null: a label is a class */
} duet_retrieval_inputs;
#define DUET_RETRIEVAL_INPUTS_INIT DUET_INIT(duet_retrieval_inputs, )
/* Each may be null. */
typedef struct duet_retrieval_outputs {
  size_t struct_size;                 /* set by DUET_RETRIEVAL_OUTPUTS_INIT */
  duet_vector relevant;               /* n, int32: number of relevant items; 0: the query does not count */
  duet_vector average_precision;      /* n, float32: AP */
  duet_vector precision_at_r;         /* n, float32: (1/R) sum_{k <= R} P@k rel_k, whose mean is MAP@R */
  duet_vector precision_over_cutoffs; /* n, float32: the AP truncated at j, mean over all j = 1 to m: its mean is
                                         map_over_cutoffs */
  duet_matrix recall;                 /* n x K, float32: the probability that a relevant item is in the first k */
  duet_matrix precision_recall;       /* n x 11, float32: largest P@k with recall >= l/10 */
  duet_vector matching;               /* n, float32: share of items of other classes that score below the own pair, its
                                         best row; equal ones half */
  duet_matrix pair_recall;            /* n x K, float32: the probability that an own pair is in the first k */
} duet_retrieval_outputs;
#define DUET_RETRIEVAL_OUTPUTS_INIT DUET_INIT(duet_retrieval_outputs, )
typedef struct duet_retrieval_top_k_outputs {
  size_t struct_size;  /* set by DUET_RETRIEVAL_TOP_K_OUTPUTS_INIT */
  duet_matrix indices; /* n x k, int32: gallery rows, -1 past the last */
  duet_matrix scores;  /* n x k, float32, NaN past the last; may be null */
} duet_retrieval_top_k_outputs;
#define DUET_RETRIEVAL_TOP_K_OUTPUTS_INIT DUET_INIT(duet_retrieval_top_k_outputs, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_retrieval_workspace(const duet_context* context, const duet_retrieval_inputs* inputs,
                                              size_t* bytes);
DUET_API duet_status duet_retrieval_forward(duet_context* context, const duet_retrieval_inputs* inputs,
                                            const duet_retrieval_outputs* outputs, duet_workspace workspace);
/* The k gallery rows of the largest scores, the largest first. */
DUET_API duet_status duet_retrieval_top_k(duet_context* context, const duet_retrieval_inputs* inputs,
                                          const duet_retrieval_top_k_outputs* outputs, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
