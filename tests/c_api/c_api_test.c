/* The C interface as an engine meets it: C99, the installed headers and library, nothing of the tree. Exits non-zero on
   the first wrong answer. */
#include <duet/duet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operations.h"

enum { kRows = 5, kColumns = 7, kWidth = 3 };

static void fail(const char* what) {
  fprintf(stderr, "c_api_test: %s (%s)\n", what, duet_last_error());
  exit(1);
}

static void succeed(duet_status status, const char* call) {
  if (status != DUET_STATUS_OK) fail(call);
}

static void expect_close(double actual, double expected, const char* what) {
  /* Sums of at most seven float32 products of size 1, and a handful of roundings on top. NaN fails. */
  if (!(fabs(actual - expected) <= 1e-5)) {
    fprintf(stderr, "%s: expected %.9g, got %.9g\n", what, expected, actual);
    exit(1);
  }
}

/* 64-byte aligned, as a workspace has to be; C99 has no call for it. It lives until the next one is asked for. */
static duet_workspace workspace(size_t bytes) {
  static char* raw = NULL;
  duet_workspace out = {NULL, 0};
  free(raw);
  raw = bytes > 0 ? malloc(bytes + 64) : NULL;
  if (bytes == 0) return out;
  if (raw == NULL) fail("out of memory");
  out.data = raw + (64 - (uintptr_t)raw % 64) % 64;
  out.bytes = bytes;
  return out;
}

/* Whatever a call leaves unwritten shows. */
static void poison(float* values, int count) {
  int k;
  for (k = 0; k < count; ++k) values[k] = NAN;
}

static float a[kRows * kWidth], v[kColumns * kWidth];

static void fill(void) {
  int k;
  for (k = 0; k < kRows * kWidth; ++k) a[k] = (float)((k * 7 % 11) - 5) / 8;
  for (k = 0; k < kColumns * kWidth; ++k) v[k] = (float)((k * 5 % 13) - 6) / 8;
}

static double score(int i, int j) {
  double sum = 0;
  int k;
  for (k = 0; k < kWidth; ++k) sum += (double)a[i * kWidth + k] * v[j * kWidth + k];
  return sum;
}

static void test_distance(duet_context* context) {
  float distances[kRows * kColumns];
  duet_distance_inputs inputs = DUET_DISTANCE_INPUTS_INIT;
  duet_distance_outputs outputs = DUET_DISTANCE_OUTPUTS_INIT;
  size_t bytes = 0;
  int i, j;
  poison(distances, kRows * kColumns);
  outputs.distances = duet_f32_matrix(distances, kRows, kColumns);
  inputs.x = duet_f32_const_matrix(a, kRows, kWidth);
  inputs.y = duet_f32_const_matrix(v, kColumns, kWidth);
  inputs.metric = DUET_METRIC_SQEUCLIDEAN;
  succeed(duet_distance_workspace(context, &inputs, &bytes), "duet_distance_workspace");
  succeed(duet_distance_forward(context, &inputs, &outputs, workspace(bytes)), "duet_distance_forward");
  for (i = 0; i < kRows; ++i)
    for (j = 0; j < kColumns; ++j) {
      double expected = 0;
      int k;
      for (k = 0; k < kWidth; ++k) expected += pow((double)a[i * kWidth + k] - v[j * kWidth + k], 2);
      expect_close(distances[i * kColumns + j], expected, "distance");
    }

  /* Misuse is a status and a text that names argument, expected and actual. */
  outputs.distances.columns = kColumns - 1;
  if (duet_distance_forward(context, &inputs, &outputs, workspace(bytes)) != DUET_STATUS_INVALID_ARGUMENT)
    fail("a wrong shape was accepted");
  if (strstr(duet_last_error(), "outputs.distances: expected 5 x 7, got 5 x 6") == NULL)
    fail("a wrong shape was not named");
  outputs.distances.columns = kColumns;
  if (duet_distance_forward(NULL, &inputs, &outputs, workspace(bytes)) != DUET_STATUS_INVALID_ARGUMENT)
    fail("a null context was accepted");
  if (strcmp(duet_status_name(DUET_STATUS_INVALID_ARGUMENT), "DUET_STATUS_INVALID_ARGUMENT") != 0)
    fail("duet_status_name");
}

