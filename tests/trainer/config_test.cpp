#include "trainer/config.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/program.h"
#include "trainer/config_text.h"
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
                       {"validation", 0.0},
                       {"patience", 0},
                       {"evaluate_every_epochs", 0},
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
                       {"gradient_clip", 0.0},
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
                       {"pair_weight", 1.0},
                       {"pair_evidence", true},
                       {"decorrelation_weight", 0.0},
                       {"lift", true},
                       {"trust", true},
                       {"hide_labels", true},
                       {"largest_lift", 100.0},
                       {"unannotated_kappa", 0.5},
                       {"supervision_momentum", 0.95},
                       {"input_limit", 5.0},
                       {"pool", "mean"},
                       {"map", nlohmann::json::array()},
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
  for (const char* assignment :
       {"hidden_units=32,16", "modalities=a,b", "lift=false", "margin=1e-1", "labels=1", "data=a=b", "seed=7"})
    set_from_assignment(config, assignment);
  CHECK(config.hidden_units == std::vector<int64_t>{32, 16});
  CHECK(config.modalities == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(config.lift);
  CHECK(config.margin == 0.1);
  CHECK(config.labels == 1);
  CHECK(config.data == "a=b");
  CHECK(config.seed == 7);
  // Lists as the config file has them, too.
  set_from_assignment(config, "hidden_units=[48, 8]");
  set_from_assignment(config, R"(modalities=["c","d"])");
  CHECK(config.hidden_units == std::vector<int64_t>{48, 8});
  CHECK(config.modalities == std::vector<std::string>{"c", "d"});
  set_from_assignment(config, "modalities=[x,y");  // no JSON: names as they are
  CHECK(config.modalities == std::vector<std::string>{"[x", "y"});
  set_from_assignment(config, "hidden_units=[]");
  CHECK(config.hidden_units.empty());
  set_from_assignment(config, "hidden_units=");
  CHECK(config.hidden_units.empty());
}

TEST_CASE("a mistake names source, key, expected and actual") {
  CHECK(set_error(R"({"learning_rat": 1})") ==
        "c.json: unknown config key 'learning_rat' (did you mean 'learning_rate'?)");
  CHECK(set_error(R"({"epoch": 1})") == "c.json: unknown config key 'epoch' (did you mean 'epochs'?)");
  CHECK(set_error(R"({"epochs": "ten"})") == "c.json: epochs: expected integer, got string \"ten\"");
  CHECK(set_error(R"({"epochs": 1.5})") == "c.json: epochs: expected integer, got number 1.5");
  CHECK(set_error(R"({"epochs": 0})") == "c.json: epochs: expected a value in [1, 1000000000], got 0");
  CHECK(set_error(R"({"labels": 0})") == "c.json: labels: expected a value in (0, 1], got 0");
  CHECK(set_error(R"({"lift": 1})") == "c.json: lift: expected boolean, got integer 1");
  CHECK(set_error(R"({"margin": -0.5})") == "c.json: margin: expected a value at least 0, got -0.5");
  CHECK(set_error(R"({"hidden_units": [4, "x"]})") ==
        "c.json: hidden_units: expected list of integers, got string \"x\"");
  CHECK(set_error(R"({"method": "PSD"})") ==
        "c.json: method: expected one of label, triplet, contrastive, psd, got \"PSD\"");
  CHECK(set_error(R"({"seed": 18446744073709551616})") ==
        "c.json: seed: expected a value in [0, 18446744073709551615], got 1.8446744073709552e+19");
  CHECK(set_error(R"({"seed": -1})") == "c.json: seed: expected a value in [0, 18446744073709551615], got -1");
  CHECK(set_error(R"({"seed": null})") == "c.json: seed: expected integer, got null");
  CHECK(set_error(R"({"epochs": null})") == "c.json: epochs: expected integer, got null");
  CHECK(set_error(R"({"steps": 9223372036854775808})") ==
        "c.json: steps: expected a value of at most 9223372036854775807, got 9223372036854775808");
  CHECK(set_error(R"({"threads": 99999999999999999999})") ==
        "c.json: threads: expected a value in [0, 1024], got 1e+20");
  CHECK(set_error("[1]") == "c.json: expected a JSON object of config keys, got array");
  CHECK(assignment_error("margin") == "--set: expected key=value, got 'margin'");
  CHECK(assignment_error("=3") == "--set: expected key=value, got '=3'");
  CHECK(assignment_error("marginn=3") == "--set: unknown config key 'marginn' (did you mean 'margin'?)");
  CHECK(assignment_error("margin=wide") == "--set: margin: expected number, got string \"wide\"");
  CHECK(assignment_error("margin=nan") == "--set: margin: expected number, got string \"nan\"");
  CHECK(assignment_error("margin=1e400") ==
        "--set: margin: expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 1e400");
  CHECK(assignment_error("margin=-1e-400") ==
        "--set: margin: expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got -1e-400");
  CHECK(assignment_error("seed=18446744073709551616") ==
        "--set: seed: expected a value in [0, 18446744073709551615], got 1.8446744073709552e+19");
  CHECK(assignment_error("lift=yes") == "--set: lift: expected boolean, got string \"yes\"");
  CHECK(message([] {
          Config config;
          set_from_text(config, "labels", "1.5", "--labels");
        }) == "--labels: expected a value in (0, 1], got 1.5");
}

