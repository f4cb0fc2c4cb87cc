// What the program does to files: inputs stay, a broken model yields no figure, nothing is half-written, and old models
// are read.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "data/npy.h"
#include "runtime/safetensors.h"
#include "tests/trainer/program.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

std::vector<std::string> train(const std::string& data, const std::string& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {
      "train",           "--data",        data,        "--run", run, "--set", "hidden_units=16",
      "embedding_dim=8", "batch_size=64", "--epochs=2"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// One error on standard error, its last line, that holds words; before it at most notes on the inputs' scaling. Nothing
// on standard output.
void check_refused(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  const size_t error = outcome.err.find("duet: ");
  REQUIRE(error != std::string::npos);
  CHECK((error == 0 || outcome.err[error - 1] == '\n'));
  CHECK(outcome.err.find(words, error) != std::string::npos);
  CHECK(outcome.err.find('\n', error) == outcome.err.size() - 1);
}

// The last line of what a run said holds words.
void check_ended(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.err.substr(outcome.err.rfind("duet: ")).find(words) != std::string::npos);
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

// Writes the run's model again with one number of a tensor changed.
void plant(const fs::path& run, const std::string& tensor, size_t element, float value) {
  const fs::path path = run / "model.safetensors";
  std::string bytes = read_text(path);
  uint64_t header = 0;
  std::copy_n(bytes.data(), 8, reinterpret_cast<char*>(&header));
  const json entry = json::parse(bytes.substr(8, header))[tensor];
  const size_t at = 8 + header + entry["data_offsets"][0].get<size_t>() + element * sizeof(float);
  bytes.replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
  write_text(path, bytes);
}

struct Trained {
  TemporaryFolder folder;
  std::string data = folder / "data", run = folder / "run", out = folder / "out";
  Trained() {
    write_small_set(data);
    const Outcome outcome = run_program(train(data, run));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  }
  std::vector<std::string> embed(const std::string& to, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"embed", "--run", run, "--data", data, "--out", to};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

}  // namespace

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

TEST_CASE("a model with a number that is none yields no figure and no embedding") {
  const Trained made;
  const std::string model = made.run + "/model.safetensors", sound = read_text(model);
  const SafetensorsFile file(model);
  int planted = 0;
  for (const NamedArray& array : file.arrays()) {
    if (array.dtype != DUET_DTYPE_F32) continue;
    const auto element = static_cast<size_t>(array.size() - 1);
    constexpr std::array<float, 3> kBad = {kNaN, kInfinity, -kInfinity};
    constexpr std::array<const char*, 3> kNames = {"nan", "inf", "-inf"};
    const size_t which = static_cast<size_t>(planted++) % kBad.size();
    plant(made.run, array.name, element, kBad[which]);
    const std::string words =
        model + ": tensor " + array.name + ": element " + std::to_string(element) + " is " + kNames[which] + "\n";
    check_refused(run_program({"eval", "--run", made.run, "--data", made.data, "--json"}), 1, words);
    if (planted == 1) check_refused(run_program(made.embed(made.out)), 1, words);
    write_text(model, sound);
  }
  CHECK(planted >= 10);
  CHECK_FALSE(fs::exists(made.out));
  // Finite, but not for long.
  plant(made.run, "encoder_v.layer0.bias", 3, 3e38f);
  plant(made.run, "encoder_v.layer1.weight", 3, 3e38f);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"eval", "--run", made.run, "--data", made.data}, made.embed(made.out)})
    check_refused(run_program(command), 1, "visual: row 0: its embedding is not finite");
  CHECK_FALSE(fs::exists(made.out));
}

