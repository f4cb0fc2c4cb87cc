// Runs the built program as a user does, in folders that vanish.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "data/synthetic.h"
#include "tests/data/write_files.h"

namespace duet::testing {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "duet-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

inline void write_text(const fs::path& path, const std::string& content) { std::ofstream(path) << content; }

struct Outcome {
  int code = -1;  // 128 + signal where one ended it
  std::string out, err;
};

struct Surroundings {
  std::string standard_output;  // "": a file whose content is the outcome's
  rlim_t largest_file = RLIM_INFINITY;
  bool ignores_hangup = false;   // as nohup starts it
  std::string program = "duet";  // in the build's folder
};

class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, const Surroundings& surroundings = {}) {
    std::vector<std::string> words = {DUET_BINARY_DIR "/" + surroundings.program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string out = surroundings.standard_output.empty() ? (folder_ / "out").string()
                                                                 : surroundings.standard_output,
                      err = folder_ / "err";
    pid_ = fork();
    if (pid_ == 0) {
      dup2(open(out.c_str(), O_CREAT | O_WRONLY, 0600), STDOUT_FILENO);
      dup2(open(err.c_str(), O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
      const rlimit largest = {surroundings.largest_file, surroundings.largest_file};
      setrlimit(RLIMIT_FSIZE, &largest);
      for (const int number : {SIGINT, SIGTERM})
        std::signal(number, SIG_DFL);  // whoever runs the tests may ignore them
      std::signal(SIGHUP, surroundings.ignores_hangup ? SIG_IGN : SIG_DFL);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }

  pid_t pid() const { return pid_; }
  void signal(int number) const { kill(pid_, number); }

  Outcome wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text(folder_ / "out"),
            read_text(folder_ / "err")};
  }

 private:
  TemporaryFolder folder_;
  pid_t pid_ = -1;
};

inline Outcome run_program(const std::vector<std::string>& arguments, const Surroundings& surroundings = {}) {
  return Program(arguments, surroundings).wait();
}

// A small set that a few epochs learn.
inline data::SyntheticOptions small_set() {
  data::SyntheticOptions options;
  options.train_rows = 240;
  options.test_rows = 60;
  options.classes = 4;
  options.widths = {12, 20};
  return options;
}

inline void write_small_set(const fs::path& folder) {
  test::write_dataset(folder, data::synthetic_dataset(small_set()));
}

}  // namespace duet::testing
