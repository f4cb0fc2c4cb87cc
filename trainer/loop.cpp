#include "trainer/loop.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "trainer/evaluate.h"
#include "trainer/method.h"

namespace duet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void add_losses(nlohmann::ordered_json& line, const Losses& losses) {
  for (const LossName& name : kLossNames) line[name.key] = losses.*name.value;
}

using Sides = std::array<data::Features, data::kModalities>;

// Rows of the training split that an epoch's model has to embed before it is saved. Of psd, whose epoch passes four
// times over the rows, all of them would be a quarter of its products; of the built-in digits these are a hundredth.
constexpr int64_t kProbeRows = 64;

Sides first_rows(const Sides& features, int64_t most) {
  Sides out;
  for (size_t side = 0; side < out.size(); ++side) {
    out[side] = data::Features(std::min(most, features[side].rows), features[side].columns);
    std::copy_n(features[side].values.begin(), out[side].values.size(), out[side].values.begin());
  }
  return out;
}

// Other values as a model's moving average while this lives.
class OtherValues {
 public:
  OtherValues(ParameterStore& parameters, std::span<const float> values)
      : parameters_(parameters), own_(parameters.read(ParameterKind::teacher)) {
    parameters_.write(ParameterKind::teacher, values);
  }
  ~OtherValues() { parameters_.write(ParameterKind::teacher, own_); }
  OtherValues(const OtherValues&) = delete;
  OtherValues& operator=(const OtherValues&) = delete;

 private:
  ParameterStore& parameters_;
  std::vector<float> own_;
};

// When a checkpoint is due, unless the config says: as often as costs at most this share of a run's time, with the last
// one of the run counted in, and not more often than this.
constexpr double kCheckpointShare = 0.02, kCheckpointSeconds = 5;

class Loop {
 public:
  Loop(Device& device, Model& model, Preparation& preparation, const RunRecord& record, Progress& progress,
       const InterruptGuard& interrupt, PhaseTimes* times)
      : context_(device.context()),
        model_(model),
        preparation_(preparation),
        config_(model.description().config),
        record_(record),
        run_directory_(record.directory),
        progress_(progress),
        interrupt_(interrupt),
        schedule_steps_(config_.epochs * preparation.sampler->batches()),
        last_step_(config_.steps > 0 ? std::min(config_.steps, schedule_steps_) : schedule_steps_),
        step_(device, model, preparation.dataset.train, preparation.labels, preparation.evidence.value_or(Evidence{}),
              schedule_steps_, preparation.sampler->batch_rows()) {
    step_.set_times(times);
    state_.title = config_.method;
    state_.epochs = config_.epochs;
    state_.steps = last_step_;
    state_.validates = validates();
    if (run_directory_) probe_ = first_rows(preparation.dataset.train.features, kProbeRows);
    if (record.resumed) {
      record.resumed->restore(model.parameters());
      step_.set_state(record.resumed->training);
      at_ = record.resumed->loop;
      state_.step = record.resumed->training.steps;
      if (at_.best.found())
        best_values_ = Model::load(run_directory_->best_model().path(), context_)->parameters().read(kScored);
      show_best(at_.best);
    }
    seconds_before_ = at_.seconds;
  }

  TrainingResult run() {
    TrainingResult result;
    if (run_directory_ && !record_.resumed) {
      save_checkpoint();
      run_directory_->begin(config_);
    }
    try {
      while (!run_epoch(result)) {
      }
    } catch (const Interrupted& interrupted) {
      result.interrupted_by = interrupted.number;
      end_interrupted();
    } catch (const NotFinite& error) {
      progress_.clear();
      if (!run_directory_) throw;
      run_directory_->sync_metrics();
      const CheckpointFolder& checkpoints = run_directory_->checkpoints();
      throw NotFinite(text(error.what(), "; the checkpoint of step ", checkpoints.last_step().value_or(0),
                           " is whole (--init ", checkpoints.last_file().string(), " starts a run from it)"));
    }
    progress_.clear();
    if (run_directory_) run_directory_->sync_metrics();
    result.seconds = seconds();
    result.steps = state_.step;
    return result;
  }

 private:
  static constexpr ParameterKind kScored = ParameterKind::teacher;

  bool done() const { return state_.step >= last_step_; }
  bool validates() const { return preparation_.dataset.validation.rows() > 0; }
  // Of an epoch that is not the last.
  bool evaluates_after(int64_t epochs) const {
    const int64_t every = config_.evaluate_every_epochs;
    return every > 0 ? epochs % every == 0 : validates();
  }
  double seconds() const { return seconds_before_ + seconds_since(start_); }

