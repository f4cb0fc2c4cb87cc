#include "trainer/child_program.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "kernels/core/error.h"

namespace duet {
namespace {

constexpr const char* kThisProgram = "/proc/self/exe";
constexpr int kCannotStart = 127;  // as shells say it
constexpr off_t kLongestLine = 4096;

[[noreturn]] void fail(const std::string& what) {
  throw Error(DUET_STATUS_IO_ERROR, text(what, ": ", std::strerror(errno)));
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

// length bytes from offset on, or as many as there are.
std::string read_part(int descriptor, off_t offset, off_t length) {
  std::string out(static_cast<size_t>(length), '\0');
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::pread(descriptor, out.data() + done, out.size() - done, offset + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  out.resize(done);
  return out;
}

off_t size_of(int descriptor) { return std::max<off_t>(0, ::lseek(descriptor, 0, SEEK_END)); }

std::string last_line(const std::filesystem::path& file) {
  const Descriptor descriptor{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (descriptor.number < 0) return "";
  const off_t size = size_of(descriptor.number), length = std::min(size, kLongestLine);
  std::string words = read_part(descriptor.number, size - length, length);
  while (words.ends_with('\n')) words.pop_back();
  return words.substr(words.rfind('\n') + 1);
}

}  // namespace

ChildProgram::ChildProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log) : log_(log) {
  std::vector<std::string> words = {"duet"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const Descriptor input{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const Descriptor errors{::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)};
  if (errors.number < 0) fail(log.string() + ": cannot be written");
  Descriptor output{::memfd_create("output", MFD_CLOEXEC)};
  if (input.number < 0 || output.number < 0) fail("cannot start a child process");
  // Where whoever started this program ignores SIGCHLD, the end of a child could not be waited for.
  std::signal(SIGCHLD, SIG_DFL);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fail("cannot start a child process");
  if (pid_ == 0) {  // calls that a process with threads may make behind fork()
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(kCannotStart);  // it has gone already
    ::dup2(input.number, STDIN_FILENO);
    ::dup2(output.number, STDOUT_FILENO);
    ::dup2(errors.number, STDERR_FILENO);
    ::execv(kThisProgram, argv.data());
    ::_exit(kCannotStart);
  }
  output_ = std::exchange(output.number, -1);
}

ChildProgram::ChildProgram(ChildProgram&& other) noexcept
    : log_(std::move(other.log_)), pid_(std::exchange(other.pid_, -1)), output_(std::exchange(other.output_, -1)) {}

ChildProgram::~ChildProgram() {
  ask_to_end();
  while (pid_ > 0 && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (output_ >= 0) ::close(output_);
}

void ChildProgram::ask_to_end() const {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
}

std::optional<ChildEnd> ChildProgram::ended() {
  int status = 0;
  if (pid_ <= 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  return ChildEnd{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                  read_part(output_, 0, size_of(output_)), last_line(log_)};
}

}  // namespace duet
