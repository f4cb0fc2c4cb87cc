// No run is lost: a run that is interrupted, killed or cut short goes on with the bits of one that was not; what cannot
// go on is refused by name.
#include "trainer/resume.h"

#include <doctest/doctest.h>

#include <array>

#include "tests/trainer/stopped_run.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;

TEST_CASE("a run that stopped at any step goes on with the bits of one that did not, on any number of threads") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  const std::vector<std::vector<std::string>> variants = {
      {"--set", "dropout=0.2"},
      {"--set", "optimizer=sgd", "learning_rate=0.01", "schedule=cosine", "warmup_steps=3", "gradient_clip=0.5"},
      {"--set", "learn_temperature=true", "pair_loss=sigmoid"},
      {"--set", "sampler=balanced", "balanced_classes=3", "balanced_samples=20"}};
  // In an epoch, at its end, and in the last one.
  constexpr std::array<int, 4> kStops = {1, 4, 6, 11};
  for (size_t v = 0; v < variants.size(); ++v) {
    const std::string whole = folder / ("whole" + std::to_string(v));
    REQUIRE(run_program(train(data, whole, variants[v])).code == 0);
    for (size_t s = 0; s < kStops.size(); ++s) {
      if (v > 0 && s % 2 == v % 2) continue;  // two a variant
      const std::string run = folder / ("run" + std::to_string(v) + std::to_string(s));
      std::vector<std::string> more = variants[v];
      more.insert(more.end(), {"--steps", std::to_string(kStops[s]), "--threads", "1"});
      REQUIRE(run_program(train(data, run, more)).code == 0);
      const Outcome outcome = resume(run, {"--steps", "0", "--threads", s % 2 ? "1" : "2"});
      INFO(outcome.err);
      CHECK(outcome.code == 0);
      CHECK(outcome.err.find("resumed after step " + std::to_string(kStops[s]) + "\n") != std::string::npos);
      check_same(run, whole);
    }
  }
}

TEST_CASE("a run that has ended is resumed to the same end, and goes on with more epochs, which it notes") {
  const Stopped made(true);
  for (int twice = 0; twice < 2; ++twice) {
    REQUIRE(resume(made.run, {"--steps", "0"}).code == 0);
    check_same(made.run, made.whole);
  }
  const Outcome more = resume(made.run, {"--epochs", "4"});
  INFO(more.err);
  REQUIRE(more.code == 0);
  CHECK(more.err.find("epochs: 4 in place of 3\n") != std::string::npos);
  const std::vector<json> lines = metrics_of(made.run);
  int steps = 0, notes = 0;
  for (const json& line : lines) {
    notes += line.contains("resumed");
    // Every step once, in order.
    if (line.contains("loss") && !line.contains("ratio")) CHECK(line["step"] == ++steps);
  }
  CHECK(steps == 16);
  CHECK(notes == 1);
  CHECK(lines.back()["epoch"] == 4);
  CHECK(json::parse(read_text(made.run + "/config.json"))["epochs"] == 4);
  check_refused(resume(made.run, {"--epochs", "3"}), 2, "epochs: the run has 4, got 3");
}

TEST_CASE("what would change the numbers of a run is refused by name, and nothing is written") {
  const Stopped made;
  const std::map<std::string, std::string> before = files_in(made.run);
  const auto refused = [&](const std::vector<std::string>& more, const std::string& words) {
    check_refused(resume(made.run, more), 2, words);
    CHECK(files_in(made.run) == before);
  };
  refused({"--seed", "3"}, "seed: the run has 0, got 3");
  refused({"--set", "learning_rate=0.1"}, "learning_rate: the run has 0.001, got 0.1");
  refused({"--set", "hidden_units=16,16"}, "hidden_units: the run has [16], got [16,16]");
  refused({"--set", "sampler=balanced"}, "sampler: the run has \"shuffled\", got \"balanced\"");
  refused({"--steps", "5"}, "steps: got 5, and the run has done 7");
  refused({"--run", made.run}, "--run excludes --resume");
  refused({"--init", made.run}, "--init excludes --resume");
  check_refused(run_program({"train", "--resume", made.folder / "none"}), 2, "none: no run to resume");
  check_refused(run_program({"train", "--resume", ""}), 2, "--resume: expected a path");
  check_refused(run_program(train(made.data, made.run)), 2,
                made.run + ": the run directory is not empty (--resume goes on with the run in it)");
  // A config that someone has edited.
  std::string config = read_text(made.run + "/config.json"), sound = config;
  config.replace(config.find("\"margin\": 0.2"), 13, "\"margin\": 0.3");
  write_text(made.run + "/config.json", config);
  check_refused(resume(made.run), 2, "margin: the run has 0.2, got 0.3");
  write_text(made.run + "/config.json", sound.substr(0, 100));
  check_refused(resume(made.run), 2, "config.json: ");
  // The config as someone wrote it, in which scaling and modalities are not chosen yet.
  write_text(made.folder / "own.json",
             R"({"hidden_units": [16], "embedding_dim": 8, "batch_size": 64, "epochs": 3, "labels": 0.5, "data": ")" +
                 made.data + "\"}");
  CHECK(resume(made.run, {"--config", made.folder / "own.json"}).code == 0);
}

TEST_CASE("data may be moved, and not changed") {
  const Stopped made(true);
  const std::string moved = made.folder / "moved";
  fs::rename(made.data, moved);
  const auto plant = [&](const fs::path& file, size_t byte, const std::string& words) {
    flip_bit(file, byte);
    const Outcome outcome = resume(made.run, {"--data", moved});
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(outcome.err.find(words) != std::string::npos);
    flip_bit(file, byte);
  };
  const fs::path folder = moved;
  plant(folder / "train/audio.npy", 1000, "data: train audio is other than it was");
  plant(folder / "test/visual.npy", 1000, "data: test visual is other than it was");
  CHECK(resume(made.run, {"--data", moved, "--steps", "0"}).code == 0);
  check_same(made.run, made.whole);
}