/* Rows alone: loss_i = lse_i - s_ii, d loss / d a_i = scale (sum_j P_ij v_j - v_i). */
static void test_infonce(duet_context* context) {
  const float scale = 2, row_weight[kRows] = {1, 1, 1, 1, 1};
  float row_loss[kRows], column_loss[kColumns], row_statistics[kRows * DUET_CONTRASTIVE_STATISTICS],
      column_statistics[kColumns * DUET_CONTRASTIVE_STATISTICS];
  float grad_a[kRows * kWidth];
  duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
  duet_contrastive_outputs outputs = DUET_CONTRASTIVE_OUTPUTS_INIT;
  duet_contrastive_gradients gradients = DUET_CONTRASTIVE_GRADIENTS_INIT;
  duet_workspace scratch;
  size_t bytes = 0;
  int i, j, k;
  poison(row_loss, kRows), poison(column_loss, kColumns), poison(row_statistics, kRows * DUET_CONTRASTIVE_STATISTICS),
      poison(column_statistics, kColumns * DUET_CONTRASTIVE_STATISTICS);
  outputs.row_loss = duet_f32_vector(row_loss, kRows);
  outputs.column_loss = duet_f32_vector(column_loss, kColumns);
  outputs.row_statistics = duet_f32_matrix(row_statistics, kRows, DUET_CONTRASTIVE_STATISTICS);
  outputs.column_statistics = duet_f32_matrix(column_statistics, kColumns, DUET_CONTRASTIVE_STATISTICS);
  gradients.row_statistics = duet_matrix_as_const(outputs.row_statistics);
  gradients.column_statistics = duet_matrix_as_const(outputs.column_statistics);
  gradients.row_weight = duet_f32_const_vector(row_weight, kRows);
  gradients.grad_a = duet_f32_matrix(grad_a, kRows, kWidth);
  inputs.kind = DUET_CONTRASTIVE_KIND_INFONCE;
  inputs.a = duet_f32_const_matrix(a, kRows, kWidth);
  inputs.v = duet_f32_const_matrix(v, kColumns, kWidth);
  inputs.scale = duet_f32_const_vector(&scale, 1);
  succeed(duet_contrastive_workspace(context, &inputs, &bytes), "duet_contrastive_workspace");
  scratch = workspace(bytes);
  succeed(duet_contrastive_forward(context, &inputs, &outputs, scratch), "duet_contrastive_forward");
  for (k = 0; k < kRows * kWidth; ++k) grad_a[k] = 1; /* backward adds */
  succeed(duet_contrastive_backward(context, &inputs, &gradients, scratch), "duet_contrastive_backward");
  for (i = 0; i < kRows; ++i) {
    double sum = 0;
    for (j = 0; j < kColumns; ++j) sum += exp(scale * score(i, j));
    expect_close(row_loss[i], log(sum) - scale * score(i, i), "row_loss");
    for (k = 0; k < kWidth; ++k) {
      double expected = 1 - (double)scale * v[i * kWidth + k];
      for (j = 0; j < kColumns; ++j) expected += scale * exp(scale * score(i, j)) / sum * v[j * kWidth + k];
      expect_close(grad_a[i * kWidth + k], expected, "grad_a");
    }
  }

  if (bytes > 0) {
    scratch.bytes = bytes - 1;
    if (duet_contrastive_forward(context, &inputs, &outputs, scratch) != DUET_STATUS_WORKSPACE_TOO_SMALL)
      fail("a small workspace was accepted");
  }
}

/* Rows of one group in the place of own pairs, which are left out: row i and column i + 1. */
static void test_groups(duet_context* context) {
  const float scale = 2;
  const int32_t group_a[kRows] = {1, 2, 3, 4, -1}, group_v[kColumns] = {0, 1, 2, 3, 4, 5, 6};
  float row_loss[kRows], column_loss[kColumns], row_statistics[kRows * DUET_CONTRASTIVE_STATISTICS],
      column_statistics[kColumns * DUET_CONTRASTIVE_STATISTICS];
  duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
  duet_contrastive_outputs outputs = DUET_CONTRASTIVE_OUTPUTS_INIT;
  size_t bytes = 0;
  int i, j;
  poison(row_loss, kRows);
  outputs.row_loss = duet_f32_vector(row_loss, kRows);
  outputs.column_loss = duet_f32_vector(column_loss, kColumns);
  outputs.row_statistics = duet_f32_matrix(row_statistics, kRows, DUET_CONTRASTIVE_STATISTICS);
  outputs.column_statistics = duet_f32_matrix(column_statistics, kColumns, DUET_CONTRASTIVE_STATISTICS);
  inputs.kind = DUET_CONTRASTIVE_KIND_INFONCE;
  inputs.a = duet_f32_const_matrix(a, kRows, kWidth);
  inputs.v = duet_f32_const_matrix(v, kColumns, kWidth);
  inputs.scale = duet_f32_const_vector(&scale, 1);
  inputs.group_a = duet_i32_const_vector(group_a, kRows);
  inputs.group_v = duet_i32_const_vector(group_v, kColumns);
  inputs.exclude_own = 1;
  succeed(duet_contrastive_workspace(context, &inputs, &bytes), "duet_contrastive_workspace");
  succeed(duet_contrastive_forward(context, &inputs, &outputs, workspace(bytes)), "duet_contrastive_forward");
  for (i = 0; i < kRows; ++i) {
    double sum = 0;
    for (j = 0; j < kColumns; ++j) sum += j == i ? 0 : exp(scale * score(i, j));
    expect_close(row_loss[i], group_a[i] < 0 ? 0 : log(sum) - scale * score(i, i + 1), "row_loss of a group");
  }
}

