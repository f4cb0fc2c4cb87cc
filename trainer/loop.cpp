#include "trainer/loop.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "trainer/evaluate.h"
#include "trainer/method.h"

namespace duet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void add_losses(nlohmann::ordered_json& line, const Losses& losses, double divisor) {
  for (const LossName& name : kLossNames) line[name.key] = losses.*name.value / divisor;
}

class Loop {
 public:
  Loop(duet_context* context, Model& model, Preparation& preparation, RunDirectory* run_directory, Progress& progress,
       const InterruptGuard& interrupt)
      : context_(context),
        model_(model),
        preparation_(preparation),
        config_(model.description().config),
        run_directory_(run_directory),
        progress_(progress),
        interrupt_(interrupt),
        schedule_steps_(config_.epochs * preparation.sampler->batches()),
        last_step_(config_.steps > 0 ? std::min(config_.steps, schedule_steps_) : schedule_steps_),
        step_(context, model, preparation.dataset.train, preparation.labels, schedule_steps_) {
    state_.title = config_.method;
    state_.epochs = config_.epochs;
    state_.steps = last_step_;
  }

  TrainingResult run() {
    TrainingResult result;
    const int64_t epochs = config_.epochs;
    for (int64_t epoch = 0; epoch < epochs && !done(); ++epoch) {
      run_epoch(epoch);
      step_.require_finite();
      if (run_directory_) model_.save(run_directory_->model_path());
      if (interrupt_.requested() && !done()) {
        result.interrupted = true;
        break;
      }
      const bool last = epoch + 1 == epochs || done();
      if (last || (config_.evaluate_every_epochs > 0 && (epoch + 1) % config_.evaluate_every_epochs == 0)) result.evaluation = evaluate_now();
      progress_.epoch_done(state_);
    }
    progress_.clear();
    if (run_directory_) run_directory_->finish();
    result.seconds = seconds_since(start_);
    result.steps = state_.step;
    return result;
  }

 private:
  bool done() const { return state_.step >= last_step_; }

  void run_epoch(int64_t epoch) {
    preparation_.sampler->start_epoch(static_cast<uint32_t>(epoch));
    step_.start_epoch(epoch);
    state_.epoch = epoch + 1;
    Losses sum;
    const int64_t first_step = state_.step;
    int64_t steps = 0;  // that changed something
    for (int64_t batch = 0; batch < preparation_.sampler->batches() && !done() && !interrupt_.requested(); ++batch) {
      const bool changed = step_.run(preparation_.sampler->batch(batch));
      ++state_.step;
      const Losses losses = step_.losses();
      if (changed) {
        ++steps;
        for (const LossName& name : kLossNames) sum.*name.value += losses.*name.value;
      }
      if (run_directory_ && config_.log_every_steps > 0 && state_.step % config_.log_every_steps == 0) {
        nlohmann::ordered_json line = {{"step", state_.step}, {"epoch", state_.epoch}};
        add_losses(line, losses, 1);
        if (step_.has_state()) line["concord"] = step_.concord();
        run_directory_->add_metrics(line);
      }
      if (progress_.due()) {
        state_.losses = losses;
        state_.elapsed_s = seconds_since(start_);
        progress_.draw(state_);
      }
    }
    const double divisor = static_cast<double>(std::max<int64_t>(1, steps));
    for (const LossName& name : kLossNames) state_.losses.*name.value = sum.*name.value / divisor;
    state_.elapsed_s = seconds_since(start_);
    if (!run_directory_ || state_.step == first_step) return;
    nlohmann::ordered_json line = {{"epoch", state_.epoch},
                                   {"step", state_.step},
                                   {"seconds", state_.elapsed_s},
                                   {"learning_rate", step_.learning_rate()},
                                   {"ratio", annotated_ratio(config_, epoch)},
                                   {"rho", distillation_ramp(config_, epoch)}};
    add_losses(line, sum, divisor);
    if (step_.has_state()) {
      line["concord"] = step_.concord();
      line["class_frequencies"] = step_.class_frequencies();
    }
    run_directory_->add_metrics(line);
  }

  Evaluation evaluate_now() {
    const Evaluation evaluation = evaluate(context_, model_, preparation_.dataset.test);
    state_.last_map = evaluation.mean_map();
    if (run_directory_) {
      nlohmann::ordered_json line = {{"epoch", state_.epoch}, {"step", state_.step}};
      line.update(to_json(evaluation));
      run_directory_->add_metrics(line);
    }
    return evaluation;
  }

  duet_context* context_;
  Model& model_;
  Preparation& preparation_;
  const Config& config_;
  RunDirectory* run_directory_;
  Progress& progress_;
  const InterruptGuard& interrupt_;
  int64_t schedule_steps_, last_step_;
  TrainingStep step_;
  Clock::time_point start_ = Clock::now();
  ProgressState state_;
};

}  // namespace

TrainingResult train(duet_context* context, Model& model, Preparation& preparation, RunDirectory* run_directory, Progress& progress,
                     const InterruptGuard& interrupt) {
  return Loop(context, model, preparation, run_directory, progress, interrupt).run();
}

}  // namespace duet
