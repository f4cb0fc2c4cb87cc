#include "runtime/files/atomic_file.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

using namespace duet;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::path(DUET_BINARY_DIR) / "atomic_file_test";
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
};

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("a file appears when it is committed, and not before") {
  const Folder folder;
  const fs::path path = folder.path / "x";
  {
    AtomicFile file(path);
    file.write("half", 4);
  }
  CHECK(folder.files() == 0);
  for (const std::string content : {"first", "second"}) {
    AtomicFile file(path);
    file.write(content.data(), content.size());
    CHECK(content_of(path) != content);
    CHECK_FALSE(file.placed());
    file.commit();
    CHECK(file.placed());
    CHECK(content_of(path) == content);
  }
  CHECK(folder.files() == 1);
}

TEST_CASE("a new file leaves one alone that appears while it is written") {
  const Folder folder;
  const fs::path path = folder.path / "x";
  {
    AtomicFile file(path);
    file.write("mine", 4);
    std::ofstream(path) << "theirs";
    CHECK_FALSE(file.commit_new());
    CHECK_FALSE(file.placed());
  }
  CHECK(content_of(path) == "theirs");
  CHECK(folder.files() == 1);
  fs::remove(path);
  fs::create_symlink(folder.path / "nowhere", path);
  {
    AtomicFile file(path);
    CHECK_FALSE(file.commit_new());
  }
  CHECK(fs::is_symlink(path));
  fs::remove(path);
  AtomicFile file(path);
  file.write("mine", 4);
  CHECK(file.commit_new());
  CHECK(content_of(path) == "mine");
  CHECK(folder.files() == 1);
}

TEST_CASE("a failure says the system's reason in words and as a number") {
  const Folder folder;
  try {
    AtomicFile file(folder.path / "absent" / "x");
    FAIL("it was made");
  } catch (const FileError& error) {
    CHECK(error.reason() == ENOENT);
    CHECK(error.status() == DUET_STATUS_IO_ERROR);
    CHECK(std::string(error.what()).find("absent/x: cannot be created (No such file or directory)") !=
          std::string::npos);
  }
}
