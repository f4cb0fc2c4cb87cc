// Models on the disk: a broken one yields no figure, no broken one is saved, old ones are read, and what they name is
// checked.
#include <array>
#include <cmath>

#include "runtime/safetensors.h"
#include "tests/trainer/files.h"

using namespace duet;
using namespace duet::testing;
using namespace duet::testing::files;
using nlohmann::json;

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
  const std::set<std::string> without_model = {"alignment.json", "checkpoints",   "config.json", "evidence.json",
                                               "machine.json",   "metrics.jsonl", "report.html"};
  check_ended(run_program(train(data, run, {"--steps", "1", "--set", "learning_rate=1e38", "--log-every", "1"})), 1,
              "after step 1: encoder_a.layer0.weight: element 0 is ");
  CHECK(names_in(run) == without_model);
  CHECK(read_text(run + "/metrics.jsonl").find("\"step\":1") != std::string::npos);
  CHECK(read_text(run + "/report.html").find("<p>after step 1: encoder_a.layer0.weight: element 0 is ") !=
        std::string::npos);
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
  const std::set<std::string> without_model = {"alignment.json", "checkpoints",   "config.json", "evidence.json",
                                               "machine.json",   "metrics.jsonl", "report.html"};
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

TEST_CASE("every file says its format, and a newer one is refused by name") {
  const Trained made;
  const auto first_line = [&](const std::string& name) {
    const std::string content = read_text(made.run + "/" + name);
    return content.substr(0, content.find('\n'));
  };
  CHECK(json::parse(read_text(made.run + "/config.json"))["format"] == 1);
  CHECK(json::parse(read_text(made.run + "/machine.json"))["format"] == 1);
  CHECK(json::parse(read_text(made.run + "/evidence.json"))["format"] == 1);
  CHECK(json::parse(read_text(made.run + "/alignment.json"))["format"] == 1);
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
