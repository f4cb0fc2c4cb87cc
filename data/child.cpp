#include "data/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <new>
#include <vector>

#include "kernels/core/error.h"
#include "runtime/files/reading_limit.h"

namespace duet::data {
namespace {

// A frame is its length and then so many bytes of what the child says; two lengths mean something else.
constexpr uint64_t kErrorFrame = ~uint64_t{0}, kEndFrame = kErrorFrame - 1;
constexpr uint64_t kLongestWords = 1 << 20;  // longer ones are of a damaged file

constexpr uint64_t kLeastMemory = uint64_t{1} << 30, kMemoryOfFile = 4;
// Of the processor's time; gzip inflates 100 times as fast.
constexpr uint64_t kLeastSeconds = 60, kBytesASecond = 1'000'000;
// zlib's bound: no filter that libhdf5 or libmatio has makes more of a byte. Small files may hold constants.
constexpr uint64_t kMostInflated = 1032, kSmallArray = 1 << 20;

void send(int descriptor, const void* data, size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) ::_exit(1);  // the parent has gone
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}

void send_frame(int descriptor, const void* data, uint64_t bytes) {
  send(descriptor, &bytes, sizeof bytes);
  send(descriptor, data, bytes);
}

void send_error(int descriptor, int64_t status, const std::string& message) {
  send(descriptor, &kErrorFrame, sizeof kErrorFrame);
  ChildOutput out(descriptor);
  out.number(status);
  out.words(message);
}

uint64_t bytes_of(const std::filesystem::path& path) {
  std::error_code refused;
  const uintmax_t bytes = std::filesystem::file_size(path, refused);
  return refused ? 0 : bytes;
}

uint64_t memory_budget(const std::filesystem::path& path) { return kLeastMemory + kMemoryOfFile * bytes_of(path); }

// A library may turn in a circle on a damaged file.
void limit_time(uint64_t file_bytes) {
  const rlim_t seconds = kLeastSeconds + file_bytes / kBytesASecond;
  const rlimit limit = {seconds, seconds};
  ::setrlimit(RLIMIT_CPU, &limit);
}

// Beside what the process has already. A sanitizer's own memory is beyond any limit.
void limit_memory([[maybe_unused]] uint64_t bytes) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return;
#endif
#endif
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlimit limit = {pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) + bytes, RLIM_INFINITY};
  ::setrlimit(RLIMIT_AS, &limit);
#endif
}

[[noreturn]] void run_child(int descriptor, const std::filesystem::path& path, const char* library, uint64_t budget,
                            const std::function<void(ChildOutput&)>& child) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(nowhere, STDERR_FILENO);  // what the library prints is no message of ours
  ::dup2(nowhere, STDOUT_FILENO);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(number, SIG_DFL);
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  limit_time(bytes_of(path));
  limit_memory(budget);
  try {
    ChildOutput out(descriptor);
    child(out);
    send(descriptor, &kEndFrame, sizeof kEndFrame);
  } catch (const Error& error) {
    send_error(descriptor, error.status(), error.what());
  } catch (const std::bad_alloc&) {
    send_error(
        descriptor, DUET_STATUS_IO_ERROR,
        text(path.string(), ": ", library, " needs more than ", budget >> 20, " MiB to read it; is it damaged?"));
  } catch (const std::exception& error) {
    send_error(descriptor, DUET_STATUS_IO_ERROR, text(path.string(), ": ", library, ": ", error.what()));
  }
  ::_exit(0);
}

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw Error(DUET_STATUS_IO_ERROR, text("cannot make a pipe: ", std::strerror(errno)));
  }
  ~Pipe() { close(0), close(1); }
  void close(size_t end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

struct Child {
  pid_t pid;
  int status = 0;
  bool waited = false;
  // Of a child that ended, or that nobody reads from any more.
  void wait() {
    if (waited) return;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    waited = true;
  }
  ~Child() { wait(); }
};

}  // namespace

void ChildOutput::number(int64_t value) { send_frame(descriptor_, &value, sizeof value); }
void ChildOutput::words(const std::string& value) {
  number(static_cast<int64_t>(value.size()));
  bytes(std::as_bytes(std::span(value)));
}
void ChildOutput::bytes(std::span<const std::byte> values) {
  if (!values.empty()) send_frame(descriptor_, values.data(), values.size());
}

void ChildInput::receive(void* to, size_t count) {
  auto* at = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got = ::read(descriptor_, at, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) on_end_();
    at += got;
    count -= static_cast<size_t>(got);
  }
}

void ChildInput::throw_error() {
  left_ = 0;
  const int64_t status = number();
  const std::string message = words();
  throw Error(static_cast<duet_status>(status), message);
}

