// gather, reduction, random, supervision, optimizer: what a training step does beside its layers and losses.
#include <algorithm>
#include <limits>

#include "tests/backends/operations.h"
#include "tests/kernels/optimizer_steps.h"
#include "tests/reference/gather.h"
#include "tests/reference/optimizer.h"
#include "tests/reference/random.h"
#include "tests/reference/reduction.h"
#include "tests/reference/supervision.h"
#include "tests/support/label_table.h"

namespace duet::test::backends {

void gather(Case& c) {
  const int64_t source_rows = c.extent(1), count = c.extent(), columns = c.extent();
  Floats &source = c.rows(source_rows, columns), &g = c.weights(count, columns);
  Ints& labels = c.labels(source_rows, 9);
  Longs indices(count, 1);
  Floats twice(source_rows, columns, 1);  // in rows that are not aligned
  for (int64_t i = 0; i < source_rows; ++i)
    for (int64_t k = 0; k < columns; ++k) twice.at(i, k) = 2 * source.at(i, k);
  std::vector<int64_t> list;
  for (int64_t i = 0; i < count; ++i) list.push_back(indices.at(i) = c.draw.integer(0, source_rows - 1));
  c.run([&](Run& run) {
    run.call(duet_gather_forward(run.context,
                                 sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                                 sized<duet_gather_outputs>({.rows = run.output("rows", count, columns)})));
    run.call(duet_gather_labels(
        run.context, sized<duet_gather_labels_inputs>({.source = labels.vector(), .indices = indices.vector()}),
        sized<duet_gather_labels_outputs>({.labels = run.integers("labels", count)})));
    const duet_const_matrix sources[] = {source.matrix(), twice.matrix()};
    const duet_matrix rows[] = {run.output("batch_rows", count, columns), run.output("batch_twice", count, columns)};
    duet_gather_batch_inputs inputs = DUET_GATHER_BATCH_INPUTS_INIT;
    inputs.sources = sources, inputs.source_count = 2, inputs.labels = labels.vector(),
    inputs.indices = indices.vector();
    run.call(duet_gather_batch(
        run.context, &inputs,
        sized<duet_gather_batch_outputs>({.rows = rows, .labels = run.integers("batch_labels", count)})));
    if (const duet_matrix grad = run.gradient("grad_source", source_rows, columns); grad.data)
      run.call(duet_gather_backward(run.context, sized<duet_gather_inputs>({.indices = indices.vector()}),
                                    sized<duet_gather_gradients>({.grad_rows = g.matrix(), .grad_source = grad})));
  });
  c.expect([&](const Values& value) {
    Doubles grad(static_cast<size_t>(source_rows * columns)), of_labels;
    const Doubles upstream = value(g);
    for (int64_t i = 0; i < count; ++i) {
      of_labels.push_back(labels.at(list[static_cast<size_t>(i)]));
      for (int64_t k = 0; k < columns; ++k)
        grad[static_cast<size_t>(list[static_cast<size_t>(i)] * columns + k)] +=
            upstream[static_cast<size_t>(i * columns + k)];
    }
    const Doubles rows = reference::gather(source.values(), columns, list);
    return std::vector<Expected>{{"rows", rows},
                                 {"labels", of_labels},
                                 {"grad_source", grad},
                                 {"batch_rows", rows},
                                 {"batch_twice", reference::gather(twice.values(), columns, list)},
                                 {"batch_labels", of_labels}};
  });
}

void weighted_mean(Case& c) {
  const int64_t size = c.extent();
  Floats &values = c.rows(size, 1), &weights = c.weights(size), &divisor = c.constant(c.one_of({0.0, 1.0, 17.5, -3.0})),
         &upstream = c.constant(c.draw.normal());
  Floats plain(size, 1);
  plain.assign(values.values());
  const bool has_weights = c.coin(0.7), has_divisor = c.coin();
  const duet_vector of_weights = has_weights ? weights.vector() : duet_vector{},
                    of_divisor = has_divisor ? divisor.vector() : duet_vector{};
  c.run([&](Run& run) {
    run.call(duet_weighted_mean_forward(
        run.context,
        sized<duet_weighted_mean_inputs>({.values = plain.vector(), .weights = of_weights, .divisor = of_divisor}),
        sized<duet_weighted_mean_outputs>({.loss = run.output("loss", 1)})));
    if (const duet_vector grad = run.gradient("grad_values", size); grad.data || size == 0)
      run.call(duet_weighted_mean_backward(
          run.context, sized<duet_weighted_mean_inputs>({.weights = of_weights, .divisor = of_divisor}),
          sized<duet_weighted_mean_gradients>({.grad_loss = upstream.vector(), .grad_values = grad})));
  });
  c.expect([&](const Values& value) {
    const Doubles w = has_weights ? value(weights) : Doubles();
    const double by = has_divisor ? divisor.at(0) : static_cast<double>(size);
    return std::vector<Expected>{
        {"loss", {reference::weighted_mean(value(plain), w, by)}},
        {"grad_values", reference::weighted_mean_backward(w, static_cast<size_t>(size), by, upstream.at(0))}};
  });
}

void weighted_sum(Case& c) {
  const int64_t count = c.draw.integer(0, 20);
  Floats &terms = c.rows(count, 1), &weights = c.weights(count), &upstream = c.constant(c.draw.normal());
  const auto scalars = [&](Floats& of) {
    std::vector<duet_const_vector> out;
    for (int64_t k = 0; k < count; ++k) out.push_back(duet_f32_const_vector(&of.at(k), 1));
    return out;
  };
  const auto of_terms = scalars(terms), of_weights = scalars(weights);
  c.run([&](Run& run) {
    run.call(duet_weighted_sum_forward(
        run.context,
        sized<duet_weighted_sum_inputs>({.terms = of_terms.data(), .weights = of_weights.data(), .count = count}),
        sized<duet_weighted_sum_outputs>({.total = run.output("total", 1)})));
    std::vector<duet_vector> gradients;
    for (int64_t k = 0; k < count; ++k) gradients.push_back(run.gradient("grad_term" + std::to_string(k), 1));
    run.call(duet_weighted_sum_backward(
        run.context, sized<duet_weighted_sum_inputs>({.weights = of_weights.data(), .count = count}),
        sized<duet_weighted_sum_gradients>({.grad_total = upstream.vector(), .grad_terms = gradients.data()})));
  });
  c.expect([&](const Values& value) {
    const Doubles t = value(terms), w = value(weights);
    std::vector<Expected> out{{"total", {reference::weighted_mean(t, w, 1)}}};
    for (size_t k = 0; k < w.size(); ++k) out.push_back({"grad_term" + std::to_string(k), {upstream.at(0) * w[k]}});
    return out;
  });
}

// Means over one number of rows, so that a gradient can stand in several of them.
void terms(Case& c) {
  const int64_t size = c.extent();
  struct Mean {
    Floats *values, *weights, *divisor;  // null: not given
    std::string gradient;
  };
  std::vector<Mean> means;
  std::vector<Floats*> of_terms;
  std::vector<int64_t> means_of_term;
  for (int64_t count = c.draw.integer(0, 6); count > 0; --count) {
    of_terms.push_back(&c.constant(c.one_of({0.0, 1.0, -0.7, 3.0})));
    means_of_term.push_back(c.draw.integer(1, 2));
    for (int64_t m = 0; m < means_of_term.back(); ++m) {
      Floats& rows = c.rows(size, 1);
      Floats plain(size, 1);
      plain.assign(rows.values());
      const std::string gradient =
          !means.empty() && c.coin(0.3) ? means.back().gradient : "grad" + std::to_string(means.size());
      means.push_back({&c.keep(std::move(plain)), c.coin(0.7) ? &c.weights(size) : nullptr,
                       c.coin() ? &c.constant(c.one_of({0.0, 1.0, 17.5, -3.0})) : nullptr, gradient});
    }
  }
  Floats& upstream = c.constant(c.draw.normal());
  c.run([&](Run& run) {
    std::vector<duet_term> terms;
    std::vector<duet_mean> views;
    std::vector<duet_vector> gradients;
    for (size_t k = 0; k < of_terms.size(); ++k) terms.push_back({of_terms[k]->vector(), means_of_term[k]});
    for (const Mean& mean : means) {
      views.push_back({mean.values->vector(), mean.weights ? mean.weights->vector() : duet_vector{},
                       mean.divisor ? mean.divisor->vector() : duet_vector{}});
      const bool again = !gradients.empty() && mean.gradient == (&mean - 1)->gradient;
      gradients.push_back(again ? gradients.back() : run.gradient(mean.gradient, size));
    }
    duet_terms_inputs inputs = DUET_TERMS_INPUTS_INIT;
    inputs.terms = terms.data(), inputs.term_count = static_cast<int64_t>(terms.size());
    inputs.means = views.data(), inputs.mean_count = static_cast<int64_t>(views.size());
    run.call(duet_terms_forward(run.context, &inputs,
                                sized<duet_terms_outputs>({.losses = run.output("losses", inputs.term_count),
                                                           .total = run.output("total", 1)})));
    run.call(duet_terms_backward(
        run.context, &inputs,
        sized<duet_terms_gradients>({.grad_total = upstream.vector(), .grad_values = gradients.data()})));
  });
  c.expect([&](const Values& value) {
    const auto rounded = [](double x) {
      return double{static_cast<float>(x)};
    };  // as losses are kept, so that they are infinite where those are
    // What is added and may cancel is off by three roundings of its parts.
    constexpr double kRoundings = 3 * 0x1p-24;
    const auto off_by = [](double part) { return std::isfinite(part) ? kRoundings * std::abs(part) : 0; };
    Expected losses{"losses", {}}, total{"total", {0}};
    std::vector<Expected> grads;
    for (size_t k = 0, m = 0; k < of_terms.size(); ++k) {
      const double weight = of_terms[k]->at(0);
      reference::Term term{weight, {}};
      for (int64_t p = 0; p < means_of_term[k]; ++p, ++m)
        term.means.push_back({value(*means[m].values), means[m].weights ? value(*means[m].weights) : Doubles(),
                              means[m].divisor ? means[m].divisor->at(0) : static_cast<double>(size)});
      const bool both = term.means.size() == 2;
      const double first = rounded(term.means[0].value()), second = both ? rounded(term.means[1].value()) : 0;
      losses.values.push_back(both ? rounded(0.5 * first + 0.5 * second) : first);
      losses.floors.push_back(off_by(first) + off_by(second));
      if (weight != 0) total.values[0] += weight * losses.values.back();
      if (weight != 0) total.floor += std::abs(weight) * losses.floors.back();
      for (size_t p = 0; p < term.means.size(); ++p) {
        const std::string& name = means[m - term.means.size() + p].gradient;
        const auto zeros = Doubles(static_cast<size_t>(size));
        if (grads.empty() || grads.back().name != name) grads.push_back({name, zeros, 0, zeros});
        const Doubles share = term.gradient(p, upstream.at(0));
        for (size_t e = 0; e < share.size(); ++e)
          grads.back().values[e] += share[e], grads.back().floors[e] += off_by(share[e]);
      }
    }
    std::vector<Expected> out{losses, total};
    out.insert(out.end(), grads.begin(), grads.end());
    return out;
  });
}

void random_draw(Case& c) {
  const int64_t size = c.extent();
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  draw.seed = static_cast<uint64_t>(c.draw.integer(0, INT64_MAX)),
  draw.stream = static_cast<uint32_t>(c.draw.integer(0, 1 << 20));
  draw.step = static_cast<uint32_t>(c.draw.integer(0, 1 << 20));
  draw.first_element = static_cast<uint64_t>(c.one_of<int64_t>({0, 1, 2, 3, 1001, (int64_t{1} << 34) - 2, INT64_MAX}));
  const float low = c.one_of({0.0f, -1.0f, -3.5f}), high = c.one_of({1.0f, 3.25f, 1e30f});
  draw.low = low, draw.high = high;
  c.run([&](Run& run) {
    run.call(
        duet_random_words(run.context, &draw, sized<duet_random_words_outputs>({.words = run.words("words", size)})));
    run.call(duet_random_uniform(run.context, &draw,
                                 sized<duet_random_uniform_outputs>({.values = run.output("uniform", size)})));
  });
  c.expect([&](const Values&) {
    Expected words{"words", {}}, uniform{"uniform", {}};
    for (int64_t e = 0; e < size; ++e) {
      const uint32_t word =
          reference::random_word(draw.seed, draw.stream, draw.step, draw.first_element + static_cast<uint64_t>(e));
      words.values.push_back(word);
      uniform.values.push_back(low + (double{high} - low) * (word + 0.5) / 4294967296.0);
    }
    return std::vector<Expected>{words, uniform};
  });
}

void supervision(Case& c) {
  const int64_t samples = c.extent(), classes = c.extent(1);
  Ints& labels = c.labels(samples, classes);
  Longs ids(samples, 1), epoch(1, 1);
  for (int64_t i = 0; i < samples; ++i) ids.at(i) = c.draw.integer(0, int64_t{1} << 40);
  epoch.fill(static_cast<double>(c.draw.integer(0, 50)));
  Floats &logits_a = c.rows(samples, classes), &logits_v = c.rows(samples, classes),
         &prior = c.keep(c.draw.distributions(1, classes));
  Floats &ratio = c.constant(c.one_of({0.0, 0.3, 0.65, 1.0})), &predicted = c.keep(Floats(classes, 1)),
         &concord = c.constant(c.one_of({0.0, 0.4, 1.0}));
  if (c.coin())
    for (int64_t i = 0; i < samples; ++i)
      for (int64_t k = 0; k < classes; ++k) logits_v.at(i, k) = logits_a.at(i, k);  // heads that agree
  predicted.fill(1.0 / static_cast<double>(classes));
  duet_supervision_inputs inputs = DUET_SUPERVISION_INPUTS_INIT;
  inputs.labels = labels.vector(), inputs.sample_ids = ids.vector(), inputs.logits_a = logits_a.matrix(),
  inputs.logits_v = logits_v.matrix();
  inputs.prior = {prior.data(), classes, DUET_DTYPE_F32}, inputs.ratio = ratio.vector(), inputs.epoch = epoch.vector();
  inputs.seed = static_cast<uint64_t>(c.draw.integer(0, INT64_MAX));
  inputs.hide = c.coin(), inputs.lift = c.coin(), inputs.trust = c.coin();
  inputs.unread = c.one_of({0.0, 0.3, 1.0}), inputs.generality = c.one_of({0.0, 0.7, 1.0});
  LabelTable table = draw_label_table(c.draw, classes + c.draw.integer(0, 2), classes, 0.3, c.padding());
  const bool sets = c.coin(0.3);
  if (sets)
    inputs.label_sets = table.words.matrix();
  else
    table.sets = {};
  c.describe("label_sets", sets);
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_supervision_workspace(run.context, &inputs, bytes); });
    duet_supervision_state state = DUET_SUPERVISION_STATE_INIT;
    state.predicted = run.state("predicted", predicted), state.concord = run.state("concord", concord);
    duet_supervision_outputs out = DUET_SUPERVISION_OUTPUTS_INIT;
    out.class_q = run.output("class_q", samples, classes);
    out.trust = run.output("trust", samples), out.kappa = run.output("kappa", samples),
    out.annotated = run.output("annotated", samples);
    out.hidden_trust = run.output("hidden_trust", samples), out.counts = run.output("counts", 2),
    out.pair_weight = run.output("pair_weight", 1);
    out.anchor_weight = run.output("anchor_weight", samples);
    run.call(duet_supervision_forward(run.context, &inputs, &state, &out, scratch));
  });
  c.expect([&](const Values& value) {
    reference::SupervisionBatch batch;
    for (int64_t i = 0; i < samples; ++i) batch.labels.push_back(labels.at(i)), batch.sample_ids.push_back(ids.at(i));
    batch.logits_a = value(logits_a), batch.logits_v = value(logits_v), batch.prior = value(prior);
    batch.ratio = ratio.at(0), batch.epoch = static_cast<uint32_t>(epoch.at(0)), batch.seed = inputs.seed;
    batch.hide = inputs.hide, batch.lift = inputs.lift, batch.trust = inputs.trust;
    // As the call takes them: float32 numbers.
    batch.momentum = inputs.momentum, batch.largest_lift = inputs.largest_lift,
    batch.unannotated_kappa = inputs.unannotated_kappa, batch.pair_weight_scale = inputs.pair_weight_scale,
    batch.unread = inputs.unread, batch.generality = inputs.generality;
    batch.label_sets = table.sets;
    // Concord is kept in float32, off by 2^-25 at most; w moves 3 (1 + 8) times as fast where it is steepest.
    constexpr double kPairWeightFloor = 27 * 0x1p-25;
    Doubles u = predicted.values();
    double agreed = concord.at(0);
    auto out = reference::supervision(batch, u, agreed);
    // NaN logits give NaN q and trust 0, and with them u: of such a batch the reference has no more to say, but for the
    // split.
    bool known = true;
    for (const Doubles* logits : {&batch.logits_a, &batch.logits_v})
      for (const double z : *logits) known = known && std::isfinite(z);
    if (!known)
      for (Doubles* unknown : {&u, &out.class_q, &out.trust, &out.hidden_trust, &out.pair_weight})
        unknown->assign(unknown->size(), kNaN);
    return std::vector<Expected>{{"predicted", u},
                                 {"concord", {known ? agreed : kNaN}},
                                 {"class_q", out.class_q},
                                 {"trust", out.trust},
                                 {"kappa", out.kappa},
                                 {"annotated", out.annotated},
                                 {"hidden_trust", out.hidden_trust},
                                 {"counts", out.counts},
                                 {"pair_weight", out.pair_weight, kPairWeightFloor},
                                 {"anchor_weight", out.anchor_weight}};
  });
}

