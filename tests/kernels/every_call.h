// Calls that are not among the families of bad_input_calls.h, each handed to a visitor by name: with these families
// they are all that puts work on a context's stream.
#pragma once

#include <functional>
#include <vector>

#include "tests/kernels/optimizer_steps.h"
#include "tests/support/arrays.h"

namespace duet::test::every_call {

constexpr int64_t kRows = 70, kWidth = 20, kClasses = 4;

// What is done with a call, and the context that it takes.
struct Visitor {
  duet_context* context;
  std::function<void(const char* name, const std::function<duet_status()>& call)> visit;

  void operator()(const char* name, const std::function<duet_status()>& call) const { visit(name, call); }
  template <class Inputs>
  Scratch scratch(duet_status (*ask)(const duet_context*, const Inputs*, size_t*), const Inputs& inputs) const {
    size_t bytes = 0;
    SUCCEED_CALL(ask(context, &inputs, &bytes));
    return Scratch(bytes);
  }
};

// All that the calls read and write.
struct Arrays {
  Draw draw{5};
  Floats x = draw.unit_rows(kRows, kWidth), y = draw.unit_rows(kRows, kWidth), g = draw.normals(kRows, kWidth),
         out = Floats(kRows, kWidth).fill(0), more = Floats(kRows, kWidth).fill(0), square = Floats(kRows, kRows),
         of_square = draw.normals(kRows, kRows), row = Floats(kRows, 1).fill(1), column = Floats(kRows, 1).fill(1),
         lse = Floats(kRows, 1), one = Floats(1, 1).fill(1), scalar = Floats(1, 1).fill(1), two = Floats(2, 1),
         logits = draw.normals(kRows, kClasses), class_q = Floats(kRows, kClasses), statistics = Floats(kRows, 3),
         prior = Floats(kClasses, 1).fill(0.25), of_columns = Floats(kRows, 3),
         predicted = Floats(kClasses, 1).fill(0.25), concord = Floats(1, 1).fill(0), hidden = Floats(kRows, 1),
         kappa = Floats(kRows, 1), values = Floats(2, 0);
  Ints labels = draw.labels(kRows, kClasses), picked = Ints(kRows, 1), flag = Ints(1, 1).fill(1),
       farthest = Ints(kRows, 1), negatives = Ints(kRows, 1),
       triplets = Ints(kRows * kRows, 3);  // more rows than there are positive pairs
  Longs ids = Longs(kRows, 1).fill(3), step = Longs(1, 1).fill(1), count = Longs(1, 1), begun = Longs(1, 1).fill(1),
        updates = Longs(1, 1).fill(0), failed = Longs(1, 1).fill(0), verdicts = Longs(2, 1);
  Array<uint32_t> words = Array<uint32_t>(kRows, 1);
  std::vector<uint16_t, DeviceAllocator<uint16_t>> halves =
      std::vector<uint16_t, DeviceAllocator<uint16_t>>(kRows * kWidth, 0x3C00);

  bool same_bits(const Arrays& other) const {
    return all_same(floats(), other.floats()) && all_same(ints(), other.ints()) && all_same(longs(), other.longs()) &&
           words.same_bits(other.words);
  }

