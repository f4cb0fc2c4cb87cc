// Ablations: the grid's file, the test of differences, the results, and the command from end to end: stopped, resumed,
// added to, on any number of processes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/core/status.h"
#include "tests/trainer/program.h"
#include "trainer/ablation_grid.h"
#include "trainer/ablation_results.h"
#include "trainer/ablation_run.h"
#include "trainer/sign_flip.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

AblationGrid read(const std::string& content) {
  const TemporaryFolder folder;
  write_text(folder / "grid.json", content);
  std::vector<std::string> notes;
  return read_grid(folder / "grid.json", std::nullopt, notes);
}

void check_refused(const std::string& content, const std::string& words) {
  CAPTURE(content);
  try {
    read(content);
    FAIL("not refused: ", words);
  } catch (const UsageError& error) {
    CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, error.what());
  }
}

// Cells that take a moment each; more: further keys of the grid.
std::string small_grid(const std::string& data, const std::string& methods, const std::string& labels,
                       const std::string& seeds, int epochs = 2) {
  return "{\"data\": \"" + data + "\", \"base\": {\"epochs\": " + std::to_string(epochs) +
         ", \"hidden_units\": [16], \"embedding_dim\": 8, \"evaluate_every_epochs\": 0},\n // rows of the table\n" +
         "\"methods\": " + methods + ", \"labels\": " + labels + ", \"seeds\": " + seeds + "}";
}

struct Ablation {
  TemporaryFolder folder;
  std::string data = folder / "data", grid = folder / "my-grid.json";
  Ablation() { write_small_set(data); }

  std::vector<std::string> arguments(const std::string& out, const std::string& processes = "2") const {
    return {"ablate", grid, "--out", folder / out, "--processes", processes};
  }
  void write(const std::string& methods, const std::string& labels, const std::string& seeds, int epochs = 2) const {
    write_text(grid, small_grid(data, methods, labels, seeds, epochs));
  }
  std::string result(const std::string& out) const { return read_text(folder / (out + "/ablation.json")); }
};

}  // namespace

TEST_CASE("a grid is read with its comments, and knows what its cells are") {
  const AblationGrid grid = read(R"({
    "data": "d",  // where
    "base": {"epochs": 7, "lift": false, "modalities": ["a", "b"], "embedding_dim": 5},
    "methods": ["triplet", {"name": "with lift", "set": {"lift": true}}, {"name": "c", "method": "cca", "ridge": 1}],
    "labels": [1, 0.1], "seeds": [3, 18446744073709551615]})");
  REQUIRE(grid.methods.size() == 3);
  CHECK(grid.methods[0].config.method == "triplet");
  CHECK(grid.methods[1].method == "psd");
  CHECK((grid.methods[1].config.lift && !grid.methods[0].config.lift));
  CHECK(grid.methods[2].ridge == 1);
  CHECK(grid.seeds[1] == 18446744073709551615U);
  const auto arguments = [&](size_t method) {
    std::string words;
    for (const std::string& each : cell_arguments(grid, {method, 1, 1})) words += (words.empty() ? "" : " ") + each;
    return words;
  };
  CHECK(arguments(0) ==
        "train --method triplet --labels 0.1 --seed 18446744073709551615 --threads 1 --device cpu --data d "
        "--set modalities=[\"a\",\"b\"] --set epochs=7 --set embedding_dim=5 --set lift=false");
  CHECK(arguments(2) ==
        "baseline --method cca --labels 0.1 --seed 18446744073709551615 --threads 1 --device cpu --data d --json "
        "--ridge 1 --set modalities=[\"a\",\"b\"] --set epochs=7 --set embedding_dim=5 --set lift=false");
}

TEST_CASE("the grids that are here can be read") {
  for (const char* name : {"avdigits", "wikipedia"}) {
    std::vector<std::string> notes;
    const AblationGrid grid =
        read_grid(fs::path(DUET_PROJECT_DIR "/bench/ablations") / (std::string(name) + ".json"), std::nullopt, notes);
    CHECK(notes.empty());
    CHECK(grid.methods.front().name == "psd");
  }
}