namespace {

// Some parameter tensors with all that a step reads of them.
struct Slots {
  std::vector<int64_t> sizes;
  std::vector<Floats*> parameter, gradient, first, second, teacher;
  std::vector<bool> has_teacher;
  std::vector<float> decays, lows, highs;  // of a call that has options for each slot; else empty
  Ints apply = Ints(1, 1).fill(1);
  Floats scale = Floats(1, 1).fill(1);
  bool has_apply = false;
  explicit Slots(Case& c) {
    for (int64_t slots = c.draw.integer(0, 4); slots > 0; --slots) {
      const int64_t size = c.extent();
      const auto vector = [&] {
        Floats& rows = c.rows(size, 1);
        Floats plain(size, 1);
        plain.assign(rows.values());
        return &c.keep(std::move(plain));
      };
      sizes.push_back(size), parameter.push_back(vector()), gradient.push_back(vector()),
          first.push_back(&c.weights(size));
      second.push_back(&c.weights(size)), teacher.push_back(&c.weights(size)), has_teacher.push_back(c.coin());
      for (int64_t k = 0; k < size; ++k) second.back()->at(k) = std::abs(second.back()->at(k));
    }
  }
  template <class Options>
  void draw_options(Case& c, Options& options) {
    if (c.coin()) {
      for (size_t k = 0; k < sizes.size(); ++k) {
        decays.push_back(c.one_of({0.0f, 1.0f}));
        lows.push_back(c.one_of({-std::numeric_limits<float>::infinity(), -0.5f})),
            highs.push_back(c.one_of({std::numeric_limits<float>::infinity(), 0.25f}));
      }
      options.slot_decay = decays.data(), options.slot_low = lows.data(), options.slot_high = highs.data();
    }
    has_apply = c.coin();
    if (has_apply) apply.at(0) = c.coin(0.7), options.apply = apply.vector();
    if (c.coin()) scale.at(0) = c.one_of({0.0f, 0.3f, 1.0f}), options.gradient_scale = scale.vector();
  }
  std::vector<duet_optimizer_slot> give(Run& run, bool second_moment) const {
    std::vector<duet_optimizer_slot> out;
    for (size_t k = 0; k < sizes.size(); ++k) {
      const std::string name = "slot" + std::to_string(k);
      duet_optimizer_slot slot = {};
      slot.parameter = run.state(name + ".parameter", *parameter[k]), slot.gradient = gradient[k]->vector();
      slot.first_moment = run.state(name + ".first_moment", *first[k]);
      if (second_moment) slot.second_moment = run.state(name + ".second_moment", *second[k]);
      if (has_teacher[k]) slot.teacher = run.state(name + ".teacher", *teacher[k]);
      out.push_back(slot);
    }
    return out;
  }
  std::vector<Expected> expected(
      const Values& value,
      const std::function<void(reference::OptimizerState&, const Doubles&, float decays)>& step) const {
    std::vector<Expected> out;
    for (size_t k = 0; k < sizes.size(); ++k) {
      const std::string name = "slot" + std::to_string(k);
      reference::OptimizerState state{value(*parameter[k]), value(*first[k]), value(*second[k]),
                                      has_teacher[k] ? value(*teacher[k]) : Doubles()};
      if (apply.at(0) != 0) {
        Doubles scaled = value(*gradient[k]);
        for (double& g : scaled) g *= double{scale.at(0)};
        step(state, scaled, decays.empty() ? 1 : decays[k]);
        for (Doubles* values : {&state.parameter, &state.teacher})
          for (double& x : *values)
            if (!lows.empty()) x = std::clamp<double>(x, lows[k], highs[k]);
      }
      out.push_back({name + ".parameter", state.parameter});
      out.push_back({name + ".first_moment", state.first_moment});
      out.push_back({name + ".second_moment", state.second_moment});
      out.push_back({name + ".teacher", state.teacher});
    }
    return out;
  }
};

}  // namespace

