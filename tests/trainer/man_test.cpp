// What a user reads before he runs anything: --help with examples, the manual page, and --quiet.
#include <doctest/doctest.h>

#include <cstdlib>

#include "tests/trainer/program.h"

using namespace duet::testing;

namespace {

const std::vector<std::string> kCommands = {"train",  "eval",   "baseline",   "ablate", "embed",   "search",
                                            "export", "import", "check",      "report", "compare", "config",
                                            "info",   "demo",   "completion", "man"};

}  // namespace

TEST_CASE("every command shows examples of itself") {
  for (const std::string& command : kCommands) {
    CAPTURE(command);
    const Outcome help = run_program({command, "--help"});
    CHECK(help.code == 0);
    const size_t examples = help.out.find("Examples:");
    REQUIRE(examples != std::string::npos);
    CHECK(help.out.find("duet " + command, examples) != std::string::npos);
  }
}

TEST_CASE("the manual page has every command, and a formatter takes it without a warning") {
  const Outcome page = run_program({"man"});
  REQUIRE(page.code == 0);
  CHECK(page.err.empty());
  CHECK(page.out.starts_with(".TH DUET 1 "));
  for (const std::string& command : kCommands)
    CHECK(page.out.find("\n.SS duet " + command + "\n") != std::string::npos);
  CHECK(page.out.find("\n\\fB\\-\\-other\\-machine\\fR\n") != std::string::npos);
  const TemporaryFolder folder;
  write_text(folder / "duet.1", page.out);
  if (std::system("command -v groff >/dev/null") != 0) {
    MESSAGE("skipped: no groff");
    return;
  }
  const std::string command = "groff -man -ww -Tascii " + (folder / "duet.1").string() + " > " +
                              (folder / "page").string() + " 2> " + (folder / "warnings").string();
  CHECK(std::system(command.c_str()) == 0);
  CHECK(read_text(folder / "warnings") == "");
  CHECK(read_text(folder / "page").find("duet export --run my-run --hub my-model") != std::string::npos);
}

TEST_CASE("--quiet says nothing but what went wrong") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  const std::vector<std::string> arguments = {"train", "--data", data, "--epochs", "1"};
  const Outcome loud = run_program(arguments);
  CHECK(loud.code == 0);
  CHECK(loud.err.find("training pairs") != std::string::npos);
  for (const bool before : {true, false}) {
    std::vector<std::string> quiet = arguments;
    quiet.insert(before ? quiet.begin() : quiet.end(), "--quiet");
    const Outcome outcome = run_program(quiet);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    CHECK(outcome.out.starts_with("method"));
  }
  const Outcome wrong = run_program({"eval", "--quiet", "--run", folder / "none"});
  CHECK(wrong.code == 2);
  CHECK(wrong.err.find("none/model.safetensors: no such file") != std::string::npos);
}