TEST_CASE("a grid's mistakes are named") {
  const std::string rest = R"(, "methods": ["psd"], "labels": [1], "seeds": [0]})";
  check_refused("{\"dta\": \"x\"" + rest, "unknown key 'dta' (did you mean 'data'?)");
  check_refused("{\"base\": {\"epoch\": 1}" + rest, "base: unknown config key 'epoch' (did you mean 'epochs'?)");
  check_refused("{\"base\": {\"labels\": 1}" + rest, "base: labels: does not belong here: the grid's own key");
  check_refused("{\"base\": {\"threads\": 1}" + rest, "base: threads: does not belong here");
  check_refused("{\"base\": {\"batch_size\": 4}" + rest, "methods[0]: batch_size: 4 is below smallest_batch");
  check_refused("{\"data\": 3" + rest, "data: expected a string, got 3");
  check_refused("[]", "expected a JSON object, got []");
  check_refused("{\"data\": ", "not JSON: line 1");
  const auto methods = [](const std::string& list) {
    return "{\"methods\": " + list + R"(, "labels": [1], "seeds": [0]})";
  };
  check_refused(methods("[\"pds\"]"), "methods[0]: unknown method 'pds' (did you mean 'psd'?): expected one of label");
  check_refused(methods("[]"), "methods: expected a list that is not empty");
  check_refused(methods("[\"psd\", \"psd\"]"), "methods: psd is given twice");
  check_refused(methods("[{\"set\": {}}]"), "methods[0]: expected the key 'name', a string");
  check_refused(methods("[{\"name\": \"a/b\"}]"), "methods[0]: name: expected a file's name");
  check_refused(methods("[{\"name\": \"grid.json\"}]"), "'grid.json' is a file of the ablation");
  check_refused(methods("[{\"name\": \"x\", \"sett\": {}}]"), "methods[0]: unknown key 'sett' (did you mean 'set'?)");
  check_refused(methods("[{\"name\": \"x\", \"set\": {\"lift\": 1}}]"),
                "methods[0]: set: lift: expected boolean, got integer 1");
  check_refused(methods("[{\"name\": \"x\", \"set\": {\"seed\": 1}}]"), "set: seed: does not belong here");
  check_refused(methods("[{\"name\": \"x\", \"set\": {\"pool\": \"max\"}}]"), "'base' holds it, for all methods");
  check_refused(methods("[{\"name\": \"x\", \"ridge\": 1}]"), "ridge: method 'psd' has none");
  check_refused(methods("[{\"name\": \"x\", \"method\": \"cca\", \"ridge\": 0}]"),
                "ridge: expected a number of at least");
  check_refused(R"({"methods": ["psd"], "labels": [0], "seeds": [0]})", "labels: expected a value in (0, 1], got 0");
  check_refused(R"({"methods": ["psd"], "labels": [1, 1.0], "seeds": [0]})", "labels: 1 is given twice");
  check_refused(R"({"methods": ["psd"], "labels": [1], "seeds": [-1]})", "seeds: seed: expected a value in");
  check_refused(R"({"methods": ["psd"], "labels": [1]})", "expected the key 'seeds', a list");
}

TEST_CASE("the sign-flip test counts the signs that reach the sum") {
  const std::vector<double> five = {0.1, 0.2, 0.05, 0.3, 0.01};
  CHECK(sign_flip_test(five).p == 0.0625);  // 2 of 32
  CHECK(sign_flip_test(std::vector<double>{}).p == 1);
  CHECK(sign_flip_test(std::vector<double>{0.3}).p == 1);
  CHECK(sign_flip_test(std::vector<double>{0, 0, 0}).p == 1);
  // 1 - 2 + 3 = 2: of the eight sums 6, 4, 2, 0 and their negatives two are smaller.
  CHECK(sign_flip_test(std::vector<double>{1, -2, 3}).p == 0.75);
  // Equal sums that rounding parts: 0.1 + 0.2 - 0.3 is not 0 in float64.
  CHECK(sign_flip_test(std::vector<double>{0.1, 0.2, -0.3}).p == 1);
  // Of twenty all signs, of more a draw that comes near to them.
  std::vector<double> many;
  for (int i = 0; i < 20; ++i) many.push_back(i % 3 == 0 ? -1.0 - 0.1 * i : 1.0 + 0.01 * i);
  const SignFlipTest exact = sign_flip_test(many);
  CHECK(exact.exact);
  many.push_back(1e-9);
  const SignFlipTest drawn = sign_flip_test(many);
  CHECK(!drawn.exact);
  CHECK(std::abs(drawn.p - exact.p) <= 4 * std::sqrt(exact.p / kSignDraws));
  CHECK(sign_flip_test(many).p == drawn.p);
}

