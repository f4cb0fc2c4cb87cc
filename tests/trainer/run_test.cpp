// A run from end to end on a small set: what is written, what comes back from it, and that it learns.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "data/npy.h"
#include "kernels/duet.h"
#include "runtime/safetensors.h"
#include "tests/data/npy_files.h"
#include "tests/trainer/program.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

std::vector<json> json_lines(const fs::path& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

// Small encoders, for speed; the program is the same.
std::vector<std::string> train(const std::string& data, const std::string& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train",           "--data",           data,           "--run", run, "--set",
                                        "hidden_units=32", "embedding_dim=16", "batch_size=64"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("a run writes config, machine, metrics and model, and they agree") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  const Outcome trained = run_program(train(data, run,
                                            {"--epochs", "6", "--labels", "0.5", "--log-every", "2", "--set",
                                             "evaluate_every_epochs=3", "--set", "decorrelation_weight=0.1"}));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.out.find("psd") != std::string::npos);
  CHECK(trained.err.find('\x1b') == std::string::npos);
  CHECK(trained.err.find("epoch 6/6") != std::string::npos);

  const json config = json::parse(read_text(run + "/config.json"));
  CHECK(config["modalities"] == json({"audio", "visual"}));
  CHECK(config["labels"] == 0.5);
  CHECK(config["scaling_a"] != "auto");
  const json machine = json::parse(read_text(run + "/machine.json"));
  CHECK(machine["version"] == duet_version());
  for (const char* fact : {"simd_target", "threads"}) CHECK(machine.contains(fact));

  const std::vector<json> lines = json_lines(run + "/metrics.jsonl");
  const json evidence = json::parse(read_text(run + "/evidence.json"));
  CHECK(evidence["format"] == 1);
  const json& shown = lines.front()["evidence"];
  CHECK(lines.front()["format"] == 1);
  CHECK((shown["unread"] == evidence["unread"] && shown["gradient_share"] == evidence["gradient_share"]));
  const double unread = evidence["unread"], generality = evidence["pairs_generalise"];
  int steps = 0, epochs = 0, evaluations = 0;
  double last_concord = 0;
  for (const json& line : lines) {
    if (line.contains("format")) continue;
    if (line.contains("map")) {
      ++evaluations;
      continue;
    }
    for (const char* key : {"loss", "loss_label", "loss_soft", "loss_cross", "loss_kl", "loss_pair", "loss_dis"})
      CHECK(line.contains(key));
    if (line.contains("seconds")) {
      ++epochs;
      CHECK(line["pair_weight"] > 0);
      CHECK(line["concord"] == last_concord);  // of the epoch's last step, which has a line of its own
      double frequencies = 0;
      for (const json& frequency : line["class_frequencies"]) frequencies += frequency.get<double>();
      CHECK(line["class_frequencies"].size() == 4);
      CHECK(frequencies == doctest::Approx(1).epsilon(1e-5));  // 24 updates of float32 numbers
      CHECK(line["ratio"].get<double>() <= 1);
      continue;
    }
    ++steps;
    CHECK(line.size() == 11);
    CHECK(line["step"].get<int>() % 2 == 0);
    // The total is the terms as METHOD.md 6.11 weighs them, each a float32 sum.
    const double epoch = line["epoch"].get<double>() - 1, rho = std::min(1.0, epoch / (0.3 * 6));
    const double rest = line["loss"].get<double>() - line["loss_label"].get<double>() -
                        line["loss_cross"].get<double>() -
                        0.5 * rho * (line["loss_kl"].get<double>() + line["loss_soft"].get<double>()) -
                        0.1 * line["loss_dis"].get<double>();
    const double concord = line["concord"].get<double>();
    const double weight = (1 + 2 * unread) * ((1 - concord) + std::pow(1 - generality, 2) * std::pow(concord, 8));
    CHECK(line["pair_weight"].get<double>() == doctest::Approx(weight).epsilon(1e-5));
    CHECK(std::abs(rest - weight * line["loss_pair"].get<double>()) <= 1e-5 * line["loss"].get<double>());
    last_concord = concord;
  }
  CHECK(last_concord > 0.2);  // half of the rows are never labelled
  CHECK(steps == 12);         // 4 batches of 240 rows, 6 epochs, every second step
  CHECK(epochs == 6);
  CHECK(evaluations == 2);
  CHECK(lines.back().contains("map"));

  const Outcome measured = run_program({"eval", "--run", run, "--data", data, "--json"});
  REQUIRE(measured.code == 0);
  json evaluation = json::parse(measured.out);
  CHECK(evaluation["classes"].size() == 4);
  for (const char* of_eval_alone : {"classes", "confidence"}) evaluation.erase(of_eval_alone);
  json last = lines.back();
  for (const char* place : {"epoch", "step", "split"}) last.erase(place);
  CHECK(evaluation == last);  // the model that was saved is the model that was scored
  for (const char* direction : {"a_to_v", "v_to_a", "mean"}) {
    CHECK(evaluation["map"][direction].is_number());
    CHECK(evaluation["recall"]["1"][direction].is_number());
    CHECK(evaluation["matching"]["matching_1_of_2"][direction].is_number());
  }
  CHECK(evaluation["map"]["mean"].get<double>() ==
        doctest::Approx((evaluation["map"]["a_to_v"].get<double>() + evaluation["map"]["v_to_a"].get<double>()) / 2));
  CHECK(run_program({"eval", "--run", run, "--data", data}).out.find("recall@10") != std::string::npos);

  const Outcome embedded = run_program({"embed", "--run", run, "--data", data, "--out", folder / "out"});
  REQUIRE(embedded.code == 0);
  for (const char* name : {"audio.npy", "visual.npy"}) {
    const data::Features features = data::read_features(folder / "out" / name);
    CHECK(features.rows == 60);
    CHECK(features.columns == 16);
    for (int64_t i = 0; i < features.rows; ++i) {
      double square = 0;
      for (int64_t k = 0; k < features.columns; ++k)
        square += static_cast<double>(features.row(i)[k]) * features.row(i)[k];
      CHECK(std::abs(square - 1) < 1e-6);  // 16 squares in float32: a few units of 6e-8
    }
  }
  // A run's own config starts the same run again.
  const Outcome again = run_program({"train", "--config", run + "/config.json", "--run", folder / "again"});
  REQUIRE(again.code == 0);
  CHECK(read_text(folder / "again" / "config.json") == read_text(run + "/config.json"));
  CHECK(read_text(folder / "again" / "model.safetensors") == read_text(run + "/model.safetensors"));
}

