// The blocks of README.md, run as a reader runs them.
#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "tests/trainer/program.h"

using namespace duet::testing;

namespace {

const std::string kProgram = "build/release/duet";

// The lines of README.md's blocks that start with words, without their indent and comment.
std::vector<std::string> block_lines(const std::string& words) {
  std::istringstream file(read_text(DUET_PROJECT_DIR "/README.md"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("    " + words)) lines.push_back(line.substr(4, line.find("  #") - 4));
  return lines;
}

// The numbers of a line of a table, which starts with a name.
std::vector<double> numbers_of(const std::string& text, const std::string& name) {
  std::istringstream line(text.substr(text.find("\n" + name + " ") + 1 + name.size()));
  std::vector<double> numbers;
  for (double value; numbers.size() < 4 && line >> value;) numbers.push_back(value);
  return numbers;
}

}  // namespace

TEST_CASE("the commands on one's own data") {
  const TemporaryFolder folder;
  write_small_set(folder / "my-data");
  fs::copy_file(DUET_PROJECT_DIR "/tests/data/files/vegas.h5", folder / "vegas.h5");
  const std::vector<std::string> lines = block_lines(kProgram);
  CHECK(lines.size() >= 7);
  for (std::string line : lines) {
    CAPTURE(line);
    line.replace(line.find(kProgram), kProgram.size(), DUET_BINARY_DIR "/duet");
    const std::string command =
        "cd " + folder.path().string() + " && " + line + " > out 2> err || { cat err; exit 1; }";
    CHECK(std::system(command.c_str()) == 0);
  }
}

TEST_CASE("the demo's table") {
  const std::string readme = read_text(DUET_PROJECT_DIR "/README.md");
  const Outcome demo = run_program({"demo", "--quiet"});
  REQUIRE(demo.code == 0);
  for (const char* method : {"triplet", "psd"}) {
    CAPTURE(method);
    const std::vector<double> shown = numbers_of(readme, method), now = numbers_of(demo.out, method);
    REQUIRE(shown.size() == 4);
    REQUIRE(now.size() == 4);
    // MAP in both directions, their mean, R@1. Another SIMD target adds in another order, and training spreads what
    // rounding began; seeds differ by 0.01.
    for (size_t k = 0; k < now.size(); ++k) CHECK(std::abs(now[k] - shown[k]) <= 0.03);
  }
}
