// A workspace's size follows from shapes: the same with null data, whatever else the call is told.
#include "tests/support/arrays.h"

using namespace duet::test;

namespace {

enum { kClasses = 3 };

template <class... Views>
void forget(Views&... views) {
  ((views.data = nullptr), ...);
}

// Arrays for any operation on n and m rows of d; every one is there.
struct Batch {
  int64_t n, m, d;
  Draw draw{17};
  Floats x = draw.normals(n, d), y = draw.normals(m, d), class_x = draw.distributions(n, kClasses),
         class_y = draw.distributions(m, kClasses), logits = draw.normals(n, kClasses),
         weight = draw.normals(kClasses, d), gain = draw.normals(d, 1), bias = draw.normals(kClasses, 1);
  Floats of_x = Floats(n, 1).fill(1), of_y = Floats(m, 1).fill(1), prior = Floats(kClasses, 1).fill(0.5),
         scale = Floats(1, 1).fill(1);
  Ints labels_x = draw.labels(n, kClasses), labels_y = draw.labels(m, kClasses);
  Longs ids = Longs(n, 1).fill(1), step = Longs(1, 1).fill(1);
  duet_mining_draw drawn = DUET_MINING_DRAW_INIT;
  duet_dropout_options dropout = DUET_DROPOUT_OPTIONS_INIT;

