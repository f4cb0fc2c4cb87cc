// Checkpoints of a run: all that it needs to go on with the same bits, at any step. In the folder "checkpoints" of the
// run's folder, of each step s that has one:
//   step-s.safetensors   the model as model.safetensors has it (trainer/model.h), which loads from it, and beside it
//     student.NAME, first_moment.NAME, second_moment.NAME
//         of every parameter NAME
//     run.class_frequencies, run.concord
//         the state of METHOD.md 6.4
//     run.losses, run.rates
//         float64: sums of the losses over the epoch so far; w of 6.10 and the learning rate of the last step
//     and as metadata "run": counters, position, seconds, machine, checksums of the data (JSON)
//   step-s.json          the manifest, {"format", "file", "bytes", "xxh64"} of the other file, and "best", the step of
//                        the best model so far, where there is one (trainer/best_model.h): with it there is a
//                        checkpoint
// Both appear whole or not at all, the manifest last.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/safetensors.h"
#include "trainer/best_model.h"
#include "trainer/losses.h"
#include "trainer/method.h"
#include "trainer/model.h"

namespace duet {

// Where a run stands between two steps, beside its training state. epoch, batch: of the batch that comes next, from 0;
// batch may be the number of batches of an epoch, whose line, model and evaluation then come next.
struct LoopState {
  int64_t epoch = 0, batch = 0;
  Losses sum;                 // over the epoch's steps that changed something,
  int64_t changes = 0;        // so many
  double seconds = 0;         // that the run has taken
  int64_t metrics_bytes = 0;  // of metrics.jsonl, up to here
  BestModel best;
};

// What decides about the bits of a run beside its config.
struct RunFacts {
  nlohmann::ordered_json machine;  // of trainer/device_choice.h
  nlohmann::ordered_json data;     // of data_facts()
};

struct Checkpoint {
  std::filesystem::path path;
  SafetensorsFile file;
  Config config;
  RunFacts facts;
  TrainingState training;
  LoopState loop;

  // Puts values, moments and moving average into a model of the checkpoint's config. Throws Error, naming the tensor.
  void restore(ParameterStore& parameters) const;
};

class CheckpointFolder {
 public:
  explicit CheckpointFolder(const std::filesystem::path& run) : path_(run / kName) {}
  static constexpr const char* kName = "checkpoints";

  const std::filesystem::path& path() const { return path_; }
  // The steps that have a manifest, ascending.
  std::vector<int64_t> steps() const;
  // The newest whole one; none: there is none at all. notes: a line for each newer one that is damaged. Throws
  // UsageError where all are damaged, or one is of a newer format, which is not to be written over.
  std::optional<Checkpoint> newest(std::vector<std::string>& notes);
  // The step of the newest one that was found or written; none: neither.
  const std::optional<int64_t>& last_step() const { return last_; }
  std::filesystem::path last_file() const;
  // The steps of the best models that checkpoints name.
  std::set<int64_t> best_steps() const;

  // Writes one, unless the step has one; then removes all but the last kept, and what a process that died left behind.
  // Throws Error(DUET_STATUS_IO_ERROR), naming the file.
  void save(const Model& model, const RunFacts& facts, const TrainingState& training, const LoopState& loop,
            int64_t kept);

 private:
  std::filesystem::path path_of(int64_t step, const char* ending) const;
  void write(const Model& model, const RunFacts& facts, const TrainingState& training, const LoopState& loop);
  void remove(int64_t step) const;
  void remove_parts() const;

  std::filesystem::path path_;
  std::optional<int64_t> last_;
};

}  // namespace duet