TEST_CASE("means, deviations and differences over the seeds that there are") {
  const AblationGrid grid = read(R"({"methods": ["label", "psd"], "labels": [1, 0.5], "seeds": [0, 1, 2]})");
  AblationMaps maps;
  const double label[] = {0.1, 0.2, 0.3}, psd[] = {0.4, 0.3, 0.8};
  for (size_t seed = 0; seed < 3; ++seed) maps[{0, 0, seed}] = label[seed], maps[{1, 0, seed}] = psd[seed];
  maps[{1, 1, 2}] = 0.7;  // the first method has none there
  const std::vector<AblationSummary> found = summarise(grid, maps);
  REQUIRE(found.size() == 4);
  CHECK(found[0].mean == doctest::Approx(0.2));
  CHECK(found[0].deviation == doctest::Approx(0.1));
  CHECK(!found[0].test.has_value());
  CHECK(*found[1].difference == doctest::Approx(0.3));
  CHECK(found[1].test->p == 0.25);
  CHECK(std::isnan(found[2].mean));
  CHECK(found[3].seeds == 1);
  CHECK((std::isnan(found[3].deviation) && !found[3].test.has_value()));
  const std::string table = ablation_table(grid, maps), page = ablation_markdown(grid, maps);
  CHECK(table.find("psd     0.500 +- 0.265  0.25") != std::string::npos);
  CHECK(page.find("| psd | 0.500 ± 0.265 | 0.25 | 0.700 (1 seed) | - |") != std::string::npos);
  CHECK(page.find("over 3 seeds it cannot be below 0.25") != std::string::npos);
}

TEST_CASE("an ablation has the bits of its runs, on any number of processes, and goes on where it was stopped") {
  const Ablation ablation;
  const std::string methods =
      R"(["label", {"name": "no lift", "set": {"lift": false}}, {"name": "cca", "method": "cca", "ridge": 0.5}])";
  ablation.write(methods, "[1, 0.5]", "[0, 7]");
  const Outcome one = run_program(ablation.arguments("one", "1")), two = run_program(ablation.arguments("two", "3"));
  INFO(one.err);
  REQUIRE(one.code == 0);
  REQUIRE(two.code == 0);
  CHECK(ablation.result("one") == ablation.result("two"));
  CHECK(one.out.substr(0, one.out.find("written")) == two.out.substr(0, two.out.find("written")));
  CHECK(one.err.find("12 of 12 cells; ") != std::string::npos);

  // A cell is what the commands give by themselves.
  const json result = json::parse(ablation.result("one"));
  CHECK(result["compared_with"] == "label");
  CHECK(result["cells"].size() == 12);
  CHECK(result["summary"].size() == 6);
  const std::string run = ablation.folder / "run";
  REQUIRE(run_program({"train", "--data", ablation.data, "--run", run, "--labels", "0.5", "--seed", "7", "--set",
                       "lift=false", "epochs=2", "hidden_units=16", "embedding_dim=8"})
              .code == 0);
  const json evaluation = json::parse(run_program({"eval", "--run", run, "--data", ablation.data, "--json"}).out);
  const json baseline = json::parse(run_program({"baseline", "--data", ablation.data, "--method", "cca", "--labels",
                                                 "0.5", "--seed", "7", "--ridge", "0.5", "--dim", "8", "--json"})
                                        .out);
  for (const json& cell : result["cells"]) {
    if (cell["labels"] != 0.5 || cell["seed"] != 7) continue;
    if (cell["method"] == "no lift") CHECK(cell["map"] == evaluation["map"]["mean"]);
    if (cell["method"] == "cca") CHECK(cell["map"] == baseline["map"]["mean"]);
  }
  CHECK(fs::exists(ablation.folder / "one/no lift/0.5/7/model.safetensors"));

  // What has ended is not run again; a grid may add, and nothing else.
  const auto model_time = fs::last_write_time(ablation.folder / "one/no lift/0.5/7/model.safetensors");
  ablation.write(methods, "[1, 0.5]", "[0, 7, 2]");
  const Outcome more = run_program(ablation.arguments("one"));
  CHECK(more.code == 0);
  CHECK(more.err.find("12 of 18 cells have ended before") != std::string::npos);
  CHECK(fs::last_write_time(ablation.folder / "one/no lift/0.5/7/model.safetensors") == model_time);
  CHECK(json::parse(ablation.result("one"))["cells"].size() == 18);
  const auto refused = [&](const std::string& out, const std::string& words) {
    const Outcome outcome = run_program(ablation.arguments(out));
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK_MESSAGE(outcome.err.find(words) != std::string::npos, outcome.err);
  };
  ablation.write(methods, "[1]", "[0, 7, 2]");
  refused("one", "the ablation has labels 0.5, which the grid lacks");
  ablation.write(R"(["label", "cca"])", "[1, 0.5]", "[0, 7, 2]");
  refused("one", "the ablation has the method 'no lift', which the grid lacks");
  ablation.write(methods, "[1, 0.5]", "[0, 7, 2]", 3);
  refused("one", "the ablation's method 'label' has epochs 2, and the grid 3");
  ablation.write(methods, "[1, 0.5]", "[0, 7]");
  refused("", "the output folder is not empty, and holds no ablation");
  data::SyntheticOptions others = small_set();
  others.seed = 1;
  test::write_dataset(ablation.data, data::synthetic_dataset(others));
  refused("two", "the ablation has other data than");
}