TEST_CASE("numbers that were read right before stay so") {
  CHECK(assignment_error("epochs=") == "--set: epochs: expected integer, got string \"\"");
  CHECK(assignment_error("epochs=-1") == "--set: epochs: expected a value in [1, 1000000000], got -1");
  CHECK(assignment_error("epochs=1e3") == "--set: epochs: expected integer, got number 1000.0");
  for (const std::string blank : {" 3", "3 ", "\t3", "+3"})
    CHECK(assignment_error("epochs=" + blank).starts_with("--set: epochs: expected integer, got string "));
  Config config;
  set_from_assignment(config, "epochs=010");
  CHECK(config.epochs == 10);
}

TEST_CASE("a seed is any number of 64 bits, and no other") {
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1} << 63, UINT64_MAX}) {
    Config of_option, of_file;
    set_from_text(of_option, "seed", std::to_string(seed), "--seed");
    set_from_json(of_file, json::parse("{\"seed\": " + std::to_string(seed) + "}"), "c.json");
    CHECK(of_option.seed == seed);
    CHECK(of_file.seed == seed);
    Config back;
    set_from_json(back, json::parse(to_json(of_file).dump()), "resolved");
    CHECK(back.seed == seed);
  }
}

TEST_CASE("a number of any key is one that float32 holds") {
  int numbers = 0;
  for (const ConfigKey& key : config_keys()) {
    if (type_name(key) != "number") continue;
    ++numbers;
    INFO(key.name);
    for (const std::string value :
         {"1e-300", "1e-46", "1e39", "1e308", "-1e39", "1e400", "1e-400", "0.99999999999", "1.00000000001"}) {
      const std::string failure = assignment_error(key.name + ("=" + value));
      Config config;
      if (failure == "no UsageError") {
        set_from_assignment(config, key.name + ("=" + value));
        const double kept = to_json(config)[key.name].get<double>();
        CHECK(std::isfinite(static_cast<float>(kept)));
        CHECK(static_cast<float>(kept) != 0);
        CHECK(key.range.holds(static_cast<float>(kept)));
      } else {
        CHECK(failure.starts_with(text("--set: ", key.name, ": expected ")));
      }
    }
    CHECK(assignment_error(key.name + std::string("=1e-300")) != "no UsageError");
    CHECK(assignment_error(key.name + std::string("=1e39")) != "no UsageError");
  }
  CHECK(numbers > 20);
  CHECK(assignment_error("optimizer_eps=1e-300") ==
        "--set: optimizer_eps: expected a value of at least 1.4e-45, got 1e-300");
  CHECK(assignment_error("margin=1e-300") == "--set: margin: expected 0 or a value of at least 1.4e-45, got 1e-300");
  CHECK(assignment_error("learning_rate=1e39") ==
        "--set: learning_rate: expected a value of at most 3.4e38, got 1e+39");
  CHECK(assignment_error("dropout=0.99999999999") ==
        "--set: dropout: expected a value in [0, 1), got 0.99999999999, which as a float32 is 1");
}

