#include "trainer/ablation_run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <list>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/files/atomic_file.h"
#include "runtime/files/file_bytes.h"
#include "runtime/json_text.h"
#include "runtime/printable.h"
#include "trainer/best_model.h"
#include "trainer/child_program.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/device_choice.h"
#include "trainer/format.h"
#include "trainer/interrupt.h"
#include "trainer/output_files.h"
#include "trainer/preparation.h"
#include "trainer/progress.h"
#include "trainer/resume.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char *kEvaluationFile = "evaluation.json", *kMachine = "machine";
constexpr auto kLookEvery = std::chrono::milliseconds(20);

std::string read_file(const fs::path& path) {
  const FileBytes file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// A checksum of each part of the data as they are, which no method's scaling changes.
nlohmann::ordered_json facts_of_data(const AblationGrid& grid) {
  const Config& first = grid.methods.front().config;
  Config config;
  config.data = first.data, config.map = first.map, config.modalities = first.modalities, config.pool = first.pool;
  config.scaling_a = config.scaling_v = "none";
  config.input_limit = 0;
  config.method = "contrastive";  // which needs neither labels nor evidence,
  config.smallest_batch = 2;      // nor, here, a batch
  return data_facts(prepare(config));
}

void write_json(const fs::path& path, const nlohmann::ordered_json& content) {
  write_output(path, content.dump(2) + '\n', true);
}

// grid.json as it is.
json record_in(const fs::path& file) {
  json record;
  try {
    record = reading_input([&] { return read_json(read_file(file)); });
  } catch (const JsonError& error) {
    throw UsageError(file.string() + ": " + error.with_key());
  }
  usage_require(record.is_object() && record.contains(kFormatKey), file.string(), ": not the record of an ablation");
  require_known_format(record[kFormatKey], kAblationFormat, file.string());
  return record;
}

class Cells {
 public:
  Cells(const AblationFolder& folder, const AblationGrid& grid) : folder_(folder), grid_(grid) {}

  fs::path folder(const AblationCell& cell) const {
    return folder_.path() / grid_.methods[cell.method].name / share_text(grid_.labels[cell.share]) /
           text(grid_.seeds[cell.seed]);
  }
  std::string name(const AblationCell& cell) const {
    return text(grid_.methods[cell.method].name, " ", share_text(grid_.labels[cell.share]), " ",
                grid_.seeds[cell.seed]);
  }
  // Mean MAP of a cell that has ended.
  std::optional<double> map(const AblationCell& cell) const {
    const fs::path file = folder(cell) / kEvaluationFile;
    std::error_code ignored;
    if (!fs::exists(file, ignored)) return std::nullopt;
    try {
      const json facts = read_json(read_file(file));
      if (facts.contains(kFormatKey)) require_known_format(facts[kFormatKey], kAblationFormat, file.string());
      return facts.at("map").at("mean").get<double>();
    } catch (const JsonError&) {  // damaged: it is made again
    } catch (const json::exception&) {
    }
    return std::nullopt;
  }

 private:
  const AblationFolder& folder_;
  const AblationGrid& grid_;
};

// One cell under way: a baseline is one process, a run two.
struct Job {
  AblationCell cell;
  bool evaluates;  // this process prints the evaluation
  ChildProgram process;
};

class Runner {
 public:
  Runner(const AblationFolder& folder, const AblationGrid& grid, int64_t processes)
      : cells_(folder, grid), grid_(grid), processes_(static_cast<size_t>(processes)) {
    for (size_t seed = 0; seed < grid.seeds.size(); ++seed)
      for (size_t share = 0; share < grid.labels.size(); ++share)
        for (size_t method = 0; method < grid.methods.size(); ++method) {
          const AblationCell cell{method, share, seed};
          if (const std::optional<double> map = cells_.map(cell))
            run_.maps[cell] = *map;
          else
            waiting_.push_back(cell);
        }
    std::ranges::reverse(waiting_);  // the next one is the last
    all_ = run_.maps.size() + waiting_.size();
    ended_before_ = run_.maps.size();
  }

  AblationRun run() {
    const InterruptGuard interrupt;
    if (ended_before_ > 0) print_notes({text(ended_before_, " of ", all_, " cells have ended before")});
    while (!waiting_.empty() || !jobs_.empty()) {
      if (interrupt.requested()) {
        run_.interrupted_by = interrupt.requested();
        for (const Job& job : jobs_) job.process.ask_to_end();
        jobs_.clear();
        return std::move(run_);
      }
      while (!waiting_.empty() && jobs_.size() < processes_) {
        start(waiting_.back());
        waiting_.pop_back();
      }
      std::this_thread::sleep_for(kLookEvery);
      look();
    }
    return std::move(run_);
  }

 private:
  void start(const AblationCell& cell) {
    const fs::path folder = cells_.folder(cell);
    make_output_folder(folder.parent_path());
    std::vector<std::string> arguments = cell_arguments(grid_, cell);
    const bool baseline = grid_.methods[cell.method].is_baseline();
    if (!baseline) {
      std::error_code ignored;
      arguments.push_back(fs::exists(folder / kConfigFile, ignored) ? "--resume" : "--run");
      arguments.push_back(folder.string());
    }
    jobs_.push_back({cell, baseline, ChildProgram(arguments, log(cell))});
  }

  void start_evaluation(const AblationCell& cell) {
    std::vector<std::string> arguments = {
        "eval", "--run", cells_.folder(cell).string(), "--device", "cpu", "--json", "--threads", "1", "--draws", "0"};
    if (const std::string& data = grid_.methods[cell.method].config.data; !data.empty())
      arguments.insert(arguments.end(), {"--data", data});
    std::error_code ignored;
    if (fs::exists(cells_.folder(cell) / kBestFile, ignored)) arguments.push_back("--best");
    jobs_.push_back({cell, true, ChildProgram(arguments, log(cell))});
  }

  void look() {
    for (auto job = jobs_.begin(); job != jobs_.end();) {
      const std::optional<ChildEnd> end = job->process.ended();
      const AblationCell cell = job->cell;
      const bool evaluates = job->evaluates;
      if (!end) {
        ++job;
        continue;
      }
      job = jobs_.erase(job);
      if (end->code != 0)
        fail(cell, reason_of(*end));
      else if (evaluates)
        finish(cell, end->output);
      else
        start_evaluation(cell);
    }
  }

  // A process that ended by itself has said why in its last line; of another that line says how far it was.
  static std::string reason_of(const ChildEnd& end) {
    if (end.code >= kExitSignal) return text("ended by signal ", end.code - kExitSignal);
    return end.last_words.empty() ? text("exit code ", end.code) : end.last_words;
  }

  void finish(const AblationCell& cell, const std::string& output) {
    nlohmann::ordered_json facts = {{kFormatKey, kAblationFormat}};
    facts.update(nlohmann::ordered_json::parse(output));
    const nlohmann::ordered_json& map = facts.at("map").at("mean");
    if (map.is_null()) {
      fail(cell, "no query with a label and a relevant item: there is no MAP");
      return;
    }
    make_output_folder(cells_.folder(cell));  // of a baseline
    write_json(cells_.folder(cell) / kEvaluationFile, facts);
    run_.maps[cell] = map.get<double>();
    char words[32];
    std::snprintf(words, sizeof words, "MAP %.3f", run_.maps[cell]);
    status_.show(printable(progress(cell) + words));
  }

  void fail(const AblationCell& cell, const std::string& why) {
    ++run_.failed;
    if (run_.first_failure.empty()) run_.first_failure = text(cells_.name(cell), ": ", why);
    status_.keep(printable(text(progress(cell), "failed: ", why, " (", log(cell).string(), ")")));
  }

  // "12 of 90 cells, about 3:20 left; psd 0.1 3: "
  std::string progress(const AblationCell& cell) const {
    const size_t done = run_.maps.size() + static_cast<size_t>(run_.failed);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const double left = seconds / static_cast<double>(done - ended_before_) * static_cast<double>(all_ - done);
    return text(done, " of ", all_, " cells", done < all_ ? ", about " + duration_text(left) + " left" : "", "; ",
                cells_.name(cell), ": ");
  }

  fs::path log(const AblationCell& cell) const { return cells_.folder(cell).string() + ".log"; }

  Cells cells_;
  const AblationGrid& grid_;
  size_t processes_, all_ = 0, ended_before_ = 0;
  std::vector<AblationCell> waiting_;
  std::list<Job> jobs_;
  AblationRun run_;
  StatusLine status_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// A value as --set reads it.
std::string assigned(const std::string& key, const nlohmann::ordered_json& value) {
  return key + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
}

}  // namespace

std::vector<std::string> cell_arguments(const AblationGrid& grid, const AblationCell& cell) {
  const AblationMethod& method = grid.methods[cell.method];
  const bool baseline = method.is_baseline();
  std::vector<std::string> out = {baseline ? "baseline" : "train",
                                  "--method",
                                  method.method,
                                  "--labels",
                                  share_text(grid.labels[cell.share]),
                                  "--seed",
                                  text(grid.seeds[cell.seed]),
                                  "--threads",
                                  "1",
                                  "--device",
                                  "cpu"};
  if (!method.config.data.empty()) out.insert(out.end(), {"--data", method.config.data});
  if (baseline) out.insert(out.end(), {"--json", "--ridge", share_text(method.ridge)});
  const nlohmann::ordered_json defaults = to_json(Config{}), keys = to_json(method.config);
  for (const auto& [key, value] : keys.items())
    if (value != defaults[key] && key != "data" && key != "method")
      out.insert(out.end(), {"--set", assigned(key, value)});
  return out;
}

AblationFolder::Lock::~Lock() {
  if (descriptor >= 0) ::close(descriptor);
}

AblationFolder::AblationFolder(const fs::path& path, const AblationGrid& grid) : path_(path) {
  nlohmann::ordered_json record = {{kFormatKey, kAblationFormat}};
  record.update(to_json(grid));
  record["data"] = facts_of_data(grid);
  record[kMachine] = program_facts();
  make_output_folder(path);
  require_ours();
  take();
  const fs::path file = path / kGridFile;
  std::error_code ignored;
  if (fs::exists(file, ignored)) {
    const json before = record_in(file);
    require_only_adds(before, grid, file.string());
    usage_require(before.contains("data") && before["data"] == json(record["data"]), file.string(),
                  ": the ablation has other data than ", shown(grid.methods.front().config.data));
    // Cells of two builds, or of two SIMD targets, differ by rounding alone: too little to see, enough to mislead.
    usage_require(before.contains(kMachine) && before[kMachine] == json(record[kMachine]), file.string(),
                  ": the cells are of ", before.value(kMachine, json()).dump(), ", here they would be of ",
                  record[kMachine].dump(), "; take a new folder");
  }
  write_json(file, record);
}

void AblationFolder::require_ours() const {
  std::error_code error;
  if (fs::exists(path_ / kGridFile, error)) return;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    usage_require(name == kAblationLock || name.ends_with(".part"), path_.string(),
                  ": the output folder is not empty, and holds no ablation");
  }
  usage_require(!error, path_.string(), ": cannot read the output folder: ", error.message());
}

void AblationFolder::take() {
  // Not closed in children: as long as one of a parent that was killed works here, nobody else does.
  lock_.descriptor = ::open((path_ / kAblationLock).c_str(), O_WRONLY | O_CREAT, 0666);
  if (lock_.descriptor < 0) {
    const int reason = errno;
    refuse_output(text(path_.string(), ": the output folder cannot be written to: ", std::strerror(reason)), reason);
  }
  // A file system may have no locks: then there are none.
  const bool taken = ::flock(lock_.descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  usage_require(taken, path_.string(), ": another process works in the output folder");
}

AblationRun run_cells(const AblationFolder& folder, const AblationGrid& grid, int64_t processes) {
  return Runner(folder, grid, processes).run();
}

}  // namespace duet
