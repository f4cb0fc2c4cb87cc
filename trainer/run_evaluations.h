// What a run measures of itself: its model on the validation split after epochs, and on the test split at the end;
// which model is the best one; the lines of metrics.jsonl that say so.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "trainer/best_model.h"
#include "trainer/evaluation.h"
#include "trainer/progress.h"
#include "trainer/run_directory.h"

namespace duet {

class RunEvaluations {
 public:
  using Sides = std::array<data::Features, data::kModalities>;

  // directory: null, nothing is written. state: the run's, of which epoch and step are read and what is known of MAP is
  // set. between: called before each part of the work, which takes about a second at most; what it throws ends a call.
  // All of them must outlive this.
  RunEvaluations(duet_context* context, Model& model, const data::Dataset& dataset, RunDirectory* directory,
                 ProgressState& state, std::function<void()> between);
  // Of a run that goes on: reads the best model, if there is one, which is in this file.
  void go_on(const BestModel& best, const std::filesystem::path& file);

  bool validates() const { return dataset_.validation.rows() > 0; }
  // Whether there is something to evaluate after so many epochs, which are not all.
  bool due_after(int64_t epochs) const;

  // The model's embeddings. Throws NotFinite, naming step, split and row, where one of them is not finite.
  Sides embed_validation() const { return embed(dataset_.validation.features, "validation", state_.step); }
  Sides embed_test() const { return embed(dataset_.test.features, "test", state_.step); }
  // The same of a few training rows, for what it throws.
  void embed_some() const { embed(some_, "training", state_.step); }

  // Each takes the model's embeddings of the split and writes a line.
  // Where the model is better than best, it takes its place.
  void validate(const Sides& validation, BestModel& best);
  Evaluation test(const Sides& test);
  // At the end of a run with a validation split: by the best model too, whose line comes first.
  struct Tested {
    Evaluation last, best;
  };
  Tested test_both(const Sides& test, const BestModel& best);

 private:
  Sides embed(const Sides& features, const char* split, int64_t step) const;
  Evaluation measure(const data::Split& split, const Sides& embeddings) const;
  Evaluation measure_best(const data::Split& split, const BestModel& best) const;
  // what: keys that say what was evaluated.
  void add_line(const Evaluation& evaluation, int64_t epoch, int64_t step, const nlohmann::ordered_json& what);
  void show(const BestModel& best);

  duet_context* context_;
  Model& model_;
  const data::Dataset& dataset_;
  RunDirectory* directory_;
  ProgressState& state_;
  std::function<void()> between_;
  Sides some_;
  std::vector<float> best_values_;  // of the best model, where one was found
};

}  // namespace duet
