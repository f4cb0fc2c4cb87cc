// The calls of the families of operations on rows.
#pragma once

#include "tests/kernels/bad_input_caller.h"

namespace duet::test::calls {

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
      {[&] {
         return duet_linear_forward(c.context, &in, sized<duet_linear_outputs>({.outputs = out.matrix()}), scratch);
       },
       [&] {
         return duet_linear_backward(c.context, &in,
                                     sized<duet_linear_gradients>({.outputs = out.matrix(),
                                                                   .grad_outputs = g.matrix(),
                                                                   .grad_x = grad_x.matrix(),
                                                                   .grad_weight = grad_weight.matrix(),
                                                                   .grad_bias = grad_bias.vector()}),
                                     scratch);
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
  duet_const_matrix from[] = {x.matrix(), other.matrix()};
  const duet_matrix to_u[] = {u.matrix(), other_u.matrix()}, to_logits[] = {logits.matrix(), other_logits.matrix()};
  const duet_const_matrix given_u[] = {u.matrix(), other_u.matrix()}, by_u[] = {g.matrix(), g.matrix()},
                          by_logits[] = {of_logits.matrix(), of_logits.matrix()};
  const duet_matrix to_x[] = {grad.matrix(), other_grad.matrix()};
  duet_head_inputs in = DUET_HEAD_INPUTS_INIT;
  in.x = from, in.count = 2, in.weight = weight.matrix(), in.bias = bias.vector();
  const duet_workspace scratch = c.workspace([&](size_t* bytes) { return duet_head_workspace(c.context, &in, bytes); });
  c.spoil(from[0], u.matrix().data);
  return c.finish(
      {[&] {
         return duet_head_forward(c.context, &in, sized<duet_head_outputs>({.u = to_u, .logits = to_logits}), scratch);
       },
       [&] {
         return duet_head_backward(c.context, &in,
                                   sized<duet_head_gradients>({.u = given_u,
                                                               .grad_u = by_u,
                                                               .grad_logits = by_logits,
                                                               .grad_x = to_x,
                                                               .grad_weight = grad_weight.matrix(),
                                                               .grad_bias = grad_bias.vector()}),
                                   scratch);
       }},
      [&] {
        return std::vector<Doubles>{u.values(),    other_u.values(),    logits.values(),      other_logits.values(),
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
  return c.finish(
      {[&] {
         return duet_activation_forward(c.context, &in, sized<duet_activation_outputs>({.outputs = out.matrix()}));
       },
       [&] {
         return duet_activation_backward(
             c.context, &in, sized<duet_activation_gradients>({.grad_outputs = g.matrix(), .grad_x = grad.matrix()}));
       }},
      [&] {
        return std::vector<Doubles>{out.values(), grad.values()};
      });
}

inline Outcome normalization(const Call& call) {
  Caller c(call);
  Given x = c.given(c.draw.normals(call.n, call.d)), g = c.given(c.draw.normals(call.n, call.d));
  Given out = c.output(call.n, call.d), grad = c.gradient(call.n, call.d);
  duet_const_matrix first = x.matrix();
  c.spoil(first, out.matrix().data);
  return c.finish({[&] {
                     return duet_unit_rows_forward(c.context, sized<duet_unit_rows_inputs>({.x = first, .eps = 1e-12f}),
                                                   sized<duet_unit_rows_outputs>({.outputs = out.matrix()}));
                   },
                   [&] {
                     return duet_unit_rows_backward(
                         c.context, sized<duet_unit_rows_inputs>({.x = first, .eps = 1e-12f}),
                         sized<duet_unit_rows_gradients>({.grad_outputs = g.matrix(), .grad_x = grad.matrix()}));
                   }},
                  [&] {
                    return std::vector<Doubles>{out.values(), grad.values()};
                  });
}

inline Outcome cross_entropy(const Call& call) {
  Caller c(call);
  Given logits = c.given(c.draw.normals(call.n, call.d)), targets = c.given(c.draw.distributions(call.n, call.d)),
        grad = c.gradient(call.n, call.d);
  Floats loss(call.n, 1), weight = c.draw.normals(call.n, 1);
  duet_const_matrix first = logits.matrix();
  c.spoil(first, loss.data());
  return c.finish(
      {[&] {
         return duet_cross_entropy_forward(
             c.context, sized<duet_cross_entropy_inputs>({.logits = first, .targets = targets.matrix()}),
             sized<duet_cross_entropy_outputs>({.row_loss = loss.vector()}));
       },
       [&] {
         return duet_cross_entropy_backward(
             c.context, sized<duet_cross_entropy_inputs>({.logits = first, .targets = targets.matrix()}),
             sized<duet_cross_entropy_gradients>({.row_weight = weight.vector(), .grad_logits = grad.matrix()}));
       }},
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
  return c.finish({[&] {
                     return duet_decorrelation_forward(
                         c.context, &in, sized<duet_decorrelation_outputs>({.loss = loss.vector()}), scratch);
                   },
                   [&] {
                     return duet_decorrelation_backward(
                         c.context, &in,
                         sized<duet_decorrelation_gradients>({.grad_loss = one.vector(), .grad_a = grad.matrix()}),
                         scratch);
                   }},
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
  duet_const_matrix first = source.matrix();
  c.spoil(first, rows.matrix().data);
  return c.finish({[&] {
                     return duet_gather_forward(
                         c.context, sized<duet_gather_inputs>({.source = first, .indices = indices.vector()}),
                         sized<duet_gather_outputs>({.rows = rows.matrix()}));
                   },
                   [&] {
                     return duet_gather_backward(
                         c.context, sized<duet_gather_inputs>({.indices = indices.vector()}),
                         sized<duet_gather_gradients>({.grad_rows = rows.matrix(), .grad_source = grad.matrix()}));
                   }},
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
  duet_const_matrix all[] = {logits.matrix(), more.matrix()};
  const duet_matrix grads[] = {grad.matrix(), grad_more.matrix()};
  const duet_vector losses[] = {loss.vector(), loss_more.vector()};
  const duet_const_vector weights[] = {weight.vector(), weight.vector()};
  c.spoil(all[0], loss.data());
  return c.finish(
      {[&] {
         return duet_cross_entropy_forward_all(
             c.context, sized<duet_cross_entropy_all_inputs>({.logits = all, .count = 2, .targets = targets.matrix()}),
             sized<duet_cross_entropy_all_outputs>({.row_loss = losses}));
       },
       [&] {
         return duet_cross_entropy_backward_all(
             c.context, sized<duet_cross_entropy_all_inputs>({.logits = all, .count = 2, .targets = targets.matrix()}),
             sized<duet_cross_entropy_all_gradients>({.row_weight = weights, .grad_logits = grads}));
       }},
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
  duet_const_matrix sources[] = {source.matrix(), other.matrix()};
  const duet_matrix to[] = {rows.matrix(), other_rows.matrix()};
  duet_gather_batch_inputs in = DUET_GATHER_BATCH_INPUTS_INIT;
  in.sources = sources, in.source_count = 2, in.indices = indices.vector();
  c.spoil(sources[0], rows.matrix().data);
  return c.finish({[&] { return duet_gather_batch(c.context, &in, sized<duet_gather_batch_outputs>({.rows = to})); }},
                  [&] {
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
                    return duet_step_begin(c.context, &mail,
                                           sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                                           .values = values.vector(),
                                                                           .integers = taken.vector(),
                                                                           .indices = indices.vector()}));
                  }},
                  [&] {
                    return std::vector<Doubles>{values.values(), taken.values(), indices.values(), begun.values()};
                  });
}

}  // namespace duet::test::calls
