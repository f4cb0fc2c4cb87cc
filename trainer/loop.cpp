#include "trainer/loop.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "runtime/files/checksum.h"
#include "trainer/method.h"
#include "trainer/prefetch.h"
#include "trainer/rank_agreement.h"
#include "trainer/run_evaluations.h"

namespace duet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void add_losses(nlohmann::ordered_json& line, const Losses& losses) {
  for (const LossName& name : kLossNames) line[name.key] = losses.*name.value;
}

// When a checkpoint is due, unless the config says: as often as costs at most this share of a run's time, with the last
// one of the run counted in, and not more often than this.
constexpr double kCheckpointShare = 0.02, kCheckpointSeconds = 5;

class Loop {
 public:
  Loop(Device& device, Model& model, Preparation& preparation, const RunRecord& record, Progress& progress,
       const InterruptGuard& interrupt, PhaseTimes* times)
      : model_(model),
        preparation_(preparation),
        config_(model.description().config),
        record_(record),
        run_directory_(record.directory),
        progress_(progress),
        interrupt_(interrupt),
        schedule_steps_(config_.epochs * preparation.sampler->batches()),
        last_step_(config_.steps > 0 ? std::min(config_.steps, schedule_steps_) : schedule_steps_),
        step_(device, model, preparation.dataset.train, preparation.labels, preparation.evidence.value_or(Evidence{}),
              schedule_steps_, preparation.sampler->batch_rows(), record.ranks),
        evaluations_(device.context(), model, preparation.dataset, run_directory_, state_,
                     [this] {
                       // Several ranks evaluate to the end, all of them, and end after it together.
                       if (!ending_ && !several()) interrupt_.check();
                     }),
        prefetch_(preparation.dataset.train.features) {
    step_.set_times(times);
    state_.title = config_.method;
    state_.epochs = config_.epochs;
    state_.steps = last_step_;
    if (record.resumed) {
      record.resumed->restore(model.parameters());
      step_.set_state(record.resumed->training);
      at_ = record.resumed->loop;
      state_.step = record.resumed->training.steps;
      together(record.ranks, [&] { evaluations_.go_on(at_.best, record.best_model); });
    }
    seconds_before_ = at_.seconds;
    if (record.ranks) require_same_start();
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
  bool done() const { return state_.step >= last_step_; }
  bool several() const { return record_.ranks && record_.ranks->size() > 1; }
  // Ranks that start from other weights would train no model.
  void require_same_start() {
    Checksum weights;
    for (const ParameterKind kind :
         {ParameterKind::value, ParameterKind::first_moment, ParameterKind::second_moment, ParameterKind::teacher}) {
      const std::vector<float> values = model_.parameters().read(kind);
      weights.add(values.data(), values.size() * sizeof(float));
    }
    nlohmann::ordered_json facts;
    facts["weights"] = checksum_text(weights.value());
    facts["best model"] = at_.best.checksum;
    require_alike(*record_.ranks, facts);
  }

  // What asks the loop to do something between two steps, the same on every rank.
  struct Request {
    int64_t signal = 0;      // the number of the one that asks for an end; 0: none
    int64_t checkpoint = 0;  // 1: one is due
  };
  Request request(bool checkpoint) const {
    std::array<int64_t, 2> asked = {interrupt_.requested(), checkpoint};
    if (record_.ranks) record_.ranks->all_reduce(Reduction::max, asked);
    return {asked[0], asked[1]};
  }
  double seconds() const { return seconds_before_ + seconds_since(start_); }

  // What is left of an epoch; whether it was the run's last. Throws Interrupted where a signal came, between two steps
  // or in the evaluation: at_ says where the run stood.
  bool run_epoch(TrainingResult& result) {
    run_steps();
    step_.require_finite();
    mark();
    if (const auto signal = static_cast<int>(request(false).signal)) throw Interrupted{signal};
    const int64_t epoch = at_.epoch;
    bool last = epoch + 1 == config_.epochs || done();
    const bool evaluates = last || evaluations_.due_after(epoch + 1), validates = evaluations_.validates();
    end_epoch();
    // Finite weights may overflow in an encoder. What has no embedding is not saved over a model that has; ranking
    // takes longer, and comes after.
    RunEvaluations::Sides validation, test;
    if (evaluates && validates) validation = evaluations_.embed_validation();
    if (last || (evaluates && !validates)) test = evaluations_.embed_test();
    if (!evaluates && is_kept()) evaluations_.embed_some();
    if (last || checkpoint_due()) save_checkpoint();
    if (run_directory_) model_.save(run_directory_->model_path());
    BestModel best = at_.best;
    if (evaluates && validates) {
      evaluations_.validate(validation, best);
      if (config_.patience > 0 && best.evaluations_since >= config_.patience && !last) {
        last = result.ran_out_of_patience = true;
        save_checkpoint();  // a run that goes on from there makes the evaluation again
        test = evaluations_.embed_test();
      }
    }
    if (last && validates) {
      const RunEvaluations::Tested tested = evaluations_.test_both(test, best);
      result.evaluation = tested.last, result.best_evaluation = tested.best, result.best = best;
    } else if (evaluates && !validates) {
      result.evaluation = evaluations_.test(test);
    }
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
    for (bool stepped = false; at_.batch < batches && !done(); stepped = true) {
      const Request asked = request(stepped && checkpoint_due());
      if (asked.signal != 0) break;
      if (asked.checkpoint != 0) {
        finish_steps();
        step_.require_finite();
        evaluations_.embed_some();
        mark();
        save_checkpoint();
      }
      start_step(batches);
      ++at_.batch;
      ++state_.step;
      if (step_.unfinished() > 1) finish_step();
    }
    finish_steps();
  }

  void start_step(int64_t batches) {
    data::BatchSampler& sampler = *preparation_.sampler;
    if (!prefetch_.works()) return step_.start(sampler.batch(at_.batch));
    const std::span<const int64_t> rows = sampler.batch(at_.batch);
    rows_.assign(rows.begin(), rows.end());  // the sampler's own last until its next call
    if (at_.batch + 1 < batches) prefetch_.fetch(sampler.batch(at_.batch + 1));
    step_.start(rows_);
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

  // Whether this rank, or rank 0, writes the run.
  bool is_kept() const { return run_directory_ || !record_.best_model.empty(); }

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
    evaluations_.embed_some();
    model_.save(run_directory_->model_path());
  }

  Model& model_;
  Preparation& preparation_;
  const Config& config_;
  const RunRecord& record_;
  RunDirectory* run_directory_;
  Progress& progress_;
  const InterruptGuard& interrupt_;
  int64_t schedule_steps_, last_step_;
  TrainingStep step_;
  ProgressState state_;
  bool ending_ = false;  // a signal has come, and is being obeyed
  RunEvaluations evaluations_;
  Prefetch prefetch_;
  std::vector<int64_t> rows_;  // of the batch that is started
  LoopState at_;
  Clock::time_point start_ = Clock::now(), saved_at_ = start_;
  double seconds_before_ = 0, saving_seconds_ = 0, last_saving_seconds_ = 0;
};

}  // namespace

TrainingResult train(Device& device, Model& model, Preparation& preparation, const RunRecord& record,
                     Progress& progress, const InterruptGuard& interrupt, PhaseTimes* times) {
  return Loop(device, model, preparation, record, progress, interrupt, times).run();
}

}  // namespace duet
