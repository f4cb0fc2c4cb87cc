#include "trainer/input_files.h"

#include <sys/stat.h>

#include <system_error>

#include "trainer/usage_error.h"

namespace duet {

namespace fs = std::filesystem;

void InputFiles::add_file(const fs::path& path) {
  struct stat facts = {};
  if (::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode))
    files_.emplace(std::pair(facts.st_dev, facts.st_ino), path);
}

void InputFiles::add_folder(const fs::path& folder, bool recurses) {
  std::error_code refused;
  fs::directory_iterator entry(folder, refused), end;
  for (; !refused && entry != end; entry.increment(refused)) {
    add_file(entry->path());
    if (recurses) add_folder(entry->path(), false);
  }
}

void InputFiles::add(const fs::path& path) {
  add_file(path);
  add_folder(path, true);
}

void InputFiles::require_apart(const fs::path& output) const {
  struct stat facts = {};
  if (::stat(output.c_str(), &facts) != 0) return;
  const auto input = files_.find({facts.st_dev, facts.st_ino});
  usage_require(input == files_.end(), output.string(), ": not written: it is an input of this command",
                input == files_.end() || input->second == output ? "" : " (" + input->second.string() + ")");
}

}  // namespace duet
