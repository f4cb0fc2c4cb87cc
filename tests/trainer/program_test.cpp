// The program as a user meets it: exit codes, one-line messages, nothing half-written.
#include "tests/trainer/program.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "data/npy.h"
#include "kernels/duet.h"

using namespace duet;
using namespace duet::testing;

namespace {

// A usage error: code 2, one line on standard error that holds words, nothing on standard output.
void check_refused(const std::vector<std::string>& arguments, const std::string& words) {
  const Outcome outcome = run_program(arguments);
  INFO(outcome.err);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.find(words) != std::string::npos);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

}  // namespace

TEST_CASE("help and version everywhere") {
  const std::string version = std::string("duet ") + duet_version() + "\n";
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {}, {"train"}, {"eval"}, {"embed"}, {"info"}, {"demo"}, {"import"}, {"check"}}) {
    std::vector<std::string> help = command, ask_version = command;
    help.push_back("--help");
    ask_version.push_back("--version");
    const Outcome helped = run_program(help);
    CHECK(helped.code == 0);
    CHECK(helped.out.find("--version") != std::string::npos);
    CHECK(helped.err.empty());
    const Outcome versioned = run_program(ask_version);
    CHECK(versioned.code == 0);
    CHECK(versioned.out == version);
  }
}

TEST_CASE("info tells the machine's facts and every key") {
  const Outcome facts = run_program({"info"});
  CHECK(facts.code == 0);
  for (const char* name : {"version: ", "simd_target: ", "reads: npy, npz", "device cpu: "})
    CHECK(facts.out.find(name) != std::string::npos);
  CHECK(facts.out.find(" thread") != std::string::npos);
  CHECK(run_program({"config", "--table"}).out.find("| `learning_rate` | number | `0.001` |") != std::string::npos);
}

TEST_CASE("arguments that cannot be meant") {
  check_refused({}, "subcommand");
  check_refused({"trian"}, "unknown command 'trian' (did you mean 'train'?): expected train, eval");
  check_refused({"serch"}, "(did you mean 'search'?): expected train, eval");
  check_refused({"predict"}, "unknown command 'predict': expected train, eval");
  check_refused({"train", "--epoch", "3"}, "--epoch");
  check_refused({"train", "--epoch", "3"}, "(did you mean '--epochs'? see duet train --help)");
  check_refused({"train", "--tensorbord"}, "(did you mean '--tensorboard'? see duet train --help)");
  check_refused({"train", "--nothing-like-it=3"}, " (see duet train --help)");
  check_refused({"--versoin"}, "(did you mean '--version'? see duet --help)");
  check_refused({"eval"}, "--run is required (see duet eval --help)");
  check_refused({"train", "--epochs"}, "--epochs");
  check_refused({"train", "--epochs", "ten"}, "--epochs: expected integer, got string \"ten\"");
  check_refused({"train", "--labels", "0"}, "--labels: expected a value in (0, 1], got 0");
  check_refused({"train", "--labels", "1.5"}, "--labels: expected a value in (0, 1], got 1.5");
  check_refused({"train", "--method", "magic"},
                "--method: expected one of label, triplet, contrastive, psd, got \"magic\"");
  check_refused({"train", "--modalities", "audio"}, "modalities: expected two names, got 1");
  check_refused({"train", "--modalities", "audio,smell"}, "no modality 'smell'");
  check_refused({"train", "--set", "margin"}, "--set: expected key=value, got 'margin'");
  check_refused({"train", "--set", "marginn=1"}, "did you mean 'margin'?");
  check_refused({"train", "--set", "batch_size=1"}, "batch_size: expected a value in [2, ");
  check_refused({"train", "--set", "sampler=balanced", "balanced_classes=100"},
                "digits (built in): balanced_classes 100 is more than the 10 classes of the training split");
  check_refused({"train", "--config", "/nowhere/c.json"}, "/nowhere/c.json: cannot read the config file");
  check_refused({"train", "--data", "/nowhere/data"}, "/nowhere/data");
  check_refused({"train", "--data", ""}, "--data");
  check_refused({"train", "--threads", "-1"}, "--threads: expected a value in [0, 1024], got -1");
  check_refused({"train", "--epochs", ""}, "--epochs: expected integer, got string \"\"");
  check_refused({"train", "--epochs", "-1"}, "--epochs: expected a value in [1, 1000000000], got -1");
  check_refused({"train", "--epochs", "1e3"}, "--epochs: expected integer, got number 1000.0");
  check_refused({"train", "--epochs", " 3"}, "--epochs: expected integer, got string \" 3\"");
  check_refused({"train", "--labels", "1e400"},
                "--labels: expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 1e400");
  for (const char* command : {"train", "demo"}) {
    check_refused({command, "--seed", "-1"}, "--seed: expected a value in [0, 18446744073709551615], got -1");
    check_refused({command, "--seed", "18446744073709551616"},
                  "--seed: expected a value in [0, 18446744073709551615], got 1.8446744073709552e+19");
  }
  const std::string many(1000, 'x'), cut = std::string(60, 'x') + "...";
  check_refused({many}, "unknown command '" + cut + "': expected train");
  check_refused({"train", many}, cut);
  check_refused({"train", "--" + many}, "--" + std::string(58, 'x') + "...");
  check_refused({"eval", "--run", "x", "--split", many}, cut);
  check_refused({"eval", "--data", "x"}, "--run");
  for (const char* command : {"train", "demo", "eval", "embed"}) {
    std::vector<std::string> arguments = {command, "--device", "gpu"};
    if (command[0] == 'e') arguments.insert(arguments.end(), {"--run", "/nowhere"});
    if (command[1] == 'm') arguments.insert(arguments.end(), {"--out", "/nowhere/out"});
    check_refused(arguments, "--device: expected auto, cpu, cuda or emulated, got 'gpu'");
    arguments[2] = "cpu";
    arguments.insert(arguments.end(), {"--precision", "nonsense"});
    check_refused(arguments, "--precision: expected tf32x3, fp32, tf32 or bf16, got 'nonsense'");
  }
  check_refused({"info", "--device", "cpu"}, "--device");
  check_refused({"eval", "--run", "/nowhere"}, "/nowhere/model.safetensors: no such file");
  check_refused({"embed", "--run", "/nowhere"}, "--out");
}

