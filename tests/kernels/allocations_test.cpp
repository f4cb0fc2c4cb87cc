// A call of an operation allocates nothing, but the first one of a context, which starts its threads.
#include <functional>

#include "tests/kernels/bad_input_calls.h"
#include "tests/kernels/optimizer_steps.h"
#include "tests/support/count_allocations.h"

using namespace duet::test;

#ifdef DUET_TEST_COUNTS_ALLOCATIONS
namespace {

constexpr int64_t kRows = 70, kWidth = 20, kClasses = 4;

int64_t allocations_of(const std::function<duet_status()>& call) {
  allocations = 0, counting = true;
  const duet_status status = call();
  counting = false;
  CHECK_MESSAGE(status == DUET_STATUS_OK, duet_last_error());
  return allocations;
}

// Makes calls twice, and counts the second time.
class Watch {
 public:
  explicit Watch(int threads) : context(threads) {}

  void operator()(const char* name, const std::function<duet_status()>& call) const {
    CAPTURE(name);
    SUCCEED_CALL(call());
    CHECK(allocations_of(call) == 0);
  }
  template <class Inputs>
  Scratch scratch(duet_status (*ask)(const duet_context*, const Inputs*, size_t*), const Inputs& inputs) const {
    size_t bytes = 0;
    SUCCEED_CALL(ask(context, &inputs, &bytes));
    return Scratch(bytes);
  }

