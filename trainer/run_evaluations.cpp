#include "trainer/run_evaluations.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "kernels/core/error.h"
#include "trainer/evaluate.h"
#include "trainer/method.h"

namespace duet {
namespace {

using Sides = RunEvaluations::Sides;

constexpr ParameterKind kScored = ParameterKind::teacher;

// Rows of the training split that an epoch's model has to embed before it is saved. Of psd, whose epoch passes four
// times over the rows, all of them would be a quarter of its products; of the built-in digits these are a hundredth.
constexpr int64_t kSomeRows = 64;

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
      : parameters_(parameters), own_(parameters.read(kScored)) {
    parameters_.write(kScored, values);
  }
  ~OtherValues() { parameters_.write(kScored, own_); }
  OtherValues(const OtherValues&) = delete;
  OtherValues& operator=(const OtherValues&) = delete;

 private:
  ParameterStore& parameters_;
  std::vector<float> own_;
};

}  // namespace

RunEvaluations::RunEvaluations(duet_context* context, Model& model, const data::Dataset& dataset,
                               RunDirectory* directory, ProgressState& state, std::function<void()> between)
    : context_(context),
      model_(model),
      dataset_(dataset),
      directory_(directory),
      state_(state),
      between_(std::move(between)),
      some_(first_rows(dataset.train.features, kSomeRows)) {
  state_.validates = validates();
}

void RunEvaluations::go_on(const BestModel& best, const std::filesystem::path& file) {
  if (best.found()) best_values_ = Model::load(file, context_)->parameters().read(kScored);
  show(best);
}

bool RunEvaluations::due_after(int64_t epochs) const {
  const int64_t every = model_.description().config.evaluate_every_epochs;
  return every > 0 ? epochs % every == 0 : validates();
}

Sides RunEvaluations::embed(const Sides& features, const char* split, int64_t step) const {
  Sides embeddings;
  try {
    for (size_t side = 0; side < features.size(); ++side)
      embeddings[side] = model_.embed(context_, static_cast<int>(side), features[side],
                                      model_.description().config.evaluation_block_rows, between_);
  } catch (const EmbeddingNotFinite& error) {
    throw NotFinite(
        text("after step ", step, ": ", split, " split, ", error.what(), "; a lower learning_rate may help"));
  }
  return embeddings;
}

Evaluation RunEvaluations::measure(const data::Split& split, const Sides& embeddings) const {
  const ProfilerRange range("evaluation");
  return evaluate(context_, embeddings[0], embeddings[1], split, between_);
}

Evaluation RunEvaluations::measure_best(const data::Split& split, const BestModel& best) const {
  const OtherValues values(model_.parameters(), best_values_);
  return measure(split, embed(split.features, "test", best.step));
}

void RunEvaluations::add_line(const Evaluation& evaluation, int64_t epoch, int64_t step,
                              const nlohmann::ordered_json& what) {
  if (!directory_) return;
  nlohmann::ordered_json line = {{"epoch", epoch}, {"step", step}};
  line.update(what);
  line.update(to_json(evaluation));
  directory_->add_metrics(line);
}

void RunEvaluations::validate(const Sides& validation, BestModel& best) {
  const Evaluation evaluation = measure(dataset_.validation, validation);
  state_.last_map = evaluation.mean_map();
  ++best.evaluations_since;
  if (best.is_beaten_by(state_.last_map)) {
    const BestModel before = best;
    best = {.epoch = state_.epoch, .step = state_.step, .map = state_.last_map};
    best_values_ = model_.parameters().read(kScored);
    if (directory_) directory_->best_model().replace(model_, best, before, directory_->checkpoints().best_steps());
  }
  show(best);
  add_line(evaluation, state_.epoch, state_.step, {{"split", "val"}, {"best", to_json(best)}});
}

Evaluation RunEvaluations::test(const Sides& test) {
  const Evaluation evaluation = measure(dataset_.test, test);
  state_.last_map = evaluation.mean_map();
  add_line(evaluation, state_.epoch, state_.step, {{"split", "test"}});
  return evaluation;
}

RunEvaluations::Tested RunEvaluations::test_both(const Sides& test, const BestModel& best) {
  const Evaluation last = measure(dataset_.test, test);
  const Tested out{last, best.step == state_.step ? last : measure_best(dataset_.test, best)};
  add_line(out.best, best.epoch, best.step, {{"split", "test"}, {"model", "best"}});
  add_line(out.last, state_.epoch, state_.step, {{"split", "test"}, {"model", "last"}});
  return out;
}

void RunEvaluations::show(const BestModel& best) { state_.best_map = best.map, state_.best_epoch = best.epoch; }

}  // namespace duet
