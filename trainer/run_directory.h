// The folder of one run:
//   config.json         the resolved config: every key with its value; `duet train --config` takes it back
//   machine.json        what the run ran on: version, SIMD target, device, and its threads or precision
//   evidence.json       what the training split tells of labels and pairs (METHOD.md 6.9); of psd with pair_evidence
//   and
//                       a pair_weight above 0
//   metrics.jsonl       the format's number, then a line per epoch, per evaluation and, with log_every_steps, per such
//                       step
//   profile.json        how long the phases of a step take; of a run with --profile
//   model.safetensors   the model after the last finished epoch (trainer/model.h)
// Every file says its format (trainer/format.h).
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "trainer/config.h"

namespace duet {

inline constexpr const char* kModelFile = "model.safetensors";

class RunDirectory {
 public:
  // Takes path, which must be, or can be made, an empty folder that can be written to; of several runs that want it at
  // once one gets it. Throws UsageError, Error(DUET_STATUS_IO_ERROR) where the disk is full; a folder that it made is
  // gone then.
  explicit RunDirectory(const std::filesystem::path& path);
  // What was not started leaves nothing behind.
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  // The calls below throw Error(DUET_STATUS_IO_ERROR), naming the file, where the system refuses.
  // evidence: null where there is none.
  void write_start(const Config& resolved, const nlohmann::ordered_json& machine,
                   const nlohmann::ordered_json& evidence);
  // profile.json, of a run with --profile.
  void write_profile(const nlohmann::ordered_json& profile) const;
  // One line, on the disk's way at once, so that it can be followed; a line that does not fit on the disk is taken
  // back.
  void add_metrics(const nlohmann::ordered_json& line);
  // The metrics are complete: brings them to the disk.
  void finish();
  std::filesystem::path model_path() const { return path_ / kModelFile; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const char* name, const nlohmann::ordered_json& content, int64_t format) const;
  std::filesystem::path metrics_path() const { return path_ / "metrics.jsonl"; }
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  bool made_ = false, started_ = false;
  int metrics_ = -1;
};

}  // namespace duet
