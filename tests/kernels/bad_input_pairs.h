// The calls of the families of operations on pairs of rows.
#pragma once

#include "tests/kernels/bad_input_caller.h"

namespace duet::test::calls {

inline Outcome distance(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.unit_rows(call.n, call.d)), y = c.given(c.draw.unit_rows(call.m, call.d)),
        g = c.given(c.draw.normals(call.n, call.m));
  Given out = c.output(call.n, call.m), grad_x = c.gradient(call.n, call.d), grad_y = c.gradient(call.m, call.d);
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.x = x.matrix(), in.y = y.matrix(), in.metric = DUET_METRIC_EUCLIDEAN;
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_distance_workspace(c.context, &in, bytes); });
  c.spoil(in.x, out.matrix().data);
  return c.finish({[&] {
                     return duet_distance_forward(c.context, &in,
                                                  sized<duet_distance_outputs>({.distances = out.matrix()}), scratch);
                   },
                   [&] {
                     return duet_distance_backward(c.context, &in,
                                                   sized<duet_distance_gradients>({.distances = out.matrix(),
                                                                                   .grad_distances = g.matrix(),
                                                                                   .grad_x = grad_x.matrix(),
                                                                                   .grad_y = grad_y.matrix()}),
                                                   scratch);
                   }},
                  [&] {
                    return std::vector<Doubles>{out.values(), grad_x.values(), grad_y.values()};
                  });
}

inline Outcome mining(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.unit_rows(call.n, call.d)), y = c.given(c.draw.unit_rows(call.m, call.d));
  Ints labels_x = c.draw.labels(call.n, 2), labels_y = c.draw.labels(call.m, 2), nearest(call.n, 1);
  duet_mining_inputs in = DUET_MINING_INPUTS_INIT;
  in.x = x.matrix(), in.y = y.matrix(), in.labels_x = labels_x.vector(), in.labels_y = labels_y.vector();
  in.metric = DUET_METRIC_SQEUCLIDEAN;
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_mining_workspace(c.context, &in, bytes); });
  duet_mining_hard_side out = DUET_MINING_HARD_SIDE_INIT;
  out.negative_index = nearest.vector();
  c.spoil(in.x, nearest.data());
  return c.finish(
      {[&] { return duet_mining_hard(c.context, &in, sized<duet_mining_hard_outputs>({.rows = &out}), scratch); }},
      [&] { return std::vector<Doubles>{nearest.values()}; });
}

inline Outcome triplet(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.unit_rows(call.n, call.d)), y = c.given(c.draw.unit_rows(call.m, call.d));
  Given class_x = c.given(c.draw.distributions(call.n, 3)), class_y = c.given(c.draw.distributions(call.m, 3));
  Floats loss(call.n, 1), active(call.n, 1);
  Given sum_x = c.output(call.n, call.d), sum_y = c.output(call.m, call.d);
  duet_triplet_inputs in = DUET_TRIPLET_INPUTS_INIT;
  in.x = x.matrix(), in.y = y.matrix(), in.class_x = class_x.matrix(), in.class_y = class_y.matrix(), in.margin = 0.2f;
  in.metric = DUET_METRIC_SQEUCLIDEAN;
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_triplet_workspace(c.context, &in, bytes); });
  c.spoil(in.x, loss.data());
  return c.finish({[&] {
                    return duet_triplet_forward(c.context, &in,
                                                sized<duet_triplet_outputs>({.row_loss = loss.vector(),
                                                                             .row_active = active.vector(),
                                                                             .sum_x = sum_x.matrix(),
                                                                             .sum_y = sum_y.matrix()}),
                                                scratch);
                  }},
                  [&] {
                    return std::vector<Doubles>{loss.values(), active.values(), sum_x.values(), sum_y.values()};
                  });
}

inline Outcome alignment(const Call& call) {
  Caller c(call);
  Given a = c.given(c.draw.unit_rows(call.n, call.d)), v = c.given(c.draw.unit_rows(call.m, call.d));
  Given grad_a = c.gradient(call.n, call.d), grad_v = c.gradient(call.m, call.d);
  Floats scale = Floats(1, 1).fill(10), row(call.n, 1), column(call.m, 1), weight = c.draw.normals(call.n, 1),
         grad_scale = Floats(1, 1).fill(0);
  duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
  in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_alignment_workspace(c.context, &in, bytes); });
  c.spoil(in.a, row.data());
  return c.finish(
      {[&] {
         return duet_alignment_forward(
             c.context, &in, sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}),
             scratch);
       },
       [&] {
         return duet_alignment_backward(c.context, &in,
                                        sized<duet_alignment_gradients>({.lse_row = row.vector(),
                                                                         .grad_lse_row = weight.vector(),
                                                                         .grad_a = grad_a.matrix(),
                                                                         .grad_v = grad_v.matrix(),
                                                                         .grad_scale = grad_scale.vector()}),
                                        scratch);
       }},
      [&] {
        return std::vector<Doubles>{row.values(), column.values(), grad_a.values(), grad_v.values(),
                                    grad_scale.values()};
      });
}

