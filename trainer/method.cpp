#include "trainer/method.h"

#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/finite.h"

namespace duet {
namespace {

Tensor constant_view(const data::Features& features) {
  return Tensor::view(const_cast<float*>(features.values.data()), features.rows, features.columns);
}

void set(OwningTensor& scalar, double value) { *scalar.data() = static_cast<float>(value); }

duet_triplet_mining mining_kind(const std::string& name) {
  return name == "all"        ? DUET_TRIPLET_ALL
         : name == "hard"     ? DUET_TRIPLET_HARD
         : name == "semihard" ? DUET_TRIPLET_SEMIHARD
                              : DUET_TRIPLET_DISTANCE_WEIGHTED;
}

std::unique_ptr<Optimizer> make_optimizer(const Config& config, ParameterStore& parameters) {
  if (config.optimizer == "sgd") {
    duet_sgd_options options = DUET_SGD_OPTIONS_INIT;
    options.momentum = static_cast<float>(config.momentum);
    options.decay = static_cast<float>(config.weight_decay);
    options.teacher_momentum = static_cast<float>(config.teacher_momentum);
    return std::make_unique<Sgd>(parameters, options);
  }
  duet_adamw_options options = DUET_ADAMW_OPTIONS_INIT;
  options.beta1 = static_cast<float>(config.beta1);
  options.beta2 = static_cast<float>(config.beta2);
  options.eps = static_cast<float>(config.optimizer_eps);
  options.decay = static_cast<float>(config.weight_decay);
  options.teacher_momentum = static_cast<float>(config.teacher_momentum);
  return std::make_unique<AdamW>(parameters, options);
}

double value(const Tensor& term) { return term ? term.item() : 0.0; }

// Of a tensor without padding between its rows, or an absent one.
bool is_finite(const Tensor& tensor) { return !tensor || first_not_finite<float>(tensor.data, tensor.size()) < 0; }

}  // namespace

double annotated_ratio(const Config& config, int64_t epoch) {
  const double progress = std::min(1.0, static_cast<double>(epoch) / (config.ratio_epochs_share * static_cast<double>(config.epochs)));
  return config.ratio_end + (1 - config.ratio_end) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

double distillation_ramp(const Config& config, int64_t epoch) {
  return std::min(1.0, static_cast<double>(epoch) / (config.rho_epochs_share * static_cast<double>(config.epochs)));
}

TrainingStep::TrainingStep(duet_context* context, Model& model, const data::Split& train, std::vector<int32_t> labels, const Evidence& evidence,
                           int64_t steps)
    : context_(context),
      model_(model),
      config_(model.description().config),
      train_(train),
      labels_(std::move(labels)),
      evidence_(evidence),
      classes_(std::max<int64_t>(1, model.description().classes())),
      psd_(config_.method == "psd"),
      triplet_(config_.method == "triplet"),
      contrastive_(config_.method == "contrastive"),
      tape_(context),
      optimizer_(make_optimizer(config_, model.parameters())),
      schedule_{config_.learning_rate, config_.schedule == "cosine" ? Decay::cosine : Decay::constant, config_.warmup_steps,
                config_.learning_rate_final_share},
      steps_(steps),
      prior_(classes_, 1),
      predicted_(classes_, 1),
      next_predicted_(classes_, 1) {
  set(scale_, 1 / config_.temperature);
  set(teacher_scale_, 1 / config_.teacher_temperature);
  set(label_weight_, config_.label_weight);
  set(cross_weight_, config_.cross_weight);
  set(contrastive_weight_, config_.contrastive_weight);
  set(dis_weight_, config_.decorrelation_weight);
  set(gradient_share_a_, evidence_.gradient_share[0]);
  set(gradient_share_v_, evidence_.gradient_share[1]);
  std::vector<double> counts(static_cast<size_t>(classes_));
  double labelled = 0;
  for (const int32_t label : labels_) {
    if (label < 0) continue;
    counts[static_cast<size_t>(label)] += 1;
    labelled += 1;
  }
  for (int64_t c = 0; c < classes_; ++c) {
    prior_.data()[c] = static_cast<float>(labelled > 0 ? counts[static_cast<size_t>(c)] / labelled : 0);
    predicted_.data()[c] = 1.0f / static_cast<float>(classes_);
  }
  start_epoch(0);
}

void TrainingStep::start_epoch(int64_t epoch) {
  epoch_ = epoch;
  const double rho = distillation_ramp(config_, epoch);
  set(ratio_, annotated_ratio(config_, epoch));
  set(kl_weight_, rho * config_.kl_weight);
  set(soft_weight_, rho * config_.soft_weight);
}

TrainingStep::Batch TrainingStep::gather(std::span<const int64_t> rows) {
  const Indices indices{rows.data(), static_cast<int64_t>(rows.size())};
  auto* labels = tape_.array<int32_t>(indices.size);
  const duet_vector source = duet_i32_vector(labels_.data(), static_cast<int64_t>(labels_.size()));
  succeed(duet_gather_labels(context_, source, indices.vector(), duet_i32_vector(labels, indices.size)));
  return {ops::gather(tape_, constant_view(train_.features[0]), indices),
          ops::gather(tape_, constant_view(train_.features[1]), indices),
          {labels, indices.size},
          indices};
}

TrainingStep::Heads TrainingStep::read(const ParameterView& parameters, const Batch& batch, const Mode& mode) {
  const Embeddings embeddings = model_.encoders().forward(tape_, parameters, batch.x_a, batch.x_v, mode);
  return {embeddings, model_.classifier().forward(tape_, parameters, embeddings.a), model_.classifier().forward(tape_, parameters, embeddings.v)};
}

// METHOD.md 6.4 and 6.10's weights. The baselines go the same way with nothing hidden; they have no teacher to ask, and what they would hear of it
// they do not use.
TrainingStep::Supervision TrainingStep::supervise(const Batch& batch, const Heads& teacher) {
  const int64_t n = batch.rows.size;
  duet_supervision_inputs inputs = DUET_SUPERVISION_INPUTS_INIT;
  inputs.labels = batch.labels.vector();
  inputs.sample_ids = batch.rows.vector();
  inputs.logits_a = teacher.logits_a.matrix();
  inputs.logits_v = teacher.logits_v.matrix();
  inputs.prior = prior_.tensor().vector();
  inputs.ratio = ratio_.tensor().vector();
  inputs.epoch = duet_i64_vector(&epoch_, 1);
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

  Supervision made{tape_.make(n, classes_), tape_.make(n), tape_.make(n), tape_.make(n), tape_.make(n), {}, {}, tape_.make(1), tape_.make(n)};
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
  succeed(duet_supervision_forward(context_, &inputs, &state, &outputs, tape_.workspace(duet_supervision_workspace, inputs)));
  return made;
}

// T of METHOD.md 3 with anchors in x: by agreement for psd, by the labels that are known for `triplet`.
Tensor TrainingStep::triplet(const Tensor& x, const Tensor& y, const Batch& batch, const Supervision& supervision) {
  duet_triplet_inputs options = DUET_TRIPLET_INPUTS_INIT;
  options.metric = DUET_SQEUCLIDEAN;
  options.margin = static_cast<float>(config_.margin);
  if (psd_) {
    options.mining = DUET_TRIPLET_ALL;
    options.class_x = options.class_y = supervision.class_q.matrix();
    options.trust_x = options.trust_y = supervision.trust.vector();
    options.paired = 1;
  } else {
    options.mining = mining_kind(config_.mining);
    options.labels_x = options.labels_y = batch.labels.vector();
    if (options.mining == DUET_TRIPLET_DISTANCE_WEIGHTED) {
      options.draw = DUET_MINING_DRAW_INIT;
      options.draw.seed = static_cast<uint64_t>(config_.seed);
      options.draw.step = duet_i64_vector(&step_, 1);
      options.draw.slots = config_.mining_slots;
    }
  }
  return ops::triplet(tape_, x, y, options);
}

// METHOD.md 6.5 to 6.11.
TrainingStep::Terms TrainingStep::add_up(const Batch& batch, const Heads& student, const Heads& teacher, const Supervision& supervision) {
  Terms terms;
  std::array<ops::Term, 9> weighted;
  size_t count = 0;
  const auto add = [&](const Tensor& term, const Tensor& weight) {
    weighted[count++] = {term, weight};
    return term;
  };
  const auto& [a, v] = student.embeddings;
  const Tensor scale = model_.learned_scale() ? model_.learned_scale()->forward(tape_, model_.parameters().student()) : scale_.tensor();

  const Tensor ce_a = ops::cross_entropy_terms(tape_, student.logits_a, supervision.class_q);
  const Tensor ce_v = ops::cross_entropy_terms(tape_, student.logits_v, supervision.class_q);
  terms.label_a = add(ops::weighted_mean(tape_, ce_a, supervision.annotated, supervision.annotated_count), label_weight_);
  terms.label_v = add(ops::weighted_mean(tape_, ce_v, supervision.annotated, supervision.annotated_count), label_weight_);
  if (psd_ && config_.soft_weight > 0) {
    terms.soft_a = add(ops::weighted_mean(tape_, ce_a, supervision.hidden_trust, supervision.other_count), soft_weight_);
    terms.soft_v = add(ops::weighted_mean(tape_, ce_v, supervision.hidden_trust, supervision.other_count), soft_weight_);
  }
  if ((psd_ || triplet_) && config_.cross_weight > 0) {
    terms.cross_av = add(triplet(a, v, batch, supervision), cross_weight_);
    terms.cross_va = add(triplet(v, a, batch, supervision), cross_weight_);
  }
  if (psd_ && config_.kl_weight > 0) {
    duet_distillation_inputs options = DUET_DISTILLATION_INPUTS_INIT;
    options.teacher_a = teacher.embeddings.a.matrix();
    options.teacher_v = teacher.embeddings.v.matrix();
    options.class_a = options.class_v = supervision.class_q.matrix();
    options.trust_a = options.trust_v = supervision.trust.vector();
    options.kappa_a = options.kappa_v = supervision.kappa.vector();
    options.teacher_scale = teacher_scale_.tensor().vector();
    options.paired = 1;
    terms.kl = add(ops::distillation(tape_, a, v, scale, options, supervision.trust, supervision.trust), kl_weight_);
  }
  duet_contrastive_inputs pairs = DUET_CONTRASTIVE_INPUTS_INIT;
  pairs.kind = DUET_INFONCE;
  if (contrastive_) terms.pair = add(ops::contrastive(tape_, a, v, scale, {}, pairs), contrastive_weight_.tensor());
  if (psd_ && config_.pair_weight > 0) {
    pairs.grad_factor_a = gradient_share_a_.tensor().vector();
    pairs.grad_factor_v = gradient_share_v_.tensor().vector();
    terms.pair = add(ops::contrastive(tape_, a, v, scale, {}, pairs, supervision.anchor_weight, supervision.anchor_weight), supervision.pair_weight);
  }
  if (psd_ && config_.decorrelation_weight > 0) terms.dis = add(ops::decorrelation(tape_, a, v), dis_weight_);
  terms.total = ops::weighted_sum(tape_, std::span<const ops::Term>(weighted.data(), count));
  return terms;
}

// A batch may lack everything that the method's terms look at: no label for `label`, and so on. Such a step changes nothing.
bool TrainingStep::any_term_applies(const Supervision& supervision) const {
  const float annotated = supervision.annotated_count.item(), others = supervision.other_count.item();
  if (annotated > 0 && config_.label_weight > 0) return true;
  if (contrastive_) return config_.contrastive_weight > 0;
  if (triplet_) return annotated > 1 && config_.cross_weight > 0;
  return psd_ && (config_.cross_weight > 0 || kl_weight_.tensor().item() > 0 || (others > 0 && soft_weight_.tensor().item() > 0) ||
                  supervision.pair_weight.item() > 0 || config_.decorrelation_weight > 0);
}

void TrainingStep::commit_state() {
  std::swap(predicted_, next_predicted_);
  std::swap(concord_, next_concord_);
}

// Names what is not finite, from the weights outward. A learning rate can be too high only where it has moved something.
void TrainingStep::refuse_loss(const Heads& student, const Heads& teacher) const {
  const std::string start = text("step ", step_ + 1, ": the loss is ", not_finite_name(terms_.total.item()), ": ");
  const std::string advice = update_ > 0 ? "; a lower learning_rate may help" : "";
  const std::string weight = first_not_finite(model_.parameters(), ParameterKind::value);
  if (!weight.empty()) throw std::runtime_error(start + weight + advice);
  for (const auto& [heads, whose] : {std::pair{&student, "student's"}, std::pair{&teacher, "teacher's"}})
    for (const Tensor& output : {heads->embeddings.a, heads->embeddings.v, heads->logits_a, heads->logits_v})
      if (!is_finite(output)) throw std::runtime_error(text(start, "the ", whose, " outputs are not finite", advice));
  const Losses parts = losses();
  for (const LossName& name : kLossNames)
    if (name.value != &Losses::total && !std::isfinite(parts.*name.value))
      throw std::runtime_error(text(start, name.key, " is ", not_finite_name(parts.*name.value), ", though every embedding and logit is finite"));
  throw std::runtime_error(start + "the weighted sum of its terms is too large for float32, though each term is finite");
}

void TrainingStep::require_finite() const {
  const std::string start = text("after step ", step_ + 1, ": ");
  for (const ParameterKind kind : {ParameterKind::value, ParameterKind::teacher}) {
    const std::string weight = first_not_finite(model_.parameters(), kind);
    if (!weight.empty())
      throw std::runtime_error(
          text(start, weight, kind == ParameterKind::teacher ? " in the moving average" : "", "; a lower learning_rate may help"));
  }
  const int64_t at = first_not_finite<float>(predicted_.data(), classes_);
  if (at >= 0) throw std::runtime_error(text(start, "the running frequency of class ", at, " is ", not_finite_name(predicted_.data()[at])));
  if (!std::isfinite(concord())) throw std::runtime_error(text(start, "concord is ", not_finite_name(concord())));
}

bool TrainingStep::run(std::span<const int64_t> rows) {
  tape_.reset();
  terms_ = {};
  ++step_;
  const Batch batch = gather(rows);
  const int64_t n = batch.rows.size;
  Heads teacher;
  if (psd_) {
    const NoGradient no_gradient(tape_);
    teacher = read(model_.parameters().teacher(), batch, Mode::evaluation());
  } else {
    if (no_logits_.tensor().rows < n) no_logits_ = OwningTensor(n, classes_);
    teacher.logits_a = teacher.logits_v = no_logits_.tensor().row_part(0, n);
  }
  const Supervision supervision = supervise(batch, teacher);
  if (!any_term_applies(supervision)) return false;

  const Mode training = Mode::train(static_cast<uint64_t>(config_.seed), {&step_, 1});
  const Heads student = read(model_.parameters().student(), batch, training);
  terms_ = add_up(batch, student, teacher, supervision);
  if (!std::isfinite(terms_.total.item())) refuse_loss(student, teacher);
  commit_state();
  if (psd_) pair_weight_ = supervision.pair_weight.item();
  model_.parameters().clear_gradients();
  tape_.backward(terms_.total);
  ++update_;
  set(learning_rate_, duet::learning_rate(schedule_, step_, steps_));
  optimizer_->step(context_, learning_rate_, {&update_, 1});
  return true;
}

Losses TrainingStep::losses() const {
  return {.total = value(terms_.total),
          .label = value(terms_.label_a) + value(terms_.label_v),
          .soft = value(terms_.soft_a) + value(terms_.soft_v),
          .cross = value(terms_.cross_av) + value(terms_.cross_va),
          .kl = value(terms_.kl),
          .pair = value(terms_.pair),
          .dis = value(terms_.dis)};
}

double TrainingStep::learning_rate() const { return learning_rate_.tensor().item(); }

}  // namespace duet
