// What the program does to files: inputs stay, and nothing is half-written.
#include "tests/trainer/files.h"

#include <array>

#include "data/npy.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;
using namespace duet::testing::files;
using nlohmann::json;

TEST_CASE("embed writes over nothing that it reads, whatever name it has, with --force or without") {
  const Trained made;
  const std::string audio = made.data + "/test/audio.npy", visual = made.data + "/test/visual.npy";
  const std::string before = read_text(audio) + read_text(visual) + read_text(made.data + "/train/audio.npy");
  const auto refused = [&](const std::string& to) {
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, std::vector<std::string>{"--force"}}) {
      INFO(to);
      check_refused(run_program(made.embed(to, more)), 2, "not written: it is an input of this command");
      CHECK(read_text(audio) + read_text(visual) + read_text(made.data + "/train/audio.npy") == before);
    }
  };
  refused(made.data + "/test");
  refused(made.data + "/train");
  refused(made.data + "/train/../test");
  fs::create_directory_symlink(made.data + "/test", made.folder / "link");
  refused(made.folder / "link");
  const fs::path symlinks = made.folder / "symlinks", hard_links = made.folder / "hard_links";
  fs::create_directory(symlinks);
  fs::create_symlink(visual, symlinks / "visual.npy");
  refused(symlinks);
  fs::create_directory(hard_links);
  fs::create_hard_link(made.run + "/model.safetensors", hard_links / "audio.npy");
  refused(hard_links);
  CHECK(names_in(hard_links) == std::set<std::string>{"audio.npy"});
}

TEST_CASE("embed writes over other files only with --force, and both files or none") {
  const Trained made;
  fs::create_directory(made.out);
  write_text(made.out + "/visual.npy", "mine");
  check_refused(run_program(made.embed(made.out)), 2,
                "visual.npy: not written: it is there already (--force writes over it)");
  CHECK(names_in(made.out) == std::set<std::string>{"visual.npy"});
  CHECK(read_text(made.out + "/visual.npy") == "mine");
  CHECK(run_program(made.embed(made.out, {"--force"})).code == 0);
  CHECK(data::read_features(made.out + "/visual.npy").rows == 60);
  CHECK(data::read_features(made.out + "/audio.npy").rows == 60);

  const std::string folders = made.folder / "folders", dangling = made.folder / "dangling";
  fs::create_directories(folders + "/visual.npy/inside");
  check_refused(run_program(made.embed(folders, {"--force"})), 2, "visual.npy: not written: it is a folder");
  CHECK(names_in(folders) == std::set<std::string>{"visual.npy"});
  fs::create_directory(dangling);
  fs::create_symlink(made.folder / "nowhere", dangling + "/audio.npy");
  check_refused(run_program(made.embed(dangling)), 2, "audio.npy: not written: it is there already");
  // A disk with room for half a file: 60 rows of 8 numbers are 1920 bytes behind a header of 128.
  const std::string full = made.folder / "full";
  check_refused(run_program(made.embed(full), {.largest_file = 1000}), 1,
                "audio.npy: cannot be written (File too large)");
  CHECK(names_in(full).empty());
}

TEST_CASE("a signal during embed leaves both files or none") {
  const Trained made;
  for (const int number : {SIGINT, SIGTERM, SIGHUP})
    for (int attempt = 0; attempt < 4; ++attempt) {
      const fs::path out = made.folder / ("out" + std::to_string(number) + std::to_string(attempt));
      fs::create_directory(out);
      const Program program(made.embed(out));
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
      while (names_in(out).empty() && std::chrono::steady_clock::now() < limit) {  // then its files are being made
      }
      program.signal(number);
      const Outcome outcome = program.wait();
      INFO(outcome.err);
      CHECK((outcome.code == 0 || outcome.code == 128 + number));
      const std::set<std::string> names = names_in(out), both = {"audio.npy", "visual.npy"};
      CHECK(
          (names == both || (names.empty() && outcome.code != 0)));  // both, too, where it came after they were written
    }
}

