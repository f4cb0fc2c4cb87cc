// The blocks of code in the pages for users, run as a reader runs them: README.md and the other .md files at the top,
// the README.md of each folder, and docs/.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "tests/trainer/program.h"

using namespace duet::testing;

namespace {

struct Block {
  std::string page, language, text;
  int line = 0;  // the first of the text, from 1
};

std::vector<std::string> pages() {
  std::vector<std::string> found;
  const auto add = [&found](const fs::path& path) {
    if (path.extension() == ".md") found.push_back(fs::relative(path, DUET_PROJECT_DIR));
  };
  for (const auto& entry : fs::directory_iterator(DUET_PROJECT_DIR)) {
    add(entry.path());
    if (fs::exists(entry.path() / "README.md")) add(entry.path() / "README.md");
  }
  for (const auto& entry : fs::directory_iterator(DUET_PROJECT_DIR "/docs")) add(entry.path());
  std::ranges::sort(found);
  return found;
}

// The fenced blocks of a page, and those that an indent of four makes, whose language is "".
std::vector<Block> blocks_of(const std::string& page, const std::string& content) {
  std::istringstream file(content);
  std::vector<Block> blocks;
  bool fenced = false, after_blank = true, in_list = false, indented = false;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const std::string_view bare = std::string_view(line).substr(std::min(line.find_first_not_of(' '), line.size()));
    if (bare.starts_with("```") || bare.starts_with("~~~")) {
      fenced = !fenced;
      if (fenced) blocks.push_back({page, std::string(bare.substr(3)), "", number + 1});
      if (fenced && blocks.back().language.empty()) blocks.back().language = "none";
      after_blank = true;
      if (line[0] != ' ') in_list = false;
    } else if (fenced) {
      blocks.back().text += line + "\n";
    } else if (bare.empty()) {
      after_blank = true;
    } else {
      const bool deep = line.starts_with("    ");
      if (deep && !in_list && (after_blank || indented)) {
        if (!indented) blocks.push_back({page, "", "", number});
        blocks.back().text += line.substr(4) + "\n";
        indented = true;
      } else {
        indented = false;
        // What is indented under an item of a list belongs to it.
        if (line[0] != ' ') in_list = bare.starts_with("- ") || bare.starts_with("* ") || std::isdigit(bare[0]);
      }
      after_blank = false;
    }
  }
  return blocks;
}

std::vector<Block> all_blocks() {
  std::vector<Block> all;
  for (const std::string& page : pages()) {
    const std::vector<Block> more = blocks_of(page, read_text(DUET_PROJECT_DIR "/" + page));
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// What a block of a language is: run by whom, or no code at all. "": of any page.
struct Language {
  const char *name, *page, *run_by;
};
const Language kLanguages[] = {
    {"sh", "", "this test"},
    {"json", "", "this test: a grid of duet ablate"},
    {"python", "", "tests/python, and what imports torch by tests/torch"},
    {"c", "kernels/README.md", "tests/c_api"},
    {"cmake", "kernels/README.md", "tests/install, whose project has these calls"},
    {"text", "", "nobody: a listing"},
    {"{toctree}", "", "Sphinx"},
    {"{eval-rst}", "", "Sphinx"},
};

// Lines of sh blocks that are not run here, and why.
struct Exception {
  const char *page, *start, *reason;
};
const Exception kNotRun[] = {
    {"README.md", "./dev demo", "builds; what it starts then is run below"},
    {"README.md", "./dev test", "runs this test"},
    {"kernels/README.md", "./dev install", "tests/install installs both components"},
    {"kernels/README.md", "cc engine.c", "tests/install links a program in both ways"},
    {"docs/RANKS.md", "", "./dev test ranks: tests/ranks/train.sh trains and goes on under a launcher"},
    {"examples/README.md", "", "./dev test examples installs their packages as root, builds and runs them"},
};

bool is_run(const Block& block, const std::string& line) {
  return std::ranges::none_of(kNotRun, [&](const Exception& exception) {
    return block.page == exception.page && line.starts_with(exception.start);
  });
}

// A folder as the pages have it: the program built, a data set of one's own.
void prepare(const TemporaryFolder& folder) {
  write_small_set(folder / "my-data");
  fs::copy_file(DUET_PROJECT_DIR "/tests/data/files/vegas.h5", folder / "vegas.h5");
  fs::create_directories(folder / "build/release");
  fs::create_symlink(DUET_BINARY_DIR "/duet", folder / "build/release/duet");
}

void run_in(const TemporaryFolder& folder, const std::string& commands) {
  write_text(folder / "commands", "set -e\nPATH=$PWD/build/release:$PATH\n" + commands);
  const std::string start = "cd " + folder.path().string() + " && sh commands > out 2> err";
  const int status = std::system(start.c_str());
  INFO(read_text(folder / "err"));
  CHECK(status == 0);
}

// The numbers of a line of a table, which starts with a name.
std::vector<double> numbers_of(const std::string& text, const std::string& name) {
  std::istringstream line(text.substr(text.find("\n" + name + " ") + 1 + name.size()));
  std::vector<double> numbers;
  for (double value; numbers.size() < 4 && line >> value;) numbers.push_back(value);
  return numbers;
}

}  // namespace

TEST_CASE("every block has a language that somebody runs, or is said to be no code") {
  const std::vector<Block> blocks = all_blocks();
  CHECK(blocks.size() >= 10);
  for (const Block& block : blocks) {
    CAPTURE(block.page);
    CAPTURE(block.line);
    CAPTURE(block.language);
    CHECK(std::ranges::any_of(kLanguages, [&](const Language& language) {
      return block.language == language.name && (language.page == std::string() || block.page == language.page);
    }));
  }
}

TEST_CASE("blocks are found by their fences and by their indents") {
  const std::vector<Block> blocks = blocks_of("a page", R"(# Title

    indented
    twice

text
    that goes on

- an item

    that goes on

- an item
```sh
command
```

    indented

1. a number
   ```
   of no language
   ```
)");
  REQUIRE(blocks.size() == 4);
  CHECK(blocks[0].language == "");
  CHECK(blocks[0].text == "indented\ntwice\n");
  CHECK(blocks[0].line == 3);
  CHECK(blocks[1].language == "sh");
  CHECK(blocks[1].text == "command\n");
  CHECK(blocks[2].language == "");
  CHECK(blocks[3].language == "none");
}

TEST_CASE("the commands") {
  const TemporaryFolder folder;
  prepare(folder);
  int run = 0, exceptions = 0;
  for (const Block& block : all_blocks()) {
    if (block.language != "sh") continue;
    CAPTURE(block.page);
    CAPTURE(block.line);
    std::istringstream lines(block.text);
    std::string commands;
    for (std::string line; std::getline(lines, line);) {
      (is_run(block, line) ? run : exceptions) += 1;
      if (is_run(block, line)) commands += line + "\n";
    }
    if (!commands.empty()) run_in(folder, commands);
  }
  CHECK(run >= 8);
  CHECK(exceptions >= 4);
}

TEST_CASE("the grids") {
  const TemporaryFolder folder;
  prepare(folder);
  int grids = 0;
  for (const Block& block : all_blocks()) {
    if (block.language != "json") continue;
    CAPTURE(block.page);
    CAPTURE(block.line);
    const std::string out = "grid" + std::to_string(++grids);
    write_text(folder / (out + ".json"), block.text);
    run_in(folder, "duet ablate " + out + ".json --out " + out);
    CHECK(fs::exists(folder / out / "ablation.md"));
  }
  CHECK(grids >= 1);
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
