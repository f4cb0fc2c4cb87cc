// Files that a command writes where it was told to.
#pragma once

#include <filesystem>
#include <string_view>

#include "trainer/input_files.h"

namespace duet {

// Throws UsageError: path is there already, and --force was not given.
[[noreturn]] void refuse_existing(const std::filesystem::path& path);
// Throws UsageError, naming the file, where path is one that the command reads, a folder, or there already and force
// does not allow writing over it.
void require_free(const InputFiles& inputs, const std::filesystem::path& path, bool force);
// path holds bytes or, where anything fails, what it held. With the errors of require_free() where a file has appeared
// since; UsageError or Error(DUET_STATUS_IO_ERROR) where the system refuses.
void write_output(const std::filesystem::path& path, std::string_view bytes, bool force);
// Makes a folder, with those above it, where it is not there.
void make_output_folder(const std::filesystem::path& path);

}  // namespace duet