  Context context;
};

// What follows is not among the families of bad_input_calls.h.
struct Arrays {
  Draw draw{5};
  Floats x = draw.unit_rows(kRows, kWidth), y = draw.unit_rows(kRows, kWidth), g = draw.normals(kRows, kWidth),
         out = Floats(kRows, kWidth).fill(0), more = Floats(kRows, kWidth).fill(0), square = Floats(kRows, kRows),
         of_square = draw.normals(kRows, kRows), row = Floats(kRows, 1).fill(1), column = Floats(kRows, 1).fill(1),
         lse = Floats(kRows, 1), one = Floats(1, 1).fill(1), scalar = Floats(1, 1).fill(1), two = Floats(2, 1),
         logits = draw.normals(kRows, kClasses), class_q = Floats(kRows, kClasses), statistics = Floats(kRows, 3),
         prior = Floats(kClasses, 1).fill(0.25);
  Ints labels = draw.labels(kRows, kClasses), picked = Ints(kRows, 1), flag = Ints(1, 1).fill(1);
  Longs ids = Longs(kRows, 1).fill(3), step = Longs(1, 1).fill(1), count = Longs(1, 1);
};

void watch_layers(const Watch& watch, Arrays& a) {
  duet_dropout_options dropout = DUET_DROPOUT_OPTIONS_INIT;
  dropout.drop_probability = 0.5f, dropout.step = a.step.vector();
  const auto dropped = sized<duet_dropout_inputs>({.x = a.x.matrix(), .dropout = &dropout});
  watch("dropout_forward", [&] {
    return duet_dropout_forward(watch.context, dropped, sized<duet_dropout_outputs>({.outputs = a.out.matrix()}));
  });
  watch("dropout_backward", [&] {
    return duet_dropout_backward(
        watch.context, dropped,
        sized<duet_dropout_gradients>({.grad_outputs = a.g.matrix(), .grad_x = a.more.matrix()}));
  });
  duet_layer_norm_inputs layer = DUET_LAYER_NORM_INPUTS_INIT;
  layer.x = a.x.matrix(), layer.fuses = 1, layer.dropout = &dropout;
  const Scratch scratch = watch.scratch(duet_layer_norm_workspace, layer);
  watch("layer_norm_forward", [&] {
    return duet_layer_norm_forward(watch.context, &layer, sized<duet_layer_norm_outputs>({.outputs = a.out.matrix()}));
  });
  watch("layer_norm_backward", [&] {
    return duet_layer_norm_backward(
        watch.context, &layer,
        sized<duet_layer_norm_gradients>({.grad_outputs = a.g.matrix(), .grad_x = a.more.matrix()}), scratch.view());
  });
}

void watch_pairs(const Watch& watch, Arrays& a) {
  duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
  alignment.a = a.x.matrix(), alignment.v = a.y.matrix(), alignment.scale = a.one.vector();
  const Scratch scratch = watch.scratch(duet_alignment_workspace, alignment);
  a.lse.fill(5);
  watch("alignment_probabilities", [&] {
    return duet_alignment_probabilities(
        watch.context, &alignment,
        sized<duet_alignment_probabilities_outputs>({.lse_row = a.lse.vector(), .probabilities = a.square.matrix()}),
        scratch.view());
  });
  watch("alignment_probabilities_backward", [&] {
    return duet_alignment_probabilities_backward(
        watch.context, &alignment,
        sized<duet_alignment_probabilities_gradients>(
            {.probabilities = a.square.matrix(), .grad_probabilities = a.of_square.matrix(), .grad_a = a.out.matrix()}),
        scratch.view());
  });
  struct Contrastive {
    duet_contrastive_kind kind;
    bool exclude_own;
  };
  for (const auto& [kind, exclude_own] : {Contrastive{DUET_CONTRASTIVE_KIND_SIGMOID, false},
                                          {DUET_CONTRASTIVE_KIND_SIGMOID, true},
                                          {DUET_CONTRASTIVE_KIND_INFONCE, true},
                                          {DUET_CONTRASTIVE_KIND_DECOUPLED, false},
                                          {DUET_CONTRASTIVE_KIND_CIRCLE, false},
                                          {DUET_CONTRASTIVE_KIND_NTXENT, false}}) {
    duet_contrastive_inputs contrastive = DUET_CONTRASTIVE_INPUTS_INIT;
    contrastive.kind = kind, contrastive.a = a.x.matrix(), contrastive.v = a.y.matrix();
    contrastive.scale = a.one.vector(), contrastive.exclude_own = exclude_own;
    if (kind == DUET_CONTRASTIVE_KIND_SIGMOID) contrastive.bias = a.one.vector();
    Floats columns(kRows, 3);
    const Scratch of_kind = watch.scratch(duet_contrastive_workspace, contrastive);
    watch("contrastive_forward", [&] {
      return duet_contrastive_forward(watch.context, &contrastive,
                                      sized<duet_contrastive_outputs>({.row_loss = a.row.vector(),
                                                                       .column_loss = a.column.vector(),
                                                                       .row_statistics = a.statistics.matrix(),
                                                                       .column_statistics = columns.matrix()}),
                                      of_kind.view());
    });
    watch("contrastive_backward", [&] {
      return duet_contrastive_backward(watch.context, &contrastive,
                                       sized<duet_contrastive_gradients>({.row_statistics = a.statistics.matrix(),
                                                                          .column_statistics = columns.matrix(),
                                                                          .row_weight = a.lse.vector(),
                                                                          .grad_a = a.out.matrix()}),
                                       of_kind.view());
    });
  }
  duet_retrieval_inputs retrieval = DUET_RETRIEVAL_INPUTS_INIT;
  retrieval.queries = a.x.matrix(), retrieval.gallery = a.y.matrix();
  retrieval.query_labels = retrieval.gallery_labels = a.labels.vector(), retrieval.paired = 1;
  const Scratch of_retrieval = watch.scratch(duet_retrieval_workspace, retrieval);
  watch("retrieval_forward", [&] {
    return duet_retrieval_forward(
        watch.context, &retrieval,
        sized<duet_retrieval_outputs>({.average_precision = a.row.vector(), .matching = a.column.vector()}),
        of_retrieval.view());
  });
}

void watch_triplets(const Watch& watch, Arrays& a) {
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  draw.slots = 1, draw.step = a.step.vector();
  duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
  mining.x = a.x.matrix(), mining.y = a.y.matrix(), mining.metric = DUET_METRIC_EUCLIDEAN, mining.draw = &draw;
  mining.labels_x = mining.labels_y = a.labels.vector(), mining.margin = 0.2f;
  const Scratch scratch = watch.scratch(duet_mining_workspace, mining);
  const auto side =
      sized<duet_mining_hard_side>({.positive_index = a.picked.vector(), .negative_distance = a.column.vector()});
  Ints farthest(kRows, 1);
  const auto side_of_columns = sized<duet_mining_hard_side>({.positive_index = farthest.vector()});
  watch("mining_hard", [&] {
    return duet_mining_hard(watch.context, &mining,
                            sized<duet_mining_hard_outputs>({.rows = side, .columns = side_of_columns}),
                            scratch.view());
  });
  watch("mining_semihard_count", [&] {
    return duet_mining_semihard_count(
        watch.context, &mining, sized<duet_mining_semihard_count_outputs>({.count = a.count.vector()}), scratch.view());
  });
  Ints triplets(a.count.at(0), 3), negatives(kRows, 1);
  watch("mining_semihard", [&] {
    return duet_mining_semihard(watch.context, &mining,
                                sized<duet_mining_semihard_outputs>({.triplets = triplets.matrix()}), scratch.view());
  });
  watch("mining_distance_weighted", [&] {
    return duet_mining_distance_weighted(
        watch.context, &mining, sized<duet_mining_distance_weighted_outputs>({.negatives = negatives.matrix()}),
        scratch.view());
  });
  for (const auto kind : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                          DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}) {
    CAPTURE(kind);
    duet_triplet_inputs triplet = DUET_TRIPLET_INPUTS_INIT;
    triplet.x = mining.x, triplet.y = mining.y, triplet.metric = mining.metric, triplet.mining = kind;
    triplet.labels_x = triplet.labels_y = mining.labels_x, triplet.margin = 0.2f;
    if (kind == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) triplet.draw = &draw;
    const Scratch of_kind = watch.scratch(duet_triplet_workspace, triplet);
    watch("triplet_forward", [&] {
      return duet_triplet_forward(
          watch.context, &triplet,
          sized<duet_triplet_outputs>(
              {.row_loss = a.row.vector(), .row_active = a.column.vector(), .sum_x = a.out.matrix()}),
          of_kind.view());
    });
    watch("triplet_backward", [&] {
      return duet_triplet_backward(
          watch.context, &triplet,
          sized<duet_triplet_gradients>(
              {.active = a.one.vector(), .grad_loss = a.one.vector(), .grad_x = a.more.matrix()}),
          of_kind.view());
    });
  }
  watch("triplet_loss", [&] {
    return duet_triplet_loss(
        watch.context, sized<duet_triplet_loss_inputs>({.row_loss = a.row.vector(), .row_active = a.column.vector()}),
        sized<duet_triplet_loss_outputs>({.loss = a.scalar.vector(), .active = duet_f32_vector(&a.two.at(0), 1)}));
  });
  watch("triplet_add_gradient", [&] {
    return duet_triplet_add_gradient(
        watch.context, sized<duet_triplet_sums>({.sum_x = a.out.matrix()}),
        sized<duet_triplet_gradients>(
            {.active = a.one.vector(), .grad_loss = a.one.vector(), .grad_x = a.more.matrix()}));
  });
}

