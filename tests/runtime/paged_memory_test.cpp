#include "runtime/files/paged_memory.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/error.h"
#include "runtime/files/available_memory.h"
#include "runtime/files/file_bytes.h"
#include "runtime/files/reading_limit.h"

using namespace duet;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::path(DUET_BINARY_DIR) / "paged_memory_test";
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  bool empty() const { return fs::is_empty(path); }
  fs::path write(const std::string& name, const std::string& content) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << content;
    return path / name;
  }
};

std::byte value_at(uint64_t k) { return static_cast<std::byte>(k * 7 + k / 251); }

void fill(std::span<std::byte> bytes) {
  for (size_t k = 0; k < bytes.size(); ++k) bytes[k] = value_at(k);
}

bool is_filled(std::span<const std::byte> bytes) {
  for (size_t k = 0; k < bytes.size(); ++k)
    if (bytes[k] != value_at(k)) return false;
  return true;
}

// What a child process came to: its exit code or 128 plus its signal, and what it wrote on standard error.
std::pair<int, std::string> in_child(const std::function<void()>& body) {
  std::array<int, 2> ends;
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    const rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  std::array<char, 256> buffer;
  for (ssize_t got; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    said.append(buffer.data(), static_cast<size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), said};
}

}  // namespace

TEST_CASE("paged memory holds what is written, of any size, and leaves no file behind") {
  const Folder folder;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  for (const uint64_t bytes : {uint64_t{1}, page - 1, page, page + 1, 7 * page + 13, uint64_t{1} << 20}) {
    PagedMemory memory(bytes, folder.path);
    CHECK(folder.empty());
    REQUIRE(memory.bytes().size() == bytes);
    CHECK(std::ranges::all_of(memory.bytes(), [](std::byte value) { return value == std::byte{0}; }));
    fill(memory.bytes());
    CHECK(is_filled(memory.bytes()));
    // Parts that share pages, one that is empty, and one that goes beyond the end.
    memory.settle(0, bytes / 3);
    memory.settle(bytes / 3, bytes / 3);
    memory.settle(bytes / 3, bytes);
    CHECK(is_filled(memory.bytes()));
    memory.mapping().release(bytes / 2, 2 * bytes);
    memory.mapping().fetch(0, bytes);
    memory.mapping().expect_no_order();
    CHECK(is_filled(memory.bytes()));
  }
}

TEST_CASE("paged memory of no bytes is none, and moves") {
  const Folder folder;
  PagedMemory none(0, "/nowhere"), memory(1000, folder.path);
  CHECK(none.bytes().empty());
  none.settle(0, 0);
  fill(memory.bytes());
  const std::byte* const at = memory.bytes().data();
  PagedMemory taken(std::move(memory));
  CHECK(taken.bytes().data() == at);
  CHECK(is_filled(taken.bytes()));
  none = std::move(taken);
  CHECK(none.bytes().data() == at);
  none.settle(0, 1000);
  CHECK(is_filled(none.bytes()));
  none = PagedMemory(10, folder.path);
  CHECK(none.bytes().size() == 10);
  none = PagedMemory();
  CHECK(none.bytes().empty());
}

TEST_CASE("paged memory that finds no room says folder, bytes and reason, and is no caller's mistake") {
  const Folder folder;
  const auto refusal = [](uint64_t bytes, const fs::path& where) -> std::pair<duet_status, std::string> {
    try {
      const PagedMemory memory(bytes, where);
    } catch (const Error& error) {
      return {error.status(), error.what()};
    }
    return {DUET_STATUS_OK, ""};
  };
  CHECK(refusal(10, folder.path / "absent") ==
        std::pair{DUET_STATUS_OUT_OF_MEMORY,
                  (folder.path / "absent").string() + ": no room for a file of 10 bytes (No such file or directory)"});
  const auto [status, said] = refusal(uint64_t{1} << 62, folder.path);
  CHECK(status == DUET_STATUS_OUT_OF_MEMORY);
  CHECK(said.starts_with(folder.path.string() + ": no room for a file of 4611686018427387904 bytes ("));
  CHECK(refusal(UINT64_MAX, folder.path).second.ends_with("bytes (File too large)"));
  CHECK(folder.empty());
  // A limit on the size of files stands for a disk that is full.
  const auto [code, words] = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit largest = {5000, 5000};
    ::setrlimit(RLIMIT_FSIZE, &largest);
    const PagedMemory fits(5000, folder.path);
    const std::string full = refusal(5001, folder.path).second;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, full.data(), full.size());
  });
  CHECK(code == 0);
  CHECK(words == folder.path.string() + ": no room for a file of 5001 bytes (File too large)");
}

