// Validation: what is evaluated when, which model is the best, and what becomes of it when a run goes on.
#include <cmath>
#include <set>

#include "data/npy.h"
#include "tests/trainer/validation_set.h"
#include "trainer/best_model.h"

using namespace duet;
using namespace duet::testing;

namespace {

// Overfits labels of which most are wrong: the validation split, whose labels are right, tells when to stop.
const std::vector<std::string> kOverfits = {"--method",
                                            "label",
                                            "--set",
                                            "labels=1",
                                            "epochs=16",
                                            "evaluate_every_epochs=0",
                                            "hidden_units=128,128",
                                            "learning_rate=0.01",
                                            "teacher_momentum=0.5",
                                            "dropout=0"};
constexpr int64_t kEpochs = 16;

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void check_best_same(const fs::path& run, const fs::path& whole) {
  check_same(run, whole);
  CHECK(tensors_of(run, "best.safetensors") == tensors_of(whole, "best.safetensors"));
  CHECK(best_of(run) == best_of(whole));
}

}  // namespace

TEST_CASE("the best model is that of the largest MAP of validation, the first of equal ones, and is not the last") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_validation_set(data, 3);
  const Outcome outcome = run_program(train(data, run, kOverfits));
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const std::vector<json> validations = evaluations_of(run, "val");
  REQUIRE(validations.size() == kEpochs);  // after every epoch
  int64_t best = 0;
  for (size_t k = 0; k < validations.size(); ++k) {
    CHECK(validations[k]["epoch"] == k + 1);
    if (best == 0 || map_of(validations[k]) > map_of(validations[static_cast<size_t>(best - 1)]))
      best = static_cast<int64_t>(k) + 1;
    CHECK(validations[k]["best"]["epoch"] == best);
    CHECK(validations[k]["best"]["map"] == map_of(validations[static_cast<size_t>(best - 1)]));
  }
  CHECK(best < kEpochs);
  CHECK(best_of(run) == validations.back()["best"]);
  CHECK(best_of(run)["step"] == 4 * best);
  // Of the test split, which nothing was chosen by, it is the better one too.
  const std::vector<json> tests = evaluations_of(run, "test");
  REQUIRE(tests.size() == 2);
  CHECK((tests[0]["model"] == "best" && tests[1]["model"] == "last"));
  CHECK((tests[0]["epoch"] == best && tests[1]["epoch"] == kEpochs));
  CHECK(map_of(tests[0]) > map_of(tests[1]) + 0.02);
  CHECK(outcome.out.find("label, best (epoch " + std::to_string(best) + ")") != std::string::npos);
  CHECK(outcome.err.find("240 training pairs (240 labelled), 80 validation pairs (80 labelled), 60 test pairs") !=
        std::string::npos);
  CHECK(outcome.err.find("val MAP ") != std::string::npos);
  CHECK(outcome.err.find(", epoch " + std::to_string(best) + ")\n") != std::string::npos);
  // The files are the models that were measured.
  check_measured(run, data, {"--best"}, tests[0]);
  check_measured(run, data, {}, tests[1]);
  check_measured(run, data, {"--best", "--split", "val"}, validations[static_cast<size_t>(best - 1)]);
  check_measured(run, data, {"--split", "val"}, validations.back());
  // Nothing of the validation changes the training.
  fs::rename(data + "/val", folder / "val");
  REQUIRE(run_program(train(data, folder / "without", kOverfits)).code == 0);
  CHECK(tensors_of(folder / "without") == tensors_of(run));
  CHECK(evaluations_of(folder / "without", "test").size() == 1);
  CHECK_FALSE(fs::exists(folder / "without/best.safetensors"));
  // Without a folder the report is the same.
  fs::rename(folder / "val", data + "/val");
  std::vector<std::string> alone = train(data, run, kOverfits);
  alone.erase(alone.begin() + 3, alone.begin() + 5);
  const Outcome unwritten = run_program(alone);
  CHECK(unwritten.code == 0);
  const auto without_seconds = [](std::string table) {
    for (size_t at = 0; (at = table.find('\n', at)) != std::string::npos; ++at) {
      const size_t cut = table.rfind(' ', at);
      table.erase(cut, at - cut), at = cut;
    }
    return table;
  };
  CHECK(without_seconds(outcome.out).starts_with(without_seconds(unwritten.out).substr(0, 200)));
}

