#include "trainer/loop.h"

#include <algorithm>
#include <array>
#include <chrono>
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

class Loop {
 public:
  Loop(Device& device, Model& model, Preparation& preparation, RunDirectory* run_directory, Progress& progress,
       const InterruptGuard& interrupt, PhaseTimes* times)
      : context_(device.context()),
        model_(model),
        preparation_(preparation),
        config_(model.description().config),
        run_directory_(run_directory),
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
    if (run_directory) probe_ = first_rows(preparation.dataset.train.features, kProbeRows);
  }

  TrainingResult run() {
    TrainingResult result;
    const int64_t epochs = config_.epochs;
    for (int64_t epoch = 0; epoch < epochs && !done(); ++epoch) {
      run_epoch(epoch);
      step_.require_finite();
      result.interrupted_by = done() ? 0 : interrupt_.requested();
      const bool last = epoch + 1 == epochs || done();
      const bool due = last || (config_.evaluate_every_epochs > 0 && (epoch + 1) % config_.evaluate_every_epochs == 0);
      const bool evaluates = due && !result.interrupted_by;
      // Finite weights may overflow in an encoder. What has no embedding is not saved over a model that has; ranking
      // takes longer, and comes after.
      Sides test;
      if (evaluates)
        test = embed(preparation_.dataset.test.features, "test");
      else if (run_directory_)
        embed(probe_, "training");
      if (run_directory_) model_.save(run_directory_->model_path());
      if (result.interrupted_by) break;
      if (evaluates) result.evaluation = evaluate_now(test);
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
    const ProfilerRange range("epoch");
    preparation_.sampler->start_epoch(static_cast<uint32_t>(epoch));
    step_.start_epoch(epoch);
    state_.epoch = epoch + 1;
    const int64_t first_step = state_.step;
    sum_ = {};
    changes_ = 0;
    // A step is looked at when the next one is on its way, and the last one before anything else is done.
    for (int64_t batch = 0; batch < preparation_.sampler->batches() && !done() && !interrupt_.requested(); ++batch) {
      step_.start(preparation_.sampler->batch(batch));
      ++state_.step;
      if (step_.unfinished() > 1) finish_step();
    }
    while (step_.unfinished() > 0) finish_step();
    const Losses sum = sum_;
    const int64_t steps = changes_;
    for (const LossName& name : kLossNames)
      state_.losses.*name.value = steps > 0 ? sum.*name.value / static_cast<double>(steps) : kNoLoss;
    state_.elapsed_s = seconds_since(start_);
    if (!run_directory_ || state_.step == first_step) return;
    nlohmann::ordered_json line = {{"epoch", state_.epoch},
                                   {"step", state_.step},
                                   {"seconds", state_.elapsed_s},
                                   {"learning_rate", step_.learning_rate()},
                                   {"ratio", annotated_ratio(config_, epoch)},
                                   {"rho", distillation_ramp(config_, epoch)}};
    add_losses(line, state_.losses);
    if (step_.has_state()) {
      line["concord"] = step_.concord();
      line["pair_weight"] = step_.pair_weight();
      line["class_frequencies"] = step_.class_frequencies();
    }
    run_directory_->add_metrics(line);
  }

  void finish_step() {
    const StepResult result = step_.finish();
    const Losses losses = result.changed ? result.losses : kNoLosses;
    if (result.changed) {
      ++changes_;
      for (const LossName& name : kLossNames) sum_.*name.value += losses.*name.value;
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
      state_.elapsed_s = seconds_since(start_);
      progress_.draw(state_);
    }
  }

  Sides embed(const Sides& features, const char* split) const {
    Sides embeddings;
    try {
      for (size_t side = 0; side < features.size(); ++side)
        embeddings[side] =
            model_.embed(context_, static_cast<int>(side), features[side], config_.evaluation_block_rows);
    } catch (const EmbeddingNotFinite& error) {
      throw std::runtime_error(
          text("after step ", state_.step, ": ", split, " split, ", error.what(), "; a lower learning_rate may help"));
    }
    return embeddings;
  }

  Evaluation evaluate_now(const Sides& embeddings) {
    const ProfilerRange range("evaluation");
    const data::Split& test = preparation_.dataset.test;
    const Evaluation evaluation = evaluate(context_, embeddings[0], embeddings[1], test.labels, test.groups);
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
  Losses sum_;  // over the epoch's steps that changed something, changes_ of them
  int64_t changes_ = 0;
  Sides probe_;
  Clock::time_point start_ = Clock::now();
  ProgressState state_;
};

}  // namespace

TrainingResult train(Device& device, Model& model, Preparation& preparation, RunDirectory* run_directory,
                     Progress& progress, const InterruptGuard& interrupt, PhaseTimes* times) {
  return Loop(device, model, preparation, run_directory, progress, interrupt, times).run();
}

}  // namespace duet
