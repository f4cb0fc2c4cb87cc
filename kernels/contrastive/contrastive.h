/* Contrastive losses over all pairs, streamed (METHOD.md 5).
   infonce: row_loss[i] = lse_i - s_ii, the cross-entropy of row i against its own pair (equal global indices; a row
     whose pair is not among the columns has no target: loss and gradient 0); column_loss[j] likewise. With groups or
     exclude_own it is the cross-entropy of a relation, see below.
   multi_positive: the same against What_ij = pos_ij / sum_j pos_ij of METHOD.md 2, from classes, trust, annotated rows
     and paired; rows of one group have pos = 1 whatever their trust, and with exclude_own the own pair takes no part.
     With labels in the place of classes it is the cross-entropy of a relation.
   sigmoid: row_loss[i] = sum_j [W_ij softplus(-x_ij) + (1 - W_ij) softplus(x_ij)], x = scale a.v + bias; W the identity
     (class_* null) or METHOD.md 2's, q_i.q_j but 0 or 1 of two annotated rows, and 1 where row and column are of one
     group. With exclude_own the own pair takes no part. Divide by n. It has no column terms: column_loss, column_weight
     and the statistics are not touched and may be null.
   decoupled, circle, ntxent: losses on a relation of pairs, rows and columns (METHOD.md 5.6 to 5.8).
   Relation: a pair is positive where it is the own pair (equal global indices), where its row and column are of one
   group, or where both are labelled alike: equally, or by two rows of label_sets with a class in common. A pair that is
   not positive is negative, but with labels only where its row and column are both labelled. With exclude_own the own
   pair is neither. What is neither takes no part. Cross-entropy of a relation: of a row's softmax over its positives
   and negatives against equal shares of its positives. A row without positives has loss and gradient 0, and so has one
   without negatives but in the cross-entropy.
   What a kind does not read is null (0), else the call is refused: classes with infonce, decoupled, circle and ntxent,
   annotated without classes, trust without classes or multi_positive, bias and grad_bias without sigmoid, labels with
   infonce, sigmoid or classes, label_sets without labels, margin without circle.
   A row's statistics: lse, N (infonce: N is 1 where the row has a target, else 0), and the log-odds of the own pair
     where the batch is paired, s_ii minus the log-sum-exp of the other scores (-inf where it is not among the columns
     or left out, inf where nothing else is); a column's likewise; backward reads them. On a relation: what backward
     needs of the row, 0 where it needs less.
   Parts of a batch: forward with row_sums or column_sums in the place of that side's loss and statistics writes what
     the pairs of this call add to the sums of each row or column; of the CPU, and of all kinds but sigmoid, which has
     no columns, and ntxent, which needs two sweeps (DUET_STATUS_UNSUPPORTED). duet_contrastive_merge() adds the sums of
     two parts, duet_contrastive_close() makes losses and statistics of sums to which all parts were added. Column sums
     are added by METHOD.md 0.1's tree over slots of 32 rows: where a part is a node of that tree (rows 32 k 2^l to 32
     (k + 1) 2^l of the batch, or to its end), and parts are merged as it has them, the bits are those of one call on
     the whole batch. That holds where no row is longer than 1.0001, and wherever scale times the lengths is beyond 40
     in every part; else, and where row sums of blocks of columns are merged, the sums are the whole's but for rounding.
   Sums of a row or a column, float64: reference and sum of a log-sum-exp L = reference + log sum, of a second one, and
     three plain sums. Of a softmax the first L is that of the scores that are not the own pair's, the second the own
     pair's score (sum 1; without an own pair reference -inf and sum 0), the plain sums are the number of the other
     pairs, N without the own pair, and the sum of -pos s over the other positives. On a relation the first L is that of
     the negatives, the second that of the positives (of circle those of its factors; decoupled has none), the plain
     sums are the number of positives and the sum of their scores (circle has none). What is of no pair is -inf, 0, 0;
   on a relation its reference may also be any number below -2e36. Backward adds into grad_a, grad_v, grad_scale,
   grad_bias; null: not computed. grad_factor_a, grad_factor_v multiply what it adds into grad_a and into grad_v, and
   nothing else: no loss, statistic, grad_scale, grad_bias. 0 stops a side's gradient: nothing is added there, whatever
   the rows hold. So one pass gives the gradient of factor_a L(A, stop V) + factor_v L(stop A, V). Any number is taken;
   NaN shows in the side's gradient. Same inputs, same bits. n = 0 or m = 0: losses 0. Never n x m memory. Workspace:
   duet_contrastive_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL, of sums DUET_STATUS_UNSUPPORTED. */