/* Rows in two parts: the sums of their columns, merged and closed. */
static void test_parts(duet_context* context) {
  enum { kCut = 2 };
  const float scale = 2;
  double sums[kColumns * DUET_CONTRASTIVE_SUMS], more[kColumns * DUET_CONTRASTIVE_SUMS];
  float loss[kRows], statistics[kRows * DUET_CONTRASTIVE_STATISTICS], column_loss[kColumns],
      column_statistics[kColumns * DUET_CONTRASTIVE_STATISTICS];
  duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
  duet_contrastive_outputs outputs = DUET_CONTRASTIVE_OUTPUTS_INIT;
  duet_contrastive_merge_inputs parts = DUET_CONTRASTIVE_MERGE_INPUTS_INIT;
  duet_contrastive_merge_outputs merged = DUET_CONTRASTIVE_MERGE_OUTPUTS_INIT;
  duet_contrastive_close_inputs all = DUET_CONTRASTIVE_CLOSE_INPUTS_INIT;
  duet_contrastive_close_outputs closed = DUET_CONTRASTIVE_CLOSE_OUTPUTS_INIT;
  size_t bytes = 0;
  int i, j, part;
  inputs.kind = DUET_CONTRASTIVE_KIND_INFONCE;
  inputs.v = duet_f32_const_matrix(v, kColumns, kWidth);
  inputs.scale = duet_f32_const_vector(&scale, 1);
  for (part = 0; part < 2; ++part) {
    const int first = part * kCut, rows = part == 0 ? kCut : kRows - kCut;
    inputs.a = duet_f32_const_matrix(a + first * kWidth, rows, kWidth);
    inputs.first_row = first;
    outputs.row_loss = duet_f32_vector(loss + first, rows);
    outputs.row_statistics = duet_f32_matrix(statistics, rows, DUET_CONTRASTIVE_STATISTICS);
    outputs.column_sums = duet_f64_matrix(part == 0 ? sums : more, kColumns, DUET_CONTRASTIVE_SUMS);
    succeed(duet_contrastive_workspace(context, &inputs, &bytes), "duet_contrastive_workspace");
    succeed(duet_contrastive_forward(context, &inputs, &outputs, workspace(bytes)), "duet_contrastive_forward");
  }
  parts.left = duet_f64_const_matrix(sums, kColumns, DUET_CONTRASTIVE_SUMS);
  parts.right = duet_f64_const_matrix(more, kColumns, DUET_CONTRASTIVE_SUMS);
  merged.sums = duet_f64_matrix(sums, kColumns, DUET_CONTRASTIVE_SUMS);
  succeed(duet_contrastive_merge(context, &parts, &merged), "duet_contrastive_merge");
  all.sums = duet_matrix_as_const(merged.sums);
  closed.loss = duet_f32_vector(column_loss, kColumns);
  closed.statistics = duet_f32_matrix(column_statistics, kColumns, DUET_CONTRASTIVE_STATISTICS);
  succeed(duet_contrastive_close(context, &all, &closed), "duet_contrastive_close");
  for (j = 0; j < kColumns; ++j) {
    double sum = 0;
    for (i = 0; i < kRows; ++i) sum += exp(scale * score(i, j));
    expect_close(column_statistics[j * DUET_CONTRASTIVE_STATISTICS], log(sum), "lse of a column");
    expect_close(column_loss[j], j < kRows ? log(sum) - scale * score(j, j) : 0, "column_loss of parts");
  }
}

static void expect_refused(duet_status status, const char* part) {
  if (status == DUET_STATUS_INVALID_ARGUMENT && strstr(duet_last_error(), part) != NULL) return;
  fprintf(stderr, "expected to be refused with \"%s\", got %s: ", part, duet_status_name(status));
  fail("misuse");
}