TEST_CASE("a run that diverges keeps its metrics and its config, names what diverged, and leaves no broken model") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  const std::set<std::string> without_model = {"checkpoints", "config.json", "evidence.json", "machine.json",
                                               "metrics.jsonl"};
  check_ended(run_program(train(data, run, {"--steps", "1", "--set", "learning_rate=1e38", "--log-every", "1"})), 1,
              "after step 1: encoder_a.layer0.weight: element 0 is ");
  CHECK(names_in(run) == without_model);
  CHECK(read_text(run + "/metrics.jsonl").find("\"step\":1") != std::string::npos);
  const Outcome unsaved = run_program({"train", "--data", data, "--steps", "1", "--set", "learning_rate=1e38"});
  check_ended(unsaved, 1, "after step 1: encoder_a.layer0.weight: element 0 is ");
  CHECK(unsaved.out.empty());

  fs::remove_all(run);
  check_ended(run_program(train(data, run, {"--set", "learning_rate=1e30"})), 1, "; a lower learning_rate may help");
  CHECK(names_in(run) == without_model);

  fs::remove_all(run);
  for (const std::string setting : {"margin=1e38", "margin=3e38"}) {
    const Outcome infinite = run_program(train(data, run, {"--set", setting}));
    check_ended(infinite, 1, "step 1: the loss is inf: loss_cross is inf, though every embedding and logit is finite");
    check_ended(infinite, 1, "; the batch has rows ");
    check_ended(infinite, 1, " more of the training split; the checkpoint of step 0 is whole (--init ");
    CHECK(infinite.err.find("learning_rate") == std::string::npos);
    fs::remove_all(run);
  }
}

TEST_CASE("weights that are finite and overflow are not saved, and the model of an earlier epoch stays") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  const std::set<std::string> without_model = {"checkpoints", "config.json", "evidence.json", "machine.json",
                                               "metrics.jsonl"};
  std::set<std::string> with_model = without_model;
  with_model.insert("model.safetensors");
  const auto ended = [&](const std::vector<std::string>& settings, const std::string& words) {
    std::vector<std::string> more = {"--set",          "epochs=3", "--set",
                                     "batch_size=240", "--set",    "hidden_units=16,16"};  // one step an epoch
    more.insert(more.end(), settings.begin(), settings.end());
    check_ended(run_program(train(data, run, more)), 1, words);
  };
  const std::string reason =
      "audio: row 0: its embedding is not finite: the model's weights are too large for it; a lower learning_rate may "
      "help";
  // The first step makes weights of 1e19, whose products with one another are no float32.
  ended({"--set", "optimizer=sgd", "learning_rate=1e20"}, "after step 1: training split, " + reason);
  CHECK(names_in(run) == without_model);
  // Every step multiplies the weights by 1e11: those of the first epoch do not overflow, those of the second do.
  for (const std::string every : {"0", "1"}) {
    fs::remove_all(run);
    ended({"--set", "weight_decay=1e14", "evaluate_every_epochs=" + every},
          std::string("after step 2: ") + (every == "0" ? "training" : "test") + " split, " + reason);
    CHECK(names_in(run) == with_model);
    CHECK(run_program({"eval", "--run", run, "--data", data}).code == 0);
  }
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
      CHECK(names_in(run) == std::set<std::string>{"checkpoints", "config.json", "evidence.json", "machine.json",
                                                   "metrics.jsonl", "model.safetensors"});
    }
}

TEST_CASE("every file says its format, and a newer one is refused by name") {
  const Trained made;
  const auto first_line = [&](const std::string& name) {
    const std::string content = read_text(made.run + "/" + name);
    return content.substr(0, content.find('\n'));
  };
  CHECK(json::parse(read_text(made.run + "/config.json"))["format"] == 1);
  CHECK(json::parse(read_text(made.run + "/machine.json"))["format"] == 1);
  CHECK(json::parse(read_text(made.run + "/evidence.json"))["format"] == 1);
  CHECK(json::parse(first_line("metrics.jsonl"))["format"] == 1);
  CHECK(json::parse(read_text(made.run + "/checkpoints/step-8.json"))["format"] == 1);
  const std::string model = made.run + "/model.safetensors";
  CHECK(SafetensorsFile(model).metadata().at("format") == "1");

  std::string newer = read_text(model);
  const size_t at = newer.find("\"format\":\"1\"");
  REQUIRE(at != std::string::npos);
  newer[at + 10] = '2';
  write_text(model, newer);
  check_refused(run_program({"eval", "--run", made.run, "--data", made.data}), 2,
                model + ": its format is 2, and this duet reads up to 1");
  newer[at + 10] = 'x';
  write_text(model, newer);
  check_refused(run_program({"eval", "--run", made.run, "--data", made.data}), 2,
                model + ": format: expected a whole number, got 'x'");
  std::string config = read_text(made.run + "/config.json");
  config.replace(config.find("\"format\": 1"), 11, "\"format\": 7");
  write_text(made.folder / "newer.json", config);
  check_refused(run_program({"train", "--config", made.folder / "newer.json"}), 2,
                "newer.json: its format is 7, and this duet reads up to 1");
}