inline Outcome distillation(const Call& call) {
  Caller c(call);
  Given a = c.given(c.draw.unit_rows(call.n, call.d)), v = c.given(c.draw.unit_rows(call.m, call.d));
  Given teacher_a = c.given(c.draw.unit_rows(call.n, call.d + 1)),
        teacher_v = c.given(c.draw.unit_rows(call.m, call.d + 1));
  Given class_a = c.given(c.draw.distributions(call.n, 3)), class_v = c.given(c.draw.distributions(call.m, 3));
  Given rows = c.output(call.n, DUET_DISTILLATION_STATISTICS), columns = c.output(call.m, DUET_DISTILLATION_STATISTICS);
  Given grad_a = c.gradient(call.n, call.d), grad_v = c.gradient(call.m, call.d);
  Floats scale = Floats(1, 1).fill(10), row(call.n, 1), column(call.m, 1), kappa_a = Floats(call.n, 1).fill(0.5),
         kappa_v = Floats(call.m, 1).fill(1), weight = c.draw.normals(call.n, 1);
  duet_distillation_inputs in = DUET_DISTILLATION_INPUTS_INIT;
  in.student_a = a.matrix(), in.student_v = v.matrix(), in.teacher_a = teacher_a.matrix(),
  in.teacher_v = teacher_v.matrix();
  in.class_a = class_a.matrix(), in.class_v = class_v.matrix(), in.kappa_a = kappa_a.vector(),
  in.kappa_v = kappa_v.vector();
  in.scale = in.teacher_scale = scale.vector(), in.paired = 1;
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_distillation_workspace(c.context, &in, bytes); });
  c.spoil(in.student_a, row.data());
  return c.finish(
      {[&] {
         return duet_distillation_forward(c.context, &in,
                                          sized<duet_distillation_outputs>({.row_loss = row.vector(),
                                                                            .column_loss = column.vector(),
                                                                            .row_statistics = rows.matrix(),
                                                                            .column_statistics = columns.matrix()}),
                                          scratch);
       },
       [&] {
         return duet_distillation_backward(c.context, &in,
                                           sized<duet_distillation_gradients>({.row_statistics = rows.matrix(),
                                                                               .column_statistics = columns.matrix(),
                                                                               .row_weight = weight.vector(),
                                                                               .grad_a = grad_a.matrix(),
                                                                               .grad_v = grad_v.matrix()}),
                                           scratch);
       }},
      [&] {
        return std::vector<Doubles>{row.values(),     column.values(), rows.values(),
                                    columns.values(), grad_a.values(), grad_v.values()};
      });
}

inline Outcome contrastive(const Call& call) {
  Caller c(call);
  Given a = c.given(c.draw.unit_rows(call.n, call.d)), v = c.given(c.draw.unit_rows(call.m, call.d));
  Given rows = c.output(call.n, DUET_CONTRASTIVE_STATISTICS), columns = c.output(call.m, DUET_CONTRASTIVE_STATISTICS);
  Given grad_a = c.gradient(call.n, call.d), grad_v = c.gradient(call.m, call.d);
  Floats scale = Floats(1, 1).fill(10), row(call.n, 1), column(call.m, 1), weight = c.draw.normals(call.n, 1);
  duet_contrastive_inputs in = DUET_CONTRASTIVE_INPUTS_INIT;
  in.kind = DUET_CONTRASTIVE_KIND_INFONCE, in.a = a.matrix(), in.v = v.matrix(), in.scale = scale.vector();
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_contrastive_workspace(c.context, &in, bytes); });
  c.spoil(in.a, row.data());
  return c.finish(
      {[&] {
         return duet_contrastive_forward(c.context, &in,
                                         sized<duet_contrastive_outputs>({.row_loss = row.vector(),
                                                                          .column_loss = column.vector(),
                                                                          .row_statistics = rows.matrix(),
                                                                          .column_statistics = columns.matrix()}),
                                         scratch);
       },
       [&] {
         return duet_contrastive_backward(c.context, &in,
                                          sized<duet_contrastive_gradients>({.row_statistics = rows.matrix(),
                                                                             .column_statistics = columns.matrix(),
                                                                             .row_weight = weight.vector(),
                                                                             .grad_a = grad_a.matrix(),
                                                                             .grad_v = grad_v.matrix()}),
                                          scratch);
       }},
      [&] {
        return std::vector<Doubles>{row.values(),     column.values(), rows.values(),
                                    columns.values(), grad_a.values(), grad_v.values()};
      });
}

inline Outcome retrieval(const Call& call) {
  Caller c(call);
  Given queries = c.given(c.draw.unit_rows(call.n, call.d)), gallery = c.given(c.draw.unit_rows(call.m, call.d)),
        scores = c.output(call.n, 3);
  Ints indices(call.n, 3);
  duet_retrieval_inputs in = DUET_RETRIEVAL_INPUTS_INIT;
  in.queries = queries.matrix(), in.gallery = gallery.matrix();
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_retrieval_workspace(c.context, &in, bytes); });
  c.spoil(in.queries, indices.data());
  return c.finish({[&] {
                    return duet_retrieval_top_k(
                        c.context, &in,
                        sized<duet_retrieval_top_k_outputs>({.indices = indices.matrix(), .scores = scores.matrix()}),
                        scratch);
                  }},
                  [&] {
                    return std::vector<Doubles>{indices.values(), scores.values()};
                  });
}

}  // namespace duet::test::calls
