// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace duet {

// Bytes: the smallest of what the machine has available (MemAvailable) and of what each memory cgroup that the process
// is in, version 1 or 2, leaves below its limit, where pages of files count as free as long as nobody uses them.
// 2^63 - 1 where the system tells nothing. root: the folder that proc and sys/fs/cgroup lie in.
uint64_t available_memory(const std::filesystem::path& root = "/");

// What features, and each file that they are read from, may take of it where nobody says: a quarter. A deflated file
// takes that twice, packed and unpacked; a quarter is left for all else.
inline uint64_t default_data_memory() { return available_memory() / 4; }

}  // namespace duet
