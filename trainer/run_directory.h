// The folder of one run:
//   machine.json        what the run ran on: version, SIMD target, device, and its threads or precision
//   evidence.json       what the training split tells of labels and pairs (METHOD.md 6.9); of psd with pair_evidence
//   and
//                       a pair_weight above 0
//   metrics.jsonl       the format's number, then a line per epoch, per evaluation and, with log_every_steps, per such
//                       step; locked while a process trains here
//   checkpoints/        what the run needs to go on (trainer/checkpoint.h)
//   config.json         the resolved config: every key with its value; `duet train --config` takes it back. Written
//                       last: with it the run has begun
//   alignment.json      how a batch is aligned before training, and report.html, the page (trainer/report/)
//   events.out.tfevents.duet
//                       with tensorboard: the numbers of metrics.jsonl for TensorBoard (trainer/event_file.h)
//   profile.json        how long the phases of a step take; of a run with --profile
//   model.safetensors   the model after the last finished epoch (trainer/model.h)
//   best.safetensors    the best one by validation (trainer/best_model.h), of a run with a validation split
// Every file says its format (trainer/format.h).
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "trainer/best_model.h"
#include "trainer/checkpoint.h"
#include "trainer/config.h"
#include "trainer/event_file.h"

namespace duet {

inline constexpr const char *kModelFile = "model.safetensors", *kConfigFile = "config.json",
                            *kMetricsFile = "metrics.jsonl", *kMachineFile = "machine.json",
                            *kAlignmentFile = "alignment.json", *kReportFile = "report.html",
                            *kEventFile = "events.out.tfevents.duet";

class RunDirectory {
 public:
  // created: takes path, which must be, or can be made, a folder that can be written to and is empty but for what a run
  // left that ended before it began. resumed: takes the folder of a run that has begun, and changes nothing in it. Of
  // several processes that want a folder at once one gets it; on a file system without locks a resumed run cannot tell.
  // Throws UsageError, Error(DUET_STATUS_IO_ERROR) where the disk is full; a folder that it made is gone then.
  enum class Mode { created, resumed };
  explicit RunDirectory(const std::filesystem::path& path, Mode mode = Mode::created);
  // What has not begun leaves nothing behind.
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  // The calls below throw Error(DUET_STATUS_IO_ERROR), naming the file, where the system refuses.
  // Of a run that is created: all but what follows. evidence: null where there is none.
  void write_start(const nlohmann::ordered_json& machine, const nlohmann::ordered_json& evidence);
  // The run has begun: its first checkpoint is there.
  void begin(const Config& resolved);
  // Of a run that is resumed: what a process that died left half-written goes, and so do the lines of metrics.jsonl
  // behind its first metrics_bytes. Returns a line where there are fewer, else "".
  std::string go_on(const Config& resolved, const nlohmann::ordered_json& machine, int64_t metrics_bytes);
  // profile.json, of a run with --profile.
  void write_profile(const nlohmann::ordered_json& profile) const;
  // One line, on the disk's way at once, so that it can be followed; a line that does not fit on the disk is taken
  // back.
  void add_metrics(const nlohmann::ordered_json& line);
  // Brings the metrics so far to the disk.
  void sync_metrics() const;
  int64_t metrics_bytes() const;
  std::filesystem::path model_path() const { return path_ / kModelFile; }
  const std::filesystem::path& path() const { return path_; }
  CheckpointFolder& checkpoints() { return checkpoints_; }
  const BestModelFiles& best_model() const { return best_model_; }

 private:
  void create();
  // The event file holds what metrics.jsonl does, and goes on where the config asks for it.
  void open_events(const Config& resolved);
  // Opens metrics.jsonl and locks it; false: another process has.
  bool take(int flags);
  // What a process that died here had not given its name yet.
  void remove_parts() const;
  void write(const char* name, const nlohmann::ordered_json& content, int64_t format) const;
  std::filesystem::path metrics_path() const { return path_ / kMetricsFile; }
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  CheckpointFolder checkpoints_;
  BestModelFiles best_model_;
  std::optional<EventFile> events_;  // where the config asks for it
  bool made_ = false, begun_ = false;
  int metrics_ = -1;
};

}  // namespace duet