TEST_CASE("another machine is refused by name, or taken when that is asked for") {
  const Stopped made;
  RunDirectory directory(made.run, RunDirectory::Mode::resumed);
  std::vector<std::string> notes;
  const std::optional<Checkpoint> checkpoint = directory.checkpoints().newest(notes);
  REQUIRE(checkpoint.has_value());
  nlohmann::ordered_json machine = checkpoint->facts.machine;
  machine["threads"] = 77;
  CHECK(require_same_machine(*checkpoint, machine, false).empty());
  for (const char* fact : {"version", "simd_target", "device", "precision"}) {
    nlohmann::ordered_json other = machine;
    other[fact] = "another";
    CHECK_THROWS_WITH_AS(require_same_machine(*checkpoint, other, false),
                         doctest::Contains(text(fact, ": the run has ").c_str()), UsageError);
    CHECK(require_same_machine(*checkpoint, other, true).size() == 1);
  }
}

TEST_CASE("one process trains in a folder") {
  const Stopped made;
  const std::string running = made.folder / "running";
  Program program(train(made.data, running, {"--set", "epochs=1000000"}));
  for (int i = 0; i < 600 && !fs::exists(running + "/model.safetensors"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  check_refused(resume(running), 2, running + ": another process trains in the run directory");
  check_refused(run_program(train(made.data, running)), 2, running + ": the run directory is not empty");
  program.signal(SIGKILL);
  CHECK(program.wait().code == 128 + SIGKILL);
  // The lock is gone with the process.
  CHECK(resume(running, {"--steps", "1000"}).code != 128);
}

TEST_CASE("a signal leaves a checkpoint and says how to go on, and the run ends with the same bits") {
  const Stopped made;
  const std::vector<std::string> long_run = {"--set", "epochs=60"};
  const std::string whole = made.folder / "long";
  REQUIRE(run_program(train(made.data, whole, long_run)).code == 0);
  for (const int number : {SIGINT, SIGTERM}) {
    const std::string run = made.folder / ("signal" + std::to_string(number));
    Program program(train(made.data, run, long_run));
    for (int i = 0; i < 600 && !fs::exists(run + "/model.safetensors"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    program.signal(number);
    const Outcome outcome = program.wait();
    INFO(outcome.err);
    if (outcome.code != 0) {  // it may have ended before
      CHECK(outcome.code == 128 + number);
      CHECK(outcome.err.find(": duet train --resume " + run + " goes on\n") != std::string::npos);
    }
    CHECK(resume(run).code == 0);
    check_same(run, whole);
  }
}

TEST_CASE("a signal ends an evaluation too, which is made again") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  data::SyntheticOptions options = small_set();
  options.train_rows = 64, options.test_rows = 12'000;  // 288 million scores: many seconds
  test::write_dataset(data, data::synthetic_dataset(options));
  Program program(train(data, run, {"--set", "epochs=1"}));
  for (int i = 0; i < 600 && !fs::exists(run + "/model.safetensors"); ++i)  // the evaluation comes next
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  program.signal(SIGTERM);
  const Outcome outcome = program.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 128 + SIGTERM);
  CHECK(outcome.err.find("interrupted after step 1: duet train --resume ") != std::string::npos);
  for (const json& line : metrics_of(run)) CHECK_FALSE(line.contains("map"));
}

TEST_CASE("a run starts from the weights of a model, of a checkpoint and of a model of 0.1.0") {
  const Stopped made;
  const std::vector<std::string> still = {"--steps", "1", "--set", "learning_rate=1e-30", "weight_decay=0"};
  const auto started = [&](const std::string& name, const std::string& from, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = still;
    arguments.insert(arguments.end(), {"--init", from});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_program(train(made.data, made.folder / name, arguments));
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.find("weights from ") != std::string::npos);
    return outcome.err;
  };
  started("a", made.run);
  started("b", made.run + "/model.safetensors");
  started("c", made.checkpoint(7));
  for (const char* name : {"a", "b", "c"}) CHECK(tensors_of(made.folder / name) == tensors_of(made.run));
  const std::string other = started("d", made.run, {"--set", "learn_temperature=true"});
  CHECK(other.find("log_loss_scale: none in the model; it starts anew\n") != std::string::npos);
  const Outcome nowhere = run_program(train(made.data, made.folder / "e", {"--init", made.folder / "nowhere"}));
  CHECK(nowhere.code == 2);
  CHECK(nowhere.err.find("nowhere: is no file\n") != std::string::npos);
  const Outcome wider =
      run_program(train(made.data, made.folder / "e", {"--init", made.run, "--set", "hidden_units=9"}));
  CHECK(wider.code == 2);
  CHECK(wider.err.find("encoder_a.layer0.weight: the model's is 16 x 12, the run's 9 x 12\n") != std::string::npos);
  CHECK_FALSE(fs::exists(made.folder / "e"));
  const std::string old = DUET_PROJECT_DIR "/tests/trainer/models/psd_0.1.0.safetensors";
  const json config = json::parse(SafetensorsFile(old).metadata().at("config"));
  std::string units;
  for (const json& unit : config["hidden_units"]) units += (units.empty() ? "" : ",") + unit.dump();
  const Outcome digits = run_program({"train", "--steps", "1", "--init", old, "--set", "hidden_units=" + units,
                                      "embedding_dim=" + config["embedding_dim"].dump(),
                                      "activation=" + config.value("activation", "relu")});
  INFO(digits.err);
  CHECK(digits.code == 0);
}