TEST_CASE("models of 0.1.0 load and score as they did") {
  // What `duet eval --json` of 0.1.0 printed for these files on the digits that are embedded in the program.
  struct Old {
    const char* file;
    double a_to_v, v_to_a;
  };
  for (const Old& old : {Old{"psd_0.1.0.safetensors", 0.2775530801806599, 0.2992336205858737},
                         Old{"learned_temperature_0.1.0.safetensors", 0.26380757222883405, 0.2751160101592541}}) {
    INFO(old.file);
    const TemporaryFolder folder;
    fs::copy_file(fs::path(DUET_PROJECT_DIR) / "tests/trainer/models" / old.file, folder / "model.safetensors");
    const Outcome outcome = run_program({"eval", "--run", folder.path(), "--json"});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    // Another processor rounds the embeddings otherwise, and two items of nearly equal score may change places: at the
    // first two of the 40 relevant ones of a query that is 1/80 of the average precision of one of 400 queries, 3e-5. A
    // few of them are allowed.
    const json map = json::parse(outcome.out)["map"];
    CHECK(std::abs(map["a_to_v"].get<double>() - old.a_to_v) <= 1e-4);
    CHECK(std::abs(map["v_to_a"].get<double>() - old.v_to_a) <= 1e-4);
  }
}

TEST_CASE("a model cannot name a file outside the folder that embed writes to") {
  const Trained made;
  const std::string model = made.run + "/model.safetensors", sound = read_text(model);
  const std::string entry = "\"modality_a\":\"audio\"";
  REQUIRE(sound.find(entry) != std::string::npos);
  for (const std::string name : {"../un", "a/b/c"}) {
    std::string bytes = sound;
    write_text(model, bytes.replace(sound.find(entry), entry.size(), "\"modality_a\":\"" + name + "\""));
    check_refused(run_program(made.embed(made.out)), 2,
                  "modality_a: expected a file's name without an ending, one a modality, got '" + name + "'");
  }
  CHECK_FALSE(fs::exists(made.out));
}

TEST_CASE("names that are no UTF-8 work, or are refused in a printable form") {
  const Trained made;
  const std::string odd_run = made.folder / "run\xff", odd_data = made.folder / "data\xfe",
                    odd_out = made.folder / "out\xfd";
  fs::copy(made.run, odd_run);
  fs::copy(made.data, odd_data, fs::copy_options::recursive);
  const Outcome evaluated = run_program({"eval", "--run", odd_run, "--data", odd_data, "--json"});
  INFO(evaluated.err);
  REQUIRE(evaluated.code == 0);
  CHECK(json::parse(evaluated.out)["map"]["mean"].is_number());
  CHECK(run_program({"embed", "--run", odd_run, "--data", odd_data, "--out", odd_out}).code == 0);
  CHECK(names_in(odd_out) == std::set<std::string>{"audio.npy", "visual.npy"});
  const Outcome trained = run_program(train(made.data, made.folder / "new\xfc\n"));
  CHECK(trained.code == 0);
  CHECK(trained.out.find(R"(new\xfc\x0a)"
                         "\n") != std::string::npos);
  fs::copy(made.data, made.folder / "a\x1b[1m\n", fs::copy_options::recursive);
  const Outcome noted = run_program({"train", "--data", made.folder / "a\x1b[1m\n", "--steps", "1"});
  CHECK(noted.code == 0);
  CHECK(noted.err.find(R"(a\x1b[1m\x0a: 240 training pairs)") != std::string::npos);
  check_refused(run_program(train(odd_data, made.folder / "refused")), 2, R"(data\xfe')");
  check_refused(run_program({"eval", "--run", made.folder / "none\xff\n"}), 2,
                R"(none\xff\x0a/model.safetensors: no such file)");
  write_text(made.folder / "odd\xff.json", "{\"epochs\": 0}");
  check_refused(run_program({"train", "--config", made.folder / "odd\xff.json"}), 2,
                R"(odd\xff.json: epochs: expected a value in)");
  for (const std::string split : {"train", "test"})
    fs::rename(made.data + "/" + split + "/audio.npy", made.data + "/" + split + "/au\xff.npy");
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, std::vector<std::string>{"--run", made.folder / "refused"}}) {
    std::vector<std::string> arguments = {"train", "--data", made.data};
    arguments.insert(arguments.end(), more.begin(), more.end());
    check_refused(run_program(arguments), 2, R"(got 'au\xff')");
  }
  CHECK_FALSE(fs::exists(made.folder / "refused"));
}
