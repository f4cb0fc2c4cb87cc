// A call of an operation of every family, made the same way for all of them, so that a test can spoil any one's
// arguments alike. Values are drawn, results are all that the calls wrote.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

namespace duet::test {

// A matrix of a call: aligned and without gaps, or an element off that, with rows of an odd stride.
class Given {
 public:
  Given(const Floats& values, bool misaligned)
      : shift_(misaligned ? 1 : 0),
        columns_(values.columns()),
        storage_(values.rows(), values.columns() + shift_, misaligned ? 2 + columns_ % 2 : 0) {
    for (int64_t i = 0; i < values.rows(); ++i)
      for (int64_t j = 0; j < columns_; ++j) storage_.at(i, j + shift_) = values.at(i, j);
  }
  duet_matrix matrix() { return storage_.part(0, shift_, storage_.rows(), columns_); }
  Doubles values() const {
    Doubles out;
    for (int64_t i = 0; i < storage_.rows(); ++i)
      for (int64_t j = 0; j < columns_; ++j) out.push_back(storage_.at(i, j + shift_));
    return out;
  }

 private:
  int64_t shift_, columns_;
  Floats storage_;
};

struct Call {
  int64_t n = 9, m = 11, d = 5;
  bool misaligned = false;
  // Changes a call's arguments before it is made; output, workspace: where its first output and its scratch lie (null:
  // it takes none).
  std::function<void(duet_matrix& first_input, void* output, void* workspace)> spoil = [](duet_matrix&, void*, void*) {
  };
};
struct Outcome {
  duet_status status = DUET_STATUS_OK;
  std::vector<Doubles> results;
};

// What the families' calls have in common.
class Caller {
 public:
  explicit Caller(const Call& call) : call_(call) {}

  Given given(const Floats& values) const { return {values, call_.misaligned}; }
  Given output(int64_t rows, int64_t columns) const { return given(Floats(rows, columns)); }
  Given gradient(int64_t rows, int64_t columns) const { return given(Floats(rows, columns).fill(0)); }
  duet_workspace workspace(const std::function<duet_status(size_t* bytes)>& ask) {
    size_t bytes = 0;
    SUCCEED_CALL(ask(&bytes));
    scratch_ = std::make_unique<Scratch>(bytes);
    return scratch_->view();
  }
  void spoil(duet_matrix& view, void* output) const {
    call_.spoil(view, output, scratch_ ? scratch_->view().data : nullptr);
  }
  // Does the calls as long as they succeed.
  Outcome finish(std::initializer_list<std::function<duet_status()>> calls,
                 const std::function<std::vector<Doubles>()>& results) const {
    for (const auto& call : calls)
      if (const duet_status status = call(); status != DUET_STATUS_OK) return {status, {}};
    device.synchronize();
    return {DUET_STATUS_OK, results()};
  }

  Context context{1};
  Draw draw{7};

