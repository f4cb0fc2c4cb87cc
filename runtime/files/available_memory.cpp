#include "runtime/files/available_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

namespace duet {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kUnlimited = INT64_MAX;

// The number after a word of a table of words and numbers.
std::optional<uint64_t> number_after(const fs::path& file, const std::string& wanted) {
  std::ifstream table(file);
  std::string word, rest;
  for (uint64_t number = 0; table >> word >> number; std::getline(table, rest))
    if (word == wanted) return number;
  return std::nullopt;
}

std::optional<uint64_t> number_in(const fs::path& file) {
  std::ifstream stream(file);
  uint64_t number = 0;
  if (stream >> number) return number;
  return std::nullopt;  // "max" too
}

// What the files of one version are called.
struct Names {
  const char *limit, *used, *unused_pages;
};
constexpr Names kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
                kVersion2 = {"memory.max", "memory.current", "inactive_file"};

uint64_t left_in(const fs::path& group, const Names& names) {
  const std::optional<uint64_t> limit = number_in(group / names.limit), used = number_in(group / names.used);
  if (!limit || !used) return kUnlimited;
  const uint64_t unused = std::min(*used, number_after(group / "memory.stat", names.unused_pages).value_or(0)),
                 taken = *used - unused;
  return *limit > taken ? std::min(*limit - taken, kUnlimited) : 0;
}

// Of a group and of all above it. mount: where groups of this version lie; group: its path there, from /proc.
uint64_t left_below(const fs::path& mount, const std::string& group, const Names& names) {
  // In a container the path may be one of the host's: then the mount itself is the group.
  uint64_t left = left_in(mount, names);
  fs::path below = mount;
  for (const fs::path& part : fs::path(group).relative_path()) left = std::min(left, left_in(below /= part, names));
  return left;
}

}  // namespace

uint64_t available_memory(const fs::path& root) {
  constexpr uint64_t kKibibyte = 1024;
  const std::optional<uint64_t> machine = number_after(root / "proc/meminfo", "MemAvailable:");
  uint64_t left = machine ? *machine * kKibibyte : kUnlimited;
  const fs::path groups = root / "sys/fs/cgroup";
  // Lines of "number:controllers:path"; version 2 has no controllers.
  std::ifstream mine(root / "proc/self/cgroup");
  for (std::string line; std::getline(mine, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first, second - first + 1);
    controllers.front() = controllers.back() = ',';
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      left = std::min(left, left_below(groups, path, kVersion2));
      left = std::min(left, left_below(groups / "unified", path, kVersion2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      left = std::min(left, left_below(groups / "memory", path, kVersion1));
    }
  }
  return left;
}

}  // namespace duet
