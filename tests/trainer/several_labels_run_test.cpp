// Rows with several labels, end to end: runs, what every command makes of them, resumed runs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/trainer/several_labels_set.h"
#include "tests/trainer/stopped_run.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

std::vector<std::string> small_run(const std::string& data, const std::string& run,
                                   std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train", "--data", data, "--run", run, "--set", "hidden_units=32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json evaluation_of(const std::string& run, const std::string& data) {
  const Outcome outcome = run_program({"eval", "--run", run, "--data", data, "--json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  return json::parse(outcome.out);
}

void refused(const std::vector<std::string>& arguments, const std::string& words) {
  const Outcome outcome = run_program(arguments);
  INFO(outcome.err);
  CHECK(outcome.code == 2);
  CHECK(outcome.err.find(words) != std::string::npos);
  const size_t line = outcome.err.rfind("duet: ");
  REQUIRE(line != std::string::npos);
  CHECK(std::ranges::count(outcome.err.substr(line), '\n') == 1);
}

}  // namespace

TEST_CASE("psd on rows with several labels, half of them hidden, beats chance; every command takes them") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "psd";
  write_several_labels_set(data);
  const data::Dataset set = several_labels_set();
  double relevant = 0;
  for (const int32_t i : set.test.labels)
    for (const int32_t j : set.test.labels) relevant += data::alike(set.test.sets, i, j);
  const double chance = relevant / std::pow(static_cast<double>(set.test.rows()), 2);
  const Outcome trained = run_program(small_run(data, run, {"--epochs", "15", "--labels", "0.5"}));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.err.find("240 training pairs (114 labelled), 60 test pairs, 6 classes, several a row;") !=
        std::string::npos);
  const json measured = evaluation_of(run, data);
  const double map = measured["map"]["mean"].get<double>();
  CHECK(chance < 0.6);
  CHECK(map > chance + 0.2);
  REQUIRE(measured["classes"].size() == 6);
  CHECK(measured["classes"][5]["label"] == 5);

  const Outcome per_class = run_program({"eval", "--run", run, "--data", data, "--per-class"});
  CHECK(per_class.code == 0);
  CHECK(per_class.out.find("class") != std::string::npos);
  CHECK(run_program({"eval", "--run", run, "--data", data, "--from", "audio", "--to", "audio"}).code == 0);
  const Outcome sides = run_program({"eval", "--run", run, "--query", data + "/test/audio.npy", "--gallery",
                                     data + "/train/visual.npy", "--from", "audio", "--to", "visual", "--json"});
  INFO(sides.err);
  REQUIRE(sides.code == 0);
  CHECK(json::parse(sides.out)["map"].get<double>() > chance + 0.2);
  CHECK(run_program({"search", "--run", run, "--gallery", data + "/test/visual.npy", "--query",
                     data + "/test/audio.npy", "--from", "audio", "--to", "visual", "--top", "2"})
            .code == 0);
  CHECK(run_program({"embed", "--run", run, "--data", data, "--out", folder / "embedded"}).code == 0);
  CHECK(run_program({"export", "--run", run, "--onnx", folder / "x.onnx", "--hub", folder / "hub"}).code == 0);
  CHECK(read_text(run + "/report.html").find("A row may have several labels here") != std::string::npos);
  CHECK(run_program({"report", "--run", run, "--data", data}).code == 0);
  const std::string page = read_text(run + "/report.html");
  CHECK(page.find("A row may have several labels here") != std::string::npos);
  CHECK(page.find("Items that share a class with the query are marked.") != std::string::npos);

  // A run that starts from its weights, on labels of either form.
  CHECK(run_program(small_run(data, folder / "again", {"--epochs", "1", "--init", run})).code == 0);
  write_small_set(folder / "one");
  const Outcome other = run_program(small_run(folder / "one", folder / "other", {"--epochs", "1", "--init", run}));
  INFO(other.err);
  CHECK(other.code == 0);
  CHECK(other.err.find("the model's labels are others: the classifier starts anew") != std::string::npos);
  refused({"eval", "--run", run, "--data", folder / "one"},
          "one/test/labels.npy: one label a row; expected several labels a row, of 6 classes, as in the model");
  refused({"eval", "--run", folder / "other", "--data", data},
          "data/test/labels.npy: several labels a row, of 6 classes; expected one label a row, as in the model");
}