 private:
  const Call& call_;
  std::unique_ptr<Scratch> scratch_;
};

namespace calls {

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
  return c.finish({[&] { return duet_distance_forward(c.context, &in, out.matrix(), scratch); },
                   [&] {
                     return duet_distance_backward(c.context, &in, out.matrix(), g.matrix(), grad_x.matrix(),
                                                   grad_y.matrix(), scratch);
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
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_mining_workspace(c.context, &in, bytes); });
  duet_mining_hard_outputs out = DUET_MINING_HARD_OUTPUTS_INIT;
  out.negative_index = nearest.vector();
  c.spoil(in.x, nearest.data());
  return c.finish({[&] { return duet_mining_hard(c.context, &in, &out, nullptr, scratch); }},
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
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_triplet_workspace(c.context, &in, bytes); });
  c.spoil(in.x, loss.data());
  return c.finish({[&] {
                    return duet_triplet_forward_gradient(c.context, &in, loss.vector(), active.vector(), sum_x.matrix(),
                                                         sum_y.matrix(), scratch);
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
  return c.finish({[&] { return duet_alignment_forward(c.context, &in, row.vector(), column.vector(), scratch); },
                   [&] {
                     return duet_alignment_backward(c.context, &in, row.vector(), {}, weight.vector(), {},
                                                    grad_a.matrix(), grad_v.matrix(), grad_scale.vector(), scratch);
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
  return c.finish({[&] {
                     return duet_distillation_forward(c.context, &in, row.vector(), column.vector(), rows.matrix(),
                                                      columns.matrix(), scratch);
                   },
                   [&] {
                     return duet_distillation_backward(c.context, &in, rows.matrix(), columns.matrix(), weight.vector(),
                                                       {}, grad_a.matrix(), grad_v.matrix(), {}, scratch);
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
  return c.finish({[&] {
                     return duet_contrastive_forward(c.context, &in, row.vector(), column.vector(), rows.matrix(),
                                                     columns.matrix(), scratch);
                   },
                   [&] {
                     return duet_contrastive_backward(c.context, &in, rows.matrix(), columns.matrix(), weight.vector(),
                                                      {}, grad_a.matrix(), grad_v.matrix(), {}, {}, scratch);
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
  return c.finish({[&] { return duet_retrieval_top_k(c.context, &in, indices.matrix(), scores.matrix(), scratch); }},
                  [&] {
                    return std::vector<Doubles>{indices.values(), scores.values()};
                  });
}

inline Outcome linear(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.normals(call.n, call.d)), weight = c.given(c.draw.normals(call.m, call.d)),
        out = c.output(call.n, call.m);
  Given g = c.given(c.draw.normals(call.n, call.m)), grad_x = c.gradient(call.n, call.d),
        grad_weight = c.gradient(call.m, call.d);
  Floats grad_bias = Floats(call.m, 1).fill(0);
  duet_linear_inputs in = DUET_LINEAR_INPUTS_INIT;
  in.x = x.matrix(), in.weight = weight.matrix();
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_linear_workspace(c.context, &in, bytes); });
  c.spoil(in.x, out.matrix().data);
  return c.finish(
      {[&] { return duet_linear_forward(c.context, &in, out.matrix(), scratch); },
       [&] {
         return duet_linear_backward(c.context, &in, out.matrix(), g.matrix(), grad_x.matrix(), grad_weight.matrix(),
                                     grad_bias.vector(), scratch);
       }},
      [&] {
        return std::vector<Doubles>{out.values(), grad_x.values(), grad_weight.values(), grad_bias.values()};
      });
}

// Of n rows, m columns of the logits.
inline Outcome head(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.normals(call.n, call.d)), other = c.given(c.draw.normals(call.n, call.d)),
        weight = c.given(c.draw.normals(call.m, call.d));
  Given u = c.output(call.n, call.d), other_u = c.output(call.n, call.d), logits = c.output(call.n, call.m),
        other_logits = c.output(call.n, call.m);
  Given g = c.given(c.draw.normals(call.n, call.d)), of_logits = c.given(c.draw.normals(call.n, call.m));
  Given grad = c.gradient(call.n, call.d), other_grad = c.gradient(call.n, call.d),
        grad_weight = c.gradient(call.m, call.d);
  Floats bias = c.draw.normals(call.m, 1), grad_bias = Floats(call.m, 1).fill(0);
  duet_matrix from[] = {x.matrix(), other.matrix()};
  const duet_matrix to_u[] = {u.matrix(), other_u.matrix()}, to_logits[] = {logits.matrix(), other_logits.matrix()};
  const duet_matrix by_u[] = {g.matrix(), g.matrix()}, by_logits[] = {of_logits.matrix(), of_logits.matrix()};
  const duet_matrix to_x[] = {grad.matrix(), other_grad.matrix()};
  duet_head_inputs in = DUET_HEAD_INPUTS_INIT;
  in.x = from, in.count = 2, in.weight = weight.matrix(), in.bias = bias.vector();
  const duet_workspace scratch = c.workspace([&](size_t* bytes) { return duet_head_workspace(c.context, &in, bytes); });
  c.spoil(from[0], u.matrix().data);
  return c.finish({[&] { return duet_head_forward(c.context, &in, to_u, to_logits, scratch); },
                   [&] {
                     return duet_head_backward(c.context, &in, to_u, by_u, by_logits, to_x, grad_weight.matrix(),
                                               grad_bias.vector(), scratch);
                   }},
                  [&] {
                    return std::vector<Doubles>{
                        u.values(),    other_u.values(),    logits.values(),      other_logits.values(),
                        grad.values(), other_grad.values(), grad_weight.values(), grad_bias.values()};
                  });
}

inline Outcome activation(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.normals(call.n, call.d)), g = c.given(c.draw.normals(call.n, call.d));
  Given out = c.output(call.n, call.d), grad = c.gradient(call.n, call.d);
  duet_activation_inputs in = DUET_ACTIVATION_INPUTS_INIT;
  in.kind = DUET_ACTIVATION_KIND_GELU, in.x = x.matrix();
  c.spoil(in.x, grad.matrix().data);
  return c.finish({[&] { return duet_activation_forward(c.context, &in, out.matrix()); },
                   [&] { return duet_activation_backward(c.context, &in, g.matrix(), grad.matrix()); }},
                  [&] {
                    return std::vector<Doubles>{out.values(), grad.values()};
                  });
}

inline Outcome normalization(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.normals(call.n, call.d)), g = c.given(c.draw.normals(call.n, call.d));
  Given out = c.output(call.n, call.d), grad = c.gradient(call.n, call.d);
  duet_matrix first = x.matrix();
  c.spoil(first, out.matrix().data);
  return c.finish({[&] { return duet_unit_rows_forward(c.context, first, 1e-12f, out.matrix()); },
                   [&] { return duet_unit_rows_backward(c.context, first, 1e-12f, g.matrix(), grad.matrix()); }},
                  [&] {
                    return std::vector<Doubles>{out.values(), grad.values()};
                  });
}

inline Outcome cross_entropy(const Call& call) {
  Caller c(call);
  Given logits = c.given(c.draw.normals(call.n, call.d)), targets = c.given(c.draw.distributions(call.n, call.d)),
        grad = c.gradient(call.n, call.d);
  Floats loss(call.n, 1), weight = c.draw.normals(call.n, 1);
  duet_matrix first = logits.matrix();
  c.spoil(first, loss.data());
  return c.finish(
      {[&] { return duet_cross_entropy_forward(c.context, first, targets.matrix(), loss.vector()); },
       [&] { return duet_cross_entropy_backward(c.context, first, targets.matrix(), weight.vector(), grad.matrix()); }},
      [&] {
        return std::vector<Doubles>{loss.values(), grad.values()};
      });
}

inline Outcome decorrelation(const Call& call) {
  Caller c(call);
  Given a = c.given(c.draw.normals(call.n, call.d)), v = c.given(c.draw.normals(call.n, call.d)),
        grad = c.gradient(call.n, call.d);
  Floats loss(1, 1), one = Floats(1, 1).fill(1);
  duet_decorrelation_inputs in = DUET_DECORRELATION_INPUTS_INIT;
  in.a = a.matrix(), in.v = v.matrix();
  const duet_workspace scratch =
      c.workspace([&](size_t* bytes) { return duet_decorrelation_workspace(c.context, &in, bytes); });
  c.spoil(in.a, loss.data());
  return c.finish(
      {[&] { return duet_decorrelation_forward(c.context, &in, loss.vector(), scratch); },
       [&] { return duet_decorrelation_backward(c.context, &in, one.vector(), grad.matrix(), {}, scratch); }},
      [&] {
        return std::vector<Doubles>{loss.values(), grad.values()};
      });
}

inline Outcome gather(const Call& call) {
  Caller c(call);
  Given source = c.given(c.draw.normals(call.m, call.d)), rows = c.output(call.n, call.d),
        grad = c.gradient(call.m, call.d);
  Longs indices(call.n, 1);
  for (int64_t i = 0; i < call.n; ++i) indices.at(i) = i / 2 % std::max<int64_t>(1, call.m);
  duet_matrix first = source.matrix();
  c.spoil(first, rows.matrix().data);
  return c.finish({[&] { return duet_gather_forward(c.context, first, indices.vector(), rows.matrix()); },
                   [&] { return duet_gather_backward(c.context, indices.vector(), rows.matrix(), grad.matrix()); }},
                  [&] {
                    return std::vector<Doubles>{rows.values(), grad.values()};
                  });
}

inline Outcome cross_entropy_all(const Call& call) {
  Caller c(call);
  Given logits = c.given(c.draw.normals(call.n, call.d)), more = c.given(c.draw.normals(call.n, call.d));
  Given targets = c.given(c.draw.distributions(call.n, call.d)), grad = c.gradient(call.n, call.d),
        grad_more = c.gradient(call.n, call.d);
  Floats loss(call.n, 1), loss_more(call.n, 1), weight = c.draw.normals(call.n, 1);
  duet_matrix all[] = {logits.matrix(), more.matrix()};
  const duet_matrix grads[] = {grad.matrix(), grad_more.matrix()};
  const duet_vector losses[] = {loss.vector(), loss_more.vector()}, weights[] = {weight.vector(), weight.vector()};
  c.spoil(all[0], loss.data());
  return c.finish(
      {[&] { return duet_cross_entropy_forward_all(c.context, all, 2, targets.matrix(), losses); },
       [&] { return duet_cross_entropy_backward_all(c.context, all, 2, targets.matrix(), weights, grads); }},
      [&] {
        return std::vector<Doubles>{loss.values(), loss_more.values(), grad.values(), grad_more.values()};
      });
}

inline Outcome gather_batch(const Call& call) {
  Caller c(call);
  Given source = c.given(c.draw.normals(call.m, call.d)), other = c.given(c.draw.normals(call.m, 3));
  Given rows = c.output(call.n, call.d), other_rows = c.output(call.n, 3);
  Longs indices(call.n, 1);
  for (int64_t i = 0; i < call.n; ++i) indices.at(i) = i / 2 % std::max<int64_t>(1, call.m);
  duet_matrix sources[] = {source.matrix(), other.matrix()};
  const duet_matrix to[] = {rows.matrix(), other_rows.matrix()};
  duet_gather_inputs in = DUET_GATHER_INPUTS_INIT;
  in.sources = sources, in.source_count = 2, in.indices = indices.vector();
  c.spoil(sources[0], rows.matrix().data);
  return c.finish({[&] { return duet_gather_batch(c.context, &in, to, {}); }}, [&] {
    return std::vector<Doubles>{rows.values(), other_rows.values()};
  });
}

inline Outcome step_begin(const Call& call) {
  Caller c(call);
  Given mailed = c.given(c.draw.normals(call.n, call.d));
  Longs integers = Longs(call.n, 2).fill(1), numbers = Longs(call.n, call.m).fill(2), begun = Longs(1, 1).fill(1);
  Floats values(call.d, 1);
  Longs taken(2, 1), indices(call.m, 1);
  duet_step_mail mail = DUET_STEP_MAIL_INIT;
  mail.values = mailed.matrix(), mail.integers = integers.matrix(), mail.indices = numbers.matrix();
  c.spoil(mail.values, values.data());
  return c.finish({[&] {
                    return duet_step_begin(c.context, &mail, begun.vector(), values.vector(), taken.vector(),
                                           indices.vector());
                  }},
                  [&] {
                    return std::vector<Doubles>{values.values(), taken.values(), indices.values(), begun.values()};
                  });
}

}  // namespace calls

struct Family {
  const char* name;
  Outcome (*run)(const Call&);
  const char *input, *output;  // what its calls name the first of them
  bool scratch = true;         // whether it takes a workspace
  bool pairs = true;           // whether rows of its inputs are numbered in int32
  char needs = ' ';            // 'n' or 'm': of what it needs one at least, a slot to take or a row to gather from
};
inline const Family kFamilies[] = {
    {"distance", calls::distance, "inputs.x", "distances"},
    {"mining", calls::mining, "inputs.x", "rows.negative_index"},
    {"triplet", calls::triplet, "inputs.x", "row_loss"},
    {"alignment", calls::alignment, "inputs.a", "lse_row"},
    {"distillation", calls::distillation, "inputs.student_a", "row_loss"},
    {"contrastive", calls::contrastive, "inputs.a", "row_loss"},
    {"retrieval", calls::retrieval, "inputs.queries", "indices"},
    {"linear", calls::linear, "x", "outputs"},
    {"head", calls::head, "inputs.x[0]", "u[0]", true, false},
    {"activation", calls::activation, "x", "grad_x", false},
    {"normalization", calls::normalization, "x", "outputs", false},
    {"cross_entropy", calls::cross_entropy, "logits", "row_loss", false},
    {"decorrelation", calls::decorrelation, "inputs.a", "loss"},
    {"gather", calls::gather, "source", "rows", false, true, 'm'},
    {"cross_entropy_all", calls::cross_entropy_all, "logits[0]", "row_loss[0]", false},
    {"gather_batch", calls::gather_batch, "inputs.sources[0]", "rows[0]", false, false, 'm'},
    {"step_begin", calls::step_begin, "mail.values", "values", false, false, 'n'}};

}  // namespace duet::test