  // What is left of an epoch; whether it was the run's last. Throws Interrupted where a signal came, between two steps
  // or in the evaluation: at_ says where the run stood.
  bool run_epoch(TrainingResult& result) {
    run_steps();
    step_.require_finite();
    mark();
    interrupt_.check();
    const int64_t epoch = at_.epoch;
    bool last = epoch + 1 == config_.epochs || done();
    const bool evaluates = last || evaluates_after(epoch + 1);
    end_epoch();
    // Finite weights may overflow in an encoder. What has no embedding is not saved over a model that has; ranking
    // takes longer, and comes after.
    Sides validation, test;
    if (evaluates && validates()) validation = embed_validation();
    if (last || (evaluates && !validates())) test = embed_test();
    if (!evaluates && run_directory_) embed(probe_, "training");
    if (last || checkpoint_due()) save_checkpoint();
    if (run_directory_) model_.save(run_directory_->model_path());
    BestModel best = at_.best;
    if (evaluates && validates()) {
      validate(validation, best);
      if (config_.patience > 0 && best.evaluations_since >= config_.patience && !last) {
        last = result.ran_out_of_patience = true;
        save_checkpoint();  // of a run that goes on from there the evaluation is made again
        test = embed_test();
      }
    }
    if (last)
      report(test, best, result);
    else if (evaluates && !validates())
      add_evaluation(evaluate_now(preparation_.dataset.test, test), {{"split", "test"}}, state_.epoch, state_.step);
    progress_.epoch_done(state_);
    at_ = {.epoch = epoch + 1, .best = best};
    return last;
  }

  void run_steps() {
    const ProfilerRange range("epoch");
    const int64_t epoch = at_.epoch, batches = preparation_.sampler->batches();
    preparation_.sampler->start_epoch(static_cast<uint32_t>(epoch));
    step_.start_epoch(epoch);
    state_.epoch = epoch + 1;
    // A step is looked at when the next one is on its way, and the last one before anything else is done.
    while (at_.batch < batches && !done() && !interrupt_.requested()) {
      step_.start(preparation_.sampler->batch(at_.batch));
      ++at_.batch;
      ++state_.step;
      if (step_.unfinished() > 1) finish_step();
      if (at_.batch < batches && checkpoint_due()) {
        finish_steps();
        step_.require_finite();
        embed(probe_, "training");
        mark();
        save_checkpoint();
      }
    }
    finish_steps();
  }

  // The mean losses of an epoch, and its line.
  void end_epoch() {
    const Losses sum = at_.sum;
    const int64_t steps = at_.changes;
    for (const LossName& name : kLossNames)
      state_.losses.*name.value = steps > 0 ? sum.*name.value / static_cast<double>(steps) : kNoLoss;
    state_.elapsed_s = seconds();
    if (!run_directory_) return;
    nlohmann::ordered_json line = {{"epoch", state_.epoch},
                                   {"step", state_.step},
                                   {"seconds", state_.elapsed_s},
                                   {"learning_rate", step_.learning_rate()},
                                   {"ratio", annotated_ratio(config_, at_.epoch)},
                                   {"rho", distillation_ramp(config_, at_.epoch)}};
    add_losses(line, state_.losses);
    if (step_.has_state()) {
      line["concord"] = step_.concord();
      line["pair_weight"] = step_.pair_weight();
      line["class_frequencies"] = step_.class_frequencies();
    }
    run_directory_->add_metrics(line);
  }

  void finish_steps() {
    while (step_.unfinished() > 0) finish_step();
  }

  void finish_step() {
    const StepResult result = step_.finish();
    const Losses losses = result.changed ? result.losses : kNoLosses;
    if (result.changed) {
      ++at_.changes;
      for (const LossName& name : kLossNames) at_.sum.*name.value += losses.*name.value;
    }
    if (run_directory_ && config_.log_every_steps > 0 && result.step % config_.log_every_steps == 0) {
      nlohmann::ordered_json line = {{"step", result.step}, {"epoch", state_.epoch}};
      add_losses(line, losses);
      if (step_.has_state()) {
        line["concord"] = result.concord;
        line["pair_weight"] = result.pair_weight;
      }
      run_directory_->add_metrics(line);
    }
    if (progress_.due()) {
      state_.losses = losses;
      state_.elapsed_s = seconds();
      progress_.draw(state_);
    }
  }

  bool checkpoint_due() const {
    if (!run_directory_) return false;
    const int64_t every_steps = config_.checkpoint_every_steps, every_epochs = config_.checkpoint_every_epochs;
    if (every_steps > 0 || every_epochs > 0)
      return (every_steps > 0 && state_.step % every_steps == 0) ||
             (every_epochs > 0 && at_.batch == preparation_.sampler->batches() && (at_.epoch + 1) % every_epochs == 0);
    return seconds_since(saved_at_) >= kCheckpointSeconds &&
           saving_seconds_ + 2 * last_saving_seconds_ <= kCheckpointShare * seconds_since(start_);
  }

  // The run stands here: no step is under way, and what metrics.jsonl holds is of the steps so far.
  void mark() {
    at_.seconds = seconds();
    if (run_directory_) at_.metrics_bytes = run_directory_->metrics_bytes();
  }