void watch_halves(const Watch& watch, Arrays& a) {
  const std::vector<uint16_t> halves(kRows * kWidth, 0x3C00);
  duet_distance_inputs distance = DUET_DISTANCE_INPUTS_INIT;
  distance.x = duet_f16_const_matrix(halves.data(), kRows, kWidth);
  distance.y = duet_bf16_const_matrix(halves.data(), kRows, kWidth);
  const Scratch scratch = watch.scratch(duet_distance_workspace, distance);
  watch("distance_forward of halves", [&] {
    return duet_distance_forward(watch.context, &distance,
                                 sized<duet_distance_outputs>({.distances = a.square.matrix()}), scratch.view());
  });
}

void watch_steps(const Watch& watch, Arrays& a) {
  duet_supervision_inputs batch = DUET_SUPERVISION_INPUTS_INIT;
  batch.labels = a.labels.vector(), batch.sample_ids = a.ids.vector(), batch.logits_a = a.logits.matrix();
  batch.logits_v = a.logits.matrix(), batch.prior = a.prior.vector(), batch.ratio = a.one.vector(),
  batch.epoch = a.step.vector();
  Floats predicted = Floats(kClasses, 1).fill(0.25), concord = Floats(1, 1).fill(0), hidden(kRows, 1), kappa(kRows, 1);
  const Scratch scratch = watch.scratch(duet_supervision_workspace, batch);
  watch("supervision_forward", [&] {
    return duet_supervision_forward(
        watch.context, &batch,
        sized<duet_supervision_state>({.predicted = predicted.vector(), .concord = concord.vector()}),
        sized<duet_supervision_outputs>({.class_q = a.class_q.matrix(),
                                         .trust = a.row.vector(),
                                         .kappa = kappa.vector(),
                                         .annotated = a.column.vector(),
                                         .hidden_trust = hidden.vector(),
                                         .counts = a.two.vector(),
                                         .pair_weight = a.scalar.vector()}),
        scratch.view());
  });
  a.row.fill(1), a.column.fill(1), a.lse.fill(0), kappa.fill(0), hidden.fill(0);
  const duet_optimizer_slot slot{a.row.vector(), a.column.vector(), a.lse.vector(), kappa.vector(), hidden.vector()};
  watch("adamw_step",
        [&] { return adamw_step(watch.context, &slot, 1, DUET_ADAMW_INPUTS_INIT, a.one.vector(), a.step.vector()); });
  watch("sgd_step", [&] { return sgd_step(watch.context, &slot, 1, DUET_SGD_INPUTS_INIT, a.one.vector()); });
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  draw.high = 1;
  Array<uint32_t> words(kRows, 1);
  watch("random_words", [&] {
    return duet_random_words(watch.context, &draw, sized<duet_random_words_outputs>({.words = words.vector()}));
  });
  watch("random_uniform", [&] {
    return duet_random_uniform(watch.context, &draw, sized<duet_random_uniform_outputs>({.values = a.lse.vector()}));
  });
  const auto mean = sized<duet_weighted_mean_inputs>({.values = a.row.vector(), .weights = a.column.vector()});
  watch("weighted_mean_forward", [&] {
    return duet_weighted_mean_forward(watch.context, mean,
                                      sized<duet_weighted_mean_outputs>({.loss = a.scalar.vector()}));
  });
  watch("weighted_mean_backward", [&] {
    return duet_weighted_mean_backward(
        watch.context, mean,
        sized<duet_weighted_mean_gradients>({.grad_loss = a.one.vector(), .grad_values = a.lse.vector()}));
  });
  const duet_const_vector one = a.one.vector();
  const duet_vector gradients[] = {a.lse.vector()};
  const duet_vector scalars[] = {a.scalar.vector()};
  const auto sum = sized<duet_weighted_sum_inputs>({.terms = &one, .weights = &one, .count = 1});
  watch("weighted_sum_forward", [&] {
    return duet_weighted_sum_forward(watch.context, sum,
                                     sized<duet_weighted_sum_outputs>({.total = a.scalar.vector()}));
  });
  watch("weighted_sum_backward", [&] {
    return duet_weighted_sum_backward(watch.context, sum,
                                      sized<duet_weighted_sum_gradients>({.grad_total = one, .grad_terms = scalars}));
  });
  const duet_mean of_row{a.row.vector(), {}, {}};
  const duet_term term{one, 1};
  duet_terms_inputs terms = DUET_TERMS_INPUTS_INIT;
  terms.terms = &term, terms.term_count = 1, terms.means = &of_row, terms.mean_count = 1;
  watch("terms_forward", [&] {
    return duet_terms_forward(watch.context, &terms, sized<duet_terms_outputs>({.total = a.scalar.vector()}));
  });
  watch("terms_backward", [&] {
    return duet_terms_backward(watch.context, &terms,
                               sized<duet_terms_gradients>({.grad_total = one, .grad_values = gradients}));
  });
  watch("step_scale_forward", [&] {
    return duet_step_scale_forward(watch.context, sized<duet_step_scale_inputs>({.logarithm = one}),
                                   sized<duet_step_scale_outputs>({.scale = a.scalar.vector()}));
  });
  watch("step_scale_backward", [&] {
    return duet_step_scale_backward(
        watch.context, sized<duet_step_scale_inputs>({}),
        sized<duet_step_scale_gradients>({.scale = one, .grad_scale = one, .grad_logarithm = a.scalar.vector()}));
  });
  Longs begun = Longs(1, 1).fill(1), updates = Longs(1, 1).fill(0), failed = Longs(1, 1).fill(0), verdicts(2, 1);
  Floats values(2, 0);
  duet_step_decision decision = DUET_STEP_DECISION_INIT;
  decision.total = one;
  watch("step_decide", [&] {
    return duet_step_decide(
        watch.context, &decision,
        sized<duet_step_counters>({.begun = begun.vector(), .updates = updates.vector(), .failed = failed.vector()}),
        sized<duet_step_report>({.apply = a.flag.vector(), .verdicts = verdicts.matrix(), .values = values.matrix()}));
  });
  watch("gather_labels", [&] {
    return duet_gather_labels(
        watch.context, sized<duet_gather_labels_inputs>({.source = a.labels.vector(), .indices = a.ids.vector()}),
        sized<duet_gather_labels_outputs>({.labels = a.picked.vector()}));
  });
}

}  // namespace

TEST_CASE("no operation allocates in a call after the first") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    for (const Family& family : kFamilies) {
      CAPTURE(family.name);
      Call call;
      call.n = call.m = kRows, call.d = kWidth, call.threads = threads;
      call.again = [](const std::function<duet_status()>& again) { CHECK(allocations_of(again) == 0); };
      CHECK(family.run(call).status == DUET_STATUS_OK);
    }
    const Watch watch(threads);
    Arrays arrays;
    watch_layers(watch, arrays);
    watch_pairs(watch, arrays);
    watch_triplets(watch, arrays);
    watch_halves(watch, arrays);
    watch_steps(watch, arrays);
  }
}
#else
TEST_CASE("no operation allocates in a call after the first") { MESSAGE("skipped: a sanitizer allocates too"); }
#endif