/* What a C compiler lets a caller do: numbers that are no enumerator, a struct without its _INIT, one array in two
   places, arguments nobody reads. */
static void test_misuse(duet_context* context) {
  float scale = 2, out[kRows * kColumns], kappa[kRows] = {0};
  duet_alignment_outputs outputs = DUET_ALIGNMENT_OUTPUTS_INIT;
  const duet_alignment_outputs empty = DUET_ALIGNMENT_OUTPUTS_INIT;
  size_t bytes = 0;
  const int numbers[] = {-1, 4, 1000000};
  duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
  duet_distillation_inputs distillation = DUET_DISTILLATION_INPUTS_INIT;
  duet_workspace scratch;
  int k;
  alignment.a = duet_f32_const_matrix(a, kRows, kWidth);
  alignment.v = duet_f32_const_matrix(v, kColumns, kWidth);
  alignment.scale = duet_f32_const_vector(&scale, 1);
  succeed(duet_alignment_workspace(context, &alignment, &bytes), "duet_alignment_workspace");
  scratch = workspace(bytes);
  for (k = 0; k < 3; ++k) {
    duet_alignment_inputs wrong = alignment;
    char text[64];
    memcpy(&wrong.score, &numbers[k], sizeof wrong.score);
    sprintf(text, "inputs.score: unknown value %d", numbers[k]);
    expect_refused(duet_alignment_workspace(context, &wrong, &bytes), text);
    wrong = alignment;
    memcpy(&wrong.v.dtype, &numbers[k], sizeof wrong.v.dtype);
    expect_refused(duet_alignment_workspace(context, &wrong, &bytes),
                   "inputs.v: expected dtype f32, f16 or bf16, got ");
  }
  outputs.lse_row = duet_f32_vector(out, kRows);
  outputs.lse_column = duet_f32_vector(out + kRows - 1, kColumns);
  expect_refused(duet_alignment_forward(context, &alignment, &outputs, scratch),
                 "outputs.lse_column: shares memory with outputs.lse_row");
  outputs = empty;
  outputs.lse_row = duet_f32_vector(a, kRows);
  expect_refused(duet_alignment_forward(context, &alignment, &outputs, scratch),
                 "outputs.lse_row: shares memory with inputs.a");
  alignment.v.reserved = 1;
  expect_refused(duet_alignment_workspace(context, &alignment, &bytes), "inputs.v: expected 0 in reserved, got 1");
  alignment.v.reserved = 0;
  alignment.struct_size = 0;
  expect_refused(duet_alignment_workspace(context, &alignment, &bytes), "inputs.struct_size: expected ");
  expect_refused(duet_alignment_workspace(context, &alignment, &bytes), " as the struct's _INIT sets it, got 0");

  distillation.student_a = distillation.teacher_a = alignment.a;
  distillation.student_v = distillation.teacher_v = alignment.v;
  distillation.scale = distillation.teacher_scale = alignment.scale;
  succeed(duet_distillation_workspace(context, &distillation, &bytes), "duet_distillation_workspace");
  distillation.first_column = -1;
  expect_refused(duet_distillation_workspace(context, &distillation, &bytes),
                 "inputs.first_column: expected 0 or more, got -1");
  distillation.first_column = 0;
  distillation.kappa_a = duet_f32_const_vector(kappa, kRows);
  expect_refused(duet_distillation_workspace(context, &distillation, &bytes),
                 "inputs.kappa_a: expected null without inputs.class_a and class_v");
}

/* Memory of the context, the CPU's here, and a step's control in it: two slots of mail, a decision that moves a number
   and reports it. */
