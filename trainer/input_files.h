// What a command reads, so that it writes over none of it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <utility>

namespace duet {

// Files by device and inode: no link, no second name and no ".." hides that two paths are one file.
class InputFiles {
 public:
  // A file, or a folder's files and those of its folders, which is where a data set has them. What is not there is
  // passed over.
  void add(const std::filesystem::path& path);
  // Throws UsageError, naming both, where output is one of them.
  void require_apart(const std::filesystem::path& output) const;

 private:
  void add_file(const std::filesystem::path& path);
  void add_folder(const std::filesystem::path& folder, bool recurses);

  std::map<std::pair<dev_t, ino_t>, std::filesystem::path> files_;
};

}  // namespace duet
