/* Distances between two small sets of embeddings, and of each row of the first the hardest positive and negative. */
#include <duet/duet.h>
#include <stdio.h>
#include <stdlib.h>

enum { kAudio = 4, kVisual = 6, kWidth = 3 };

static const float audio[kAudio][kWidth] = {{1, 0, 0}, {0.9f, 0.1f, 0}, {0, 1, 0}, {0, 0, 1}};
static const float visual[kVisual][kWidth] = {{1, 0.2f, 0}, {0.5f, 0.5f, 0}, {0, 0.8f, 0.3f},
                                              {0.1f, 0, 1}, {0, 0.4f, 0.6f}, {0.7f, 0, 0.3f}};
static const int32_t audio_labels[kAudio] = {0, 0, 1, 2}, visual_labels[kVisual] = {0, 0, 1, 2, 2, 1};

/* Ends the program where a call fails; the text names the argument, what was expected and what was given. */
static void check(duet_status status) {
  if (status == DUET_STATUS_OK) return;
  fprintf(stderr, "%s: %s\n", duet_status_name(status), duet_last_error());
  exit(1);
}

/* Scratch memory of a call, for free(). */
static duet_workspace workspace_of(size_t bytes) {
  duet_workspace workspace = {NULL, bytes};
  if (bytes == 0) return workspace;
  workspace.data = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (workspace.data == NULL) {
    fprintf(stderr, "no memory for a workspace of %zu bytes\n", bytes);
    exit(1);
  }
  return workspace;
}

static void find_distances(duet_context* context, float* distances) {
  duet_distance_inputs inputs = DUET_DISTANCE_INPUTS_INIT;
  duet_distance_outputs outputs = DUET_DISTANCE_OUTPUTS_INIT;
  size_t bytes = 0;
  inputs.x = duet_f32_const_matrix(audio[0], kAudio, kWidth);
  inputs.y = duet_f32_const_matrix(visual[0], kVisual, kWidth);
  inputs.metric = DUET_METRIC_EUCLIDEAN;
  outputs.distances = duet_f32_matrix(distances, kAudio, kVisual);
  check(duet_distance_workspace(context, &inputs, &bytes));
  const duet_workspace workspace = workspace_of(bytes);
  check(duet_distance_forward(context, &inputs, &outputs, workspace));
  free(workspace.data);
}

static void mine(duet_context* context, int32_t* positives, int32_t* negatives) {
  duet_mining_inputs inputs = DUET_MINING_INPUTS_INIT;
  duet_mining_hard_side rows = DUET_MINING_HARD_SIDE_INIT;
  duet_mining_hard_outputs outputs = DUET_MINING_HARD_OUTPUTS_INIT;
  size_t bytes = 0;
  inputs.x = duet_f32_const_matrix(audio[0], kAudio, kWidth);
  inputs.y = duet_f32_const_matrix(visual[0], kVisual, kWidth);
  inputs.labels_x = duet_i32_const_vector(audio_labels, kAudio);
  inputs.labels_y = duet_i32_const_vector(visual_labels, kVisual);
  inputs.metric = DUET_METRIC_EUCLIDEAN;
  rows.positive_index = duet_i32_vector(positives, kAudio);
  rows.negative_index = duet_i32_vector(negatives, kAudio);
  outputs.rows = &rows;
  check(duet_mining_workspace(context, &inputs, &bytes));
  const duet_workspace workspace = workspace_of(bytes);
  check(duet_mining_hard(context, &inputs, &outputs, workspace));
  free(workspace.data);
}

/* What a plain loop over one row of distances finds. */
static void expect_hardest(int anchor, const float* distances, int32_t positive, int32_t negative) {
  int32_t farthest = -1, nearest = -1, j;
  for (j = 0; j < kVisual; ++j) {
    if (visual_labels[j] == audio_labels[anchor]) {
      if (farthest < 0 || distances[j] > distances[farthest]) farthest = j;
    } else if (nearest < 0 || distances[j] < distances[nearest]) {
      nearest = j;
    }
  }
  if (positive != farthest || negative != nearest) {
    fprintf(stderr, "audio %d: expected positive %d and negative %d\n", anchor, (int)farthest, (int)nearest);
    exit(1);
  }
}

int main(void) {
  float distances[kAudio * kVisual];
  int32_t positives[kAudio], negatives[kAudio];
  duet_context* context = NULL;
  int i, j;
  check(duet_context_create(NULL, &context));
  printf("duet %s, %s, %d threads\n", duet_version(), duet_simd_target(), (int)duet_context_threads(context));
  find_distances(context, distances);
  mine(context, positives, negatives);
  for (i = 0; i < kAudio; ++i) {
    printf("audio %d:", i);
    for (j = 0; j < kVisual; ++j) printf(" %.3f", distances[i * kVisual + j]);
    printf("   farthest positive: visual %d, nearest negative: visual %d\n", (int)positives[i], (int)negatives[i]);
    expect_hardest(i, distances + i * kVisual, positives[i], negatives[i]);
  }
  duet_context_destroy(context);
  return 0;
}
