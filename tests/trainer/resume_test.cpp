// No run is lost: a run that is interrupted, killed or cut short goes on with the bits of one that was not; what cannot
// go on is refused by name.
#include "trainer/resume.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/duet.h"
#include "runtime/safetensors.h"
#include "tests/trainer/program.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

// 4 batches an epoch, the last of 48 rows; 3 epochs.
std::vector<std::string> train(const std::string& data, const std::string& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train",
                                        "--data",
                                        data,
                                        "--run",
                                        run,
                                        "--labels",
                                        "0.5",
                                        "--epochs",
                                        "3",
                                        "--set",
                                        "hidden_units=16",
                                        "embedding_dim=8",
                                        "--set",
                                        "batch_size=64",
                                        "evaluate_every_epochs=2",
                                        "--log-every",
                                        "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Outcome resume(const std::string& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train", "--resume", run};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments);
}

// The tensors of a run's model, and its metrics but for their times.
std::map<std::string, std::string> tensors_of(const fs::path& run) {
  const SafetensorsFile file(run / "model.safetensors");
  std::map<std::string, std::string> tensors;
  for (const NamedArray& array : file.arrays())
    tensors[array.name] = {
        static_cast<const char*>(array.data),
        static_cast<size_t>(array.size()) * (array.dtype == DUET_DTYPE_F32 || array.dtype == DUET_DTYPE_I32 ? 4 : 8)};
  return tensors;
}

std::vector<json> metrics_of(const fs::path& run) {
  std::vector<json> lines;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    lines.push_back(json::parse(line));
    lines.back().erase("seconds");
  }
  return lines;
}

void check_same(const fs::path& run, const fs::path& whole) {
  INFO(run.string());
  CHECK(tensors_of(run) == tensors_of(whole));
  CHECK(metrics_of(run) == metrics_of(whole));
}

void check_refused(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("duet: "));
  CHECK(outcome.err.find(words) != std::string::npos);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

void flip_bit(const fs::path& path, size_t byte) {
  std::string bytes = read_text(path);
  REQUIRE(byte < bytes.size());
  bytes[byte] = static_cast<char>(bytes[byte] ^ 4);
  write_text(path, bytes);
}

std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path().string()] = read_text(entry.path());
  return files;
}

// A run that stopped after 7 of its 12 steps, with checkpoints of steps 6 and 7, and one that did not.
struct Stopped {
  TemporaryFolder folder;
  std::string data = folder / "data", run = folder / "run", whole = folder / "whole";
  explicit Stopped(bool with_whole = false) {
    write_small_set(data);
    REQUIRE(run_program(train(data, run, {"--steps", "7", "--set", "checkpoint_every_steps=2"})).code == 0);
    if (with_whole) REQUIRE(run_program(train(data, whole)).code == 0);
  }
  fs::path checkpoint(int step, const std::string& ending = ".safetensors") const {
    return fs::path(run) / "checkpoints" / ("step-" + std::to_string(step) + ending);
  }
};

}  // namespace

TEST_CASE("a run that stopped at any step goes on with the bits of one that did not, on any number of threads") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  const std::vector<std::vector<std::string>> variants = {
      {"--set", "dropout=0.2"},
      {"--set", "optimizer=sgd", "learning_rate=0.01", "schedule=cosine", "warmup_steps=3"},
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

TEST_CASE("of damaged checkpoints an older whole one is taken, and one line says so") {
  const Stopped made(true);
  struct Damage {
    const char* words;
    void (*make)(const fs::path& checkpoints);
  };
  int number = 0;
  for (const Damage& damage :
       {Damage{"step-7.safetensors: its checksum is wrong",
               [](const fs::path& in) { flip_bit(in / "step-7.safetensors", 9000); }},
        Damage{"step-7.safetensors has 5000 bytes of ",
               [](const fs::path& in) { fs::resize_file(in / "step-7.safetensors", 5000); }},
        Damage{"step-7.safetensors: No such file", [](const fs::path& in) { fs::remove(in / "step-7.safetensors"); }},
        Damage{"step-7.json: left out: ", [](const fs::path& in) { write_text(in / "step-7.json", "{\"f"); }},
        Damage{"step-7.json: left out: ",
               [](const fs::path& in) { write_text(in / "step-7.json", R"({"format":1,"file":[]})"); }}}) {
    const fs::path run = made.folder / ("damaged" + std::to_string(++number)), checkpoints = run / "checkpoints";
    fs::copy(made.run, run, fs::copy_options::recursive);
    damage.make(checkpoints);
    const Outcome outcome = resume(run, {"--steps", "0"});
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.find(damage.words) != std::string::npos);
    CHECK(outcome.err.find("left out") == outcome.err.rfind("left out"));
    CHECK(outcome.err.find("resumed after step 6\n") != std::string::npos);
    check_same(run, made.whole);
    CHECK(std::distance(fs::directory_iterator(checkpoints), fs::directory_iterator()) == 4);
  }
}

