// Runs the cells of an ablation, each in processes of its own, into its folder:
//   grid.json                      what the cells are (trainer/ablation_grid.h) and a checksum of each part of the data
//   lock                           held by whoever works here, and by its children
//   METHOD/LABELS/SEED/            the run directory of duet train; of a baseline its evaluation alone
//   METHOD/LABELS/SEED/evaluation.json   what duet eval or duet baseline print as JSON; with it the cell has ended
//   METHOD/LABELS/SEED.log         what the cell's processes said
// and of results ablation.json and ablation.md.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/ablation_grid.h"
#include "trainer/ablation_results.h"

namespace duet {

// Takes the folder, which is new, empty or an ablation's, for as long as it lives.
class AblationFolder {
 public:
  // Throws UsageError: the folder is another's, another process works in it, or it holds an ablation that has cells
  // which grid lacks or other data. Then nothing has changed.
  AblationFolder(const std::filesystem::path& path, const AblationGrid& grid);

  const std::filesystem::path& path() const { return path_; }

 private:
  struct Lock {
    int descriptor = -1;
    Lock() = default;
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
  };
  void require_ours() const;
  void take();

  std::filesystem::path path_;
  Lock lock_;
};

struct AblationRun {
  AblationMaps maps;
  int64_t failed = 0;
  std::string first_failure;  // cell and reason
  int interrupted_by = 0;     // the signal that ended it early; 0: none
};

// Runs the cells that have not ended, processes of them at once, each on one CPU thread; what was cut short goes on. A
// cell that fails is said in a line, and the others go on. SIGINT, SIGTERM and SIGHUP end the children, and so do
// errors: Error(DUET_STATUS_IO_ERROR) where the system refuses. The result does not depend on processes.
AblationRun run_cells(const AblationFolder& folder, const AblationGrid& grid, int64_t processes);

// The arguments of the processes of a cell, for tests: of duet train, of duet baseline.
std::vector<std::string> cell_arguments(const AblationGrid& grid, const AblationCell& cell);

}  // namespace duet