void ChildInput::next_frame() {
  while (left_ == 0) {
    receive(&left_, sizeof left_);
    if (left_ == kErrorFrame) throw_error();
    if (left_ == kEndFrame) on_end_();
  }
}

void ChildInput::take(std::byte* to, size_t count) {
  while (count > 0) {
    next_frame();
    const size_t part = std::min<size_t>(left_, count);
    receive(to, part);
    left_ -= part;
    to += part;
    count -= part;
  }
}

int64_t ChildInput::number() {
  int64_t value = 0;
  take(reinterpret_cast<std::byte*>(&value), sizeof value);
  return value;
}

std::string ChildInput::words() {
  const auto length = static_cast<uint64_t>(number());
  if (length > kLongestWords) on_end_();
  std::string value(length, '\0');
  take(reinterpret_cast<std::byte*>(value.data()), length);
  return value;
}

void ChildInput::bytes(std::span<std::byte> to) { take(to.data(), to.size()); }

void ChildInput::end() {
  uint64_t frame = 0;
  receive(&frame, sizeof frame);
  if (frame == kEndFrame) return;
  if (frame == kErrorFrame) throw_error();
  on_end_();
}

void read_in_child(const std::filesystem::path& path, const char* library,
                   const std::function<void(ChildOutput&)>& child, const std::function<void(ChildInput&)>& parent) {
  const uint64_t budget = memory_budget(path);
  Pipe pipe;
  const pid_t pid = ::fork();
  if (pid < 0)
    throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": cannot start its reader: ", std::strerror(errno)));
  if (pid == 0) {
    pipe.close(0);  // or it would never learn that nobody reads
    run_child(pipe.ends[1], path, library, budget, child);
  }
  Child process{pid};
  pipe.close(1);
  ChildInput in(pipe.ends[0], [&] {
    pipe.close(0);
    process.wait();
    const std::string how = WIFSIGNALED(process.status) ? text("signal ", WTERMSIG(process.status)) : "no reason given";
    throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": damaged: ", library, " ended on it (", how, ")"));
  });
  try {
    parent(in);
    in.end();
  } catch (...) {
    pipe.close(0);  // a child that still writes ends by it
    throw;
  }
}

void send_description(ChildOutput& out, const ArrayView& view) {
  out.words(view.name);
  out.number(static_cast<int64_t>(view.type));
  out.number(view.width);
  out.number(view.fortran_order);
  out.number(std::ssize(view.shape));
  for (const int64_t extent : view.shape) out.number(extent);
}

StoredArray receive_array(ChildInput& in, const std::filesystem::path& path) {
  ArrayView view{.name = in.words()};
  view.type = static_cast<ElementType>(in.number());
  view.width = in.number();
  view.fortran_order = in.number() != 0;
  view.shape.resize(static_cast<size_t>(in.number()));
  for (int64_t& extent : view.shape) extent = in.number();
  const auto bytes = static_cast<uint64_t>(checked_bytes(view.shape, element_bytes(view), view.name));
  const uint64_t file_bytes = bytes_of(path);
  if (bytes > kSmallArray && bytes / kMostInflated > file_bytes)
    throw Error(DUET_STATUS_IO_ERROR, text(view.name, ": damaged: shape ", shape_text(view.shape), " needs ", bytes,
                                           " bytes, which a file of ", file_bytes, " cannot hold"));
  const auto memory = std::make_shared<ReadBytes>(bytes);
  const std::span<std::byte> values = memory->bytes();
  constexpr size_t kPart = 4 << 20;
  for (size_t done = 0; done < values.size(); memory->made(done)) {
    const size_t part = std::min(kPart, values.size() - done);
    in.bytes(values.subspan(done, part));
    done += part;
  }
  view.values = values;
  return {memory, std::move(view), memory->mapping()};
}

void send_text_array(ChildOutput& out, ArrayView view, const std::vector<std::string>& strings) {
  size_t width = 1;
  for (const std::string& value : strings) width = std::max(width, value.size());
  view.type = ElementType::bytes;
  view.width = static_cast<int64_t>(width);
  send_description(out, view);
  std::string padded;
  for (const std::string& value : strings) {
    padded = value;
    padded.resize(width);
    out.bytes(std::as_bytes(std::span(padded)));
  }
}

std::vector<std::string> receive_names(ChildInput& in) {
  std::vector<std::string> names;
  for (int64_t left = in.number(); left > 0; --left) names.push_back(in.words());
  std::ranges::sort(names);
  return names;
}

}  // namespace duet::data