TEST_CASE("the offset and the unit of the inputs, and what the labels are called, do not matter") {
  const TemporaryFolder folder;
  const data::Dataset plain = data::synthetic_dataset(small_set());
  test::write_dataset(folder / "plain", plain);
  const auto run_of = [&](const std::string& name) {
    const Outcome outcome = run_program(train(folder / name, folder / (name + "_run"), {"--epochs", "4"}));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const Outcome measured =
        run_program({"eval", "--run", folder / (name + "_run"), "--data", folder / name, "--json"});
    REQUIRE(measured.code == 0);
    json last = json_lines(folder / (name + "_run") / "metrics.jsonl").back();
    for (const char* place : {"epoch", "step", "split"}) last.erase(place);
    json evaluation = json::parse(measured.out);
    for (const char* of_eval_alone : {"classes", "confidence"}) evaluation.erase(of_eval_alone);
    CHECK(evaluation == last);  // bit for bit what the run printed
    return evaluation["map"]["mean"].get<double>();
  };
  const auto weights_of = [&](const std::string& name) {
    const SafetensorsFile file(folder / (name + "_run") / "model.safetensors");
    std::map<std::string, std::string> weights;
    for (const NamedArray& array : file.arrays())
      if (array.name.starts_with("encoder") || array.name.starts_with("classifier"))
        weights[array.name] = {static_cast<const char*>(array.data), static_cast<size_t>(array.size()) * sizeof(float)};
    REQUIRE(weights.size() > 4);
    return weights;
  };
  const double map = run_of("plain");
  const auto weights = weights_of("plain");

  // A power of two as the unit changes no digit, and labels by other names in the same order no class: the same weights
  // to the bit.
  data::Dataset same = plain;
  for (data::Split* split : {&same.train, &same.test})
    for (size_t side : {0, 1})
      for (float& value : split->features[side].values) value *= side == 0 ? 0x1p-20f : 0x1p-40f;
  same.label_values = {-2'000'000'007, -7, 3, 4'000'000'000};
  test::write_dataset(folder / "same", same);
  CHECK(run_of("same") == map);
  CHECK(weights_of("same") == weights);

  // A label in the test split alone is never trained on.
  data::Dataset stray = plain;
  stray.label_values.push_back(65535);
  stray.test.labels[5] = 4;
  test::write_dataset(folder / "stray", stray);
  run_of("stray");
  CHECK(weights_of("stray") == weights);
  const Outcome noted = run_program({"eval", "--run", folder / "stray_run", "--data", folder / "stray"});
  CHECK(noted.err.find("1 of 60 rows of the test split have labels that the training split lacks") !=
        std::string::npos);

  // In float64 at an offset, with a column that is another constant in the test split. A run moves by 0.01 with the
  // last bits of its inputs.
  for (const auto& [split, rows] : {std::pair{"train", &plain.train}, std::pair{"test", &plain.test}}) {
    fs::create_directories(folder / "offset" / split);
    for (const char* array : {"visual.npy", "labels.npy"})
      fs::copy_file(folder / "plain" / split / array, folder / "offset" / split / array);
    std::vector<double> values;
    for (int64_t i = 0; i < rows->rows(); ++i) {
      for (int64_t k = 0; k < 12; ++k) values.push_back(1e8 + static_cast<double>(rows->features[0].row(i)[k]));
      values.push_back(rows == &plain.train ? 2023 : 2024);
    }
    write_text(folder / "offset" / split / "audio.npy",
               test::npy("<f8", text("(", rows->rows(), ", 13)"), test::raw(values)));
  }
  CHECK(std::abs(run_of("offset") - map) <= 0.02);
  const Outcome said = run_program({"train", "--data", folder / "offset", "--steps", "1"});
  CHECK(said.err.find(
            "audio: zscore (auto: the smallest value is 2023, not 0; 1 of 13 columns is constant and becomes 0)") !=
        std::string::npos);
  CHECK(said.err.find("visual: zscore (auto: negative values)") != std::string::npos);
}