void adamw(Case& c) {
  Slots slots(c);
  Floats& rate = c.constant(c.one_of({0.0, 1e-3, 0.1}));
  Longs step(1, 1);
  step.fill(static_cast<double>(c.one_of<int64_t>({1, 2, 1000, 1'000'000})));
  duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
  options.beta1 = c.one_of({0.0f, 0.9f}), options.beta2 = c.one_of({0.5f, 0.999f}),
  options.decay = c.one_of({0.0f, 1e-3f});
  options.teacher_momentum = c.one_of({0.0f, 0.95f, 1.0f});
  slots.draw_options(c, options);
  c.run([&](Run& run) {
    const auto given = slots.give(run, true);
    run.call(adamw_step(run.context, given.data(), static_cast<int64_t>(given.size()), options, rate.vector(),
                        step.vector()));
  });
  c.expect([&](const Values& value) {
    return slots.expected(value, [&](auto& state, const Doubles& g, float decays) {
      duet_adamw_inputs of_slot = options;
      of_slot.decay *= decays;
      reference::adamw(state, g, of_slot, rate.at(0), step.at(0));
    });
  });
}

void sgd(Case& c) {
  Slots slots(c);
  Floats& rate = c.constant(c.one_of({0.0, 1e-3, 0.1}));
  duet_sgd_inputs options = DUET_SGD_INPUTS_INIT;
  options.momentum = c.one_of({0.0f, 0.9f}), options.decay = c.one_of({0.0f, 1e-3f}),
  options.teacher_momentum = c.one_of({0.0f, 0.95f, 1.0f});
  slots.draw_options(c, options);
  c.run([&](Run& run) {
    const auto given = slots.give(run, false);
    run.call(sgd_step(run.context, given.data(), static_cast<int64_t>(given.size()), options, rate.vector()));
  });
  c.expect([&](const Values& value) {
    return slots.expected(value, [&](auto& state, const Doubles& g, float decays) {
      duet_sgd_inputs of_slot = options;
      of_slot.decay *= decays;
      reference::sgd(state, g, of_slot, rate.at(0));
    });
  });
}

}  // namespace duet::test::backends