TEST_CASE("embed without --force leaves a file alone that appears while it runs, and leaves none of its own") {
  const Trained made;
  for (int attempt = 0; attempt < 4; ++attempt) {
    const fs::path out = made.folder / ("out" + std::to_string(attempt)), visual = out / "visual.npy";
    fs::create_directory(out);
    const Program program(made.embed(out));
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (names_in(out).empty() && std::chrono::steady_clock::now() < limit) {  // then the check is past
    }
    const int file = open(visual.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
    const bool first = file >= 0;
    if (first) close(file);
    const Outcome outcome = program.wait();
    if (first) {
      check_refused(outcome, 2, "visual.npy: not written: it is there already (--force writes over it)");
      CHECK(fs::file_size(visual) == 0);
      CHECK(names_in(out) == std::set<std::string>{"visual.npy"});
    } else {
      CHECK(outcome.code == 0);
    }
  }
}

TEST_CASE("what cannot be made is the caller's mistake, but not where the disk is full") {
  for (const int full : {ENOSPC, EDQUOT}) CHECK_THROWS_WITH_AS(refuse_output("x: full", full), "x: full", Error);
  CHECK_THROWS_WITH_AS(refuse_output("x: refused", EACCES), "x: refused", UsageError);
  // No descriptor is left for the file by which a run takes its folder.
  const TemporaryFolder folder;
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none = {0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  CHECK_THROWS_WITH_AS(RunDirectory(folder / "new"),
                       doctest::Contains("new: the run directory cannot be written to: Too many open files"),
                       UsageError);
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK_FALSE(fs::exists(folder / "new"));
}

TEST_CASE("a full disk ends a run with one line, and nothing is half-written") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  // machine.json and evidence.json have about 300 bytes, the model about 10,000, a checkpoint four times that.
  const std::string first = run + "/checkpoints/step-0.safetensors: cannot be written (File too large)";
  check_ended(run_program(train(data, run), {.largest_file = 700}), 1, first);
  CHECK_FALSE(fs::exists(run));
  fs::create_directory(run);
  check_ended(run_program(train(data, run), {.largest_file = 5000}), 1, first);
  CHECK(names_in(run).empty());
  check_ended(run_program(train(data, run,
                                {"--set", "log_every_steps=1", "--set", "epochs=40", "--set", "hidden_units=", "--set",
                                 "embedding_dim=1"}),
                          {.largest_file = 12000}),
              1, run + "/metrics.jsonl: cannot be written");
  const std::string metrics = read_text(run + "/metrics.jsonl");
  CHECK(metrics.size() > 4000);
  CHECK(metrics.ends_with("}\n"));  // whole lines alone
  CHECK(std::ranges::count(metrics, '{') == std::ranges::count(metrics, '}'));
}

TEST_CASE("standard output that cannot be written ends every command with 1 and one line") {
  const Trained made;
  const Surroundings full = {.standard_output = "/dev/full"};
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"eval", "--run", made.run, "--data", made.data, "--json"},
        {"eval", "--run", made.run, "--data", made.data},
        {"info", "--json"},
        {"config", "--table"},
        {"train", "--help"},
        {"--version"},
        made.embed(made.out),
        {"train", "--data", made.data, "--steps", "1"}}) {
    INFO(command[0]);
    check_ended(run_program(command, full), 1, "duet: standard output cannot be written\n");
  }
}

TEST_CASE("of two runs that want one folder at once one gets it") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  for (const bool exists : {false, true})
    for (int attempt = 0; attempt < 2; ++attempt) {
      const std::string run = folder / ("run" + std::to_string(attempt) + (exists ? "e" : "n"));
      if (exists) fs::create_directory(run);
      Program first(train(data, run)), second(train(data, run, {"--seed", "1"}));
      std::array<Outcome, 2> outcomes = {first.wait(), second.wait()};
      INFO(outcomes[0].err, outcomes[1].err);
      if (outcomes[0].code != 0) std::swap(outcomes[0], outcomes[1]);
      CHECK(outcomes[0].code == 0);
      check_ended(outcomes[1], 2, run + ": the run directory is not empty");
      CHECK(names_in(run) == std::set<std::string>{"alignment.json", "checkpoints", "config.json", "evidence.json",
                                                   "machine.json", "metrics.jsonl", "model.safetensors",
                                                   "report.html"});
    }
}