TEST_CASE("every method learns, and threads do not change a bit") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  REQUIRE(run_program(train(data, folder / "start", {"--steps", "1", "--set", "learning_rate=1e-12"})).code == 0);
  const auto map_of = [&](const std::string& run) {
    return json_lines(folder / run / "metrics.jsonl").back()["map"]["mean"].get<double>();
  };
  const double untrained = map_of("start");
  for (const std::string method : {"label", "triplet", "contrastive", "psd"}) {
    INFO(method);
    for (const std::string threads : {"1", "2"})
      REQUIRE(run_program(train(data, folder / (method + threads),
                                {"--method", method, "--epochs", "25", "--labels", "0.5", "--threads", threads}))
                  .code == 0);
    CHECK(read_text(folder / (method + "1") / "model.safetensors").size() > 1000);
    CHECK(map_of(method + "1") > untrained + 0.1);
    CHECK(map_of(method + "1") == map_of(method + "2"));
    // The files differ in the config they name alone: the thread count; so the tensors behind the header are compared.
    const std::string one = read_text(folder / (method + "1") / "model.safetensors"),
                      two = read_text(folder / (method + "2") / "model.safetensors");
    CHECK(one.size() == two.size());
    uint64_t header = 0;
    std::copy_n(one.data(), 8, reinterpret_cast<char*>(&header));
    CHECK(one.substr(8 + header) == two.substr(8 + header));
  }
}

TEST_CASE("every variant of the config runs") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  int number = 0;
  for (const std::vector<std::string>& variant : std::vector<std::vector<std::string>>{
           {"--method", "triplet", "--set", "mining=hard"},
           {"--method", "triplet", "--set", "mining=semihard"},
           {"--method", "triplet", "--set", "mining=distance_weighted", "--set", "mining_slots=2"},
           {"--set", "sampler=balanced", "--set", "balanced_classes=3", "--set", "balanced_samples=5"},
           {"--set", "optimizer=sgd", "--set", "learning_rate=0.01", "--set", "schedule=cosine", "--set",
            "warmup_steps=3"},
           {"--set", "lift=false", "--set", "trust=false", "--set", "hide_labels=false", "--set", "pair_weight=0"},
           {"--set", "pair_evidence=false"},
           {"--set", "learn_temperature=true", "--set", "activation=gelu", "--set", "layer_norm=true", "--set",
            "dropout=0"},
           {"--set", "hidden_units=", "--set", "scaling_a=norm", "--set", "scaling_v=none", "--set", "input_limit=0"},
           {"--set", "cross_weight=0", "--set", "kl_weight=0", "--set", "soft_weight=0", "--set", "label_weight=0"},
       }) {
    const std::string run = folder / std::to_string(++number);
    const Outcome outcome = run_program(train(data, run, [&] {
      std::vector<std::string> more = {"--epochs", "2", "--labels", "0.3"};
      more.insert(more.end(), variant.begin(), variant.end());
      return more;
    }()));
    INFO(number, ": ", outcome.err);
    CHECK(outcome.code == 0);
    CHECK(run_program({"eval", "--run", run, "--data", data}).code == 0);
    const bool has_pairs =
        variant[0] != "--method" && variant.back() != "pair_weight=0" && variant.back() != "pair_evidence=false";
    CHECK(fs::exists(run + "/evidence.json") == has_pairs);
  }
}

TEST_CASE("--steps stops early, and the steps before are the same") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  REQUIRE(run_program(train(data, folder / "whole", {"--epochs", "4", "--log-every", "1"})).code == 0);
  REQUIRE(run_program(train(data, folder / "part", {"--epochs", "4", "--log-every", "1", "--steps", "7"})).code == 0);
  std::vector<json> whole, part;
  for (const auto& [run, steps] : {std::pair{"whole", &whole}, std::pair{"part", &part}})
    for (const json& line : json_lines(folder / run / "metrics.jsonl"))
      if (line.contains("loss") && !line.contains("seconds")) steps->push_back(line);
  CHECK(whole.size() == 16);
  REQUIRE(part.size() == 7);
  for (size_t i = 0; i < part.size(); ++i) CHECK(part[i] == whole[i]);
}