TEST_CASE("keys that do not fit together name the config file where its own do not") {
  const TemporaryFolder folder;
  const std::string file = folder / "c.json";
  write_text(file, "{\"batch_size\": 4}");
  check_refused({"train", "--config", file}, "duet: " + file + ": batch_size: 4 is below smallest_batch 8");
  check_refused({"train", "--config", file, "--set", "batch_size=5"}, "duet: batch_size: 5 is below smallest_batch 8");
  CHECK(run_program({"train", "--config", file, "--set", "smallest_batch=4", "--steps", "1"}).code == 0);
  write_text(file, "{\"epochs\": " + std::string(500'000, '['));
  check_refused({"train", "--config", file}, file + ": epochs: lists and objects nested more than 8 deep");
}

TEST_CASE("data that cannot be trained on, and nothing is written") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  const auto refused = [&](std::vector<std::string> more, const std::string& words) {
    std::vector<std::string> arguments = {"train", "--data", data, "--run", run};
    arguments.insert(arguments.end(), more.begin(), more.end());
    check_refused(arguments, words);
    CHECK_FALSE(fs::exists(run));
  };
  write_small_set(data);
  refused({"--modalities", "audio,smell"}, "smell");

  SUBCASE("no label") {
    test::write_labels(data + "/train/labels.npy", std::vector<int32_t>(240, -1));
    for (const char* method : {"label", "triplet"})
      refused({"--method", method}, std::string("no labelled training sample, and method '") + method + "' needs some");
    for (const char* method : {"contrastive", "psd"})
      CHECK(run_program({"train", "--data", data, "--method", method, "--epochs", "1"}).code == 0);
  }
  SUBCASE("rows that differ") {
    test::write_labels(data + "/train/labels.npy", std::vector<int32_t>(239, 1));
    refused({}, "240");
  }
  SUBCASE("labels that are no vector") {
    fs::copy_file(data + "/train/audio.npy", data + "/train/labels.npy", fs::copy_options::overwrite_existing);
    refused({}, "; expected 0 or 1 in labels of shape (240, 12), a column a class");
  }
  SUBCASE("groups of other rows") {
    test::write_labels(data + "/train/groups.npy", std::vector<int64_t>(239, 1));
    refused({}, "groups.npy: 239 rows; expected 240 as in labels.npy");
  }
  SUBCASE("inputs that tell no rows apart") {
    data::Features features(240, 12);
    std::fill(features.values.begin(), features.values.end(), 2023.0f);
    test::write_features(data + "/train/audio.npy", features);
    for (const char* scaling : {"auto", "zscore", "norm", "none"})
      refused({"--set", std::string("scaling_a=") + scaling}, "train/audio.npy: all 12 columns are constant");
  }
  SUBCASE("a single row") {
    data::SyntheticOptions options = small_set();
    options.train_rows = 1;
    fs::remove_all(data);
    test::write_dataset(data, data::synthetic_dataset(options));
    refused({"--set", "sampler=balanced", "--set", "balanced_classes=1"},
            "train/audio.npy: a single row; expected at least two");
  }
  SUBCASE("a value that is not finite") {
    data::Features features = data::read_features(fs::path(data) / "train/audio.npy");
    features.row(5)[2] = std::nanf("");
    test::write_features(data + "/train/audio.npy", features);
    refused({}, "audio.npy");
  }
  SUBCASE("too few rows") {
    data::SyntheticOptions options = small_set();
    options.train_rows = 7;
    fs::remove_all(data);
    test::write_dataset(data, data::synthetic_dataset(options));
    refused({}, "7 training rows are fewer than smallest_batch 8");
  }
  SUBCASE("not an npy file") {
    write_text(data + "/train/visual.npy", "hello");
    refused({}, "visual.npy");
  }
}

TEST_CASE("run directories that are not there to be written") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", taken = folder / "taken", file = folder / "file";
  write_small_set(data);
  fs::create_directory(taken);
  write_text(taken + "/mine.txt", "keep");
  write_text(file, "keep");
  check_refused({"train", "--data", data, "--run", taken}, taken + ": the run directory is not empty");
  CHECK(std::distance(fs::directory_iterator(taken), fs::directory_iterator()) == 1);
  check_refused({"train", "--data", data, "--run", file}, file + ": the run directory is a file");
  check_refused({"train", "--data", data, "--run", file + "/below"}, file + "/below: ");
  CHECK(read_text(file) == "keep");
}

TEST_CASE("a model that is none") {
  const TemporaryFolder folder;
  write_text(folder / "model.safetensors", "not a model");
  check_refused({"eval", "--run", folder.path()}, "model.safetensors");
}
