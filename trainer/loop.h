// The loop: epochs of steps, with what happens around them: the log, the progress, the saved model, the evaluations,
// the early ends.
#pragma once

#include <optional>

#include "runtime/device.h"
#include "trainer/evaluation.h"
#include "trainer/interrupt.h"
#include "trainer/phase_times.h"
#include "trainer/preparation.h"
#include "trainer/progress.h"
#include "trainer/run_directory.h"

namespace duet {

struct TrainingResult {
  Evaluation evaluation;  // of the test split, by the moving average after the last step; of an interrupted run nothing
  BestModel best;         // by the validation split, where there is one
  std::optional<Evaluation> best_evaluation;  // of the test split, by that model
  bool ran_out_of_patience = false;
  double seconds = 0;  // of a resumed run with those before
  int64_t steps = 0;
  int interrupted_by = 0;  // the signal that ended it early; 0: none
};

// What a run writes, and what it goes on from.
struct RunRecord {
  RunDirectory* directory = nullptr;  // null: nothing is written; of a new run write_start() has been called, of a
                                      // resumed one go_on()
  RunFacts facts;
  const Checkpoint* resumed = nullptr;  // null: a new run
  std::filesystem::path best_model;     // where the run's best model is; empty: nothing is written, by no rank
  Ranks* ranks = nullptr;  // that train together, of which rank 0 has a directory; null: this process alone
};

// Trains model, which was made from preparation.description in the memory of device. times: null where no phase is
// timed.
TrainingResult train(Device& device, Model& model, Preparation& preparation, const RunRecord& record,
                     Progress& progress, const InterruptGuard& interrupt, PhaseTimes* times = nullptr);

}  // namespace duet