TEST_CASE("without --run nothing is written, and it says so") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  const Outcome outcome = run_program({"train", "--data", folder / "data", "--steps", "2"});
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("no --run: nothing is written") != std::string::npos);
  CHECK(outcome.out.find("MAP audio to visual") != std::string::npos);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("a set without labels can be measured by its pairs") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  REQUIRE(run_program(train(data, run, {"--epochs", "1"})).code == 0);
  test::write_labels(data + "/test/labels.npy", std::vector<int32_t>(60, -1));
  const Outcome outcome = run_program({"eval", "--run", run, "--data", data, "--json"});
  REQUIRE(outcome.code == 0);
  const json evaluation = json::parse(outcome.out);
  CHECK(evaluation["map"]["mean"].is_null());
  CHECK(evaluation["matching"]["pair_recall"]["10"]["mean"].is_number());
}

TEST_CASE("files in Fortran order are read, and the key that asked for it is passed over with a warning") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", config = folder / "config.json";
  write_small_set(data);
  for (const std::string split : {"train", "test"}) {
    const fs::path path = fs::path(data) / split / "audio.npy";
    std::string file = read_text(path);
    file.replace(file.find("False"), 5, "True ");
    write_text(path, file);
  }
  write_text(config, R"({"epochs": 1, "accept_fortran_order": true})");
  const Outcome outcome = run_program(train(data, run, {"--config", config}));
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("warning: " + config + ": accept_fortran_order has no effect any more") != std::string::npos);
  CHECK(run_program({"eval", "--run", run, "--data", data}).code == 0);
  const Outcome set =
      run_program(train(data, folder / "second", {"--epochs", "1", "--set", "accept_fortran_order=false"}));
  CHECK(set.code == 0);
  CHECK(set.err.find("warning: --set: accept_fortran_order has no effect") != std::string::npos);
}

TEST_CASE("data that the model was not made for") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", other = folder / "other", run = folder / "run";
  write_small_set(data);
  data::SyntheticOptions wider = small_set();
  wider.widths = {13, 20};
  test::write_dataset(other, data::synthetic_dataset(wider));
  REQUIRE(run_program(train(data, run, {"--epochs", "1"})).code == 0);
  const Outcome outcome = run_program({"eval", "--run", run, "--data", other});
  CHECK(outcome.code == 2);
  CHECK(outcome.err.find("13") != std::string::npos);
  CHECK(outcome.err.find("12") != std::string::npos);
}

TEST_CASE("a signal finishes the step, saves and exits with 128 and its number") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  const auto wait_for_more = [](const fs::path& run) {
    const auto size = [&] { return fs::exists(run / "model.safetensors") ? fs::file_size(run / "metrics.jsonl") : 0; };
    const uintmax_t before = size();
    for (int i = 0; i < 600 && size() <= before; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(size() > before);
  };
  for (const bool ignored : {false, true})
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
      if (ignored && number != SIGHUP) continue;
      INFO(number, ignored);
      const std::string run = folder / std::to_string(number + ignored * 100);
      Program program(train(data, run, {"--epochs", "1000000"}), {.ignores_hangup = ignored});
      wait_for_more(run);
      for (int twice = 0; twice < 2; ++twice) program.signal(number);  // one request, as timeout makes it
      if (ignored) {                                                   // it goes on until another one ends it
        wait_for_more(run);
        program.signal(SIGTERM);
      }
      const Outcome outcome = program.wait();
      INFO(outcome.err);
      CHECK(outcome.code == 128 + (ignored ? SIGTERM : number));
      CHECK(outcome.err.find("interrupted after step ") != std::string::npos);
      CHECK(run_program({"eval", "--run", run, "--data", data}).code == 0);
      size_t files = 0;
      for (const auto& entry : fs::directory_iterator(run)) files += entry.is_regular_file();
      CHECK(files == 7);  // no temporary file is left
    }
}

TEST_CASE("a step without any loss term has no loss, nor has an epoch of such steps") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  const Outcome outcome = run_program(
      train(data, run, {"--method", "label", "--epochs", "1", "--log-every", "1", "--set", "label_weight=0"}));
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("loss -") != std::string::npos);
  int lines = 0;
  for (const json& line : json_lines(run + "/metrics.jsonl")) {
    if (!line.contains("loss")) continue;
    ++lines;
    for (const char* key : {"loss", "loss_label", "loss_soft", "loss_cross", "loss_kl", "loss_pair", "loss_dis"})
      CHECK(line[key].is_null());
  }
  CHECK(lines == 5);  // 4 steps and their epoch
}
