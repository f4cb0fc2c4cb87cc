// `duet completion`: the script for bash completes in bash; those for zsh and fish are read by them where they are.
#include <doctest/doctest.h>

#include <cstdlib>

#include "tests/trainer/program.h"

using namespace duet::testing;

namespace {

// What bash offers for the words of a command line, of which the last is being typed.
std::string offered(const fs::path& script, const std::string& words) {
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  const std::string command = "bash -c 'complete() { :; }; source " + script.string() + "; COMP_WORDS=(" + words +
                              "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _duet; echo \"${COMPREPLY[*]}\"' > " +
                              out.string() + " 2>&1";
  REQUIRE(std::system(command.c_str()) == 0);
  return read_text(out);
}

}  // namespace

TEST_CASE("bash completes commands, options and their values") {
  const TemporaryFolder folder;
  const fs::path script = folder / "duet.bash";
  const Outcome made = run_program({"completion", "bash"});
  REQUIRE(made.code == 0);
  write_text(script, made.out);
  CHECK(offered(script, "duet tr") == "train\n");
  CHECK(offered(script, "duet e") == "eval embed export\n");
  CHECK(offered(script, "duet train --meth") == "--method\n");
  CHECK(offered(script, "duet train --method \"\"") == "label triplet contrastive psd\n");
  CHECK(offered(script, "duet train --method p") == "psd\n");
  CHECK(offered(script, "duet baseline --method \"\"").find("psd") == std::string::npos);  // it takes others
  CHECK(offered(script, "duet search --gal") == "--gallery\n");
  CHECK(offered(script, "duet search --gallery some").find_first_not_of('\n') ==
        std::string::npos);  // files: by default
}

TEST_CASE("zsh and fish get every command and option") {
  for (const std::string shell : {"zsh", "fish"}) {
    const Outcome made = run_program({"completion", shell});
    CHECK(made.code == 0);
    for (const char* word : {"train", "search", "export", "gallery", "resume"}) {
      INFO(word);
      CHECK(made.out.find(word) != std::string::npos);
    }
    const TemporaryFolder folder;
    write_text(folder / "script", made.out);
    const std::string there = "command -v " + shell + " >/dev/null";
    if (std::system(there.c_str()) == 0)
      CHECK(std::system((shell + " -n " + (folder / "script").string()).c_str()) == 0);
    else
      MESSAGE("skipped: no ", shell);
  }
  const Outcome other = run_program({"completion", "tcsh"});
  CHECK(other.code == 2);
  CHECK(other.err == "duet: completion: expected bash, zsh or fish, got 'tcsh'\n");
}
