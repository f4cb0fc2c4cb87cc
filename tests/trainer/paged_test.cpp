// Data larger than the memory that they are given: the same numbers, from files.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <set>
#include <thread>

#include "tests/trainer/stopped_run.h"
#include "trainer/prefetch.h"

using namespace duet;
using namespace duet::testing;

namespace {

const std::string kPaged = "data_memory=1";

// Training arrays of 1.1 MB a modality, which are beyond 1 MiB; those of the test split fit into it.
void write_large_set(const fs::path& folder) {
  data::SyntheticOptions options = small_set();
  options.train_rows = 1'400;
  options.widths = {200, 210};
  test::write_dataset(folder, data::synthetic_dataset(options));
}

struct Set {
  TemporaryFolder folder;
  std::string data = folder / "data", whole = folder / "whole";
  explicit Set(const std::vector<std::string>& more = {}) {
    write_large_set(data);
    const Outcome outcome = run_program(arguments(whole, more));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(outcome.err.find("features: ") == std::string::npos);
  }
  // 6 batches an epoch.
  std::vector<std::string> arguments(const std::string& run, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = testing::train(data, run, {"--set", "batch_size=256"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

}  // namespace

TEST_CASE("a run beyond data_memory has the bits of one in memory, on one thread and two") {
  for (const std::string variant : {"sampler=shuffled", "sampler=balanced"}) {
    const Set set({"--set", variant, "balanced_classes=3", "balanced_samples=60"});
    for (const char* threads : {"1", "2"}) {
      const std::string run = set.folder / ("paged" + variant + threads);
      const Outcome outcome = run_program(set.arguments(
          run, {"--set", variant, "balanced_classes=3", "balanced_samples=60", kPaged, "--threads", threads}));
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
      CHECK(outcome.err.find("features: 3 of 3 MB are beyond data_memory (1 MiB): in a file in " +
                             set.folder.path().string() + ", read as needed\n") != std::string::npos);
      check_same(run, set.whole);
      CHECK(names_in(run) == names_in(set.whole));
    }
    CHECK(names_in(set.folder.path()).size() == 4);  // data and three runs
  }
}

TEST_CASE("a run goes on beyond data_memory where it was within, and the other way about") {
  const Set set;
  for (const bool paged_first : {false, true}) {
    const std::string run = set.folder / (paged_first ? "first" : "then");
    std::vector<std::string> stops = {"--steps", "8", "--set", paged_first ? kPaged : "data_memory=0"};
    REQUIRE(run_program(set.arguments(run, stops)).code == 0);
    const Outcome outcome =
        resume(run, {"--steps", "0", "--set", paged_first ? "data_memory=1000" : kPaged, "--threads", "1"});
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK((outcome.err.find("in a file in " + run + ",") != std::string::npos) == !paged_first);
    check_same(run, set.whole);
  }
}

TEST_CASE("commands read a split beyond the run's data_memory to the same end") {
  const Set set;
  const std::string run = set.folder / "paged";
  REQUIRE(run_program(set.arguments(run, {"--set", kPaged})).code == 0);
  const auto said = [&](const std::string& of, std::vector<std::string> words) {
    words.insert(words.end(), {"--run", of, "--data", set.data});
    const Outcome outcome = run_program(words);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome.out;
  };
  for (const char* split : {"train", "test"})
    CHECK(said(run, {"eval", "--split", split, "--json"}) == said(set.whole, {"eval", "--split", split, "--json"}));
  const std::string from_file = set.folder / "a", from_memory = set.folder / "b";
  said(run, {"embed", "--split", "train", "--out", from_file});
  said(set.whole, {"embed", "--split", "train", "--out", from_memory});
  for (const char* name : {"audio.npy", "visual.npy"})
    CHECK(read_text(fs::path(from_file) / name) == read_text(fs::path(from_memory) / name));
  said(run, {"report"});
}

TEST_CASE("where there is no room for features, that is one line, and the run leaves nothing") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_large_set(data);
  check_refused(run_program(testing::train(data, run, {"--set", kPaged}), {.largest_file = 100'000}), 1,
                folder.path().string() +
                    ": no room for a file of 1120000 bytes (File too large); what is beyond data_memory (1 MiB) "
                    "lies there");
  CHECK_FALSE(fs::exists(run));
}

TEST_CASE("a source that is truncated while it is read ends the run with one line") {
  const TemporaryFolder folder;
  const fs::path data = folder / "data";
  constexpr int64_t kRows = 4096, kColumns = 1 << 16;  // 1 GiB of zeros that take no room on the disk
  for (const auto& [split, rows] : {std::pair{"train", kRows}, std::pair{"test", int64_t{8}}}) {
    test::write_labels(data / split / "labels.npy", std::vector<int64_t>(static_cast<size_t>(rows), 1));
    for (const char* modality : {"audio", "visual"}) {
      data::Features shape;
      shape.rows = rows, shape.columns = kColumns;
      const std::string header = data::features_header(shape);
      const fs::path file = data / split / (std::string(modality) + ".npy");
      test::write_file(file, header);
      fs::resize_file(file, header.size() + static_cast<uint64_t>(rows * kColumns) * sizeof(float));
    }
  }
  const fs::path source = data / "train/audio.npy";
  const Program program(testing::train(data, folder / "run", {"--set", kPaged}));
  const std::string maps = "/proc/" + std::to_string(program.pid()) + "/maps";
  for (int i = 0; i < 20'000 && read_text(maps).find(source.string()) == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  fs::resize_file(source, 1000);
  const Outcome outcome = program.wait();
  CHECK(outcome.code == 1);
  CHECK(outcome.out.empty());
  CHECK(outcome.err == "duet: " + source.string() + ": truncated, or its disk failed, while it was read\n");
}

TEST_CASE("prefetch: rows of features in files are read on a thread that ends at any time") {
  const TemporaryFolder folder;
  constexpr int64_t kRows = 3000;
  std::vector<int64_t> rows(kRows);
  for (int64_t i = 0; i < kRows; ++i) rows[static_cast<size_t>(i)] = i * 7 % kRows;
  // Rows of several pages, of a part of one, and of none at all.
  for (const std::array<int64_t, 2> columns : {std::array<int64_t, 2>{3000, 5}, {1, 2000}, {0, 1}}) {
    data::Residence residence(0, folder.path());
    std::array<data::Features, data::kModalities> features = {residence.features(kRows, columns[0]),
                                                              residence.features(kRows, columns[1])};
    for (data::Features& side : features)
      for (size_t k = 0; k < side.values.size(); ++k) side.values[k] = static_cast<float>(k % 1013);
    const std::array<data::Features, data::kModalities> before = features;
    for (const int orders : {0, 1, 40}) {
      Prefetch prefetch(features);
      CHECK(prefetch.works());
      for (int k = 0; k < orders; ++k) prefetch.fetch(std::span(rows).subspan(static_cast<size_t>(k), 100));
      prefetch.fetch({});
      if (orders == 1) prefetch.fetch(rows);
    }
    for (size_t side = 0; side < features.size(); ++side) CHECK(features[side].values == before[side].values);
  }
  const std::array<data::Features, data::kModalities> in_memory = {data::Features(5, 2), data::Features(5, 3)};
  Prefetch idle(in_memory);
  CHECK_FALSE(idle.works());
  idle.fetch(std::array<int64_t, 2>{0, 4});
}