TEST_CASE("checkpoints that are all damaged, or of a newer format, are refused") {
  const Stopped made;
  for (const int step : {6, 7}) flip_bit(made.checkpoint(step), 9000);
  check_refused(resume(made.run), 2, "checksum is wrong, so it is not as it was written; there is no older checkpoint");
  for (const int step : {6, 7}) flip_bit(made.checkpoint(step), 9000);
  std::string manifest = read_text(made.checkpoint(7, ".json"));
  manifest.replace(manifest.find("\"format\": 1"), 11, "\"format\": 2");
  write_text(made.checkpoint(7, ".json"), manifest);
  check_refused(resume(made.run), 2, "step-7.json: its format is 2, and this duet reads up to 1");
}

TEST_CASE("every flipped bit of a checkpoint's files shows") {
  const Stopped made;
  for (const char* ending : {".json", ".safetensors"}) {
    const fs::path path = made.checkpoint(7, ending);
    const std::string sound = read_text(path);
    const size_t stride = ending == std::string(".json") ? 1 : 997;  // a prime: every place in a tensor's number
    for (size_t byte = 0; byte < sound.size(); byte += stride) {
      INFO(ending, " byte ", byte);
      std::string bytes = sound;
      bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << (byte % 8)));
      if (ending == std::string(".json") && json::accept(bytes) && json::parse(bytes) == json::parse(sound))
        continue;  // another blank
      write_text(path, bytes);
      CheckpointFolder checkpoints(made.run);
      std::vector<std::string> notes;
      try {
        CHECK(checkpoints.newest(notes)->training.steps == 6);
        CHECK(notes.size() == 1);
      } catch (const UsageError& error) {  // another number of the format
        CHECK(std::string(error.what()).find("format") != std::string::npos);
      }
    }
    write_text(path, sound);
  }
}

TEST_CASE("what a killed run left half-written goes, and what it had not begun is taken over") {
  const Stopped made(true);
  write_text(made.run + "/config.json.77.0.part", "{");
  write_text(made.run + "/model.safetensors.77.0.part", "half");
  write_text(made.run + "/mine.part", "keep");
  write_text(made.checkpoint(7).string() + ".77.0.part", "half");
  write_text(made.checkpoint(9), "without a manifest");
  // Lines after the checkpoint, the last one a part.
  std::ofstream(made.run + "/metrics.jsonl", std::ios::app) << R"({"step":8,"epoch":2})"
                                                            << "\n{\"st";
  REQUIRE(resume(made.run, {"--steps", "0"}).code == 0);
  check_same(made.run, made.whole);
  std::set<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(made.run))
    if (entry.path().extension() == ".part" || entry.path().filename() == "step-9.safetensors")
      left.insert(entry.path().filename());
  CHECK(left == std::set<std::string>{"mine.part"});

  const fs::path dead = made.folder / "dead";
  fs::create_directories(dead / "checkpoints");
  write_text(dead / "metrics.jsonl", "{\"for");
  write_text(dead / "machine.json.5.0.part", "{");
  fs::copy_file(made.checkpoint(12, ".json"), dead / "checkpoints/step-0.json");
  check_refused(resume(dead), 2, "dead: no run to resume: none has begun here, and --run starts one");
  CHECK(run_program(train(made.data, dead)).code == 0);
  check_same(dead, made.whole);
  CHECK_FALSE(fs::exists(dead / "machine.json.5.0.part"));
}

TEST_CASE("metrics that are gone do not keep a run from going on") {
  const Stopped made(true);
  fs::remove(made.run + "/metrics.jsonl");
  const Outcome outcome = resume(made.run, {"--steps", "0"});
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("metrics.jsonl: lines are missing: it has 0 bytes") != std::string::npos);
  CHECK(tensors_of(made.run) == tensors_of(made.whole));
  CHECK(metrics_of(made.run).front()["format"] == 1);
}

TEST_CASE("a full disk in a resumed run ends it with one line, and it goes on afterwards") {
  const Stopped made(true);
  std::vector<std::string> arguments = {"train", "--resume", made.run, "--steps", "0"};
  // Room for metrics and config, not for a checkpoint.
  const Outcome full = run_program(arguments, {.largest_file = 9000});
  INFO(full.err);
  CHECK(full.code == 1);
  CHECK(full.err.find("cannot be written (File too large)") != std::string::npos);
  CHECK(resume(made.run, {"--steps", "0"}).code == 0);
  check_same(made.run, made.whole);
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