#ifndef DUET_CONTRASTIVE_CONTRASTIVE_H
#define DUET_CONTRASTIVE_CONTRASTIVE_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which loss. */
typedef enum duet_contrastive_kind {
  DUET_CONTRASTIVE_KIND_INFONCE = 0,        /* cross-entropy against the own pair */
  DUET_CONTRASTIVE_KIND_MULTI_POSITIVE = 1, /* cross-entropy against the agreement of classes or labels */
  DUET_CONTRASTIVE_KIND_SIGMOID = 2,        /* a sigmoid a pair, with a bias */
  DUET_CONTRASTIVE_KIND_DECOUPLED = 3,      /* METHOD.md 5.6 */
  DUET_CONTRASTIVE_KIND_CIRCLE = 4,         /* METHOD.md 5.7 */
  DUET_CONTRASTIVE_KIND_NTXENT = 5          /* METHOD.md 5.8 */
} duet_contrastive_kind;

enum { DUET_CONTRASTIVE_STATISTICS = 3 }; /* of a row or a column */
enum { DUET_CONTRASTIVE_SUMS = 7 };       /* of a row or a column */

typedef struct duet_contrastive_inputs {
  size_t struct_size;              /* set by DUET_CONTRASTIVE_INPUTS_INIT */
  duet_const_matrix a;             /* n x d, features: view.h */
  duet_const_matrix v;             /* m x d, features */
  duet_const_matrix class_a;       /* n x C, float32: class distributions; of multi_positive and sigmoid, may be null */
  duet_const_matrix class_v;       /* m x C, float32; null where class_a is */
  duet_const_vector trust_a;       /* n, float32, 0 to 1; null: 1 */
  duet_const_vector trust_v;       /* m, float32, 0 to 1; null: 1 */
  duet_const_vector scale;         /* 1, float32: 1 / temperature */
  duet_const_vector bias;          /* 1, float32: sigmoid's, added to the score */
  duet_const_vector grad_factor_a; /* 1, float32: of backward alone; null: 1 */
  duet_const_vector grad_factor_v; /* 1, float32: of backward alone; null: 1 */
  duet_const_vector labels_a;      /* n, int32; below 0: unlabelled; null: no labels */
  duet_const_vector labels_v;      /* m, int32; null where labels_a is */
  duet_const_vector group_a;       /* n, int32; below 0: of none; null: no groups */
  duet_const_vector group_v;       /* m, int32; null where group_a is */
  int64_t first_row;               /* global index of row 0 of a, 0 or more */
  int64_t first_column;            /* global index of row 0 of v, 0 or more */
  duet_contrastive_kind kind;      /* which loss */
  int32_t paired;                /* with multi_positive's classes: not 0: own pairs are positive whatever their trust */
  int32_t exclude_own;           /* not 0: the own pair takes no part */
  float margin;                  /* circle's, at least 0 and finite, in the score's unit before scale; 0: 0.25 */
  duet_const_vector annotated_a; /* n, float32: not 0 where a row's classes are known; null: of no row */
  duet_const_vector annotated_v; /* m, float32; null where annotated_a is */
  duet_const_matrix label_sets;  /* S x w, int32: the classes of each label, bit c % 32 of word c / 32 that of class c;
                                    null: a label is a class */
} duet_contrastive_inputs;
#define DUET_CONTRASTIVE_INPUTS_INIT DUET_INIT(duet_contrastive_inputs, )
typedef struct duet_contrastive_outputs {
  size_t struct_size;            /* set by DUET_CONTRASTIVE_OUTPUTS_INIT */
  duet_vector row_loss;          /* n, float32 [nats] */
  duet_vector column_loss;       /* m, float32 [nats] */
  duet_matrix row_statistics;    /* n x DUET_CONTRASTIVE_STATISTICS, float32 */
  duet_matrix column_statistics; /* m x DUET_CONTRASTIVE_STATISTICS, float32 */
  duet_matrix row_sums;          /* n x DUET_CONTRASTIVE_SUMS, float64: where row_loss and row_statistics are null */
  duet_matrix column_sums;       /* m x DUET_CONTRASTIVE_SUMS, float64: likewise of columns; a side by itself */
} duet_contrastive_outputs;
#define DUET_CONTRASTIVE_OUTPUTS_INIT DUET_INIT(duet_contrastive_outputs, )
typedef struct duet_contrastive_gradients {
  size_t struct_size;                  /* set by DUET_CONTRASTIVE_GRADIENTS_INIT */
  duet_const_matrix row_statistics;    /* n x DUET_CONTRASTIVE_STATISTICS, float32, as forward wrote it */
  duet_const_matrix column_statistics; /* m x DUET_CONTRASTIVE_STATISTICS, float32, as forward wrote it */
  duet_const_vector row_weight;        /* n, float32: d loss / d row_loss; null: 0 */
  duet_const_vector column_weight;     /* m, float32: d loss / d column_loss; null: 0 */
  duet_matrix grad_a;                  /* n x d, float32: d loss / d a is added; may be null */
  duet_matrix grad_v;                  /* m x d, float32: d loss / d v is added; may be null */
  duet_vector grad_scale;              /* 1, float32: d loss / d scale is added; may be null */
  duet_vector grad_bias;               /* 1, float32: d loss / d bias is added, of sigmoid alone; may be null */
} duet_contrastive_gradients;
#define DUET_CONTRASTIVE_GRADIENTS_INIT DUET_INIT(duet_contrastive_gradients, )
typedef struct duet_contrastive_merge_inputs {
  size_t struct_size;      /* set by DUET_CONTRASTIVE_MERGE_INPUTS_INIT */
  duet_const_matrix left;  /* k x DUET_CONTRASTIVE_SUMS, float64: of the part that comes first in the batch */
  duet_const_matrix right; /* k x DUET_CONTRASTIVE_SUMS, float64: of another part, of the same rows or columns */
} duet_contrastive_merge_inputs;
#define DUET_CONTRASTIVE_MERGE_INPUTS_INIT DUET_INIT(duet_contrastive_merge_inputs, )
typedef struct duet_contrastive_merge_outputs {
  size_t struct_size; /* set by DUET_CONTRASTIVE_MERGE_OUTPUTS_INIT */
  duet_matrix sums;   /* k x DUET_CONTRASTIVE_SUMS, float64: of both parts; may be left itself */
} duet_contrastive_merge_outputs;
#define DUET_CONTRASTIVE_MERGE_OUTPUTS_INIT DUET_INIT(duet_contrastive_merge_outputs, )
typedef struct duet_contrastive_close_inputs {
  size_t struct_size;         /* set by DUET_CONTRASTIVE_CLOSE_INPUTS_INIT */
  duet_const_matrix sums;     /* k x DUET_CONTRASTIVE_SUMS, float64: of rows or columns with all their pairs */
  duet_contrastive_kind kind; /* as of the calls that wrote them */
  int32_t relation;           /* not 0: these were infonce with groups or exclude_own, or multi_positive with labels in
                                 the place of classes; decoupled and circle say nothing by it */
} duet_contrastive_close_inputs;
#define DUET_CONTRASTIVE_CLOSE_INPUTS_INIT DUET_INIT(duet_contrastive_close_inputs, )
typedef struct duet_contrastive_close_outputs {
  size_t struct_size;     /* set by DUET_CONTRASTIVE_CLOSE_OUTPUTS_INIT */
  duet_vector loss;       /* k, float32 [nats] */
  duet_matrix statistics; /* k x DUET_CONTRASTIVE_STATISTICS, float32 */
} duet_contrastive_close_outputs;
#define DUET_CONTRASTIVE_CLOSE_OUTPUTS_INIT DUET_INIT(duet_contrastive_close_outputs, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_contrastive_workspace(const duet_context* context, const duet_contrastive_inputs* inputs,
                                                size_t* bytes);
DUET_API duet_status duet_contrastive_forward(duet_context* context, const duet_contrastive_inputs* inputs,
                                              const duet_contrastive_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_contrastive_backward(duet_context* context, const duet_contrastive_inputs* inputs,
                                               const duet_contrastive_gradients* gradients, duet_workspace workspace);
/* The CPU's alone: DUET_STATUS_UNSUPPORTED of another device's context. */
DUET_API duet_status duet_contrastive_merge(duet_context* context, const duet_contrastive_merge_inputs* inputs,
                                            const duet_contrastive_merge_outputs* outputs);
/* The CPU's alone, as merge. */
DUET_API duet_status duet_contrastive_close(duet_context* context, const duet_contrastive_close_inputs* inputs,
                                            const duet_contrastive_close_outputs* outputs);

#ifdef __cplusplus
}
#endif
#endif
