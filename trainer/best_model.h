// The best model of a run: of those that were evaluated on the validation split, the one with the largest mean of both
// directions' MAP. best.safetensors in the run's folder is a model (trainer/model.h) with the metadata "best":
// {"epoch", "step", "map"} (JSON), so many of which the run had done then. Where a checkpoint was written while another
// one was the best, that one stays in checkpoints/best-STEP.safetensors as long as the checkpoint does, so that a run
// that goes on from there has the best model that it had there.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "trainer/model.h"

namespace duet {

inline constexpr const char* kBestFile = "best.safetensors";

struct BestModel {
  int64_t epoch = 0, step = 0;    // that the run had done; 0: no model has been evaluated
  double map = std::nan("");      // of the validation split; NaN: no row of it has a label
  int64_t evaluations_since = 0;  // of which none was better
  std::string checksum;           // of its file; "": none is written

  bool found() const { return epoch > 0; }
  // What cannot be measured is taken as no worse: without labels the last model is the best.
  bool is_beaten_by(double other) const { return std::isnan(map) || other > map; }
};

// {"epoch", "step", "map"}; null where none was found.
nlohmann::ordered_json to_json(const BestModel& best);

// The files of a run's folder that hold it. Every call throws Error(DUET_STATUS_IO_ERROR), naming the file, where the
// system refuses.
class BestModelFiles {
 public:
  // kept: the folder of those that checkpoints need.
  BestModelFiles(const std::filesystem::path& run, const std::filesystem::path& kept)
      : path_(run / kBestFile), kept_(kept) {}
  const std::filesystem::path& path() const { return path_; }

  // model, which is best, in place of before; that one is kept where its step is among needed. Sets best.checksum.
  void replace(const Model& model, BestModel& best, const BestModel& before, const std::set<int64_t>& needed) const;
  // Whether path() is what best says; changes nothing.
  bool is_whole(const BestModel& best) const;
  // Removes those kept whose steps are not among needed.
  void prune(const std::set<int64_t>& needed) const;
  // Of a run that goes on: path() is what best says, and what was found later is gone. Where its file is gone or is not
  // as it was written, there is no best model any more, which the line that it returns says; else "".
  std::string restore(BestModel& best) const;

 private:
  std::filesystem::path kept_path(int64_t step) const;
  void remove_kept(const std::function<bool(int64_t step)>& stays) const;

  std::filesystem::path path_, kept_;
};

}  // namespace duet
