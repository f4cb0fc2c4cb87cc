#include "trainer/run_directory.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "kernels/duet.h"
#include "runtime/atomic_file.h"
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
    usage_require(access(path.c_str(), W_OK | X_OK) == 0, path.string(), ": the run directory cannot be written to");
  } else {
    fs::create_directories(path, error);
    usage_require(!error, path.string(), ": cannot make the run directory: ", error.message());
  }
}

void RunDirectory::write(const char* name, const nlohmann::ordered_json& content) const {
  const std::string lines = content.dump(2) + '\n';
  AtomicFile file(path_ / name);
  file.write(lines.data(), lines.size());
  file.commit();
}

void RunDirectory::write_start(const Config& resolved, const nlohmann::ordered_json& machine) {
  write("config.json", to_json(resolved));
  write("machine.json", machine);
  metrics_.open(path_ / "metrics.jsonl");
}

void RunDirectory::add_metrics(const nlohmann::ordered_json& line) {
  metrics_ << line.dump() << '\n' << std::flush;
  if (!metrics_) throw Error(DUET_IO_ERROR, (path_ / "metrics.jsonl").string() + ": cannot be written");
}

nlohmann::ordered_json machine_facts(int threads) {
  return {{"version", duet_version()}, {"simd_target", duet_simd_target()}, {"blas_core", duet_blas_core()}, {"threads", threads}};
}

}  // namespace duet