TEST_CASE("an ablation of another version") {
  Ablation ablation;
  ablation.write(R"(["cca"])", "[1]", "[0]");
  REQUIRE(run_program(ablation.arguments("out")).code == 0);
  const fs::path grid = ablation.folder / "out/grid.json";
  json record = json::parse(read_text(grid));
  CHECK(record["machine"]["version"] == duet_version());
  record["machine"]["version"] = "0.0.1";
  write_text(grid, record.dump());
  const Outcome outcome = run_program(ablation.arguments("out"));
  CHECK(outcome.code == 2);
  CHECK_MESSAGE(outcome.err.find("the cells are of {") != std::string::npos, outcome.err);
}

TEST_CASE("an ablation with a validation split measures the best model") {
  Ablation ablation;
  ablation.write(R"([{"name": "label", "method": "label", "set": {"validation": 0.25, "evaluate_every_epochs": 1}}])",
                 "[1]", "[0]");
  REQUIRE(run_program(ablation.arguments("out")).code == 0);
  const fs::path cell = ablation.folder / "out/label/1/0";
  const Outcome best = run_program({"eval", "--run", cell.string(), "--best", "--json", "--draws", "0", "--threads",
                                    "1", "--device", "cpu", "--data", ablation.data});
  REQUIRE(best.code == 0);
  CHECK(json::parse(best.out)["map"] == json::parse(read_text(cell / "evaluation.json"))["map"]);
}

TEST_CASE("an ablation that is interrupted ends its children, and the next start has the same bits") {
  const Ablation ablation;
  ablation.write(R"(["psd", "triplet"])", "[0.5]", "[0]", 60);
  REQUIRE(run_program(ablation.arguments("whole")).code == 0);
  for (const int number : {SIGINT, SIGTERM, SIGKILL}) {
    CAPTURE(number);
    const std::string out = "stopped" + std::to_string(number);
    {
      const Program program(ablation.arguments(out));
      const auto begun = [&](const char* method) {
        return fs::exists(ablation.folder / (out + "/" + method + "/0.5/0/config.json"));
      };
      for (int i = 0; i < 2000 && !(begun("psd") && begun("triplet")); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      program.signal(number);
      const Outcome stopped = program.wait();
      CHECK(stopped.code == 128 + number);
      CHECK(stopped.out.empty());
      if (number != SIGKILL) CHECK(stopped.err.find("the same command goes on") != std::string::npos);
    }
    CHECK(!fs::exists(ablation.folder / (out + "/ablation.json")));
    // Children of a parent that was killed keep the folder until they have ended, two seconds at most unless busy.
    Outcome again;
    for (int i = 0; i < 100; ++i) {
      again = run_program(ablation.arguments(out));
      if (again.err.find("another process works in the output folder") == std::string::npos) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    INFO(again.err);
    REQUIRE(again.code == 0);
    CHECK(ablation.result(out) == ablation.result("whole"));
    CHECK(read_text(ablation.folder / (out + "/psd/0.5/0.log")).find("resumed after step") != std::string::npos);
  }
}

TEST_CASE("a cell that fails is named, and the others go on") {
  const Ablation ablation;
  ablation.write(R"([{"name": "wild", "method": "label", "set": {"learning_rate": 1e30}}, "label"])", "[1]", "[0, 1]");
  const Outcome outcome = run_program(ablation.arguments("out"));
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("wild 1 0: failed: duet: ") != std::string::npos);
  CHECK(outcome.err.find("2 of 4 cells failed") != std::string::npos);
  CHECK(outcome.out.find("wild ") != std::string::npos);
  CHECK(json::parse(ablation.result("out"))["cells"].size() == 2);
}

TEST_CASE("a cell that a signal ended is no cell that failed at its last line") {
  const Ablation ablation;
  ablation.write(R"(["label"])", "[1]", "[0]", 1'000'000);
  const Program program(ablation.arguments("out"));
  const std::string run = ablation.folder / "out/label/1/0";
  for (int tries = 0; tries < 6000 && !fs::exists(run + "/config.json"); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(fs::exists(run + "/config.json"));
  // The child: a process whose arguments hold its run directory.
  pid_t child = 0;
  for (const auto& entry : fs::directory_iterator("/proc"))
    if (read_text(entry.path() / "cmdline").find("--run" + std::string(1, '\0') + run) != std::string::npos)
      child = static_cast<pid_t>(std::stol(entry.path().filename().string()));
  REQUIRE(child > 0);
  REQUIRE(kill(child, SIGKILL) == 0);
  const Outcome outcome = program.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("label 1 0: failed: ended by signal 9 (") != std::string::npos);
  CHECK(outcome.err.find("out: 1 of 1 cells failed, first label 1 0: ended by signal 9\n") != std::string::npos);
}