static void test_step(duet_context* context) {
  enum { kSlots = 2 };
  const int64_t rows[kSlots * 2] = {3, 1, 4, 0}, zeros[3] = {0, 0, 0}, numbers[kSlots] = {7, 8};
  const float rates[kSlots] = {0.25f, 0.5f}, start = 1, total = 2;
  void *counters = NULL, *verdicts = NULL;
  float rate = NAN, moved = 3, reported[kSlots] = {NAN, NAN};
  int64_t number = -1, indices[2] = {-1, -1}, seen[3], verdict[kSlots];
  int32_t apply = -1, done = -1, count = -1;
  duet_step_reason reason;
  duet_step_move move;
  duet_const_vector report_of;
  duet_step_mail mail = DUET_STEP_MAIL_INIT;
  duet_step_begin_outputs taken = DUET_STEP_BEGIN_OUTPUTS_INIT;
  duet_step_decision decision = DUET_STEP_DECISION_INIT;
  duet_step_counters counted = DUET_STEP_COUNTERS_INIT;
  duet_step_report report = DUET_STEP_REPORT_INIT;
  duet_device_facts facts = DUET_DEVICE_FACTS_INIT;
  duet_fault fault = {0};
  duet_event* event = NULL;
  duet_graph* graph = NULL;

  succeed(duet_device_count(DUET_DEVICE_CPU, &count), "duet_device_count");
  if (count != 1) fail("the CPU is one device");
  succeed(duet_device_describe(DUET_DEVICE_CPU, 0, &facts), "duet_device_describe");
  if (strcmp(facts.name, "CPU") != 0) fail("the CPU's name");
  succeed(duet_memory_allocate(context, sizeof zeros, &counters), "duet_memory_allocate");
  succeed(duet_pinned_allocate(context, sizeof verdict, &verdicts), "duet_pinned_allocate");
  succeed(duet_memory_fill(context, counters, 0, sizeof zeros), "duet_memory_fill");
  memset(&reason, 0, sizeof reason);
  mail.values = duet_f32_const_matrix(rates, kSlots, 1);
  mail.integers = duet_i64_const_matrix(numbers, kSlots, 1);
  mail.indices = duet_i64_const_matrix(rows, kSlots, 2);
  counted.begun = duet_i64_vector(counters, 1);
  counted.updates = duet_i64_vector((int64_t*)counters + 1, 1);
  counted.failed = duet_i64_vector((int64_t*)counters + 2, 1);
  move.to = duet_f32_vector(&moved, 1);
  move.from = duet_f32_const_vector(&start, 1);
  report_of = duet_vector_as_const(move.to);
  decision.total = duet_f32_const_vector(&total, 1);
  decision.reasons = &reason, decision.reason_count = 1;
  decision.moves = &move, decision.move_count = 1;
  decision.reported = &report_of, decision.reported_count = 1;
  report.apply = duet_i32_vector(&apply, 1);
  report.verdicts = duet_i64_matrix(verdicts, kSlots, 1);
  report.values = duet_f32_matrix(reported, kSlots, 1);
  succeed(duet_event_create(context, &event), "duet_event_create");
  taken.begun = counted.begun;
  taken.values = duet_f32_vector(&rate, 1);
  taken.integers = duet_i64_vector(&number, 1);
  taken.indices = duet_i64_vector(indices, 2);
  for (count = 0; count < kSlots; ++count) succeed(duet_step_begin(context, &mail, &taken), "duet_step_begin");
  if (rate != 0.5f || number != 8 || indices[0] != 4 || indices[1] != 0) fail("the second slot's mail");
  succeed(duet_step_decide(context, &decision, &counted, &report), "duet_step_decide");
  succeed(duet_event_record(context, event), "duet_event_record");
  succeed(duet_event_done(event, &done), "duet_event_done");
  succeed(duet_context_synchronize(context), "duet_context_synchronize");
  succeed(duet_memory_copy(context, seen, counters, sizeof seen), "duet_memory_copy");
  succeed(duet_memory_copy(context, verdict, verdicts, sizeof verdict), "duet_memory_copy");
  if (!done || apply != 1 || seen[0] != 2 || seen[1] != 1 || seen[2] != 0 || verdict[1] != DUET_STEP_VERDICT_CHANGES)
    fail("the verdict");
  if (moved != 1 || reported[1] != 1) fail("what moves with a step");
  succeed(duet_fault_check(&fault), "duet_fault_check");
  if (duet_graph_begin(context) != DUET_STATUS_UNSUPPORTED) fail("the CPU has no graphs");
  duet_graph_destroy(graph);
  duet_event_destroy(event);
  succeed(duet_pinned_release(context, verdicts), "duet_pinned_release");
  succeed(duet_memory_release(context, counters), "duet_memory_release");
}

int main(void) {
  duet_context* context = NULL;
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = 2;
  if (strcmp(duet_version(), EXPECTED_VERSION) != 0) fail("duet_version is not the package's");
  succeed(duet_context_create(&options, &context), "duet_context_create");
  if (duet_context_threads(context) != 2) fail("duet_context_threads");
  fill();
  test_distance(context);
  test_infonce(context);
  test_groups(context);
  test_parts(context);
  test_misuse(context);
  test_step(context);
  test_operations(context);
  duet_context_destroy(context);
  workspace(0);
  printf("duet %s through its C interface: SIMD %s\n", duet_version(), duet_simd_target());
  return 0;
}