 private:
  template <class T>
  static bool all_same(const std::vector<const Array<T>*>& ours, const std::vector<const Array<T>*>& theirs) {
    for (size_t k = 0; k < ours.size(); ++k)
      if (!ours[k]->same_bits(*theirs[k])) return false;
    return true;
  }
  std::vector<const Floats*> floats() const {
    return {&x,      &y,          &g,         &out,     &more,   &square, &of_square, &row,
            &column, &lse,        &one,       &scalar,  &two,    &logits, &class_q,   &statistics,
            &prior,  &of_columns, &predicted, &concord, &hidden, &kappa,  &values};
  }
  std::vector<const Ints*> ints() const { return {&labels, &picked, &flag, &farthest, &negatives, &triplets}; }
  std::vector<const Longs*> longs() const { return {&ids, &step, &count, &begun, &updates, &failed, &verdicts}; }
};

inline void visit_layers(const Visitor& visitor, Arrays& a) {
  duet_dropout_options dropout = DUET_DROPOUT_OPTIONS_INIT;
  dropout.drop_probability = 0.5f, dropout.step = a.step.vector();
  const auto dropped = sized<duet_dropout_inputs>({.x = a.x.matrix(), .dropout = &dropout});
  visitor("dropout_forward", [&] {
    return duet_dropout_forward(visitor.context, dropped, sized<duet_dropout_outputs>({.outputs = a.out.matrix()}));
  });
  visitor("dropout_backward", [&] {
    return duet_dropout_backward(
        visitor.context, dropped,
        sized<duet_dropout_gradients>({.grad_outputs = a.g.matrix(), .grad_x = a.more.matrix()}));
  });
  duet_layer_norm_inputs layer = DUET_LAYER_NORM_INPUTS_INIT;
  layer.x = a.x.matrix(), layer.fuses = 1, layer.dropout = &dropout;
  const Scratch scratch = visitor.scratch(duet_layer_norm_workspace, layer);
  visitor("layer_norm_forward", [&] {
    return duet_layer_norm_forward(visitor.context, &layer,
                                   sized<duet_layer_norm_outputs>({.outputs = a.out.matrix()}));
  });
  visitor("layer_norm_backward", [&] {
    return duet_layer_norm_backward(
        visitor.context, &layer,
        sized<duet_layer_norm_gradients>({.grad_outputs = a.g.matrix(), .grad_x = a.more.matrix()}), scratch.view());
  });
}

inline void visit_pairs(const Visitor& visitor, Arrays& a) {
  duet_alignment_inputs alignment = DUET_ALIGNMENT_INPUTS_INIT;
  alignment.a = a.x.matrix(), alignment.v = a.y.matrix(), alignment.scale = a.one.vector();
  const Scratch scratch = visitor.scratch(duet_alignment_workspace, alignment);
  a.lse.fill(5);
  visitor("alignment_probabilities", [&] {
    return duet_alignment_probabilities(
        visitor.context, &alignment,
        sized<duet_alignment_probabilities_outputs>({.lse_row = a.lse.vector(), .probabilities = a.square.matrix()}),
        scratch.view());
  });
  visitor("alignment_probabilities_backward", [&] {
    return duet_alignment_probabilities_backward(
        visitor.context, &alignment,
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
    const Scratch of_kind = visitor.scratch(duet_contrastive_workspace, contrastive);
    visitor("contrastive_forward", [&] {
      return duet_contrastive_forward(visitor.context, &contrastive,
                                      sized<duet_contrastive_outputs>({.row_loss = a.row.vector(),
                                                                       .column_loss = a.column.vector(),
                                                                       .row_statistics = a.statistics.matrix(),
                                                                       .column_statistics = a.of_columns.matrix()}),
                                      of_kind.view());
    });
    visitor("contrastive_backward", [&] {
      return duet_contrastive_backward(visitor.context, &contrastive,
                                       sized<duet_contrastive_gradients>({.row_statistics = a.statistics.matrix(),
                                                                          .column_statistics = a.of_columns.matrix(),
                                                                          .row_weight = a.lse.vector(),
                                                                          .grad_a = a.out.matrix()}),
                                       of_kind.view());
    });
  }
  duet_retrieval_inputs retrieval = DUET_RETRIEVAL_INPUTS_INIT;
  retrieval.queries = a.x.matrix(), retrieval.gallery = a.y.matrix();
  retrieval.query_labels = retrieval.gallery_labels = a.labels.vector(), retrieval.paired = 1;
  const Scratch of_retrieval = visitor.scratch(duet_retrieval_workspace, retrieval);
  visitor("retrieval_forward", [&] {
    return duet_retrieval_forward(
        visitor.context, &retrieval,
        sized<duet_retrieval_outputs>({.average_precision = a.row.vector(), .matching = a.column.vector()}),
        of_retrieval.view());
  });
}

inline void visit_triplets(const Visitor& visitor, Arrays& a) {
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  draw.slots = 1, draw.step = a.step.vector();
  duet_mining_inputs mining = DUET_MINING_INPUTS_INIT;
  mining.x = a.x.matrix(), mining.y = a.y.matrix(), mining.metric = DUET_METRIC_EUCLIDEAN, mining.draw = &draw;
  mining.labels_x = mining.labels_y = a.labels.vector(), mining.margin = 0.2f;
  const Scratch scratch = visitor.scratch(duet_mining_workspace, mining);
  const auto side =
      sized<duet_mining_hard_side>({.positive_index = a.picked.vector(), .negative_distance = a.column.vector()});
  const auto side_of_columns = sized<duet_mining_hard_side>({.positive_index = a.farthest.vector()});
  visitor("mining_hard", [&] {
    return duet_mining_hard(visitor.context, &mining,
                            sized<duet_mining_hard_outputs>({.rows = side, .columns = side_of_columns}),
                            scratch.view());
  });
  visitor("mining_semihard_count", [&] {
    return duet_mining_semihard_count(visitor.context, &mining,
                                      sized<duet_mining_semihard_count_outputs>({.count = a.count.vector()}),
                                      scratch.view());
  });
  const duet_matrix triplets = a.triplets.part(0, 0, a.count.at(0), 3);
  visitor("mining_semihard", [&] {
    return duet_mining_semihard(visitor.context, &mining, sized<duet_mining_semihard_outputs>({.triplets = triplets}),
                                scratch.view());
  });
  visitor("mining_distance_weighted", [&] {
    return duet_mining_distance_weighted(
        visitor.context, &mining, sized<duet_mining_distance_weighted_outputs>({.negatives = a.negatives.matrix()}),
        scratch.view());
  });
  for (const auto kind : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                          DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}) {
    CAPTURE(kind);
    duet_triplet_inputs triplet = DUET_TRIPLET_INPUTS_INIT;
    triplet.x = mining.x, triplet.y = mining.y, triplet.metric = mining.metric, triplet.mining = kind;
    triplet.labels_x = triplet.labels_y = mining.labels_x, triplet.margin = 0.2f;
    if (kind == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) triplet.draw = &draw;
    const Scratch of_kind = visitor.scratch(duet_triplet_workspace, triplet);
    visitor("triplet_forward", [&] {
      return duet_triplet_forward(
          visitor.context, &triplet,
          sized<duet_triplet_outputs>(
              {.row_loss = a.row.vector(), .row_active = a.column.vector(), .sum_x = a.out.matrix()}),
          of_kind.view());
    });
    visitor("triplet_backward", [&] {
      return duet_triplet_backward(
          visitor.context, &triplet,
          sized<duet_triplet_gradients>(
              {.active = a.one.vector(), .grad_loss = a.one.vector(), .grad_x = a.more.matrix()}),
          of_kind.view());
    });
  }
  visitor("triplet_loss", [&] {
    return duet_triplet_loss(
        visitor.context, sized<duet_triplet_loss_inputs>({.row_loss = a.row.vector(), .row_active = a.column.vector()}),
        sized<duet_triplet_loss_outputs>({.loss = a.scalar.vector(), .active = duet_f32_vector(&a.two.at(0), 1)}));
  });
  visitor("triplet_add_gradient", [&] {
    return duet_triplet_add_gradient(
        visitor.context, sized<duet_triplet_sums>({.sum_x = a.out.matrix()}),
        sized<duet_triplet_gradients>(
            {.active = a.one.vector(), .grad_loss = a.one.vector(), .grad_x = a.more.matrix()}));
  });
}

inline void visit_halves(const Visitor& visitor, Arrays& a) {
  duet_distance_inputs distance = DUET_DISTANCE_INPUTS_INIT;
  distance.x = duet_f16_const_matrix(a.halves.data(), kRows, kWidth);
  distance.y = duet_bf16_const_matrix(a.halves.data(), kRows, kWidth);
  const Scratch scratch = visitor.scratch(duet_distance_workspace, distance);
  visitor("distance_forward of halves", [&] {
    return duet_distance_forward(visitor.context, &distance,
                                 sized<duet_distance_outputs>({.distances = a.square.matrix()}), scratch.view());
  });
}

inline void visit_steps(const Visitor& visitor, Arrays& a) {
  duet_supervision_inputs batch = DUET_SUPERVISION_INPUTS_INIT;
  batch.labels = a.labels.vector(), batch.sample_ids = a.ids.vector(), batch.logits_a = a.logits.matrix();
  batch.logits_v = a.logits.matrix(), batch.prior = a.prior.vector(), batch.ratio = a.one.vector(),
  batch.epoch = a.step.vector();
  const Scratch scratch = visitor.scratch(duet_supervision_workspace, batch);
  visitor("supervision_forward", [&] {
    return duet_supervision_forward(
        visitor.context, &batch,
        sized<duet_supervision_state>({.predicted = a.predicted.vector(), .concord = a.concord.vector()}),
        sized<duet_supervision_outputs>({.class_q = a.class_q.matrix(),
                                         .trust = a.row.vector(),
                                         .kappa = a.kappa.vector(),
                                         .annotated = a.column.vector(),
                                         .hidden_trust = a.hidden.vector(),
                                         .counts = a.two.vector(),
                                         .pair_weight = a.scalar.vector()}),
        scratch.view());
  });
  a.row.fill(1), a.column.fill(1), a.lse.fill(0), a.kappa.fill(0), a.hidden.fill(0);
  const duet_optimizer_slot slot{a.row.vector(), a.column.vector(), a.lse.vector(), a.kappa.vector(),
                                 a.hidden.vector()};
  visitor("adamw_step", [&] {
    return adamw_step(visitor.context, &slot, 1, DUET_ADAMW_INPUTS_INIT, a.one.vector(), a.step.vector());
  });
  visitor("sgd_step", [&] { return sgd_step(visitor.context, &slot, 1, DUET_SGD_INPUTS_INIT, a.one.vector()); });
  const duet_optimizer_slots slots = slots_of(&slot, 1);
  const Scratch of_clip = visitor.scratch(duet_gradient_clip_workspace, slots);
  visitor("gradient_clip", [&] {
    return duet_gradient_clip(visitor.context, sized<duet_gradient_clip_inputs>({.limit = 1}), &slots,
                              sized<duet_gradient_clip_outputs>({.norm = a.scalar.vector(), .scale = a.one.vector()}),
                              of_clip.view());
  });
  a.one.fill(1);
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  draw.high = 1;
  visitor("random_words", [&] {
    return duet_random_words(visitor.context, &draw, sized<duet_random_words_outputs>({.words = a.words.vector()}));
  });
  visitor("random_uniform", [&] {
    return duet_random_uniform(visitor.context, &draw, sized<duet_random_uniform_outputs>({.values = a.lse.vector()}));
  });
  const auto mean = sized<duet_weighted_mean_inputs>({.values = a.row.vector(), .weights = a.column.vector()});
  visitor("weighted_mean_forward", [&] {
    return duet_weighted_mean_forward(visitor.context, mean,
                                      sized<duet_weighted_mean_outputs>({.loss = a.scalar.vector()}));
  });
  visitor("weighted_mean_backward", [&] {
    return duet_weighted_mean_backward(
        visitor.context, mean,
        sized<duet_weighted_mean_gradients>({.grad_loss = a.one.vector(), .grad_values = a.lse.vector()}));
  });
  const duet_const_vector one = a.one.vector();
  const duet_vector gradients[] = {a.lse.vector()};
  const duet_vector scalars[] = {a.scalar.vector()};
  const auto sum = sized<duet_weighted_sum_inputs>({.terms = &one, .weights = &one, .count = 1});
  visitor("weighted_sum_forward", [&] {
    return duet_weighted_sum_forward(visitor.context, sum,
                                     sized<duet_weighted_sum_outputs>({.total = a.scalar.vector()}));
  });
  visitor("weighted_sum_backward", [&] {
    return duet_weighted_sum_backward(visitor.context, sum,
                                      sized<duet_weighted_sum_gradients>({.grad_total = one, .grad_terms = scalars}));
  });
  const duet_mean of_row{a.row.vector(), {}, {}};
  const duet_term term{one, 1};
  duet_terms_inputs terms = DUET_TERMS_INPUTS_INIT;
  terms.terms = &term, terms.term_count = 1, terms.means = &of_row, terms.mean_count = 1;
  visitor("terms_forward", [&] {
    return duet_terms_forward(visitor.context, &terms, sized<duet_terms_outputs>({.total = a.scalar.vector()}));
  });
  visitor("terms_backward", [&] {
    return duet_terms_backward(visitor.context, &terms,
                               sized<duet_terms_gradients>({.grad_total = one, .grad_values = gradients}));
  });
  visitor("step_scale_forward", [&] {
    return duet_step_scale_forward(visitor.context, sized<duet_step_scale_inputs>({.logarithm = one}),
                                   sized<duet_step_scale_outputs>({.scale = a.scalar.vector()}));
  });
  visitor("step_scale_backward", [&] {
    return duet_step_scale_backward(
        visitor.context, sized<duet_step_scale_inputs>({}),
        sized<duet_step_scale_gradients>({.scale = one, .grad_scale = one, .grad_logarithm = a.scalar.vector()}));
  });
  duet_step_decision decision = DUET_STEP_DECISION_INIT;
  decision.total = one;
  visitor("step_decide", [&] {
    return duet_step_decide(
        visitor.context, &decision,
        sized<duet_step_counters>(
            {.begun = a.begun.vector(), .updates = a.updates.vector(), .failed = a.failed.vector()}),
        sized<duet_step_report>(
            {.apply = a.flag.vector(), .verdicts = a.verdicts.matrix(), .values = a.values.matrix()}));
  });
  visitor("gather_labels", [&] {
    return duet_gather_labels(
        visitor.context, sized<duet_gather_labels_inputs>({.source = a.labels.vector(), .indices = a.ids.vector()}),
        sized<duet_gather_labels_outputs>({.labels = a.picked.vector()}));
  });
}

inline void visit_memory(const Visitor& visitor, Arrays& a) {
  const size_t bytes = kRows * sizeof(float);
  visitor("memory_fill", [&] { return duet_memory_fill(visitor.context, a.row.data(), 0, bytes); });
  visitor("memory_copy", [&] { return duet_memory_copy(visitor.context, a.row.data(), a.column.data(), bytes); });
}

// Every call once; what they read and write is a.
inline void visit_all(const Visitor& visitor, Arrays& a) {
  visit_layers(visitor, a);
  visit_pairs(visitor, a);
  visit_triplets(visitor, a);
  visit_halves(visitor, a);
  visit_steps(visitor, a);
  visit_memory(visitor, a);
}

}  // namespace duet::test::every_call