TEST_CASE("patience ends a run, and a resumed one with more goes on as if it had had it from the start") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", whole = folder / "whole";
  write_validation_set(data, 3);
  REQUIRE(run_program(train(data, whole, with(kOverfits, {"patience=100"}))).code == 0);
  const Outcome outcome = run_program(train(data, run, with(kOverfits, {"patience=2"})));
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const json last = evaluations_of(run, "val").back();
  const int64_t best = last["best"]["epoch"].get<int64_t>(), epochs = last["epoch"].get<int64_t>();
  CHECK(epochs == best + 2);
  CHECK(epochs < kEpochs);
  CHECK(outcome.err.find("ended after step " + std::to_string(4 * epochs) +
                         ": 2 evaluations without a better MAP of the validation split than after epoch " +
                         std::to_string(best) + "\n") != std::string::npos);
  CHECK(evaluations_of(run, "test").size() == 2);
  CHECK(fs::exists(run + "/checkpoints/step-" + std::to_string(4 * epochs) + ".json"));
  const std::map<std::string, std::string> tensors = tensors_of(run);
  const std::vector<json> lines = metrics_of(run);
  REQUIRE(resume(run).code == 0);  // to the same end
  CHECK(tensors_of(run) == tensors);
  CHECK(metrics_of(run) == lines);
  REQUIRE(resume(run, {"--set", "patience=100"}).code == 0);
  check_best_same(run, whole);
}

TEST_CASE("a run that stopped anywhere goes on with the same best model and the same patience") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_validation_set(data, 3);
  const std::vector<std::vector<std::string>> variants = {
      with(kOverfits, {"patience=4"}), {"--validation", "0.2", "--set", "evaluate_every_epochs=1", "epochs=6"}};
  for (size_t v = 0; v < variants.size(); ++v) {
    if (v == 1) fs::remove_all(data + "/val");
    const std::string whole = folder / text("whole", v);
    REQUIRE(run_program(train(data, whole, variants[v])).code == 0);
    for (const int stop : {1, 4, 7, 8, 12, 17}) {
      const std::string run = folder / text("run", v, "-", stop);
      REQUIRE(run_program(train(data, run, with(variants[v], {"--steps", std::to_string(stop)}))).code == 0);
      const Outcome outcome = resume(run, {"--steps", "0", "--threads", stop % 2 ? "1" : "2"});
      INFO(outcome.err);
      CHECK(outcome.code == 0);
      check_best_same(run, whole);
    }
  }
}

TEST_CASE("a best model that is newer than the checkpoint does not outlive a run that goes on from there") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", expected = folder / "expected";
  write_validation_set(data);
  const std::vector<std::string> learns = {"--set", "epochs=6", "evaluate_every_epochs=1", "checkpoint_every_steps=3",
                                           "checkpoints_kept=100"};
  REQUIRE(run_program(train(data, run, learns)).code == 0);
  const int64_t best = best_of(run)["step"].get<int64_t>();
  REQUIRE(best > 12);
  std::set<std::string> kept;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints"))
    if (entry.path().filename().string().starts_with("best-")) kept.insert(entry.path().filename());
  CHECK(kept.size() >= 2);
  // As kill -9 leaves it: the newest checkpoint is of step 9, and best.safetensors of a later one.
  for (const int step : {12, 15, 18, 21, 24})
    for (const char* ending : {".json", ".safetensors"})
      fs::remove(run + "/checkpoints/step-" + std::to_string(step) + ending);
  REQUIRE(run_program(train(data, expected, with(learns, {"--steps", "9"}))).code == 0);
  REQUIRE(resume(expected, {"--steps", "0", "--epochs", "7"}).code == 0);
  // The best one of step 8, stopped before there is another.
  REQUIRE(resume(run, {"--epochs", "7", "--steps", "9"}).code == 0);
  CHECK(best_of(run)["step"].get<int64_t>() <= 9);
  REQUIRE(resume(run, {"--steps", "0"}).code == 0);
  CHECK(tensors_of(run, "best.safetensors") == tensors_of(expected, "best.safetensors"));
  CHECK(best_of(run) == best_of(expected));
  CHECK(tensors_of(run) == tensors_of(expected));
  // Nothing is left but what checkpoints name.
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints")) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("best-")) continue;
    bool named = false;
    for (const auto& other : fs::directory_iterator(run + "/checkpoints"))
      if (other.path().extension() == ".json")
        named = named || name == text("best-", json::parse(read_text(other.path())).value("best", 0), ".safetensors");
    CHECK_MESSAGE(named, name);
  }
  // A run that went back before any evaluation has no best model.
  for (const auto& entry : std::vector<fs::path>{run + "/checkpoints"})
    for (const auto& file : fs::directory_iterator(entry))
      if (file.path().filename().string().starts_with("step-") &&
          !file.path().filename().string().starts_with("step-0."))
        fs::remove(file.path());
  REQUIRE(resume(run, {"--steps", "1"}).code == 0);
  CHECK(best_of(run)["step"] == 1);
}