TEST_CASE("every method trains on rows with several labels; what takes a label a row is refused in one line") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_several_labels_set(data);
  const auto outcome = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.begin(), {"--epochs", "2"});
    return run_program(small_run(data, folder / name, more));
  };
  const std::vector<std::vector<std::string>> runs = {{"--method", "label"},
                                                      {"--method", "triplet", "--labels", "0.3"},
                                                      {"--method", "contrastive"},
                                                      {"--set", "pair_loss=multi_positive"},
                                                      {"--set", "pair_loss=sigmoid"},
                                                      {"--set", "pair_loss=decoupled"},
                                                      {"--validation", "0.2", "--labels", "0.5"},
                                                      {"--set", "sampler=balanced", "balanced_classes=3"},
                                                      {"--method", "triplet", "--set", "mining=hard"},
                                                      {"--method", "triplet", "--set", "mining=semihard"},
                                                      {"--method", "triplet", "--set", "mining=distance_weighted"},
                                                      {"--method", "contrastive", "--set", "pair_loss=multi_positive"},
                                                      {"--set", "pair_loss=circle"},
                                                      {"--set", "pair_loss=ntxent"}};
  for (size_t k = 0; k < runs.size(); ++k) {
    const std::string name = "run" + std::to_string(k);
    const Outcome trained = outcome(name, runs[k]);
    INFO(name << ": " << trained.err);
    CHECK(trained.code == 0);
    if (k == 6) {
      CHECK(trained.err.find("192 training pairs") != std::string::npos);
      CHECK(trained.err.find("48 validation pairs") != std::string::npos);
      CHECK(run_program({"eval", "--run", folder / name, "--data", data, "--split", "val"}).code == 0);
    }
  }
  const auto refuses = [&](std::vector<std::string> more, const std::string& words) {
    more.insert(more.begin(), {"train", "--data", data, "--epochs", "1"});
    refused(more, words);
  };
  refuses({"--set", "sampler=balanced", "balanced_classes=7"}, "balanced_classes 7 is more than the 6 classes");

  CHECK(run_program({"baseline", "--data", data, "--method", "cca"}).code == 0);
  refused({"baseline", "--data", data, "--method", "cluster_cca"},
          "cluster_cca: several labels a row; expected one (cca looks at none)");
}

TEST_CASE("a run on rows with several labels goes on with the bits of one that did not stop, and not on other sets") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", whole = folder / "whole";
  write_several_labels_set(data);
  for (const std::string method : {"psd", "triplet"}) {
    CAPTURE(method);
    const std::string part = run + method, all = whole + method;
    REQUIRE(run_program(train(data, all, {"--method", method})).code == 0);
    REQUIRE(run_program(train(data, part, {"--method", method, "--steps", "5", "--threads", "1"})).code == 0);
    const Outcome outcome = resume(part, {"--steps", "0", "--threads", "2"});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    check_same(part, all);
  }
  // The same numbers of sets, in the same order, of other classes: the last of one class more has no row, or the first.
  const auto write_moved = [&](int64_t by) {
    data::Dataset moved = several_labels_set();
    for (data::Split* split : {&moved.train, &moved.test}) {
      data::LabelSets sets(kSeveralClasses + 1, split->sets.count());
      for (int64_t set = 0; set < sets.count(); ++set)
        for (int64_t c = 0; c < kSeveralClasses; ++c)
          if (split->sets.holds(set, c)) sets.put(set, c + by);
      split->sets = sets;
    }
    test::write_dataset(data, moved);
  };
  write_moved(0);
  REQUIRE(run_program(train(data, run, {"--steps", "5"})).code == 0);
  write_moved(1);
  const Outcome outcome = resume(run, {"--steps", "0"});
  CHECK(outcome.code == 2);
  CHECK_MESSAGE(outcome.err.find("train label sets is other than it was") != std::string::npos, outcome.err);
}

TEST_CASE("check and import of rows with several labels") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", copy = folder / "copy";
  write_several_labels_set(data);
  const Outcome checked = run_program({"check", data});
  INFO(checked.out);
  REQUIRE(checked.code == 0);
  for (const char* part : {"labels: 228 of 240 rows labelled, 6 classes, ", " labels a labelled row, at most 3\n",
                           "labels: 60 of 60 rows labelled, 6 classes, ", "          0 "})
    CHECK_MESSAGE(checked.out.find(part) != std::string::npos, part);
  const Outcome imported = run_program({"import", data, "--out", copy});
  INFO(imported.err);
  REQUIRE(imported.code == 0);
  CHECK(imported.out.find("train/labels.npy: 240 rows of labels, of 6 classes\n") != std::string::npos);
  CHECK(read_text(copy + "/train/labels.npy").ends_with(read_text(data + "/train/labels.npy").substr(128)));
  std::string again = run_program({"check", copy}).out;
  for (size_t at = again.find(copy); at != std::string::npos; at = again.find(copy))
    again.replace(at, copy.size(), data);
  CHECK(again == checked.out);
  write_small_set(folder / "one");
  fs::copy_file(folder / "one/test/labels.npy", data + "/test/labels.npy", fs::copy_options::overwrite_existing);
  refused({"check", data}, "test/labels.npy: one label a row; expected several labels a row, of 6 classes, as in ");
  refused({"train", "--data", data, "--epochs", "1"}, "test/labels.npy: one label a row; expected several");
}
