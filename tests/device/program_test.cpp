// --device as a user meets it: the program that is built for the CPU alone, and the one that has the emulator for its
// CUDA device.
#include "tests/trainer/program.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/npy.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

constexpr const char *kPlain = "duet", *kEmulated = "emulated/duet";

Outcome run(const std::string& program, std::vector<std::string> arguments) {
  return run_program(arguments, {.program = program});
}

// Small encoders and batches of a small set, whose last batch of an epoch is smaller.
std::vector<std::string> train(const std::string& data, const std::string& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {
      "train",           "--data",        data,       "--run", run, "--set", "hidden_units=16",
      "embedding_dim=8", "batch_size=52", "--labels", "0.5"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// One line that holds words, and nothing on standard output.
void check_ended(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.find(words) != std::string::npos);
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of('\n'), start = text.find_last_of('\n', end);
  return text.substr(start == std::string::npos ? 0 : start + 1, end - start);
}

std::vector<json> json_lines(const fs::path& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

json machine_of(const std::string& run) { return json::parse(read_text(run + "/machine.json")); }

// Every number of two documents of one shape, the same within a share of the larger, or of 1.
void check_close(const json& found, const json& expected, double tolerance, const std::string& name = "") {
  CAPTURE(name);
  if (expected.is_number()) {
    REQUIRE(found.is_number());
    const double a = found.get<double>(), b = expected.get<double>();
    CHECK(std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b)));
  } else if (expected.is_structured()) {
    REQUIRE(found.size() == expected.size());
    for (const auto& [key, value] : expected.items()) {
      if (expected.is_object()) REQUIRE(found.contains(key));
      if (key == "seconds") continue;
      check_close(expected.is_object() ? found[key] : found[std::stoul(key)], value, tolerance, name + "/" + key);
    }
  } else {
    CHECK(found == expected);
  }
}

}  // namespace

TEST_CASE("a word for a device that the build lacks is a usage error of one line") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run_folder = folder / "run";
  write_small_set(data);
  struct Case {
    const char *program, *device, *words;
  };
  for (const Case& which :
       {Case{kPlain, "emulated",
             "--device emulated: this build has no emulator (cmake --preset emulate makes one that has)"},
        {kEmulated, "cuda", "--device cuda: this build has the emulator in its place (--device emulated)"},
        {kEmulated, "gpu", "--device: expected auto, cpu, cuda or emulated, got 'gpu'"}}) {
    CAPTURE(std::string(which.program));
    check_ended(run(which.program, train(data, run_folder, {"--device", which.device})), 2, which.words);
    CHECK_FALSE(fs::exists(run_folder));
    check_ended(run(which.program, {"eval", "--run", run_folder, "--device", which.device}), 2, which.words);
    check_ended(run(which.program, {"embed", "--run", run_folder, "--out", run_folder, "--device", which.device}), 2,
                which.words);
    check_ended(run(which.program, {"demo", "--device", which.device}), 2, which.words);
  }
  for (const char* program : {kPlain, kEmulated})
    for (const char* device : {"auto", "cpu"})
      check_ended(run(program, train(data, run_folder, {"--device", device, "--precision", "fp64"})), 2,
                  "--precision: expected tf32x3, fp32, tf32 or bf16, got 'fp64'");
  check_ended(run(kEmulated, train(data, run_folder, {"--device", "emulated", "--precision", ""})), 2,
              "--precision: expected tf32x3, ");
  CHECK_FALSE(fs::exists(run_folder));
  const json devices = json::parse(run(kPlain, {"info", "--json"}).out)["devices"];
  if (devices[1]["usable"] == false) {  // a build, or a machine, without a CUDA device
    const std::string reason = devices[1]["reason"];
    CHECK(reason.size() > 10);
    check_ended(run(kPlain, train(data, run_folder, {"--device", "cuda"})), 2, "duet: --device cuda: " + reason);
    CHECK_FALSE(fs::exists(run_folder));
  }
}

TEST_CASE("info lists the devices of each program") {
  for (const char* program : {kPlain, kEmulated}) {
    CAPTURE(std::string(program));
    const Outcome outcome = run(program, {"info", "--json"});
    REQUIRE(outcome.code == 0);
    const json devices = json::parse(outcome.out)["devices"];
    REQUIRE(devices.size() == 2);
    CHECK((devices[0]["device"] == "cpu" && devices[0]["usable"] == true && devices[0]["threads"] >= 1));
    if (program == kEmulated) {
      CHECK((devices[1]["device"] == "emulated" && devices[1]["usable"] == true));
      CHECK(devices[1]["compute_capability"].get<std::string>().size() >= 3);
      CHECK(devices[1]["free_bytes"] <= devices[1]["memory_bytes"]);
      CHECK_FALSE(devices[1].contains("driver"));
    } else {
      CHECK(devices[1]["device"] == "cuda");
    }
    const std::string words = run(program, {"info"}).out;
    for (const json& device : devices)
      CHECK(words.find("device " + device["device"].get<std::string>() + ": ") != std::string::npos);
    if (program == kEmulated)
      CHECK(words.find("device emulated: emulator, compute capability 8.0, ") != std::string::npos);
  }
}