  Batch(int64_t rows, int64_t columns, int64_t width) : n(rows), m(columns), d(width) {
    drawn.slots = 2, drawn.step = step.vector();
    dropout.drop_probability = 0.5f, dropout.step = step.vector();
  }
};

// Asks with data, and again after drop(inputs) has taken them away.
template <class Inputs, class Drop>
void check_same(const char* what, duet_status (*ask)(const duet_context*, const Inputs*, size_t*),
                duet_context* context, Inputs inputs, Drop&& drop) {
  CAPTURE(what);
  size_t with = 1, without = 2;
  SUCCEED_CALL(ask(context, &inputs, &with));
  drop(inputs);
  SUCCEED_CALL(ask(context, &inputs, &without));
  CHECK(with == without);
}

void check_pairs(duet_context* context, Batch& batch) {
  for (const duet_metric metric :
       {DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
    CAPTURE(metric);
    duet_distance_inputs distance = DUET_DISTANCE_INPUTS_INIT;
    distance.x = batch.x.matrix(), distance.y = batch.y.matrix(), distance.metric = metric;
    check_same("distance", duet_distance_workspace, context, distance, [](auto& in) { forget(in.x, in.y); });
    duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
    alignment.a = distance.x, alignment.v = distance.y, alignment.scale = batch.scale.vector(),
    alignment.score = metric;
    check_same("alignment", duet_alignment_workspace, context, alignment,
               [](auto& in) { forget(in.a, in.v, in.scale); });
    if (metric == DUET_METRIC_INNER) continue;
    duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
    mining.x = distance.x, mining.y = distance.y, mining.metric = metric;
    mining.labels_x = batch.labels_x.vector(), mining.labels_y = batch.labels_y.vector();
    for (const bool groups : {false, true}) {
      if (groups) mining.group_x = mining.labels_x, mining.group_y = mining.labels_y;
      check_same("mining", duet_mining_workspace, context, mining,
                 [](auto& in) { forget(in.x, in.y, in.labels_x, in.labels_y, in.group_x, in.group_y); });
    }
    for (const auto kind : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                            DUET_TRIPLET_MINING_DISTANCE_WEIGHTED})
      for (const bool soft : {false, true}) {
        if (soft && kind != DUET_TRIPLET_MINING_ALL) continue;
        CAPTURE(kind);
        CAPTURE(soft);
        duet_triplet_inputs triplet = DUET_TRIPLET_INPUTS_INIT;
        triplet.x = mining.x, triplet.y = mining.y, triplet.metric = metric, triplet.mining = kind;
        if (soft)
          triplet.class_x = batch.class_x.matrix(), triplet.class_y = batch.class_y.matrix(),
          triplet.trust_x = batch.of_x.vector(), triplet.trust_y = batch.of_y.vector();
        else
          triplet.labels_x = mining.labels_x, triplet.labels_y = mining.labels_y;
        duet_mining_draw drawn = batch.drawn;
        if (kind == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) triplet.draw = &drawn;
        for (const bool groups : {false, true}) {
          if (groups) triplet.group_x = mining.group_x, triplet.group_y = mining.group_y;
          check_same("triplet", duet_triplet_workspace, context, triplet, [&](auto& in) {
            forget(in.x, in.y, in.class_x, in.class_y, in.trust_x, in.trust_y, in.labels_x, in.labels_y, in.group_x,
                   in.group_y, drawn.step);
          });
        }
      }
  }
}

void check_losses(duet_context* context, Batch& batch) {
  for (const int what : {0, 1, 2, 3}) {
    const bool classes = what & 1, groups = what & 2;
    CAPTURE(classes);
    CAPTURE(groups);
    duet_distillation_inputs distillation = DUET_DISTILLATION_INPUTS_INIT;
    distillation.student_a = distillation.teacher_a = batch.x.matrix();
    distillation.student_v = distillation.teacher_v = batch.y.matrix();
    distillation.scale = distillation.teacher_scale = batch.scale.vector();
    if (classes)
      distillation.class_a = batch.class_x.matrix(), distillation.class_v = batch.class_y.matrix(),
      distillation.trust_a = distillation.kappa_a = batch.of_x.vector(),
      distillation.trust_v = distillation.kappa_v = batch.of_y.vector();
    if (groups)
      distillation.group_a = batch.labels_x.vector(), distillation.group_v = batch.labels_y.vector(),
      distillation.exclude_own = 1;
    check_same("distillation", duet_distillation_workspace, context, distillation, [](auto& in) {
      forget(in.student_a, in.student_v, in.teacher_a, in.teacher_v, in.class_a, in.class_v, in.trust_a, in.trust_v,
             in.kappa_a, in.kappa_v, in.scale, in.teacher_scale, in.group_a, in.group_v);
    });
  }
  for (const auto kind :
       {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID,
        DUET_CONTRASTIVE_KIND_DECOUPLED, DUET_CONTRASTIVE_KIND_CIRCLE, DUET_CONTRASTIVE_KIND_NTXENT}) {
    CAPTURE(kind);
    duet_contrastive_inputs contrastive = DUET_CONTRASTIVE_INPUTS_INIT;
    contrastive.kind = kind, contrastive.a = batch.x.matrix(), contrastive.v = batch.y.matrix();
    contrastive.scale = contrastive.grad_factor_a = contrastive.grad_factor_v = batch.scale.vector();
    if (kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE)
      contrastive.trust_a = batch.of_x.vector(), contrastive.trust_v = batch.of_y.vector();
    if (kind == DUET_CONTRASTIVE_KIND_SIGMOID) contrastive.bias = batch.scale.vector();
    if (kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE || kind == DUET_CONTRASTIVE_KIND_SIGMOID)
      contrastive.class_a = batch.class_x.matrix(), contrastive.class_v = batch.class_y.matrix();
    if (kind >= DUET_CONTRASTIVE_KIND_DECOUPLED)
      contrastive.labels_a = batch.labels_x.vector(), contrastive.labels_v = batch.labels_y.vector();
    contrastive.group_a = batch.labels_x.vector(), contrastive.group_v = batch.labels_y.vector();
    size_t bytes = 0;
    if (duet_contrastive_workspace(context, &contrastive, &bytes) == DUET_STATUS_UNSUPPORTED) continue;
    check_same("contrastive", duet_contrastive_workspace, context, contrastive, [](auto& in) {
      forget(in.a, in.v, in.class_a, in.class_v, in.trust_a, in.trust_v, in.scale, in.bias, in.grad_factor_a,
             in.grad_factor_v, in.labels_a, in.labels_v, in.group_a, in.group_v);
    });
  }
  duet_retrieval_inputs retrieval = DUET_RETRIEVAL_INPUTS_INIT;
  retrieval.queries = batch.x.matrix(), retrieval.gallery = batch.y.matrix();
  check_same("retrieval", duet_retrieval_workspace, context, retrieval,
             [](auto& in) { forget(in.queries, in.gallery); });
  duet_decorrelation_inputs decorrelation = DUET_DECORRELATION_INPUTS_INIT;
  decorrelation.a = decorrelation.v = batch.x.matrix();
  check_same("decorrelation", duet_decorrelation_workspace, context, decorrelation,
             [](auto& in) { forget(in.a, in.v); });
  duet_supervision_inputs supervision = DUET_SUPERVISION_INPUTS_INIT;
  supervision.labels = batch.labels_x.vector(), supervision.sample_ids = batch.ids.vector();
  supervision.logits_a = supervision.logits_v = batch.logits.matrix(), supervision.prior = batch.prior.vector();
  supervision.ratio = batch.scale.vector(), supervision.epoch = batch.step.vector();
  check_same("supervision", duet_supervision_workspace, context, supervision, [](auto& in) {
    forget(in.labels, in.sample_ids, in.logits_a, in.logits_v, in.prior, in.ratio, in.epoch);
  });
}

void check_layers(duet_context* context, Batch& batch) {
  for (const bool fused : {false, true}) {
    CAPTURE(fused);
    duet_dropout_options dropout = batch.dropout;
    duet_linear_inputs linear = DUET_LINEAR_INPUTS_INIT;
    linear.x = batch.x.matrix(), linear.weight = batch.weight.matrix(), linear.bias = batch.bias.vector();
    if (fused) linear.relu = 1, linear.dropout = &dropout;
    check_same("linear", duet_linear_workspace, context, linear,
               [&](auto& in) { forget(in.x, in.weight, in.bias, dropout.step); });
    dropout = batch.dropout;
    duet_layer_norm_inputs layer = DUET_LAYER_NORM_INPUTS_INIT;
    layer.x = batch.x.matrix(), layer.gain = layer.offset = batch.gain.vector();
    if (fused) layer.fuses = 1, layer.dropout = &dropout;
    check_same("layer_norm", duet_layer_norm_workspace, context, layer,
               [&](auto& in) { forget(in.x, in.gain, in.offset, dropout.step); });
  }
  duet_const_matrix both[] = {batch.x.matrix(), batch.x.matrix()};
  duet_head_inputs head = DUET_HEAD_INPUTS_INIT;
  head.x = both, head.count = 2, head.weight = batch.weight.matrix(), head.bias = batch.bias.vector();
  check_same("head", duet_head_workspace, context, head,
             [&](auto& in) { forget(both[0], both[1], in.weight, in.bias); });
}

}  // namespace

TEST_CASE("the size of a workspace needs shapes, and no data") {
  for (const int threads : {1, 3}) {
    Context context(threads);
    // What a device does in one launch, what it cuts into tiles, and sides without rows.
    struct Shape {
      int64_t n, m, d;
    };
    for (const Shape& shape : {Shape{5, 7, 3}, Shape{600, 700, 20}, Shape{300, 1, 64}, Shape{0, 4, 3}}) {
      CAPTURE(shape.n);
      CAPTURE(shape.m);
      Batch batch(shape.n, shape.m, shape.d);
      check_pairs(context, batch);
      check_losses(context, batch);
      check_layers(context, batch);
    }
  }
}

TEST_CASE("a call that is no question refuses null data") {
  Context context;
  Floats distances(5, 7);
  const duet_const_matrix x{nullptr, 5, 3, 3, DUET_DTYPE_F32, 0}, y{nullptr, 7, 3, 3, DUET_DTYPE_F32, 0};
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.x = x, in.y = y;
  FAIL_CALL(duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = distances.matrix()}), {}),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.x: null data for 5 x 3");
}
