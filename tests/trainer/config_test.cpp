#include "trainer/config.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/program.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

std::string message(auto&& body) {
  try {
    body();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no UsageError";
}

std::string set_error(const std::string& object) {
  return message([&] {
    Config config;
    set_from_json(config, json::parse(object), "c.json");
  });
}

std::string assignment_error(const std::string& assignment) {
  return message([&] {
    Config config;
    set_from_assignment(config, assignment);
  });
}

}  // namespace

TEST_CASE("the defaults are those of METHOD.md section 6") {
  const json config = to_json(Config{});
  const json method = {{"method", "psd"},
                       {"labels", 1.0},
                       {"epochs", 40},
                       {"batch_size", 128},
                       {"smallest_batch", 8},
                       {"hidden_units", {256, 256}},
                       {"embedding_dim", 64},
                       {"dropout", 0.2},
                       {"activation", "relu"},
                       {"logit_scale", 10.0},
                       {"optimizer", "adamw"},
                       {"learning_rate", 1e-3},
                       {"schedule", "constant"},
                       {"beta1", 0.9},
                       {"beta2", 0.999},
                       {"optimizer_eps", 1e-8},
                       {"weight_decay", 1e-3},
                       {"teacher_momentum", 0.95},
                       {"ratio_end", 0.3},
                       {"ratio_epochs_share", 0.6},
                       {"rho_epochs_share", 0.3},
                       {"margin", 0.2},
                       {"mining", "all"},
                       {"temperature", 0.1},
                       {"teacher_temperature", 0.1},
                       {"kl_weight", 0.5},
                       {"soft_weight", 0.5},
                       {"pair_weight", 0.8},
                       {"decorrelation_weight", 0.0},
                       {"lift", true},
                       {"trust", true},
                       {"hide_labels", true},
                       {"largest_lift", 100.0},
                       {"unannotated_kappa", 0.5},
                       {"supervision_momentum", 0.95},
                       {"input_limit", 5.0},
                       {"accept_fortran_order", false},
                       {"label_weight", 1.0},
                       {"cross_weight", 1.0},
                       {"contrastive_weight", 1.0}};
  for (const auto& entry : method.items()) CHECK_MESSAGE(config.at(entry.key()) == entry.value(), entry.key());
}

TEST_CASE("every key is described, named once, and its default is a value it accepts") {
  std::set<std::string> names;
  Config config;
  const nlohmann::ordered_json defaults = to_json(config);
  CHECK(defaults.size() == config_keys().size());
  for (const ConfigKey& key : config_keys()) {
    CHECK(names.insert(key.name).second);
    CHECK(std::string(key.description).size() > 10);
    set_from_json(config, {{key.name, defaults[key.name]}}, key.name);
  }
  CHECK(config == Config{});
}

TEST_CASE("a resolved config comes back as it was") {
  Config config;
  config.modalities = {"image", "text"};
  config.labels = 0.03;
  config.hidden_units = {17};
  config.lift = false;
  config.learning_rate = 3.3e-4;
  config.data = "some \"quoted\" folder";
  Config back;
  set_from_json(back, json::parse(to_json(config).dump()), "resolved");
  CHECK(back == config);
}