TEST_CASE("of a best model that is gone or damaged one line says so, and the run looks for another") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", made = folder / "made";
  write_validation_set(data);
  REQUIRE(run_program(train(data, made, {"--steps", "9", "--set", "evaluate_every_epochs=1"})).code == 0);
  for (const bool gone : {true, false}) {
    const std::string run = folder / (gone ? "gone" : "damaged");
    fs::copy(made, run, fs::copy_options::recursive);
    for (const auto& entry : std::vector<fs::path>{run + "/checkpoints"})
      for (const auto& file : fs::directory_iterator(entry))
        if (file.path().filename().string().starts_with("best-")) fs::remove(file.path());
    if (gone)
      fs::remove(run + "/best.safetensors");
    else
      flip_bit(run + "/best.safetensors", 6000);
    const Outcome outcome = resume(run, {"--steps", "0"});
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.find(std::string("best.safetensors: the best model, of epoch 2, is ") +
                           (gone ? "gone" : "not as it was written")) != std::string::npos);
    CHECK(best_of(run)["epoch"] == 3);
  }
}

TEST_CASE("rows of the training split validate by the labels that the run may see") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  const std::vector<std::string> settings = {"--validation", "0.25", "--set", "evaluate_every_epochs=2"};
  const Outcome outcome = run_program(train(data, run, settings));
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  // 60 rows of each of 4 classes, 30 with a label: of those 8, of the 120 others 30.
  CHECK(outcome.err.find("178 training pairs (88 labelled), 62 validation pairs (32 labelled), 60 test pairs") !=
        std::string::npos);
  const std::vector<json> validations = evaluations_of(run, "val");
  REQUIRE(validations.size() == 2);  // after epochs 2 and 3
  CHECK(validations[0]["queries"]["a_to_v"] == 32);
  check_measured(run, data, {"--split", "val"}, validations.back());
  CHECK(json::parse(read_text(run + "/config.json"))["validation"] == 0.25);
  const Outcome embedded = run_program(
      {"embed", "--run", run, "--best", "--split", "val", "--data", data, "--out", folder / "out", "--quiet"});
  CHECK(embedded.code == 0);
  CHECK(data::read_features(folder / "out" / "audio.npy").rows == 62);
  check_refused(resume(run, {"--validation", "0.2"}), 2, "validation: the run has 0.25, got 0.2");
  const std::string none = folder / "none";
  check_refused(run_program(train(data, none, {"--validation", "0.001", "--quiet"})), 2,
                "train: validation 0.001 of 240 rows takes none of them");
  check_refused(run_program(train(data, none, {"--validation", "1"})), 2, "--validation: expected a value in [0, 1)");
  check_refused(run_program(train(data, none, {"--set", "patience=3"})), 2,
                "patience 3 needs a validation split: val/ in the data set, or validation above 0");
  write_validation_set(folder / "both");
  check_refused(run_program(train(folder / "both", none, {"--validation", "0.1"})), 2,
                "val: the data set has a validation split; expected none");
  CHECK_FALSE(fs::exists(none));
}

