#include "trainer/method.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/core/error.h"

namespace duet {
namespace {

std::unique_ptr<Optimizer> make_optimizer(const Config& config, ParameterStore& parameters, duet_context* context) {
  std::optional<GradientClip> clip;
  if (config.gradient_clip > 0) clip.emplace(context, parameters, config.gradient_clip);
  if (config.optimizer == "sgd") {
    duet_sgd_inputs options = DUET_SGD_INPUTS_INIT;
    options.momentum = static_cast<float>(config.momentum);
    options.decay = static_cast<float>(config.weight_decay);
    options.teacher_momentum = static_cast<float>(config.teacher_momentum);
    return std::make_unique<Sgd>(parameters, options, std::move(clip));
  }
  duet_adamw_inputs options = DUET_ADAMW_INPUTS_INIT;
  options.beta1 = static_cast<float>(config.beta1);
  options.beta2 = static_cast<float>(config.beta2);
  options.eps = static_cast<float>(config.optimizer_eps);
  options.decay = static_cast<float>(config.weight_decay);
  options.teacher_momentum = static_cast<float>(config.teacher_momentum);
  return std::make_unique<AdamW>(parameters, options, std::move(clip));
}

}  // namespace

double annotated_ratio(const Config& config, int64_t epoch) {
  const double progress =
      std::min(1.0, static_cast<double>(epoch) / (config.ratio_epochs_share * static_cast<double>(config.epochs)));
  return config.ratio_end + (1 - config.ratio_end) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

double distillation_ramp(const Config& config, int64_t epoch) {
  return std::min(1.0, static_cast<double>(epoch) / (config.rho_epochs_share * static_cast<double>(config.epochs)));
}

TrainingStep::TrainingStep(Device& device, Model& model, const data::Split& train, std::span<const int32_t> labels,
                           const Evidence& evidence, int64_t steps, int64_t most_rows, Ranks* ranks)
    : device_(device),
      model_(model),
      config_(model.description().config),
      evidence_(evidence),
      classes_(std::max<int64_t>(1, model.description().classes())),
      several_(train.sets.given()),
      psd_(config_.method == "psd"),
      triplet_(config_.method == "triplet"),
      contrastive_(config_.method == "contrastive"),
      tape_(device.step_context(), device.branches()),
      optimizer_(make_optimizer(config_, model.parameters(), device.step_context())),
      schedule_{config_.learning_rate, config_.schedule == "cosine" ? Decay::cosine : Decay::constant,
                config_.warmup_steps, config_.learning_rate_final_share},
      steps_(steps),
      most_rows_(most_rows),
      train_(train),
      resident_(device.holds(static_cast<int64_t>(sizeof(float)) * train.rows() *
                             (train.features[0].columns + train.features[1].columns))),
      labels_(context(), labels),
      groups_(context(), std::span(train.groups)),
      label_sets_(context(), std::span(train.sets.words)),
      mail_values_(context(), kSlots * kMailValues),
      mail_integers_(context(), kSlots * kMailIntegers),
      mail_indices_(context(), kSlots * mail_rows()),
      values_(kMailValues, 1, OwningTensor::Gradient::absent, context()),
      integers_(context(), kMailIntegers),
      indices_(context(), mail_rows()),
      counters_(context(), kCounters),
      apply_(context(), 1),
      verdicts_(context(), kSlots),
      reported_(context(), kSlots * kMostReported),
      faults_(context(), kSlots) {
  for (size_t side = 0; side < features_.size(); ++side) {
    const data::Features& features = train.features[side];
    if (device.options().kind == DUET_DEVICE_CPU) {
      // A tensor is a view that may be written through; this one is an input, which no operation writes.
      features_[side] = Tensor::view(const_cast<float*>(features.values.data()), features.rows, features.columns);
      continue;
    }
    if (resident_) {
      on_device_[side] = OwningTensor(context(), features.rows, features.columns, features.values);
    } else {
      on_device_[side] = OwningTensor(kSlots * most_rows, features.columns, OwningTensor::Gradient::absent, context());
      sent_[side].emplace(context(), kSlots * most_rows * features.columns);
    }
    features_[side] = on_device_[side];
  }
  if (ranks) {
    require(device.options().kind == DUET_DEVICE_CPU, "device: several ranks train on the CPU alone");
    if (ranks->size() > 1) ranked_.emplace(*ranks, model, context(), most_rows);
  }
  counters_.clear();
  device_.clear_fault();
  const auto make_event = [&] {
    duet_event* made = nullptr;
    succeed(duet_event_create(context(), &made));
    return made;
  };
  arrived_.reset(make_event());
  // What is sent goes into memory that this stream takes and fills; the other one must not be ahead of it.
  succeed(duet_event_record(context(), arrived_.get()));
  succeed(duet_event_await(device_.upload_context(), arrived_.get()));
  for (int64_t slot = 0; slot < kSlots; ++slot) done_.emplace_back(make_event());
  std::array<float, kConstants> constants;
  const auto set = [&](Constant which, double value) { constants[which] = static_cast<float>(value); };
  set(kScale, 1 / config_.temperature);
  set(kTeacherScale, 1 / config_.teacher_temperature);
  set(kLabelWeight, config_.label_weight);
  set(kCrossWeight, config_.cross_weight);
  set(kContrastiveWeight, config_.contrastive_weight);
  set(kDisWeight, config_.decorrelation_weight);
  set(kPairBias, config_.pair_bias);
  set(kGradientShareA, evidence_.gradient_share[0]);
  set(kGradientShareV, evidence_.gradient_share[1]);
  constants_ = OwningTensor(context(), kConstants, 1, constants);

  std::vector<double> counts(static_cast<size_t>(classes_));
  double labelled = 0;
  for (const int32_t label : labels) {
    if (label < 0) continue;
    const std::vector<int32_t> of_row = data::classes_of(train.sets, label);
    for (const int32_t c : of_row) counts[static_cast<size_t>(c)] += 1 / static_cast<double>(of_row.size());
    labelled += 1;
  }
  labelled_ = labelled > 0;
  std::vector<float> prior, uniform(static_cast<size_t>(classes_), 1.0f / static_cast<float>(classes_));
  for (const double count : counts) prior.push_back(static_cast<float>(labelled > 0 ? count / labelled : 0));
  prior_ = OwningTensor(context(), classes_, 1, prior);
  predicted_ = OwningTensor(context(), classes_, 1, uniform);
  next_predicted_ = OwningTensor(context(), classes_, 1, uniform);
  concord_ = OwningTensor(1, 1, OwningTensor::Gradient::absent, context());
  next_concord_ = OwningTensor(1, 1, OwningTensor::Gradient::absent, context());
  if (!psd_) no_logits_ = OwningTensor(most_rows, classes_, OwningTensor::Gradient::absent, context());
  added_.reserve(kMostReported);
  start_epoch(0);
}

// What is under way reads and writes memory of this object.
TrainingStep::~TrainingStep() {
  duet_context_synchronize(device_.upload_context());
  duet_context_synchronize(context());
}

void TrainingStep::start_epoch(int64_t epoch) { epoch_ = epoch; }

void TrainingStep::start(std::span<const int64_t> rows) {
  const auto n = std::ssize(rows);
  require(n <= most_rows_, "rows: expected at most ", most_rows_, ", got ", n);
  require(unfinished() < kSlots, "step: ", kSlots, " are under way already");
  const int64_t slot = begun_ % kSlots;
  const double rho = distillation_ramp(config_, epoch_);
  float* const values = mail_values_.data() + slot * kMailValues;
  values[kLearningRate] = static_cast<float>(duet::learning_rate(schedule_, begun_, steps_));
  values[kRatio] = static_cast<float>(annotated_ratio(config_, epoch_));
  values[kKlWeight] = static_cast<float>(rho * config_.kl_weight);
  values[kSoftWeight] = static_cast<float>(rho * config_.soft_weight);
  rows_of_[static_cast<size_t>(slot)] = n;
  mail_integers_[slot * kMailIntegers + kStep] = begun_;
  mail_integers_[slot * kMailIntegers + kEpoch] = epoch_;
  std::ranges::copy(rows, mail_indices_.data() + slot * mail_rows());
  if (!resident_) send(rows, slot);
  // A slot whose step was refused holds what it held.
  verdicts_[slot] = DUET_STEP_VERDICT_AFTER;
  ++begun_;
  const ProfilerRange range("training step");
  try {
    put_on_its_way(n, done_[static_cast<size_t>(slot)].get());
  } catch (...) {
    const Recovery recovery(*this);
    throw;
  }
}

void TrainingStep::put_on_its_way(int64_t n, duet_event* done) {
  const bool known = graphs_.contains(n);
  if (!device_.captures() || times_) {
    record(n);
  } else if (known) {
    succeed(duet_graph_launch(context(), graphs_[n].get()));
  } else {
    // The first step of so many rows grows the tape's memory, which a capture could not. Graphs of smaller batches lose
    // theirs where it does.
    if (!graphs_.empty() && n > graphs_.rbegin()->first) {
      succeed(duet_context_synchronize(context()));
      graphs_.clear();
    }
    record(n);
  }
  succeed(duet_event_record(context(), done));
  if (device_.captures() && !times_ && !known) graphs_[n] = capture(n);
}

// On its way while the step before is under way.
void TrainingStep::send(std::span<const int64_t> rows, int64_t slot) {
  const auto n = std::ssize(rows);
  const int64_t first = slot * most_rows_;
  int64_t* const places = mail_indices_.data() + slot * mail_rows() + n;
  for (int64_t i = 0; i < n; ++i) places[i] = first + i;
  for (size_t side = 0; side < features_.size(); ++side) {
    const data::Features& features = train_.features[side];
    float* const from = sent_[side]->data() + first * features.columns;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = rows[static_cast<size_t>(i)];
      require(row >= 0 && row < features.rows, "rows[", i, "]: expected 0 to ", features.rows - 1, ", got ", row);
      std::copy_n(features.row(row), features.columns, from + i * features.columns);
    }
    copy_bytes(device_.upload_context(), features_[side].row_part(first, n).data, from,
               static_cast<size_t>(n * features.columns) * sizeof(float));
  }
  succeed(duet_event_record(device_.upload_context(), arrived_.get()));
  succeed(duet_event_await(context(), arrived_.get()));
}

TrainingStep::Graph TrainingStep::capture(int64_t rows) {
  tape_.reset_and_join();
  duet_graph* made = nullptr;
  succeed(duet_graph_begin(context()));
  tape_.set_overlapping(true);
  try {
    record(rows);
    tape_.set_overlapping(false);
    succeed(duet_graph_end(context(), &made));
  } catch (...) {
    tape_.set_overlapping(false);
    duet_graph_abandon(context());
    throw;
  }
  return Graph(made);
}

TrainingState TrainingStep::state() const {
  return {begun_, counters_.read()[kUpdates], predicted_.read(), concord_.read()[0], last_.pair_weight, last_rate_};
}

void TrainingStep::set_state(const TrainingState& state) {
  require(unfinished() == 0, "state: a step is under way");
  require(std::ssize(state.frequencies) == classes_, "state: expected ", classes_, " frequencies, got ",
          state.frequencies.size());
  begun_ = finished_ = state.steps;
  const std::array<int64_t, kCounters> counters = {state.steps, state.updates, 0};
  copy_to_device(context(), counters_.data(), std::span<const int64_t>(counters));
  copy_to_device(context(), predicted_.data(), std::span<const float>(state.frequencies));
  copy_to_device(context(), concord_.data(), std::span<const float>(&state.concord, 1));
  last_ = {};
  last_.step = state.steps, last_.concord = double{state.concord}, last_.pair_weight = state.pair_weight;
  last_rate_ = state.learning_rate;
}

TrainingStep::GraphShape TrainingStep::graph_shape(int64_t rows) const {
  GraphShape shape;
  if (const auto found = graphs_.find(rows); found != graphs_.end())
    succeed(duet_graph_shape(found->second.get(), &shape.nodes, &shape.longest_path));
  return shape;
}

StepResult TrainingStep::finish() {
  require(unfinished() > 0, "step: none is under way");
  const int64_t slot = finished_ % kSlots;
  duet_event* const done = done_[static_cast<size_t>(slot)].get();
  int32_t is_done = 0;
  succeed(duet_event_done(done, &is_done));
  if (!is_done) succeed(duet_event_wait(done));
  ++finished_;
  const auto verdict = static_cast<duet_step_verdict>(verdicts_[slot]);
  if (verdict != DUET_STEP_VERDICT_CHANGES && verdict != DUET_STEP_VERDICT_IDLE) {
    const Recovery recovery(*this);
    if (verdict == DUET_STEP_VERDICT_NOT_FINITE) refuse_loss(finished_ - 1);
    succeed(duet_fault_check(&faults_[slot]));
    throw Error(DUET_STATUS_INTERNAL_ERROR, text("step ", finished_, ": its work was not done"));
  }
  const float* const reported = reported_.data() + slot * kMostReported;
  last_.step = finished_;
  last_.changed = verdict == DUET_STEP_VERDICT_CHANGES;
  last_.losses = last_.changed ? losses_of(reported) : Losses{};
  last_.concord = reported[kConcord];
  if (last_.changed) {
    if (psd_) last_.pair_weight = reported[kPairWeight];
    last_rate_ = mail_values_[slot * kMailValues + kLearningRate];
  }
  return last_;
}

TrainingStep::Recovery::~Recovery() {
  step_.finished_ = step_.begun_;
  try {
    duet_context* const context = step_.context();
    constexpr int64_t kNone = 0;
    succeed(duet_context_synchronize(context));
    copy_to_device(context, step_.counters_.data() + kFailed, std::span(&kNone, 1));
    copy_to_device(context, step_.counters_.data() + kBegun, std::span<const int64_t>(&step_.begun_, 1));
    step_.device_.clear_fault();
  } catch (const Error&) {  // a device that is lost: what is being told already is why
  }
}

bool TrainingStep::run(std::span<const int64_t> rows) {
  start(rows);
  return finish().changed;
}

void TrainingStep::end_phase(const char* name) {
  if (!times_) return;
  succeed(duet_context_synchronize(context()));
  times_->end_phase(name);
}

void TrainingStep::begin(int64_t rows) {
  duet_step_mail mail = DUET_STEP_MAIL_INIT;
  mail.values = duet_f32_matrix(mail_values_.data(), kSlots, kMailValues);
  mail.integers = matrix_of(mail_integers_.data(), kSlots, kMailIntegers);
  mail.indices = matrix_of(mail_indices_.data(), kSlots, mail_rows());
  succeed(duet_step_begin(
      context(), &mail,
      sized<duet_step_begin_outputs>({.begun = duet_i64_vector(counters_.data() + kBegun, 1),
                                      .values = values_.tensor().vector(),
                                      .integers = duet_i64_vector(integers_.data(), kMailIntegers),
                                      .indices = duet_i64_vector(indices_.data(), resident_ ? rows : 2 * rows)})));
}

TrainingStep::Batch TrainingStep::gather(int64_t rows) {
  const Indices numbers = rows_of_batch(rows);
  const std::array<Tensor, 2> sources = {features_[0], features_[1]};
  Batch batch;
  batch.rows = numbers;
  if (groups_.size() > 0) batch.groups = gather(groups_, rows);
  whole_ = {0, rows};
  if (ranked_) ranked_->begin(rows);
  batch.parts = ranked_ ? ranked_->parts() : std::span<const BatchPart>(&whole_, 1);
  const size_t count = batch.parts.size();
  for (std::span<Tensor>* list : {&batch.x_a, &batch.x_v, &batch.logits_a, &batch.logits_v})
    *list = {tape_.host_array<Tensor>(std::ssize(batch.parts)), count};
  if (resident_ && !ranked_) {
    auto* labels = tape_.array<int32_t>(rows);
    const Labels all{labels_.data(), labels_.size()};
    const auto [x_a, x_v] = ops::gather_batch(tape_, sources, numbers, all, labels);
    batch.x_a[0] = x_a, batch.x_v[0] = x_v;
    batch.labels = {labels, rows};
    return batch;
  }
  batch.labels = gather(labels_, rows);
  const Indices places = places_of_batch(rows);
  for (size_t k = 0; k < count; ++k) {
    const BatchPart& part = batch.parts[k];
    const auto [x_a, x_v] = ops::gather_batch(tape_, sources, {places.data + part.first, part.count});
    batch.x_a[k] = x_a, batch.x_v[k] = x_v;
  }
  return batch;
}

// Numbers of the batch's rows.
Labels TrainingStep::gather(const DeviceArray<int32_t>& from, int64_t rows) {
  auto* const to = tape_.array<int32_t>(rows);
  succeed(
      duet_gather_labels(context(),
                         sized<duet_gather_labels_inputs>({.source = duet_i32_const_vector(from.data(), from.size()),
                                                           .indices = rows_of_batch(rows).vector()}),
                         sized<duet_gather_labels_outputs>({.labels = duet_i32_vector(to, rows)})));
  return {to, rows};
}

TrainingStep::Forward TrainingStep::forward(int64_t rows) {
  tape_.reset();
  Forward made;
  begin(rows);
  tape_.aside([&] { model_.parameters().clear_gradients(tape_.context()); });
  const Batch batch = gather(rows);
  end_phase("gather");
  read(batch, made.student, made.teacher);
  end_phase("encoders");
  made.supervision = supervise(batch, made.teacher);
  end_phase("supervision");
  made.terms = add_up(batch, made.student, made.teacher, made.supervision);
  end_phase("losses");
  return made;
}

void TrainingStep::record(int64_t rows) {
  if (times_) times_->begin_step();
  const Forward made = forward(rows);
  decide(made.supervision, made.terms);
  end_phase("decision");
  tape_.backward(made.terms.total);
  if (ranked_) ranked_->add_gradients();
  end_phase("backward");
  optimizer_->step(context(), mail_value(kLearningRate), {counters_.data() + kUpdates, 1},
                   duet_i32_vector(apply_.data(), 1));
  end_phase("optimizer");
}

}  // namespace duet