TEST_CASE("texts of the command line are read by the key's type") {
  Config config;
  for (const char* assignment : {"hidden_units=32,16", "modalities=a,b", "lift=false", "margin=1e-1", "labels=1", "data=a=b", "seed=7"})
    set_from_assignment(config, assignment);
  CHECK(config.hidden_units == std::vector<int64_t>{32, 16});
  CHECK(config.modalities == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(config.lift);
  CHECK(config.margin == 0.1);
  CHECK(config.labels == 1);
  CHECK(config.data == "a=b");
  CHECK(config.seed == 7);
  set_from_assignment(config, "hidden_units=");
  CHECK(config.hidden_units.empty());
}

TEST_CASE("a mistake names source, key, expected and actual") {
  CHECK(set_error(R"({"learning_rat": 1})") == "c.json: unknown config key 'learning_rat' (did you mean 'learning_rate'?)");
  CHECK(set_error(R"({"epoch": 1})") == "c.json: unknown config key 'epoch' (did you mean 'epochs'?)");
  CHECK(set_error(R"({"epochs": "ten"})") == "c.json: epochs: expected integer, got string \"ten\"");
  CHECK(set_error(R"({"epochs": 1.5})") == "c.json: epochs: expected integer, got number 1.5");
  CHECK(set_error(R"({"epochs": 0})") == "c.json: epochs: expected a value in [1, 1000000000], got 0");
  CHECK(set_error(R"({"labels": 0})") == "c.json: labels: expected a value in (0, 1], got 0");
  CHECK(set_error(R"({"lift": 1})") == "c.json: lift: expected boolean, got integer 1");
  CHECK(set_error(R"({"margin": -0.5})") == "c.json: margin: expected a value at least 0, got -0.5");
  CHECK(set_error(R"({"hidden_units": [4, "x"]})") == "c.json: hidden_units: expected list of integers, got string \"x\"");
  CHECK(set_error(R"({"method": "PSD"})") == "c.json: method: expected one of label, triplet, contrastive, psd, got \"PSD\"");
  CHECK(set_error(R"({"seed": 18446744073709551615})") == "c.json: seed: 18446744073709551615 is too large");
  CHECK(set_error("[1]") == "c.json: expected a JSON object of config keys, got array");
  CHECK(assignment_error("margin") == "--set: expected key=value, got 'margin'");
  CHECK(assignment_error("=3") == "--set: expected key=value, got '=3'");
  CHECK(assignment_error("marginn=3") == "--set: unknown config key 'marginn' (did you mean 'margin'?)");
  CHECK(assignment_error("margin=wide") == "--set: margin: expected number, got string \"wide\"");
  CHECK(assignment_error("margin=nan") == "--set: margin: expected number, got string \"nan\"");
  CHECK(assignment_error("lift=yes") == "--set: lift: expected boolean, got string \"yes\"");
  CHECK(message([] {
          Config config;
          set_from_text(config, "labels", "1.5", "--labels");
        }) == "--labels: expected a value in (0, 1], got 1.5");
}

TEST_CASE("a failed change leaves the config as it was") {
  Config config;
  CHECK_THROWS_AS(set_from_json(config, {{"beta1", 0.5}, {"epochs", "x"}}, "c"), UsageError);
  CHECK(config == Config{});
}

TEST_CASE("config files") {
  const TemporaryFolder folder;
  const auto file_error = [&](const std::string& content) {
    write_text(folder / "c.json", content);
    return message([&] {
      Config config;
      set_from_file(config, folder / "c.json");
    });
  };
  const std::string name = folder / "c.json";
  CHECK(file_error(R"({"epochs": 3, "epochs": 4})") == name + ": config key \"epochs\" is given twice");
  CHECK(file_error("{\"epochs\": ").starts_with(name + ": not JSON: "));
  CHECK(file_error("{\"epochs\":\n\n").find('\n') == std::string::npos);
  CHECK(message([&] {
          Config config;
          set_from_file(config, folder / "none.json");
        }) == (folder / "none.json").string() + ": cannot read the config file");
}

TEST_CASE("keys that do not fit together") {
  const auto error = [](auto change) {
    return message([&] {
      Config config;
      change(config);
      validate(config);
    });
  };
  CHECK(error([](Config& c) { c.batch_size = 4; }) == "batch_size: 4 is below smallest_batch 8, so that every batch would be left out");
  CHECK(error([](Config& c) { c.modalities = {"one"}; }) == "modalities: expected two names, got 1");
  CHECK(error([](Config& c) { c.modalities = {"one", "one"}; }) == "modalities: expected two different names, got 'one' twice");
  CHECK(error([](Config& c) {
          c.sampler = "balanced";
          c.balanced_classes = 2;
          c.balanced_samples = 2;
        }) == "balanced_classes times balanced_samples: 4 is below smallest_batch 8, so that every batch would be left out");
}

TEST_CASE("docs/CONFIG.md holds the table") { CHECK(read_text(DUET_PROJECT_DIR "/docs/CONFIG.md").ends_with("\n\n" + keys_table())); }