TEST_CASE("a file beyond the limit is mapped, with the bytes that it has when it is read") {
  const Folder folder;
  std::string content(100'000, 'x');
  for (size_t k = 0; k < content.size(); ++k) content[k] = static_cast<char>(value_at(k));
  const fs::path path = folder.write("file", content);
  CHECK(FileBytes(path).mapping() == nullptr);
  const ReadingLimit limit(50'000, folder.path);
  FileBytes whole(path);
  REQUIRE(whole.mapping() != nullptr);
  CHECK(is_filled(whole.bytes()));
  whole.mapping()->release(0, 100'000);
  CHECK(is_filled(whole.bytes()));
  CHECK(whole.file_size() == 100'000);
  const FileBytes part(path, 4097, 60'001), small(path, 4097, 50'000);
  REQUIRE((part.mapping() != nullptr && small.mapping() == nullptr));
  CHECK(std::ranges::equal(part.bytes(), whole.bytes().subspan(4097, 60'001)));
  CHECK(std::ranges::equal(small.bytes(), whole.bytes().subspan(4097, 50'000)));
  CHECK_THROWS_WITH_AS(FileBytes(path, 90'000, 60'000), doctest::Contains("file: truncated: it has 100000 bytes"),
                       Error);
  {
    const ReadingLimit none(UINT64_MAX, folder.path);
    CHECK(FileBytes(path).mapping() == nullptr);
  }
  CHECK(FileBytes(path).mapping() != nullptr);
  FileBytes moved(std::move(whole));
  CHECK(is_filled(moved.bytes()));
  moved = FileBytes(path, 0, 10);
  CHECK(moved.bytes().size() == 10);
}

TEST_CASE("bytes that are made in order lie in a file beyond the limit") {
  const Folder folder;
  const uint64_t size = (uint64_t{40} << 20) + 1;  // two parts that are settled, and a rest
  const ReadingLimit limit(size - 1, folder.path);
  ReadBytes in_memory(size - 1), in_file(size);
  CHECK(in_memory.mapping() == nullptr);
  REQUIRE(in_file.mapping() != nullptr);
  for (ReadBytes* room : {&in_memory, &in_file}) {
    const std::span<std::byte> bytes = room->bytes();
    for (size_t done = 0; done < bytes.size(); room->made(done)) {
      const size_t part = std::min<size_t>(1 << 20, bytes.size() - done);
      std::ranges::fill(bytes.subspan(done, part), static_cast<std::byte>(done >> 20));
      done += part;
    }
    for (size_t k = 0; k < bytes.size(); k += 65'537) REQUIRE(bytes[k] == static_cast<std::byte>(k >> 20));
    CHECK(bytes.back() == static_cast<std::byte>((bytes.size() - 1) >> 20));
  }
}

TEST_CASE("a mapped file that is truncated ends the program with one line, any other bus error as ever") {
  const Folder folder;
  const std::string content(200'000, 'x');
  const auto read_truncated = [&](const char* name, bool is_ours) {
    const fs::path path = folder.write(name, content);
    return in_child([&] {
      report_broken_mappings();
      const ReadingLimit limit(1000, folder.path);
      std::optional<FileBytes> file(path);
      const volatile std::byte* const last = &file->bytes().back();
      if (!is_ours) std::raise(SIGBUS);  // as another program may send it
      fs::resize_file(path, 10);
      static_cast<void>(*last);
    });
  };
  const auto [code, words] = read_truncated("x\n.npy", true);
  CHECK(code == 1);
  CHECK(words == "duet: " + folder.path.string() + "/x\\x0a.npy: truncated, or its disk failed, while it was read\n");
  const auto [other, silence] = read_truncated("y.npy", false);
  CHECK(other == 128 + SIGBUS);
  CHECK(silence.empty());
}

TEST_CASE("available memory is the least of the machine's and of each memory cgroup's, of both versions") {
  const Folder folder;
  constexpr uint64_t kMebibyte = 1 << 20;
  CHECK(available_memory(folder.path) == INT64_MAX);
  folder.write("proc/meminfo", "MemTotal:  9000000 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\nBuffers: 3 kB\n");
  CHECK(available_memory(folder.path) == 2 * kMebibyte);
  const auto group = [&](const std::string& name, const std::string& max, const std::string& current,
                         const std::string& stat) {
    folder.write(name + "/memory.max", max + "\n");
    folder.write(name + "/memory.current", current + "\n");
    folder.write(name + "/memory.stat", stat);
  };
  const std::string inner = "sys/fs/cgroup/outer/inner";
  folder.write("proc/self/cgroup", "0::/outer/inner\n");
  group("sys/fs/cgroup/outer", "max", "5000", "");
  group(inner, "1500000", "900000", "anon 7\ninactive_file 400000\nactive_file 3\n");
  CHECK(available_memory(folder.path) == 1'000'000);
  group("sys/fs/cgroup/outer", "700000", "0", "");
  CHECK(available_memory(folder.path) == 700'000);
  group(inner, "1500000", "1600000", "inactive_file 0\n");  // a limit that was lowered below what is used
  CHECK(available_memory(folder.path) == 0);
  // Version 1 beside an empty version 2, as most systems with both have it.
  folder.write("proc/self/cgroup", "9:cpu,cpuacct:/a\n4:hugetlb,memory:/job\n1:name=systemd:/\n0::/\n");
  folder.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  folder.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n");
  CHECK(available_memory(folder.path) == 2 * kMebibyte);
  folder.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1000000\n");
  folder.write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "300000\n");
  folder.write("sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 50000\n");
  CHECK(available_memory(folder.path) == 750'000);
  CHECK(available_memory() > 0);
}
