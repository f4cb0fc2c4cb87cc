#include "trainer/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/duet.h"
#include "runtime/files/atomic_file.h"
#include "trainer/format.h"
#include "trainer/usage_error.h"

namespace duet {

namespace fs = std::filesystem;

namespace {

constexpr const char *kEvidence = "evidence.json", *kProfile = "profile.json";

// Whether a name is one under which a file of ours is written before it has its own.
bool is_part(const std::string& name) {
  bool ours = false;
  for (const char* file :
       {kConfigFile, kMachineFile, kEvidence, kProfile, kModelFile, kBestFile, kAlignmentFile, kReportFile})
    ours = ours || name.starts_with(text(file, "."));
  return ours && name.ends_with(".part");
}

// Whether a run left nothing else here than what it writes before it has begun.
bool is_of_no_run(const fs::path& folder, std::error_code& error) {
  fs::directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name != kMetricsFile && name != kMachineFile && name != kEvidence && name != kAlignmentFile &&
        name != CheckpointFolder::kName && !is_part(name))
      return false;
  }
  return !error;
}

}  // namespace

RunDirectory::RunDirectory(const fs::path& path, Mode mode)
    : path_(path), checkpoints_(path), best_model_(path, checkpoints_.path()) {
  if (mode == Mode::created) {
    create();
    return;
  }
  std::error_code error;
  const std::vector<int64_t> steps = checkpoints_.steps();
  const bool begun = fs::exists(path / kConfigFile, error) || (!steps.empty() && steps.back() > 0);
  usage_require(begun, path.string(),
                ": no run to resume: ", error ? error.message() : "none has begun here, and --run starts one");
  usage_require(take(O_CREAT), path.string(), ": another process trains in the run directory");
  begun_ = true;
}

void RunDirectory::create() {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  bool left_over = false;
  if (fs::exists(status)) {
    usage_require(fs::is_directory(status), path_.string(), ": the run directory is a file");
    const bool empty = fs::is_empty(path_, error);
    usage_require(!error, path_.string(), ": cannot read the run directory: ", error.message());
    const std::vector<int64_t> steps = checkpoints_.steps();
    left_over = !empty && fs::exists(metrics_path(), error) && is_of_no_run(path_, error) &&
                (steps.empty() || steps.back() == 0);
    usage_require(empty || left_over, path_.string(), ": the run directory is not empty",
                  fs::exists(path_ / kConfigFile, error) ? " (--resume goes on with the run in it)" : "");
  } else {
    made_ = fs::create_directories(path_, error);
    if (error) refuse_output(text(path_.string(), ": cannot make the run directory: ", error.message()), error.value());
  }
  // Another run may have found the same empty folder: whoever makes this file has it, and locks it.
  const bool taken = take(left_over ? O_CREAT : O_CREAT | O_EXCL);
  if (!taken && made_) fs::remove(path_, error);  // unless another run is in it
  usage_require(taken, path_.string(), ": the run directory is not empty: another run has just started in it");
  if (!left_over) return;
  fs::remove_all(checkpoints_.path(), error);
  remove_parts();
  if (::ftruncate(metrics_, 0) != 0) fail("cannot be emptied");
}

void RunDirectory::remove_parts() const {
  std::error_code ignored;
  std::vector<fs::path> parts;
  for (fs::directory_iterator entry(path_, ignored), end; !ignored && entry != end; entry.increment(ignored))
    if (is_part(entry->path().filename().string())) parts.push_back(entry->path());
  for (const fs::path& part : parts) fs::remove(part, ignored);
}