TEST_CASE("auto takes the CPU where there is no device, says why in its first line, and trains the same model") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  std::vector<std::string> models;
  for (const char* program : {kPlain, kEmulated})
    for (const char* device : {"auto", "cpu", ""}) {
      CAPTURE(std::string(program));
      CAPTURE(std::string(device));
      if (program == kPlain && json::parse(run(kPlain, {"info", "--json"}).out)["devices"][1]["usable"] == true)
        continue;
      const std::string name = folder / ("run" + std::to_string(models.size()));
      std::vector<std::string> more = {"--steps", "3", "--threads", "1"};
      if (*device) more.insert(more.end(), {"--device", device});
      const Outcome outcome = run(program, train(data, name, more));
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
      const std::string first = outcome.err.substr(0, outcome.err.find('\n'));
      CHECK(first.find("; 1 thread") != std::string::npos);
      const bool says_why = first.find("; 1 thread; on the CPU: ") != std::string::npos;
      CHECK(says_why == (std::string(device) != "cpu"));
      if (says_why && program == kEmulated)
        CHECK(first.find("this build has the emulator in its place (--device emulated)") != std::string::npos);
      CHECK((machine_of(name)["device"] == "cpu" && machine_of(name)["threads"] == 1 &&
             !machine_of(name).contains("precision")));
      models.push_back(read_text(name + "/model.safetensors"));
    }
  for (const std::string& model : models) CHECK(model == models[0]);
}

TEST_CASE("a run on the emulator has the metrics of the run on the CPU, and its model the CPU's figures") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", on_cpu = folder / "cpu", emulated = folder / "emulated";
  write_small_set(data);
  const std::vector<std::string> more = {"--epochs", "2", "--log-every", "1", "--set", "decorrelation_weight=0.1"};
  std::vector<std::string> of_cpu = more, of_device = more;
  of_cpu.insert(of_cpu.end(), {"--device", "cpu"});
  of_device.insert(of_device.end(), {"--device", "emulated", "--precision", "fp32"});
  REQUIRE(run(kPlain, train(data, on_cpu, of_cpu)).code == 0);
  const Outcome trained = run(kEmulated, train(data, emulated, of_device));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.err.substr(0, trained.err.find('\n')).find("; emulator, fp32") != std::string::npos);
  const json machine = machine_of(emulated);
  CHECK((machine["device"] == "emulator" && machine["precision"] == "fp32" && !machine.contains("threads")));
  CHECK(read_text(emulated + "/config.json") == read_text(on_cpu + "/config.json"));

  // Ten steps of float32 sums in another order. What is ranked may swap two items whose scores are within that of each
  // other.
  const std::vector<json> found = json_lines(emulated + "/metrics.jsonl"),
                          expected = json_lines(on_cpu + "/metrics.jsonl");
  REQUIRE(found.size() == expected.size());
  size_t steps = 0;
  for (size_t k = 0; k < found.size(); ++k) {
    if (expected[k].contains("map")) continue;
    steps += expected[k].contains("step") && !expected[k].contains("seconds");
    check_close(found[k], expected[k], 1e-4, "line " + std::to_string(k + 1));
  }
  CHECK(steps == 10);

  // One model, read by both.
  const Outcome cpu_eval = run(kPlain, {"eval", "--run", emulated, "--data", data, "--json"});
  REQUIRE(cpu_eval.code == 0);
  const json figures = json::parse(cpu_eval.out);
  for (const char* precision : {"tf32x3", "fp32"}) {
    const Outcome eval = run(kEmulated, {"eval", "--run", emulated, "--data", data, "--json", "--device", "emulated",
                                         "--precision", precision});
    INFO(eval.err);
    REQUIRE(eval.code == 0);
    check_close(json::parse(eval.out), figures, 1e-5);
  }
  REQUIRE(run(kPlain, {"embed", "--run", emulated, "--data", data, "--out", folder / "plain"}).code == 0);
  const Outcome embedded = run(
      kEmulated, {"embed", "--run", emulated, "--data", data, "--out", folder / "embedded", "--device", "emulated"});
  REQUIRE(embedded.code == 0);
  CHECK(embedded.out.find("audio.npy: 60 x 8\n") != std::string::npos);
  for (const char* name : {"audio.npy", "visual.npy"}) {
    const data::Features a = data::read_features(folder / "embedded" / name),
                         b = data::read_features(folder / "plain" / name);
    REQUIRE((a.rows == 60 && a.columns == 8 && b.values.size() == a.values.size()));
    double worst = 0;
    for (size_t k = 0; k < a.values.size(); ++k) worst = std::max(worst, std::abs(double{a.values[k]} - b.values[k]));
    CHECK(worst <= 1e-5);
  }
}

