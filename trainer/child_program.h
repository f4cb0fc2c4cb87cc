// This program itself in a process of its own, as a command line starts it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace duet {

struct ChildEnd {
  int code = 0;            // 128 + signal where one ended it
  std::string output;      // what it wrote to standard output
  std::string last_words;  // the last line that it wrote to standard error, or ""
};

// One that runs until it has ended, is asked to, or its parent goes; asked is: by SIGTERM. In a process group of its
// own, so that a terminal's Ctrl-C reaches it through the parent alone. Standard input is empty.
class ChildProgram {
 public:
  // arguments: behind the program's name. log: gets standard error, behind what it holds. Throws
  // Error(DUET_STATUS_IO_ERROR) where the system refuses.
  ChildProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log);
  // Asks it to end, and waits.
  ~ChildProgram();
  ChildProgram(ChildProgram&& other) noexcept;
  ChildProgram& operator=(ChildProgram&&) = delete;

  void ask_to_end() const;
  // None as long as it runs.
  std::optional<ChildEnd> ended();

 private:
  std::filesystem::path log_;
  pid_t pid_ = -1;   // -1: waited for
  int output_ = -1;  // a file in memory
};

}  // namespace duet