bool RunDirectory::take(int flags) {
  for (bool again = true; again;) {
    metrics_ = ::open(metrics_path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0666);
    if (metrics_ < 0 && errno == EEXIST) return false;
    if (metrics_ < 0) {
      const int reason = errno;
      std::error_code ignored;
      if (made_) fs::remove(path_, ignored);
      refuse_output(text(path_.string(), ": the run directory cannot be written to: ", std::strerror(reason)), reason);
    }
    // A file system may have no locks: then there are none.
    if (::flock(metrics_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(std::exchange(metrics_, -1));
      return false;
    }
    // Whoever held the lock may have removed the file before it gave the lock back.
    struct stat facts = {};
    again = ::fstat(metrics_, &facts) == 0 && facts.st_nlink == 0;
    if (again) ::close(std::exchange(metrics_, -1));
  }
  return true;
}

RunDirectory::~RunDirectory() {
  if (metrics_ >= 0 && !begun_) {  // removed before the lock is gone
    std::error_code ignored;
    fs::remove_all(checkpoints_.path(), ignored);
    for (const char* name : {kConfigFile, kMachineFile, kEvidence, kAlignmentFile, kMetricsFile})
      fs::remove(path_ / name, ignored);
    if (made_) fs::remove(path_, ignored);
  }
  if (metrics_ >= 0) ::close(metrics_);
}

void RunDirectory::write(const char* name, const nlohmann::ordered_json& content, int64_t format) const {
  nlohmann::ordered_json numbered = {{kFormatKey, format}};
  numbered.update(content);
  const std::string lines = numbered.dump(2) + '\n';
  AtomicFile file(path_ / name);
  file.write(lines.data(), lines.size());
  file.commit();
}

void RunDirectory::write_start(const nlohmann::ordered_json& machine, const nlohmann::ordered_json& evidence) {
  write(kMachineFile, machine, kMachineFormat);
  nlohmann::ordered_json first = {{kFormatKey, kMetricsFormat}};
  if (!evidence.is_null()) {
    write(kEvidence, evidence, kEvidenceFormat);
    first["evidence"] = evidence;
  }
  add_metrics(first);
}

void RunDirectory::begin(const Config& resolved) {
  write(kConfigFile, to_json(resolved), kConfigFormat);
  begun_ = true;
  open_events(resolved);
}

std::string RunDirectory::go_on(const Config& resolved, const nlohmann::ordered_json& machine, int64_t metrics_bytes) {
  remove_parts();
  std::string note;
  const auto bytes = static_cast<int64_t>(::lseek(metrics_, 0, SEEK_END));
  if (bytes < metrics_bytes) {
    note = text(metrics_path().string(), ": lines are missing: it has ", bytes, " bytes, and had ", metrics_bytes);
    if (bytes == 0) add_metrics({{kFormatKey, kMetricsFormat}});
  } else if (::ftruncate(metrics_, metrics_bytes) != 0) {
    fail("cannot be cut back to the checkpoint's lines");
  }
  write(kMachineFile, machine, kMachineFormat);
  write(kConfigFile, to_json(resolved), kConfigFormat);
  open_events(resolved);
  return note;
}

void RunDirectory::open_events(const Config& resolved) {
  std::error_code ignored;
  const fs::path path = path_ / kEventFile;
  if (!resolved.tensorboard && !fs::exists(path, ignored)) return;
  std::vector<nlohmann::ordered_json> lines;
  std::ifstream file(metrics_path());
  for (std::string words; std::getline(file, words);)
    lines.push_back(nlohmann::ordered_json::parse(words, nullptr, false));
  events_.emplace(path, lines);
  if (!resolved.tensorboard) events_.reset();
}

void RunDirectory::write_profile(const nlohmann::ordered_json& profile) const {
  write(kProfile, profile, kProfileFormat);
}

void RunDirectory::add_metrics(const nlohmann::ordered_json& line) {
  const std::string words = line.dump() + '\n';
  const off_t before = ::lseek(metrics_, 0, SEEK_END);
  for (size_t done = 0; done < words.size();) {
    const ssize_t written = ::write(metrics_, words.data() + done, words.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      const bool whole = ::ftruncate(metrics_, before) == 0;  // the lines before it
      errno = reason;
      if (!whole) fail("cannot be written, and its last line is a part of one");
      fail("cannot be written");
    }
    done += static_cast<size_t>(written);
  }
  if (events_) events_->add(line);
}

void RunDirectory::sync_metrics() const {
  if (::fsync(metrics_) != 0 && errno != EINVAL) fail("cannot be brought to the disk");
}

int64_t RunDirectory::metrics_bytes() const { return static_cast<int64_t>(::lseek(metrics_, 0, SEEK_END)); }

void RunDirectory::fail(const char* what) const {
  throw Error(DUET_STATUS_IO_ERROR, text(metrics_path().string(), ": ", what, " (", std::strerror(errno), ")"));
}

}  // namespace duet
