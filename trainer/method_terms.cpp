// METHOD.md 6.1 to 6.11 as calls of operations: what the student and the teacher say of a batch, what is taken for
// true, the loss terms, and whether they may change anything.
#include <algorithm>
#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/core/error.h"
#include "trainer/method.h"
#include "trainer/ranked_losses.h"

namespace duet {
namespace {

duet_triplet_mining mining_kind(const std::string& name) {
  return name == "all"        ? DUET_TRIPLET_MINING_ALL
         : name == "hard"     ? DUET_TRIPLET_MINING_HARD
         : name == "semihard" ? DUET_TRIPLET_MINING_SEMIHARD
                              : DUET_TRIPLET_MINING_DISTANCE_WEIGHTED;
}

duet_contrastive_kind pair_kind(const std::string& name) {
  return name == "infonce"          ? DUET_CONTRASTIVE_KIND_INFONCE
         : name == "multi_positive" ? DUET_CONTRASTIVE_KIND_MULTI_POSITIVE
         : name == "sigmoid"        ? DUET_CONTRASTIVE_KIND_SIGMOID
         : name == "decoupled"      ? DUET_CONTRASTIVE_KIND_DECOUPLED
         : name == "circle"         ? DUET_CONTRASTIVE_KIND_CIRCLE
                                    : DUET_CONTRASTIVE_KIND_NTXENT;
}

}  // namespace

// The encoders side by side, then the heads of both modalities at once: the student's, and beside it the teacher's.
void TrainingStep::read(const Batch& batch, Heads& student, Heads& teacher) {
  if (ranked_) return read_parts(batch, student, teacher);
  const EncoderPair& encoders = model_.encoders();
  const ParameterView of_student = model_.parameters().student(), of_teacher = model_.parameters().teacher();
  const Tensor &x_a = batch.x_a[0], &x_v = batch.x_v[0];
  Tensor student_a, student_v, teacher_a, teacher_v;
  const auto read_student_a = [&] { student_a = encoders.outputs_a(tape_, of_student, x_a, training_mode(0)); };
  const auto read_student_v = [&] { student_v = encoders.outputs_v(tape_, of_student, x_v, training_mode(0)); };
  const auto read_teacher_a = [&] {
    const NoGradient no_gradient(tape_);
    teacher_a = encoders.outputs_a(tape_, of_teacher, x_a, Mode::evaluation());
  };
  const auto read_teacher_v = [&] {
    const NoGradient no_gradient(tape_);
    teacher_v = encoders.outputs_v(tape_, of_teacher, x_v, Mode::evaluation());
  };
  const auto student_heads = [&] { student = classify(of_student, student_a, student_v); };
  const auto teacher_heads = [&] {
    const NoGradient no_gradient(tape_);
    teacher = classify(of_teacher, teacher_a, teacher_v);
  };
  if (psd_) {
    tape_.side_by_side(Tape::Passes::both, read_student_v, read_student_a, read_teacher_v, read_teacher_a);
    tape_.side_by_side(Tape::Passes::forward, teacher_heads, student_heads);
  } else {
    tape_.side_by_side(Tape::Passes::both, read_student_v, read_student_a);
    student_heads();
    teacher.a.logits = teacher.v.logits = no_logits_.tensor().row_part(0, batch.rows.size);
  }
}

// Of the rows that lie from first_row of the batch on.
Mode TrainingStep::training_mode(int64_t first_row) const {
  return Mode::train(static_cast<uint64_t>(config_.seed), {integers_.data() + kStep, 1}, first_row);
}

TrainingStep::Heads TrainingStep::classify(const ParameterView& parameters, const Tensor& a, const Tensor& v) {
  const std::span<const ops::Head> heads = model_.classifier().forward(tape_, parameters, {a, v});
  return {heads[0], heads[1]};
}

// The rank's parts one after another, then what the others say of theirs: unit rows, and the teacher's logits. The
// student's logits stay with the parts, each of which adds its cross-entropy.
void TrainingStep::read_parts(const Batch& batch, Heads& student, Heads& teacher) {
  const EncoderPair& encoders = model_.encoders();
  const size_t count = batch.parts.size();
  const auto list = [&] { return std::span<Tensor>(tape_.host_array<Tensor>(std::ssize(batch.parts)), count); };
  const std::span<Tensor> student_a = list(), student_v = list(), teacher_a = list(), teacher_v = list(),
                          logits_a = list(), logits_v = list();
  for (size_t k = 0; k < count; ++k) {
    const ParameterView of_student = ranked_->student(k), of_teacher = model_.parameters().teacher();
    const Mode mode = training_mode(batch.parts[k].first);
    const Tensor a = encoders.outputs_a(tape_, of_student, batch.x_a[k], mode),
                 v = encoders.outputs_v(tape_, of_student, batch.x_v[k], mode);
    const Heads heads = classify(of_student, a, v);
    student_a[k] = heads.a.embeddings, student_v[k] = heads.v.embeddings;
    batch.logits_a[k] = heads.a.logits, batch.logits_v[k] = heads.v.logits;
    if (!psd_) continue;
    const NoGradient no_gradient(tape_);
    const Heads of = classify(of_teacher, encoders.outputs_a(tape_, of_teacher, batch.x_a[k], Mode::evaluation()),
                              encoders.outputs_v(tape_, of_teacher, batch.x_v[k], Mode::evaluation()));
    teacher_a[k] = of.a.embeddings, teacher_v[k] = of.v.embeddings;
    logits_a[k] = of.a.logits, logits_v[k] = of.v.logits;
  }
  const int64_t d = config_.embedding_dim;
  student.a.embeddings = ranked_->collect(tape_, student_a, d);
  student.v.embeddings = ranked_->collect(tape_, student_v, d);
  if (!psd_) {
    ranked_->gather({student.a.embeddings, student.v.embeddings});
    teacher.a.logits = teacher.v.logits = no_logits_.tensor().row_part(0, batch.rows.size);
    return;
  }
  const NoGradient no_gradient(tape_);
  teacher = {{ranked_->collect(tape_, teacher_a, d), ranked_->collect(tape_, logits_a, classes_)},
             {ranked_->collect(tape_, teacher_v, d), ranked_->collect(tape_, logits_v, classes_)}};
  // Of the teacher's rows of the first modality the losses read the rank's own.
  ranked_->gather(
      {student.a.embeddings, student.v.embeddings, teacher.v.embeddings, teacher.a.logits, teacher.v.logits});
}

// Of all rows: those of the first modality, and of the second.
std::pair<Tensor, Tensor> TrainingStep::cross_entropies(const Batch& batch, const Heads& student,
                                                        const Tensor& class_q) {
  const int64_t n = class_q.rows;
  if (!ranked_) {
    const Tensor both = ops::cross_entropy_terms(tape_, {student.a.logits, student.v.logits}, class_q);
    return {both.row_part(0, n), both.row_part(n, n)};
  }
  const size_t count = batch.parts.size();
  const std::span<Tensor> of_a(tape_.host_array<Tensor>(std::ssize(batch.parts)), count),
      of_v(tape_.host_array<Tensor>(std::ssize(batch.parts)), count);
  for (size_t k = 0; k < count; ++k) {
    const BatchPart& part = batch.parts[k];
    const Tensor both = ops::cross_entropy_terms(tape_, {batch.logits_a[k], batch.logits_v[k]}, part.of(class_q));
    of_a[k] = both.row_part(0, part.count), of_v[k] = both.row_part(part.count, part.count);
  }
  const Tensor all_a = ranked_->collect(tape_, of_a, 1), all_v = ranked_->collect(tape_, of_v, 1);
  ranked_->gather({all_a, all_v});
  return {all_a, all_v};
}

// METHOD.md 6.4 and 6.10's weights. The baselines go the same way with nothing hidden; they have no teacher to ask, and
// what they would hear of it they do not use.
TrainingStep::Supervision TrainingStep::supervise(const Batch& batch, const Heads& teacher) {
  const int64_t n = batch.rows.size;
  duet_supervision_inputs inputs = DUET_SUPERVISION_INPUTS_INIT;
  inputs.labels = batch.labels.vector();
  inputs.label_sets = label_sets();
  inputs.sample_ids = batch.rows.vector();
  inputs.logits_a = teacher.a.logits.matrix();
  inputs.logits_v = teacher.v.logits.matrix();
  inputs.prior = prior_.tensor().vector();
  inputs.ratio = mail_value(kRatio).vector();
  inputs.epoch = duet_i64_vector(integers_.data() + kEpoch, 1);
  inputs.seed = static_cast<uint64_t>(config_.seed);
  inputs.hide = psd_ && config_.hide_labels;
  inputs.lift = psd_ && config_.lift;
  inputs.trust = psd_ && config_.trust;
  inputs.momentum = static_cast<float>(config_.supervision_momentum);
  inputs.largest_lift = static_cast<float>(config_.largest_lift);
  inputs.unannotated_kappa = static_cast<float>(config_.unannotated_kappa);
  inputs.pair_weight_scale = static_cast<float>(config_.pair_weight);
  inputs.unread = evidence_.unread;
  inputs.generality = evidence_.pairs_generalise;

  duet_supervision_state state = DUET_SUPERVISION_STATE_INIT;
  state.predicted = predicted_.tensor().vector();
  state.concord = concord_.tensor().vector();

  Supervision made{tape_.make(n, classes_), tape_.make(n), tape_.make(n), tape_.make(n), tape_.make(n), {}, {},
                   tape_.make(1),           tape_.make(n)};
  const Tensor counts = tape_.make(2);
  made.annotated_count = counts.row_part(0, 1);
  made.other_count = counts.row_part(1, 1);
  duet_supervision_outputs outputs = DUET_SUPERVISION_OUTPUTS_INIT;
  outputs.class_q = made.class_q.matrix();
  outputs.trust = made.trust.vector();
  outputs.kappa = made.kappa.vector();
  outputs.annotated = made.annotated.vector();
  outputs.hidden_trust = made.hidden_trust.vector();
  outputs.counts = counts.vector();
  outputs.pair_weight = made.pair_weight.vector();
  outputs.anchor_weight = made.anchor_weight.vector();
  outputs.predicted = next_predicted_.tensor().vector();
  outputs.concord = next_concord_.tensor().vector();
  succeed(duet_supervision_forward(context(), &inputs, &state, &outputs,
                                   tape_.workspace(duet_supervision_workspace, inputs)));
  return made;
}

// T of METHOD.md 3 with anchors in x: by agreement for psd, by the labels that are known for `triplet`.
Tensor TrainingStep::triplet(const Tensor& x, const Tensor& y, const Batch& batch, const Supervision& supervision) {
  duet_triplet_inputs options = DUET_TRIPLET_INPUTS_INIT;
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  options.metric = DUET_METRIC_SQEUCLIDEAN;
  options.margin = static_cast<float>(config_.margin);
  options.group_x = options.group_y = batch.groups.vector();
  if (psd_) {
    options.mining = DUET_TRIPLET_MINING_ALL;
    options.class_x = options.class_y = supervision.class_q.matrix();
    options.trust_x = options.trust_y = supervision.trust.vector();
    if (several_) options.annotated_x = options.annotated_y = supervision.annotated.vector();
    options.paired = 1;
  } else {
    options.mining = mining_kind(config_.mining);
    options.labels_x = options.labels_y = batch.labels.vector();
    options.label_sets = label_sets();
    if (options.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) {
      draw.seed = static_cast<uint64_t>(config_.seed);
      draw.step = duet_i64_const_vector(integers_.data() + kStep, 1);
      draw.slots = config_.mining_slots;
      options.draw = &draw;
    }
  }
  return ranked_ ? ranked_triplet(tape_, *ranked_, x, y, options) : ops::triplet(tape_, x, y, options);
}

Tensor TrainingStep::distillation(const Heads& student, const Heads& teacher, const Tensor& scale, const Batch& batch,
                                  const Supervision& supervision) {
  duet_distillation_inputs options = DUET_DISTILLATION_INPUTS_INIT;
  options.group_a = options.group_v = batch.groups.vector();
  options.teacher_a = teacher.a.embeddings.matrix();
  options.teacher_v = teacher.v.embeddings.matrix();
  options.class_a = options.class_v = supervision.class_q.matrix();
  options.trust_a = options.trust_v = supervision.trust.vector();
  if (several_) options.annotated_a = options.annotated_v = supervision.annotated.vector();
  options.kappa_a = options.kappa_v = supervision.kappa.vector();
  options.teacher_scale = constant(kTeacherScale).vector();
  options.paired = 1;
  const Tensor &a = student.a.embeddings, &v = student.v.embeddings;
  return ranked_ ? ranked_distillation_terms(tape_, *ranked_, a, v, scale, options)
                 : ops::distillation_terms(tape_, a, v, scale, options);
}

// L_pair's rows and columns, of the loss that pair_loss names (METHOD.md 6.10).
Tensor TrainingStep::contrastive(const Tensor& a, const Tensor& v, const Tensor& scale, const Batch& batch,
                                 const Supervision& supervision) {
  duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
  options.kind = pair_kind(config_.pair_loss);
  options.group_a = options.group_v = batch.groups.vector();
  if (psd_) {
    options.grad_factor_a = constant(kGradientShareA).vector();
    options.grad_factor_v = constant(kGradientShareV).vector();
  }
  Tensor bias;
  switch (options.kind) {
    case DUET_CONTRASTIVE_KIND_MULTI_POSITIVE:
      // The baseline has no teacher to ask for the class of a row without a label.
      if (psd_) {
        options.class_a = options.class_v = supervision.class_q.matrix();
        options.trust_a = options.trust_v = supervision.trust.vector();
        if (several_) options.annotated_a = options.annotated_v = supervision.annotated.vector();
        options.paired = 1;
      } else if (labelled_) {
        options.labels_a = options.labels_v = batch.labels.vector();
        options.label_sets = label_sets();
      }
      break;
    case DUET_CONTRASTIVE_KIND_SIGMOID:
      bias = model_.learned_bias() ? model_.parameters().student()[*model_.learned_bias()] : constant(kPairBias);
      break;
    case DUET_CONTRASTIVE_KIND_CIRCLE: options.margin = static_cast<float>(config_.pair_margin); [[fallthrough]];
    case DUET_CONTRASTIVE_KIND_NTXENT:
      if (!labelled_) break;
      options.labels_a = options.labels_v = batch.labels.vector();
      options.label_sets = label_sets();
      break;
    default: break;
  }
  return ranked_ && can_be_shared_out(options.kind)
             ? ranked_contrastive_terms(tape_, *ranked_, a, v, scale, bias, options)
             : ops::contrastive_terms(tape_, a, v, scale, bias, options);
}

// METHOD.md 6.5 to 6.11.
TrainingStep::Terms TrainingStep::add_up(const Batch& batch, const Heads& student, const Heads& teacher,
                                         const Supervision& supervision) {
  Terms terms;
  std::vector<ops::LossTerm>& added = added_;
  added.clear();
  std::array<int64_t, kMostReported> places;
  // A loss in its parts. It is a reason for the step where its weight is above 0 and, where something is counted, that
  // is above more_than.
  struct Applies {
    Tensor weight, counted = {};
    float more_than = 0;
  };
  const auto add = [&](Loss loss, const Applies& applies, std::initializer_list<ops::LossTerm> parts) {
    terms.reasons[static_cast<size_t>(terms.reason_count++)] = {applies.weight.vector(), applies.counted.vector(),
                                                                applies.more_than};
    int64_t place = reported_at(loss);
    for (const ops::LossTerm& part : parts) {
      places[added.size()] = place++;
      added.push_back(part);
    }
  };
  const Tensor &a = student.a.embeddings, &v = student.v.embeddings;
  const int64_t n = a.rows;
  const Tensor scale =
      model_.learned_scale() ? model_.learned_scale()->forward(tape_, model_.parameters().student()) : constant(kScale);

  const bool crosses = (psd_ || triplet_) && config_.cross_weight > 0, distils = psd_ && config_.kl_weight > 0;
  const bool pairs = contrastive_ || (psd_ && config_.pair_weight > 0),
             decorrelates = psd_ && config_.decorrelation_weight > 0;
  Tensor ce_a, ce_v, cross_av, cross_va, divergences, losses, correlation;
  const auto by_class = [&] { std::tie(ce_a, ce_v) = cross_entropies(batch, student, supervision.class_q); };
  const auto from_a = [&] {
    if (crosses) cross_av = triplet(a, v, batch, supervision);
  };
  const auto from_v = [&] {
    if (crosses) cross_va = triplet(v, a, batch, supervision);
  };
  const auto by_pair = [&] {
    if (distils) divergences = distillation(student, teacher, scale, batch, supervision);
    if (pairs) losses = contrastive(a, v, scale, batch, supervision);
    if (decorrelates) correlation = ops::decorrelation(tape_, a, v);
  };
  // Their backward passes add into the gradients of the same embeddings, one after another.
  tape_.side_by_side(Tape::Passes::forward, by_class, from_a, from_v, by_pair);

  // weight times the cross-entropy of either modality, over the rows that count.
  const auto add_classes = [&](Loss loss, const Tensor& weight, const Tensor& rows, const Tensor& count) {
    add(loss, {weight, count}, {{weight, {ce_a, rows, count}, {}}, {weight, {ce_v, rows, count}, {}}});
  };
  add_classes(Loss::label, constant(kLabelWeight), supervision.annotated, supervision.annotated_count);
  if (psd_ && config_.soft_weight > 0)
    add_classes(Loss::soft, mail_value(kSoftWeight), supervision.hidden_trust, supervision.other_count);
  if (crosses) {
    const Tensor weight = constant(kCrossWeight);
    // Without agreement a triplet takes two rows whose labels are known.
    const Applies applies = psd_ ? Applies{weight} : Applies{weight, supervision.annotated_count, 1};
    add(Loss::cross, applies, {{weight, {cross_av, {}, {}}, {}}, {weight, {cross_va, {}, {}}, {}}});
  }
  if (distils) {
    const Tensor weight = mail_value(kKlWeight);
    add(Loss::kl, {weight}, {ops::both_directions(weight, divergences, n, supervision.trust, supervision.trust)});
  }
  if (pairs) {
    const Tensor weight = psd_ ? supervision.pair_weight : constant(kContrastiveWeight);
    const Tensor anchors = psd_ ? supervision.anchor_weight : Tensor();
    // The sigmoid loss has no columns of its own: a pair is counted once.
    if (losses.rows == n)
      add(Loss::pair, {weight}, {{weight, {losses, anchors, {}}, {}}});
    else
      add(Loss::pair, {weight}, {ops::both_directions(weight, losses, n, anchors, anchors)});
  }
  if (decorrelates) add(Loss::dis, {constant(kDisWeight)}, {{constant(kDisWeight), {correlation, {}, {}}, {}}});
  const auto [total, values] = ops::loss_terms(tape_, added);
  terms.total = terms.reported[kTotal] = total;
  for (size_t k = 0; k < added.size(); ++k)
    terms.reported[static_cast<size_t>(places[k])] = values.row_part(static_cast<int64_t>(k), 1);
  return terms;
}

// A batch may lack everything that the method's terms look at: no label for `label`, and so on. Such a step changes
// nothing, nor does one whose loss is not finite.
void TrainingStep::decide(const Supervision& supervision, const Terms& terms) {
  const std::array<duet_step_move, 2> moves = {{{predicted_.tensor().vector(), next_predicted_.tensor().vector()},
                                                {concord_.tensor().vector(), next_concord_.tensor().vector()}}};
  const Tensor none = tape_.constant(0);
  std::array<duet_const_vector, kMostReported> reported;
  for (size_t k = 0; k < reported.size(); ++k) reported[k] = (terms.reported[k] ? terms.reported[k] : none).vector();
  reported[kConcord] = concord_.tensor().vector();
  reported[kPairWeight] = supervision.pair_weight.vector();

  duet_step_decision decision = DUET_STEP_DECISION_INIT;
  decision.total = terms.total.vector();
  decision.reasons = terms.reasons.data(), decision.reason_count = terms.reason_count;
  decision.moves = moves.data(), decision.move_count = std::ssize(moves);
  decision.reported = reported.data(), decision.reported_count = std::ssize(reported);
  duet_step_counters counters = DUET_STEP_COUNTERS_INIT;
  counters.begun = duet_i64_vector(counters_.data() + kBegun, 1);
  counters.updates = duet_i64_vector(counters_.data() + kUpdates, 1);
  counters.failed = duet_i64_vector(counters_.data() + kFailed, 1);
  duet_step_report report = DUET_STEP_REPORT_INIT;
  report.apply = duet_i32_vector(apply_.data(), 1);
  report.verdicts = matrix_of(verdicts_.data(), kSlots, 1);
  report.values = duet_f32_matrix(reported_.data(), kSlots, kMostReported);
  report.faults = faults_.data();
  succeed(duet_step_decide(context(), &decision, &counters, &report));
}

}  // namespace duet