  void save_checkpoint() {
    if (!run_directory_) return;
    const Clock::time_point start = Clock::now();
    run_directory_->sync_metrics();
    if (at_.metrics_bytes == 0) mark();  // of a run that has not begun
    CheckpointFolder& checkpoints = run_directory_->checkpoints();
    checkpoints.save(model_, record_.facts, step_.state(), at_, config_.checkpoints_kept);
    run_directory_->best_model().prune(checkpoints.best_steps());
    saved_at_ = Clock::now();
    last_saving_seconds_ = seconds_since(start);
    saving_seconds_ += last_saving_seconds_;
  }

  // The checkpoint first: a model may have no embedding.
  void end_interrupted() {
    ending_ = true;
    progress_.clear();
    if (!run_directory_) return;
    save_checkpoint();
    embed(probe_, "training");
    model_.save(run_directory_->model_path());
  }

  Sides embed(const Sides& features, const char* split) const {
    Sides embeddings;
    try {
      for (size_t side = 0; side < features.size(); ++side)
        embeddings[side] = model_.embed(context_, static_cast<int>(side), features[side], config_.evaluation_block_rows,
                                        between_parts_);
    } catch (const EmbeddingNotFinite& error) {
      throw NotFinite(
          text("after step ", state_.step, ": ", split, " split, ", error.what(), "; a lower learning_rate may help"));
    }
    return embeddings;
  }

  Sides embed_test() const { return embed(preparation_.dataset.test.features, "test"); }
  Sides embed_validation() const { return embed(preparation_.dataset.validation.features, "validation"); }

  Evaluation evaluate_now(const data::Split& split, const Sides& embeddings) {
    const ProfilerRange range("evaluation");
    const Evaluation evaluation =
        evaluate(context_, embeddings[0], embeddings[1], split.labels, split.groups, between_parts_);
    if (!validates()) state_.last_map = evaluation.mean_map();
    return evaluation;
  }

  // What was evaluated, in words of its own, after so many epochs and steps.
  void add_evaluation(const Evaluation& evaluation, const nlohmann::ordered_json& what, int64_t epoch, int64_t step) {
    if (!run_directory_) return;
    nlohmann::ordered_json line = {{"epoch", epoch}, {"step", step}};
    line.update(what);
    line.update(to_json(evaluation));
    run_directory_->add_metrics(line);
  }

  // The model's validation; where it is better than best, it takes its place.
  void validate(const Sides& embeddings, BestModel& best) {
    const Evaluation evaluation = evaluate_now(preparation_.dataset.validation, embeddings);
    state_.last_map = evaluation.mean_map();
    ++best.evaluations_since;
    if (best.is_beaten_by(state_.last_map)) {
      const BestModel before = best;
      best = {.epoch = state_.epoch, .step = state_.step, .map = state_.last_map};
      best_values_ = model_.parameters().read(kScored);
      if (run_directory_)
        run_directory_->best_model().replace(model_, best, before, run_directory_->checkpoints().best_steps());
    }
    show_best(best);
    add_evaluation(evaluation, {{"split", "val"}, {"best", to_json(best)}}, state_.epoch, state_.step);
  }

  void show_best(const BestModel& best) { state_.best_map = best.map, state_.best_epoch = best.epoch; }

  // The test split by the last model and, with a validation split, by the best one, whose line comes first.
  void report(const Sides& test, const BestModel& best, TrainingResult& result) {
    const data::Split& split = preparation_.dataset.test;
    result.evaluation = evaluate_now(split, test);
    nlohmann::ordered_json what = {{"split", "test"}};
    if (validates()) {
      result.best = best;
      result.best_evaluation = best.step == state_.step ? result.evaluation : evaluate_best(split);
      what["model"] = "best";
      add_evaluation(*result.best_evaluation, what, best.epoch, best.step);
      what["model"] = "last";
    }
    add_evaluation(result.evaluation, what, state_.epoch, state_.step);
  }

  Evaluation evaluate_best(const data::Split& split) {
    const OtherValues best(model_.parameters(), best_values_);
    return evaluate_now(split, embed(split.features, "test"));
  }

  duet_context* context_;
  Model& model_;
  Preparation& preparation_;
  const Config& config_;
  const RunRecord& record_;
  RunDirectory* run_directory_;
  Progress& progress_;
  const InterruptGuard& interrupt_;
  std::function<void()> between_parts_ = [this] {
    if (!ending_) interrupt_.check();
  };
  int64_t schedule_steps_, last_step_;
  TrainingStep step_;
  LoopState at_;
  Sides probe_;
  std::vector<float> best_values_;  // of the best model, where one was found
  Clock::time_point start_ = Clock::now(), saved_at_ = start_;
  double seconds_before_ = 0, saving_seconds_ = 0, last_saving_seconds_ = 0;
  bool ending_ = false;  // a signal has come, and is being obeyed
  ProgressState state_;
};

}  // namespace

TrainingResult train(Device& device, Model& model, Preparation& preparation, const RunRecord& record,
                     Progress& progress, const InterruptGuard& interrupt, PhaseTimes* times) {
  return Loop(device, model, preparation, record, progress, interrupt, times).run();
}

}  // namespace duet
