#include "trainer/run_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/duet.h"
#include "runtime/files/atomic_file.h"
#include "trainer/format.h"
#include "trainer/usage_error.h"

namespace duet {

namespace fs = std::filesystem;

RunDirectory::RunDirectory(const fs::path& path) : path_(path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status)) {
    usage_require(fs::is_directory(status), path.string(), ": the run directory is a file");
    const bool empty = fs::is_empty(path, error);
    usage_require(!error, path.string(), ": cannot read the run directory: ", error.message());
    usage_require(empty, path.string(), ": the run directory is not empty");
  } else {
    made_ = fs::create_directories(path, error);
    if (error) refuse_output(text(path.string(), ": cannot make the run directory: ", error.message()), error.value());
  }
  // Another run may have found the same empty folder: whoever makes this file has it.
  metrics_ = ::open(metrics_path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (metrics_ >= 0) return;
  const int reason = errno;
  if (made_) fs::remove(path, error);  // unless another run is in it
  usage_require(reason != EEXIST, path.string(),
                ": the run directory is not empty: another run has just started in it");
  refuse_output(text(path.string(), ": the run directory cannot be written to: ", std::strerror(reason)), reason);
}

RunDirectory::~RunDirectory() {
  ::close(metrics_);
  if (started_) return;
  std::error_code ignored;
  for (const char* name : {"metrics.jsonl", "config.json", "machine.json", "evidence.json"})
    fs::remove(path_ / name, ignored);
  if (made_) fs::remove(path_, ignored);
}

void RunDirectory::write(const char* name, const nlohmann::ordered_json& content, int64_t format) const {
  nlohmann::ordered_json numbered = {{kFormatKey, format}};
  numbered.update(content);
  const std::string lines = numbered.dump(2) + '\n';
  AtomicFile file(path_ / name);
  file.write(lines.data(), lines.size());
  file.commit();
}

void RunDirectory::write_start(const Config& resolved, const nlohmann::ordered_json& machine,
                               const nlohmann::ordered_json& evidence) {
  write("config.json", to_json(resolved), kConfigFormat);
  write("machine.json", machine, kMachineFormat);
  nlohmann::ordered_json first = {{kFormatKey, kMetricsFormat}};
  if (!evidence.is_null()) {
    write("evidence.json", evidence, kEvidenceFormat);
    first["evidence"] = evidence;
  }
  add_metrics(first);
  started_ = true;
}

void RunDirectory::write_profile(const nlohmann::ordered_json& profile) const {
  write("profile.json", profile, kProfileFormat);
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
}

void RunDirectory::finish() {
  if (::fsync(metrics_) != 0 && errno != EINVAL) fail("cannot be brought to the disk");
}

void RunDirectory::fail(const char* what) const {
  throw Error(DUET_STATUS_IO_ERROR, text(metrics_path().string(), ": ", what, " (", std::strerror(errno), ")"));
}

}  // namespace duet