TEST_CASE("validation rows without a label measure nothing, and the last model is the best") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_validation_set(data);
  test::write_labels(data + "/val/labels.npy", std::vector<int64_t>(80, -1));
  const Outcome outcome = run_program(train(data, run, {"--set", "evaluate_every_epochs=1", "patience=1"}));
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(outcome.err.find("validation: no row has a label that the run may see, so it has no MAP: the last model is the "
                         "best\n") != std::string::npos);
  CHECK(best_of(run) == json({{"epoch", 3}, {"step", 12}, {"map", nullptr}}));
  CHECK(tensors_of(run, "best.safetensors") == tensors_of(run));
  CHECK(resume(run).code == 0);
  const std::vector<json> validations = evaluations_of(run, "val");
  CHECK(validations.size() == 3);
  CHECK(validations[0]["map"]["mean"].is_null());
}

TEST_CASE("commands take the best model where they are told to, and say where there is none") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", plain = folder / "plain";
  write_validation_set(data, 3);
  REQUIRE(run_program(train(data, run, kOverfits)).code == 0);
  const std::string hub = folder / "hub", query = data + "/test";
  const std::vector<std::string> search = {"search", "--run",     run,   "--query", query,    "--from",
                                           "audio",  "--gallery", query, "--to",    "visual", "--quiet"};
  const Outcome last = run_program(search), best = run_program(with(search, {"--best"}));
  CHECK((last.code == 0 && best.code == 0));
  CHECK(last.out != best.out);
  REQUIRE(run_program({"export", "--run", run, "--best", "--hub", hub, "--onnx", folder / "m.onnx"}).code == 0);
  CHECK(read_text(hub + "/model.safetensors") == read_text(run + "/best.safetensors"));
  const json line = evaluations_of(run, "test", "best")[0];
  CHECK(read_text(hub + "/README.md").find("after " + line["epoch"].dump() + " epochs") != std::string::npos);
  fs::rename(data + "/val", folder / "val");
  REQUIRE(run_program(train(data, plain)).code == 0);
  const std::string words = plain + "/best.safetensors: no such file; a run with a validation split has a best model";
  check_refused(run_program({"eval", "--run", plain, "--data", data, "--best"}), 2, words);
  check_refused(run_program({"embed", "--run", plain, "--data", data, "--best", "--out", folder / "o"}), 2, words);
  check_refused(run_program({"export", "--run", plain, "--best", "--hub", folder / "o"}), 2, words);
  check_refused(run_program({"eval", "--run", plain, "--data", data, "--split", "val"}), 2,
                "no split val, and the model was trained without one");
  check_refused(run_program({"eval", "--run", folder / "nowhere", "--best"}), 2, "--run takes the run directory");
  check_refused(run_program({"eval", "--run", plain, "--split", "valid"}), 2, "--split: valid not in {train,val,test}");
}

TEST_CASE("a validation split that changes or goes is refused by name") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_validation_set(data);
  REQUIRE(run_program(train(data, run, {"--steps", "6"})).code == 0);
  flip_bit(data + "/val/audio.npy", 1000);
  check_refused(resume(run, {"--quiet"}), 2, "data: val audio is other than it was");
  fs::rename(data + "/val", folder / "val");
  check_refused(resume(run, {"--quiet"}), 2, "data: val audio is not there any more");
}

TEST_CASE("only a larger MAP is better") {
  BestModel best;
  CHECK_FALSE(best.found());
  CHECK(best.is_beaten_by(0));
  CHECK(best.is_beaten_by(std::nan("")));
  best = {.epoch = 1, .step = 4, .map = 0.5};
  CHECK(best.is_beaten_by(0.6));
  CHECK_FALSE(best.is_beaten_by(0.5));
  CHECK_FALSE(best.is_beaten_by(0.4));
  CHECK_FALSE(best.is_beaten_by(std::nan("")));
  CHECK(to_json(best).dump() == R"({"epoch":1,"step":4,"map":0.5})");
  CHECK(to_json(BestModel{}).is_null());
}