TEST_CASE("a signal during a run on the emulator reads the steps under way, saves, and exits with 128 and its number") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", name = folder / "run";
  write_small_set(data);
  Program program(
      train(data, name, {"--epochs", "1000000", "--log-every", "1", "--device", "emulated", "--method", "label"}),
      {.program = kEmulated});
  for (int i = 0; i < 600 && !fs::exists(name + "/model.safetensors"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  REQUIRE(fs::exists(name + "/model.safetensors"));
  program.signal(SIGINT);
  const Outcome outcome = program.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 130);
  CHECK(outcome.out.empty());
  const std::string words = "interrupted after step ";
  const std::string told = last_line(outcome.err);
  REQUIRE(told.find(words) == 0);
  const int64_t step = std::stoll(told.substr(words.size()));
  CHECK(told == words + std::to_string(step) + ": duet train --resume " + name + " goes on");
  // Every step that was put on its way is in the metrics.
  int64_t last = 0;
  for (const json& line : json_lines(name + "/metrics.jsonl"))
    if (line.contains("loss") && !line.contains("seconds")) {
      CHECK(line["step"] == last + 1);
      last = line["step"];
    }
  CHECK(last == step);
  CHECK(run(kPlain, {"eval", "--run", name, "--data", data}).code == 0);
  CHECK(std::distance(fs::directory_iterator(name), fs::directory_iterator()) == 7);  // no temporary file is left
}

TEST_CASE("a run that diverges on the emulator ends with one line, and the model of the epoch before stays") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", name = folder / "run";
  write_small_set(data);
  const auto diverge = [&](const std::string& program, const std::string& device, std::vector<std::string> more) {
    fs::remove_all(name);
    more.insert(more.end(), {"--device", device, "--method", "label"});
    Outcome outcome = run(program, train(data, name, more));
    INFO(outcome.err);
    CHECK(outcome.code == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.find("duet: ") == outcome.err.rfind("duet: "));
    return last_line(outcome.err);
  };
  const auto both = [&](const std::vector<std::string>& more) {
    const std::string told = diverge(kEmulated, "emulated", more);
    CHECK(told == diverge(kPlain, "cpu", more));
    return told;
  };
  CHECK(both({"--set", "learning_rate=1e30"}).find("; a lower learning_rate may help") != std::string::npos);
  CHECK_FALSE(fs::exists(name + "/model.safetensors"));
  // Every step multiplies the weights by 1e11: those of the first epoch do not overflow, those of the second do.
  const std::vector<std::string> growing = {
      "--set", "epochs=3", "batch_size=240", "hidden_units=16,16", "weight_decay=1e14", "evaluate_every_epochs=0"};
  const std::string told = diverge(kEmulated, "emulated", growing);
  CHECK(told.find("duet: after step 2: training split, audio: row 0: its embedding is not finite: ") == 0);
  REQUIRE(fs::exists(name + "/model.safetensors"));
  CHECK(run(kPlain, {"eval", "--run", name, "--data", data}).code == 0);
}

TEST_CASE(
    "a device that is lost in the midst of a run ends it with one line, and the model of the epoch before stays") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", name = folder / "run";
  write_small_set(data);
  const auto lose_after = [&](const char* replays) {
    fs::remove_all(name);
    setenv("DUET_SIMT_LOST_AFTER", replays, 1);
    const Outcome outcome =
        run(kEmulated, train(data, name, {"--device", "emulated", "--epochs", "5", "--method", "psd"}));
    unsetenv("DUET_SIMT_LOST_AFTER");
    INFO(outcome.err);
    CHECK(outcome.code == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.find("duet: ") == outcome.err.rfind("duet: "));
    CHECK(last_line(outcome.err).find("the device is lost") != std::string::npos);
  };
  lose_after("0");
  CHECK_FALSE(fs::exists(name + "/model.safetensors"));
  lose_after("12");  // five steps an epoch, the first of each size done at once: in the third
  REQUIRE(fs::exists(name + "/model.safetensors"));
  CHECK(run(kPlain, {"eval", "--run", name, "--data", data}).code == 0);
  CHECK(json_lines(name + "/metrics.jsonl").size() >= 2);
}

TEST_CASE("a run on the emulated device goes on with the bits of one that did not stop, and not on another device") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", whole = folder / "whole", part = folder / "part";
  write_small_set(data);
  const std::vector<std::string> few = {"--device", "emulated", "--epochs", "2", "--set", "learn_temperature=true"};
  REQUIRE(run(kEmulated, train(data, whole, few)).code == 0);
  std::vector<std::string> stopped = few;
  stopped.insert(stopped.end(), {"--steps", "3"});
  REQUIRE(run(kEmulated, train(data, part, stopped)).code == 0);
  const Outcome other = run(kPlain, {"train", "--resume", part, "--steps", "0"});
  check_ended(other, 2, "device: the run has \"emulator\", here it is \"cpu\"");
  const Outcome resumed = run(kEmulated, {"train", "--resume", part, "--steps", "0", "--device", "emulated"});
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(read_text(part + "/model.safetensors") == read_text(whole + "/model.safetensors"));
}
