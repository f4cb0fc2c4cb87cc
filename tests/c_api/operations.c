/* Two rows of two columns go through every operation: each call must succeed, and a number of its result that is known
   without computing must come out. c_api_test.c looks at results closer. */
#include "operations.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A call that must succeed, and an answer: within a few roundings of float32, NaN is none. */
#define SUCCEED(call)                                                        \
  do {                                                                       \
    if ((call) != DUET_STATUS_OK) {                                          \
      fprintf(stderr, "operations.c:%d: %s\n", __LINE__, duet_last_error()); \
      exit(1);                                                               \
    }                                                                        \
  } while (0)
#define EXPECT(actual, expected)                                                        \
  do {                                                                                  \
    const double got = (double)(actual), wanted = (double)(expected);                   \
    if (!(fabs(got - wanted) <= 1e-5)) {                                                \
      fprintf(stderr, "operations.c:%d: expected %g, got %g\n", __LINE__, wanted, got); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

/* The unit rows (1, 0) and (0, 1), and memory for results; of a square as a vector the first two. */
static const float kX[4] = {1, 0, 0, 1}, kOnes[4] = {1, 1, 1, 1};
static const uint16_t kXInF16[4] = {0x3C00, 0, 0, 0x3C00}, kXInBf16[4] = {0x3F80, 0, 0, 0x3F80};
static const int32_t kLabels[2] = {0, 1}, kGroups[2] = {5, 5};
static const int64_t kIndices[2] = {1, 0}, kStep[1] = {1};
static float out[4], more[4], third[4], row[4], column[4], row_statistics[10], column_statistics[10], one[1], two[2];
static int32_t numbers[6];
static int64_t longs[2];
static char memory[1 << 20];

static duet_const_matrix given(const float* values) { return duet_f32_const_matrix(values, 2, 2); }
static duet_const_vector vector_of(const float* values, int64_t size) { return duet_f32_const_vector(values, size); }
static duet_matrix square(float* values) {
  int k;
  for (k = 0; k < 4; ++k) values[k] = 0; /* a gradient starts from 0 */
  return duet_f32_matrix(values, 2, 2);
}
static duet_workspace scratch(size_t bytes) {
  duet_workspace space;
  space.data = memory + (64 - (uintptr_t)memory % 64) % 64;
  space.bytes = sizeof memory - 64;
  if (bytes > space.bytes) fprintf(stderr, "operations.c: a workspace of %lu bytes\n", (unsigned long)bytes), exit(1);
  return space;
}

static void elementwise(duet_context* context) {
  duet_activation_inputs activation = DUET_ACTIVATION_INPUTS_INIT;
  duet_activation_outputs activated = DUET_ACTIVATION_OUTPUTS_INIT;
  duet_activation_gradients of_activation = DUET_ACTIVATION_GRADIENTS_INIT;
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
  duet_dropout_inputs dropout = DUET_DROPOUT_INPUTS_INIT;
  duet_dropout_outputs dropped = DUET_DROPOUT_OUTPUTS_INIT;
  duet_dropout_gradients of_dropout = DUET_DROPOUT_GRADIENTS_INIT;
  activation.x = given(kX), activated.outputs = square(out);
  SUCCEED(duet_activation_forward(context, &activation, &activated));
  EXPECT(out[0], 1);
  of_activation.grad_outputs = given(kOnes), of_activation.grad_x = square(more);
  SUCCEED(duet_activation_backward(context, &activation, &of_activation));
  EXPECT(more[0] - more[1], 1);
  options.step = duet_i64_const_vector(kStep, 1); /* of probability 0: nothing is dropped */
  dropout.x = given(kX), dropout.dropout = &options, dropped.outputs = square(out);
  SUCCEED(duet_dropout_forward(context, &dropout, &dropped));
  EXPECT(out[3], 1);
  of_dropout.grad_outputs = given(kOnes), of_dropout.grad_x = square(more);
  SUCCEED(duet_dropout_backward(context, &dropout, &of_dropout));
  EXPECT(more[2], 1);
}

static void layers(duet_context* context) {
  duet_linear_inputs linear = DUET_LINEAR_INPUTS_INIT;
  duet_linear_outputs dense = DUET_LINEAR_OUTPUTS_INIT;
  duet_linear_gradients of_linear = DUET_LINEAR_GRADIENTS_INIT;
  duet_head_inputs head = DUET_HEAD_INPUTS_INIT;
  duet_head_outputs classified = DUET_HEAD_OUTPUTS_INIT;
  duet_head_gradients of_head = DUET_HEAD_GRADIENTS_INIT;
  duet_unit_rows_inputs unit = DUET_UNIT_ROWS_INPUTS_INIT;
  duet_unit_rows_outputs scaled = DUET_UNIT_ROWS_OUTPUTS_INIT;
  duet_unit_rows_gradients of_unit = DUET_UNIT_ROWS_GRADIENTS_INIT;
  duet_layer_norm_inputs layer = DUET_LAYER_NORM_INPUTS_INIT;
  duet_layer_norm_outputs normal = DUET_LAYER_NORM_OUTPUTS_INIT;
  duet_layer_norm_gradients of_layer = DUET_LAYER_NORM_GRADIENTS_INIT;
  const duet_const_matrix x = given(kX);
  duet_const_matrix given_u, ones = given(kOnes);
  duet_matrix u, logits, grad_x;
  size_t bytes = 0;
  linear.x = x, linear.weight = x, dense.outputs = square(out);
  SUCCEED(duet_linear_workspace(context, &linear, &bytes));
  SUCCEED(duet_linear_forward(context, &linear, &dense, scratch(bytes)));
  EXPECT(out[0], 1);
  of_linear.grad_outputs = ones, of_linear.grad_x = square(more), of_linear.grad_weight = square(third);
  SUCCEED(duet_linear_backward(context, &linear, &of_linear, scratch(bytes)));
  EXPECT(more[0], 1);
  head.x = &x, head.count = 1, head.weight = x;
  u = square(out), logits = square(more), classified.u = &u, classified.logits = &logits;
  SUCCEED(duet_head_workspace(context, &head, &bytes));
  SUCCEED(duet_head_forward(context, &head, &classified, scratch(bytes)));
  EXPECT(more[3], 1);
  given_u = duet_matrix_as_const(u), grad_x = square(third);
  of_head.u = &given_u, of_head.grad_u = &ones, of_head.grad_x = &grad_x;
  SUCCEED(duet_head_backward(context, &head, &of_head, scratch(bytes)));
  EXPECT(third[1], 1);
  unit.x = x, scaled.outputs = square(out);
  SUCCEED(duet_unit_rows_forward(context, &unit, &scaled));
  EXPECT(out[0], 1);
  of_unit.grad_outputs = ones, of_unit.grad_x = square(more);
  SUCCEED(duet_unit_rows_backward(context, &unit, &of_unit));
  EXPECT(more[1], 1);
  layer.x = x, normal.outputs = square(out), layer.eps = 1e-12f;
  SUCCEED(duet_layer_norm_forward(context, &layer, &normal));
  EXPECT(out[0], 1);
  of_layer.grad_outputs = ones, of_layer.grad_x = square(more);
  SUCCEED(duet_layer_norm_workspace(context, &layer, &bytes));
  SUCCEED(duet_layer_norm_backward(context, &layer, &of_layer, scratch(bytes)));
  EXPECT(more[0], 0);
}

static void losses(duet_context* context) {
  duet_distance_inputs distance = DUET_DISTANCE_INPUTS_INIT;
  duet_distance_outputs distances = DUET_DISTANCE_OUTPUTS_INIT;
  duet_distance_gradients of_distance = DUET_DISTANCE_GRADIENTS_INIT;
  duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
  duet_alignment_outputs sums = DUET_ALIGNMENT_OUTPUTS_INIT;
  duet_alignment_gradients of_sums = DUET_ALIGNMENT_GRADIENTS_INIT;
  duet_alignment_probabilities_outputs shares = DUET_ALIGNMENT_PROBABILITIES_OUTPUTS_INIT;
  duet_alignment_probabilities_gradients of_shares = DUET_ALIGNMENT_PROBABILITIES_GRADIENTS_INIT;
  duet_distillation_inputs distillation = DUET_DISTILLATION_INPUTS_INIT;
  duet_distillation_outputs distilled = DUET_DISTILLATION_OUTPUTS_INIT;
  duet_distillation_gradients of_distilled = DUET_DISTILLATION_GRADIENTS_INIT;
  duet_decorrelation_inputs decorrelation = DUET_DECORRELATION_INPUTS_INIT;
  duet_decorrelation_outputs decorrelated = DUET_DECORRELATION_OUTPUTS_INIT;
  duet_decorrelation_gradients of_decorrelated = DUET_DECORRELATION_GRADIENTS_INIT;
  const duet_const_matrix x = given(kX), ones = given(kOnes);
  const duet_const_vector scale = vector_of(kOnes, 1), weight = vector_of(kOnes, 2);
  const double lse = log(exp(1) + 1);
  size_t bytes = 0;
  distance.x = distance.y = x, distance.metric = DUET_METRIC_SQEUCLIDEAN;
  of_distance.grad_distances = ones, of_distance.grad_x = square(out);
  SUCCEED(duet_distance_workspace(context, &distance, &bytes));
  SUCCEED(duet_distance_backward(context, &distance, &of_distance, scratch(bytes)));
  EXPECT(out[0], 2);
  distance.x = duet_f16_const_matrix(kXInF16, 2, 2), distance.y = duet_bf16_const_matrix(kXInBf16, 2, 2);
  distances.distances = square(out);
  SUCCEED(duet_distance_workspace(context, &distance, &bytes));
  SUCCEED(duet_distance_forward(context, &distance, &distances, scratch(bytes)));
  EXPECT(out[0] + out[1], 2);
  alignment.a = alignment.v = x, alignment.scale = scale;
  sums.lse_row = duet_f32_vector(row, 2), sums.lse_column = duet_f32_vector(column, 2);
  SUCCEED(duet_alignment_workspace(context, &alignment, &bytes));
  SUCCEED(duet_alignment_forward(context, &alignment, &sums, scratch(bytes)));
  EXPECT(row[0], lse);
  of_sums.lse_row = vector_of(row, 2), of_sums.grad_lse_row = weight, of_sums.grad_a = square(out);
  SUCCEED(duet_alignment_backward(context, &alignment, &of_sums, scratch(bytes)));
  EXPECT(out[0] + out[1], 1);
  shares.lse_row = vector_of(row, 2), shares.probabilities = square(out);
  SUCCEED(duet_alignment_probabilities(context, &alignment, &shares, scratch(bytes)));
  EXPECT(out[0], exp(1 - lse));
  of_shares.probabilities = given(out), of_shares.grad_probabilities = ones, of_shares.grad_a = square(more);
  SUCCEED(duet_alignment_probabilities_backward(context, &alignment, &of_shares, scratch(bytes)));
  EXPECT(more[0], 0);
  alignment.exclude_own = 1; /* each row's other score is 0 */
  SUCCEED(duet_alignment_forward(context, &alignment, &sums, scratch(bytes)));
  EXPECT(row[0], 0);
  distillation.student_a = distillation.student_v = distillation.teacher_a = distillation.teacher_v = x;
  distillation.scale = distillation.teacher_scale = scale;
  distilled.row_loss = duet_f32_vector(row, 2), distilled.column_loss = duet_f32_vector(column, 2);
  distilled.row_statistics = duet_f32_matrix(row_statistics, 2, DUET_DISTILLATION_STATISTICS);
  distilled.column_statistics = duet_f32_matrix(column_statistics, 2, DUET_DISTILLATION_STATISTICS);
  SUCCEED(duet_distillation_workspace(context, &distillation, &bytes));
  SUCCEED(duet_distillation_forward(context, &distillation, &distilled, scratch(bytes)));
  EXPECT(row[0], 0);
  distillation.group_a = distillation.group_v = duet_i32_const_vector(kLabels, 2), distillation.kappa_a = weight;
  SUCCEED(duet_distillation_workspace(context, &distillation, &bytes));
  SUCCEED(duet_distillation_forward(context, &distillation, &distilled, scratch(bytes)));
  EXPECT(row[0], lse - 1);
  distillation.exclude_own = 1; /* the other row alone is left, and of no group with this one */
  SUCCEED(duet_distillation_forward(context, &distillation, &distilled, scratch(bytes)));
  EXPECT(row[0], 0);
  of_distilled.row_statistics = duet_matrix_as_const(distilled.row_statistics);
  of_distilled.column_statistics = duet_matrix_as_const(distilled.column_statistics);
  of_distilled.row_weight = weight, of_distilled.grad_a = square(out);
  SUCCEED(duet_distillation_backward(context, &distillation, &of_distilled, scratch(bytes)));
  EXPECT(out[0], 0);
  decorrelation.a = decorrelation.v = x, decorrelated.loss = duet_f32_vector(one, 1);
  SUCCEED(duet_decorrelation_workspace(context, &decorrelation, &bytes));
  SUCCEED(duet_decorrelation_forward(context, &decorrelation, &decorrelated, scratch(bytes)));
  EXPECT(fabs(one[0] - 1) < 1e-3, 1); /* the columns are opposite, but for eps */
  of_decorrelated.grad_loss = scale, of_decorrelated.grad_a = square(out);
  SUCCEED(duet_decorrelation_backward(context, &decorrelation, &of_decorrelated, scratch(bytes)));
  EXPECT(out[0] + out[2], 0);
}

static void triplets(duet_context* context) {
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
  duet_mining_hard_side side = DUET_MINING_HARD_SIDE_INIT;
  duet_mining_hard_outputs hard = DUET_MINING_HARD_OUTPUTS_INIT;
  duet_mining_semihard_count_outputs count = DUET_MINING_SEMIHARD_COUNT_OUTPUTS_INIT;
  duet_mining_semihard_outputs semihard = DUET_MINING_SEMIHARD_OUTPUTS_INIT;
  duet_mining_distance_weighted_outputs weighted = DUET_MINING_DISTANCE_WEIGHTED_OUTPUTS_INIT;
  duet_triplet_inputs triplet = DUET_TRIPLET_INPUTS_INIT;
  duet_triplet_outputs terms = DUET_TRIPLET_OUTPUTS_INIT;
  duet_triplet_gradients gradients = DUET_TRIPLET_GRADIENTS_INIT;
  duet_triplet_loss_inputs parts = DUET_TRIPLET_LOSS_INPUTS_INIT;
  duet_triplet_loss_outputs loss = DUET_TRIPLET_LOSS_OUTPUTS_INIT;
  duet_triplet_sums sums = DUET_TRIPLET_SUMS_INIT;
  size_t bytes = 0;
  draw.step = duet_i64_const_vector(kStep, 1), draw.slots = 1;
  mining.x = mining.y = given(kX), mining.metric = DUET_METRIC_SQEUCLIDEAN, mining.draw = &draw, mining.margin = 1;
  mining.labels_x = mining.labels_y = duet_i32_const_vector(kLabels, 2);
  SUCCEED(duet_mining_workspace(context, &mining, &bytes));
  side.negative_index = duet_i32_vector(numbers, 2), hard.rows = &side;
  SUCCEED(duet_mining_hard(context, &mining, &hard, scratch(bytes)));
  EXPECT(numbers[0], 1);
  count.count = duet_i64_vector(longs, 1);
  SUCCEED(duet_mining_semihard_count(context, &mining, &count, scratch(bytes)));
  EXPECT(longs[0], 2);
  semihard.triplets = duet_i32_matrix(numbers, 2, 3);
  SUCCEED(duet_mining_semihard(context, &mining, &semihard, scratch(bytes)));
  EXPECT(numbers[2], -1); /* the other row is 2 away, the margin 1 */
  weighted.negatives = duet_i32_matrix(numbers, 2, 1);
  SUCCEED(duet_mining_distance_weighted(context, &mining, &weighted, scratch(bytes)));
  EXPECT(numbers[0], -1); /* the other row is sqrt 2 away: none from 1.4 on is drawn */
  mining.group_x = mining.group_y = duet_i32_const_vector(kGroups, 2), mining.exclude_own = 1;
  SUCCEED(duet_mining_workspace(context, &mining, &bytes));
  SUCCEED(duet_mining_semihard_count(context, &mining, &count, scratch(bytes)));
  EXPECT(longs[0], 2); /* each row with the other of its group */
  triplet.x = triplet.y = mining.x, triplet.metric = DUET_METRIC_SQEUCLIDEAN, triplet.margin = 3;
  triplet.labels_x = triplet.labels_y = mining.labels_x;
  terms.row_loss = duet_f32_vector(row, 2), terms.row_active = duet_f32_vector(column, 2), terms.sum_x = square(out);
  SUCCEED(duet_triplet_workspace(context, &triplet, &bytes));
  SUCCEED(duet_triplet_forward(context, &triplet, &terms, scratch(bytes)));
  EXPECT(row[0], 1);
  parts.row_loss = vector_of(row, 2), parts.row_active = vector_of(column, 2);
  loss.loss = duet_f32_vector(one, 1), loss.active = duet_f32_vector(two, 1);
  SUCCEED(duet_triplet_loss(context, &parts, &loss));
  EXPECT(one[0], 1);
  sums.sum_x = duet_matrix_as_const(terms.sum_x);
  gradients.active = vector_of(two, 1), gradients.grad_loss = vector_of(kOnes, 1), gradients.grad_x = square(more);
  SUCCEED(duet_triplet_add_gradient(context, &sums, &gradients));
  gradients.grad_x = square(third);
  SUCCEED(duet_triplet_backward(context, &triplet, &gradients, scratch(bytes)));
  EXPECT(third[0], more[0]);
  triplet.group_x = triplet.group_y = mining.group_x, triplet.exclude_own = 1;
  SUCCEED(duet_triplet_workspace(context, &triplet, &bytes));
  SUCCEED(duet_triplet_forward(context, &triplet, &terms, scratch(bytes)));
  EXPECT(row[0], 0); /* one group has no negatives */
}

static void supervised(duet_context* context) {
  duet_cross_entropy_inputs logits = DUET_CROSS_ENTROPY_INPUTS_INIT;
  duet_cross_entropy_outputs entropy = DUET_CROSS_ENTROPY_OUTPUTS_INIT;
  duet_cross_entropy_gradients of_entropy = DUET_CROSS_ENTROPY_GRADIENTS_INIT;
  duet_cross_entropy_all_inputs all = DUET_CROSS_ENTROPY_ALL_INPUTS_INIT;
  duet_cross_entropy_all_outputs entropies = DUET_CROSS_ENTROPY_ALL_OUTPUTS_INIT;
  duet_cross_entropy_all_gradients of_all = DUET_CROSS_ENTROPY_ALL_GRADIENTS_INIT;
  duet_supervision_inputs batch = DUET_SUPERVISION_INPUTS_INIT;
  duet_supervision_state state = DUET_SUPERVISION_STATE_INIT;
  duet_supervision_outputs told = DUET_SUPERVISION_OUTPUTS_INIT;
  float predicted[2] = {0.5f, 0.5f}, concord[1] = {0}, kappa[2], annotated[2], hidden[2], counts[2], trust[2];
  const duet_const_matrix x = given(kX);
  const duet_const_vector weight = vector_of(kOnes, 2);
  const float half[2] = {0.5f, 0.5f};
  const double expected = log(exp(1) + 1) - 1;
  size_t bytes = 0;
  logits.logits = logits.targets = x, entropy.row_loss = duet_f32_vector(row, 2);
  SUCCEED(duet_cross_entropy_forward(context, &logits, &entropy));
  EXPECT(row[0], expected);
  of_entropy.row_weight = weight, of_entropy.grad_logits = square(out);
  SUCCEED(duet_cross_entropy_backward(context, &logits, &of_entropy));
  EXPECT(out[0] + out[1], 0);
  all.logits = &x, all.count = 1, all.targets = x, entropies.row_loss = &entropy.row_loss;
  SUCCEED(duet_cross_entropy_forward_all(context, &all, &entropies));
  EXPECT(row[1], expected);
  of_entropy.grad_logits = square(out), of_all.row_weight = &weight, of_all.grad_logits = &of_entropy.grad_logits;
  SUCCEED(duet_cross_entropy_backward_all(context, &all, &of_all));
  EXPECT(out[2] + out[3], 0);
  batch.labels = duet_i32_const_vector(kLabels, 2), batch.sample_ids = duet_i64_const_vector(kIndices, 2);
  batch.logits_a = batch.logits_v = x, batch.prior = vector_of(half, 2), batch.ratio = vector_of(kOnes, 1);
  batch.epoch = duet_i64_const_vector(kStep, 1);
  state.predicted = duet_f32_vector(predicted, 2), state.concord = duet_f32_vector(concord, 1);
  told.class_q = square(out), told.trust = duet_f32_vector(trust, 2), told.kappa = duet_f32_vector(kappa, 2);
  told.annotated = duet_f32_vector(annotated, 2), told.hidden_trust = duet_f32_vector(hidden, 2);
  told.counts = duet_f32_vector(counts, 2), told.pair_weight = duet_f32_vector(one, 1);
  SUCCEED(duet_supervision_workspace(context, &batch, &bytes));
  SUCCEED(duet_supervision_forward(context, &batch, &state, &told, scratch(bytes)));
  EXPECT(counts[0], 2);
}

static void rows(duet_context* context) {
  duet_gather_inputs gather = DUET_GATHER_INPUTS_INIT;
  duet_gather_outputs gathered = DUET_GATHER_OUTPUTS_INIT;
  duet_gather_gradients of_gather = DUET_GATHER_GRADIENTS_INIT;
  duet_gather_labels_inputs labels = DUET_GATHER_LABELS_INPUTS_INIT;
  duet_gather_labels_outputs picked = DUET_GATHER_LABELS_OUTPUTS_INIT;
  duet_gather_batch_inputs batch = DUET_GATHER_BATCH_INPUTS_INIT;
  duet_gather_batch_outputs parts = DUET_GATHER_BATCH_OUTPUTS_INIT;
  duet_retrieval_inputs retrieval = DUET_RETRIEVAL_INPUTS_INIT;
  duet_retrieval_outputs measures = DUET_RETRIEVAL_OUTPUTS_INIT;
  duet_retrieval_top_k_outputs best = DUET_RETRIEVAL_TOP_K_OUTPUTS_INIT;
  const duet_const_matrix x = given(kX);
  size_t bytes = 0;
  gather.source = x, gather.indices = duet_i64_const_vector(kIndices, 2), gathered.rows = square(out);
  SUCCEED(duet_gather_forward(context, &gather, &gathered));
  EXPECT(out[1], 1);
  of_gather.grad_rows = given(out), of_gather.grad_source = square(more);
  SUCCEED(duet_gather_backward(context, &gather, &of_gather));
  EXPECT(more[0], 1);
  labels.source = duet_i32_const_vector(kLabels, 2), labels.indices = gather.indices;
  picked.labels = duet_i32_vector(numbers, 2);
  SUCCEED(duet_gather_labels(context, &labels, &picked));
  EXPECT(numbers[0], 1);
  batch.sources = &x, batch.source_count = 1, batch.indices = gather.indices, parts.rows = &gathered.rows;
  SUCCEED(duet_gather_batch(context, &batch, &parts));
  EXPECT(out[2], 1);
  retrieval.queries = retrieval.gallery = x, retrieval.query_labels = retrieval.gallery_labels = labels.source;
  measures.average_precision = duet_f32_vector(row, 2);
  SUCCEED(duet_retrieval_workspace(context, &retrieval, &bytes));
  SUCCEED(duet_retrieval_forward(context, &retrieval, &measures, scratch(bytes)));
  EXPECT(row[0], 1);
  retrieval.query_groups = retrieval.gallery_groups = labels.source, retrieval.exclude_own = 1;
  measures.relevant = duet_i32_vector(numbers, 2);
  SUCCEED(duet_retrieval_forward(context, &retrieval, &measures, scratch(bytes)));
  EXPECT(numbers[0], 0); /* its own row was the only relevant one */
  retrieval.exclude_own = 0;
  best.indices = duet_i32_matrix(numbers, 2, 1);
  SUCCEED(duet_retrieval_top_k(context, &retrieval, &best, scratch(bytes)));
  EXPECT(numbers[1], 1);
}

static void sums_and_steps(duet_context* context) {
  duet_weighted_mean_inputs mean = DUET_WEIGHTED_MEAN_INPUTS_INIT;
  duet_weighted_mean_outputs loss = DUET_WEIGHTED_MEAN_OUTPUTS_INIT;
  duet_weighted_mean_gradients of_mean = DUET_WEIGHTED_MEAN_GRADIENTS_INIT;
  duet_weighted_sum_inputs sum = DUET_WEIGHTED_SUM_INPUTS_INIT;
  duet_weighted_sum_outputs total = DUET_WEIGHTED_SUM_OUTPUTS_INIT;
  duet_weighted_sum_gradients of_sum = DUET_WEIGHTED_SUM_GRADIENTS_INIT;
  duet_terms_inputs terms = DUET_TERMS_INPUTS_INIT;
  duet_terms_outputs told = DUET_TERMS_OUTPUTS_INIT;
  duet_terms_gradients of_terms = DUET_TERMS_GRADIENTS_INIT;
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  duet_random_words_outputs words = DUET_RANDOM_WORDS_OUTPUTS_INIT;
  duet_random_uniform_outputs uniform = DUET_RANDOM_UNIFORM_OUTPUTS_INIT;
  duet_step_scale_inputs logarithm = DUET_STEP_SCALE_INPUTS_INIT;
  duet_step_scale_outputs scale = DUET_STEP_SCALE_OUTPUTS_INIT;
  duet_step_scale_gradients of_scale = DUET_STEP_SCALE_GRADIENTS_INIT;
  const duet_const_vector scalar = vector_of(kOnes, 1);
  const duet_mean of_values = {
      {kOnes, 2, DUET_DTYPE_F32, 0}, {NULL, 0, DUET_DTYPE_F32, 0}, {NULL, 0, DUET_DTYPE_F32, 0}};
  const duet_term term = {{kOnes, 1, DUET_DTYPE_F32, 0}, 1};
  duet_vector to = duet_f32_vector(two, 1), grad_values = duet_f32_vector(column, 2);
  uint32_t word[1] = {0};
  mean.values = vector_of(kOnes, 2), loss.loss = duet_f32_vector(one, 1);
  SUCCEED(duet_weighted_mean_forward(context, &mean, &loss));
  EXPECT(one[0], 1);
  row[0] = row[1] = column[0] = column[1] = two[0] = 0;
  of_mean.grad_loss = scalar, of_mean.grad_values = duet_f32_vector(row, 2);
  SUCCEED(duet_weighted_mean_backward(context, &mean, &of_mean));
  EXPECT(row[0], 0.5);
  sum.terms = sum.weights = &scalar, sum.count = 1, total.total = duet_f32_vector(one, 1);
  SUCCEED(duet_weighted_sum_forward(context, &sum, &total));
  EXPECT(one[0], 1);
  of_sum.grad_total = scalar, of_sum.grad_terms = &to;
  SUCCEED(duet_weighted_sum_backward(context, &sum, &of_sum));
  EXPECT(two[0], 1);
  terms.terms = &term, terms.term_count = 1, terms.means = &of_values, terms.mean_count = 1;
  told.total = duet_f32_vector(one, 1);
  SUCCEED(duet_terms_forward(context, &terms, &told));
  EXPECT(one[0], 1);
  of_terms.grad_total = scalar, of_terms.grad_values = &grad_values;
  SUCCEED(duet_terms_backward(context, &terms, &of_terms));
  EXPECT(column[1], 0.5);
  draw.high = 1, words.words = duet_u32_vector(word, 1), uniform.values = duet_f32_vector(one, 1);
  SUCCEED(duet_random_words(context, &draw, &words));
  SUCCEED(duet_random_uniform(context, &draw, &uniform));
  EXPECT(one[0], (word[0] + 0.5) / 4294967296.0);
  logarithm.logarithm = scalar, scale.scale = duet_f32_vector(one, 1);
  SUCCEED(duet_step_scale_forward(context, &logarithm, &scale));
  EXPECT(one[0], exp(1));
  two[0] = 0, of_scale.scale = vector_of(one, 1), of_scale.grad_scale = scalar, of_scale.grad_logarithm = to;
  SUCCEED(duet_step_scale_backward(context, &logarithm, &of_scale));
  EXPECT(two[0], exp(1));
}

static void optimizers(duet_context* context) {
  duet_adamw_inputs adamw = DUET_ADAMW_INPUTS_INIT;
  duet_sgd_inputs sgd = DUET_SGD_INPUTS_INIT;
  duet_optimizer_slots slots = DUET_OPTIMIZER_SLOTS_INIT;
  duet_gradient_clip_inputs clip = DUET_GRADIENT_CLIP_INPUTS_INIT;
  duet_gradient_clip_outputs clipped = DUET_GRADIENT_CLIP_OUTPUTS_INIT;
  size_t bytes = 0;
  float norm[1], scale[1];
  float parameter[1] = {2}, first[1] = {0}, second[1] = {0};
  const float rate[1] = {0.5f};
  duet_optimizer_slot slot;
  slot.parameter = duet_f32_vector(parameter, 1), slot.gradient = vector_of(kOnes, 1);
  slot.first_moment = duet_f32_vector(first, 1), slot.second_moment = duet_f32_vector(second, 1);
  slot.teacher = duet_f32_vector(NULL, 0);
  slots.slots = &slot, slots.slot_count = 1;
  adamw.learning_rate = vector_of(rate, 1), adamw.step = duet_i64_const_vector(kStep, 1), adamw.decay = 0;
  SUCCEED(duet_adamw_step(context, &adamw, &slots));
  EXPECT(parameter[0], 1.5); /* the first step is as long as the rate */
  first[0] = 0, sgd.learning_rate = adamw.learning_rate, sgd.decay = 0;
  SUCCEED(duet_sgd_step(context, &sgd, &slots));
  EXPECT(parameter[0], 1);
  clip.limit = 0.25f, clipped.norm = duet_f32_vector(norm, 1), clipped.scale = duet_f32_vector(scale, 1);
  SUCCEED(duet_gradient_clip_workspace(context, &slots, &bytes));
  SUCCEED(duet_gradient_clip(context, &clip, &slots, &clipped, scratch(bytes)));
  EXPECT(norm[0], 1);
  EXPECT(scale[0], 0.25);
  sgd.gradient_scale = vector_of(scale, 1), first[0] = 0;
  SUCCEED(duet_sgd_step(context, &sgd, &slots));
  EXPECT(parameter[0], 0.875);
}

void test_operations(duet_context* context) {
  elementwise(context);
  layers(context);
  losses(context);
  triplets(context);
  supervised(context);
  rows(context);
  sums_and_steps(context);
  optimizers(context);
}