TEST_CASE("values in a message are cut, and whatever they hold it is one line") {
  const std::string many(10'000, 'x'), cut = std::string(59, 'x') + "...";
  CHECK(set_error("{\"epochs\": \"" + many + "\"}") == "c.json: epochs: expected integer, got string \"" + cut);
  CHECK(set_error("{\"method\": \"" + many + "\"}") ==
        "c.json: method: expected one of label, triplet, contrastive, psd, got \"" + cut);
  CHECK(set_error("{\"" + many + "\": 1}")
            .starts_with("c.json: unknown config key '" + std::string(60, 'x') + "...' (did you mean "));
  CHECK(assignment_error(many) == "--set: expected key=value, got '" + std::string(60, 'x') + "...'");
  CHECK(assignment_error("method=" + many).size() < 200);
  CHECK(assignment_error("modalities=" + many + ",b") == "no UsageError");
  CHECK(set_error(R"({"epochs": "a\nb\u0007"})") == R"(c.json: epochs: expected integer, got string "a\nb\u0007")");
  json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = json::array({deep});
  CHECK(message([&] {
          Config config;
          set_from_json(config, {{"epochs", deep}}, "c.json");
        }) == "c.json: epochs: expected integer, got array [[[[[[[[[...]]]]]]]]]");
  CHECK(assignment_error("data=\xff\xfe\n") ==
        "--set: data: expected UTF-8, which JSON is written in, got '\\xff\\xfe\\x0a'");
  CHECK(assignment_error("modalities=a,\xc3") ==
        "--set: modalities: expected UTF-8, which JSON is written in, got '\\xc3'");
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
  CHECK(file_error(R"({"epochs": 3, "epochs": 4})") == name + ": key \"epochs\" is given twice");
  CHECK(file_error(R"({"margin": 1e400})") ==
        name + ": margin: expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 1e400");
  CHECK(file_error(R"({"epochs": 2, "hidden_units": [1, 1e400]})") ==
        name + ": hidden_units: expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 1e400");
  CHECK(file_error(R"({"optimizer_eps": 1e-400})") ==
        name + ": optimizer_eps: expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 1e-400");
  CHECK(file_error("{\"margin\": 1" + std::string(1000, '0') + "}").ends_with("got 1" + std::string(59, '0') + "..."));
  CHECK(file_error("{\"epochs\": " + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}") ==
        name + ": epochs: lists and objects nested more than 8 deep");
  CHECK(file_error(std::string(1'000'000, '[')) == name + ": lists and objects nested more than 8 deep");
  CHECK(file_error("{\"a\": \"" + std::string(10'000, 'x')).size() < name.size() + 150);
  CHECK(file_error("{\"epochs\":\n\n \xff}").starts_with(name + ": not JSON: line 3: unexpected "));
  CHECK(file_error("") == name + ": not JSON: line 1: it ends too early");
  CHECK(file_error(R"({"format": 1, "epochs": 3})") == "no UsageError");
  CHECK(file_error(R"({"format": 2, "epoks": 3})") ==
        name + ": its format is 2, and this duet reads up to 1; a newer duet wrote it");
  CHECK(file_error(R"({"format": 0})") == name + ": format: expected a whole number from 1, got 0");
  CHECK(file_error(R"({"format": "1"})") == name + ": format: expected a whole number from 1, got \"1\"");
  CHECK(message([&] {
          Config config;
          set_from_file(config, folder.path());
        }) == folder.path().string() + ": cannot read the config file");
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
  CHECK(error([](Config& c) { c.batch_size = 4; }) ==
        "batch_size: 4 is below smallest_batch 8, so that every batch would be left out");
  CHECK(error([](Config& c) { c.modalities = {"one"}; }) == "modalities: expected two names, got 1");
  const std::string no_name = "modalities: expected the name of a .npy file without its ending, in UTF-8, got '";
  CHECK(error([](Config& c) { c.modalities = {"one", "../two"}; }) == no_name + "../two'");
  CHECK(error([](Config& c) { c.modalities = {"\xff", "two"}; }) == no_name + "\\xff'");
  for (const std::string bad : {"", ".", "..", "a/b", "a\nb", "a\x7f", "\xc2\x85"}) CHECK_FALSE(is_modality_name(bad));
  CHECK_FALSE(is_modality_name(std::string(201, 'x')));
  CHECK(is_modality_name("Ton & Bild \xc3\xa4"));
  CHECK(error([](Config& c) {
          c.modalities = {"one", "one"};
        }) == "modalities: expected two different names, got 'one' twice");
  CHECK(error([](Config& c) {
          c.sampler = "balanced";
          c.balanced_classes = 2;
          c.balanced_samples = 2;
        }) ==
        "balanced_classes times balanced_samples: 4 is below smallest_batch 8, so that every batch would be left out");
}

TEST_CASE("docs/CONFIG.md holds the table") {
  CHECK(read_text(DUET_PROJECT_DIR "/docs/CONFIG.md").ends_with("\n\n" + keys_table()));
}

TEST_CASE("the commented config is a config file of the defaults") {
  const TemporaryFolder folder;
  const std::string written = commented_config();
  write_text(folder / "c.json", written);
  Config config;
  config.epochs = 3;
  config.hidden_units = {7};
  CHECK(set_from_file(config, folder / "c.json").empty());
  CHECK(config == Config());
  std::istringstream lines(written);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 120);
  for (const ConfigKey& key : config_keys()) CHECK(written.find(text("\n  \"", key.name, "\": ")) != std::string::npos);
  // Comments of either kind, anywhere.
  write_text(folder / "d.json", "/* mine */ {\"epochs\": 5, // fewer\n \"seed\": /* lucky */ 7}");
  set_from_file(config, folder / "d.json");
  CHECK(config.epochs == 5);
  CHECK(config.seed == 7);
  CHECK(run_program({"config"}).out == written);
}

TEST_CASE("the schema has every key with its default, bounds and choices") {
  const auto schema = config_schema();
  const auto& properties = schema["properties"];
  CHECK(properties.size() == config_keys().size() + 1);  // and the format's number
  const json defaults = json::parse(to_json(Config()).dump());
  for (const ConfigKey& key : config_keys()) {
    INFO(key.name);
    CHECK(properties[key.name]["default"].dump() == defaults[key.name].dump());
    CHECK(properties[key.name]["description"] == key.description);
  }
  CHECK(properties["labels"]["exclusiveMinimum"] == 0);
  CHECK(properties["labels"]["maximum"] == 1);
  CHECK(properties["epochs"]["minimum"] == 1);
  CHECK(properties["method"]["enum"] == std::vector<std::string>{"label", "triplet", "contrastive", "psd"});
  CHECK(properties["hidden_units"]["items"]["type"] == "integer");
  CHECK(nlohmann::ordered_json::parse(run_program({"config", "--schema"}).out) == schema);
}
