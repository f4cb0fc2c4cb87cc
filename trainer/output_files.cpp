#include "trainer/output_files.h"

#include <system_error>

#include "runtime/files/atomic_file.h"
#include "trainer/usage_error.h"

namespace duet {
namespace fs = std::filesystem;

void refuse_existing(const fs::path& path) {
  throw UsageError(path.string() + ": not written: it is there already (--force writes over it)");
}

void require_free(const InputFiles& inputs, const fs::path& path, bool force) {
  inputs.require_apart(path);
  std::error_code ignored;
  const fs::file_status there = fs::symlink_status(path, ignored);
  usage_require(there.type() != fs::file_type::directory, path.string(), ": not written: it is a folder");
  if (!force && fs::exists(there)) refuse_existing(path);
}

void write_output(const fs::path& path, std::string_view bytes, bool force) {
  try {
    AtomicFile file(path);
    file.write(bytes.data(), bytes.size());
    if (force)
      file.commit();
    else if (!file.commit_new())
      refuse_existing(path);
  } catch (const FileError& error) {
    refuse_output(error.what(), error.reason());
  }
}

void make_output_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) refuse_output(text(path.string(), ": cannot make the output folder: ", error.message()), error.value());
  usage_require(fs::is_directory(path, error), path.string(), ": cannot make the output folder");
}

}  // namespace duet
