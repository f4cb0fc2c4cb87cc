// Rows that validate in place of training: how many, which, and that no label that a run may not see has a part in it.
#include "data/held_out.h"

#include <algorithm>
#include <map>
#include <memory>

#include "data/label_hiding.h"
#include "data/samples/samples.h"
#include "data/source_files.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "tests/data/write_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

std::vector<int32_t> blocks(const std::map<int32_t, int>& sizes) {
  std::vector<int32_t> out;
  for (const auto& [label, rows] : sizes) out.insert(out.end(), static_cast<size_t>(rows), label);
  return out;
}

std::map<int32_t, int> counts(const std::vector<int32_t>& labels, const std::vector<int64_t>& rows) {
  std::map<int32_t, int> out;
  for (const int64_t row : rows) ++out[labels[static_cast<size_t>(row)]];
  return out;
}

std::string message(auto&& body) {
  try {
    body();
  } catch (const duet::Error& error) {
    return error.what();
  }
  return "no Error";
}

std::unique_ptr<DatasetFiles> digits() { return std::make_unique<SampleFiles>(); }

}  // namespace

TEST_CASE("held-out rows are a share of each class, halves to even, and the last labelled row stays") {
  const std::vector<int32_t> labels = blocks({{-1, 30}, {0, 5}, {1, 15}, {2, 1}, {3, 100}, {4, 2}, {5, 0}});
  std::map<int32_t, int> taken = counts(labels, held_out_rows(labels, {}, 0.1, 3));
  CHECK(taken == std::map<int32_t, int>{{-1, 3}, {1, 2}, {3, 10}});  // 0.5 of class 0 to 0, 1.5 of class 1 to 2
  taken = counts(labels, held_out_rows(labels, {}, 0.99, 3));
  CHECK(taken == std::map<int32_t, int>{{-1, 30}, {0, 4}, {1, 14}, {3, 99}, {4, 1}});
  CHECK(held_out_rows(labels, {}, 0, 3).empty());
  CHECK(held_out_rows({}, {}, 0.5, 3).empty());
  CHECK(message([&] { held_out_rows(labels, {}, 1.5, 3); }).find("expected 0 to 1, got 1.5") != std::string::npos);
}

TEST_CASE("held-out rows are those of the smallest words, ascending, nested in the share, seeded") {
  const std::vector<int32_t> labels = blocks({{-1, 50}, {0, 40}, {1, 60}});
  const std::vector<int64_t> few = held_out_rows(labels, {}, 0.1, 9), more = held_out_rows(labels, {}, 0.3, 9);
  CHECK(std::ranges::is_sorted(few));
  CHECK(std::ranges::includes(more, few));
  CHECK(held_out_rows(labels, {}, 0.3, 10) != more);
  const auto word = [](int64_t row) { return duet::random_word(9, kStreamValidation, 0, static_cast<uint64_t>(row)); };
  for (const int32_t label : {-1, 0, 1}) {
    uint32_t taken = 0, left = ~0u;
    for (int64_t row = 0; row < std::ssize(labels); ++row) {
      if (labels[static_cast<size_t>(row)] != label) continue;
      if (std::ranges::binary_search(more, row))
        taken = std::max(taken, word(row));
      else
        left = std::min(left, word(row));
    }
    CHECK(taken < left);
  }
}

TEST_CASE("rows of a group go to the same side, and every class keeps a labelled row") {
  // Groups of 1 to 5 rows across classes, some rows of no group, some without a label.
  std::vector<int32_t> labels, groups;
  for (int32_t i = 0; i < 300; ++i) {
    labels.push_back(i % 11 == 0 ? -1 : (i / 3) % 7);
    groups.push_back(i % 5 == 0 ? -1 : i / 4 - i / 16);
  }
  for (const double share : {0.1, 0.5, 0.95}) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const std::vector<int64_t> rows = held_out_rows(labels, groups, share, seed);
      CHECK(std::abs(static_cast<double>(rows.size()) - share * 300) <= 40);  // at most a group less a class
      std::map<int32_t, int> sides, staying;
      for (int64_t row = 0; row < 300; ++row) {
        const bool taken = std::ranges::binary_search(rows, row);
        const auto i = static_cast<size_t>(row);
        if (groups[i] >= 0) sides[groups[i]] |= taken ? 1 : 2;
        if (!taken) ++staying[labels[i]];
      }
      for (const auto& side : sides) CHECK(side.second != 3);
      for (int32_t label = 0; label < 7; ++label) CHECK(staying[label] >= 1);
    }
  }
  CHECK(held_out_rows(labels, std::vector<int32_t>(300, 0), 0.5, 0).empty());  // one item
}

TEST_CASE("a data set with rows held out: each row on one side, inputs scaled by those that stay") {
  const Dataset whole = load_dataset(SampleFiles(), {}, kUnscaled);
  const HeldOutFiles files(digits(), {.share = 0.2, .labels = 0.1, .seed = 4});
  CHECK(files.splits() == std::vector<std::string>{"train", "test", "val"});
  const Dataset split = load_dataset(files, {}, kUnscaled);
  const std::vector<int32_t> seen = hide_labels(whole.train.labels, 0.1, 4);
  const std::vector<int64_t> rows = held_out_rows(seen, {}, 0.2, 4);
  REQUIRE(split.validation.rows() == 400);
  REQUIRE(split.train.rows() == 1600);
  CHECK(split.validation.labelled() == 40);
  CHECK(split.train.labelled() == 160);
  CHECK(split.classes == 10);
  CHECK(split.test.labels == whole.test.labels);
  int64_t kept = 0, taken = 0;
  for (int64_t row = 0; row < 2000; ++row) {
    const bool is_taken = std::ranges::binary_search(rows, row);
    const Split& side = is_taken ? split.validation : split.train;
    const int64_t place = is_taken ? taken++ : kept++;
    REQUIRE(side.labels[static_cast<size_t>(place)] == seen[static_cast<size_t>(row)]);
    for (const size_t modality : {0, 1})
      REQUIRE(std::equal(side.features[modality].row(place),
                         side.features[modality].row(place) + side.features[modality].columns,
                         whole.train.features[modality].row(row)));
  }
  const Dataset scaled = load_dataset(files);
  double sum = 0;
  for (int64_t row = 0; row < 1600; ++row) sum += static_cast<double>(split.train.features[0].row(row)[3]);
  CHECK(scaled.inputs[0].mean[3] == doctest::Approx(sum / 1600).epsilon(1e-6));
}

TEST_CASE("labels that a run may not see have no part in the choice") {
  const Folder folder;
  Dataset set = load_dataset(SampleFiles(), {}, kUnscaled);
  const std::vector<int32_t> seen = hide_labels(set.train.labels, 0.1, 0);
  // Exchanged between rows that are hidden before and after.
  int exchanged = 0;
  for (size_t i = 0; i + 1 < seen.size(); ++i) {
    std::vector<int32_t>& labels = set.train.labels;
    if (labels[i] == labels[i + 1] || seen[i] >= 0 || seen[i + 1] >= 0) continue;
    std::swap(labels[i], labels[i + 1]);
    if (hide_labels(labels, 0.1, 0) == seen)
      ++exchanged;
    else
      std::swap(labels[i], labels[i + 1]);
  }
  CHECK(exchanged > 500);
  write_dataset(folder.path(), set);
  const HoldOut order = {.share = 0.2, .labels = 0.1, .seed = 0};
  const Dataset one = load_dataset(HeldOutFiles(digits(), order)),
                two = load_dataset(HeldOutFiles(std::make_unique<FolderFiles>(folder.path()), order));
  CHECK(one.train.labels == two.train.labels);
  CHECK(one.validation.labels == two.validation.labels);
  CHECK(one.validation.features[0].values == two.validation.features[0].values);
}

TEST_CASE("rows are taken from those that flags chose, labels that are names too, groups of each side anew") {
  const Folder folder;
  const std::filesystem::path path = folder.path() / "named";
  Dataset set = load_dataset(SampleFiles(), {}, kUnscaled);
  for (int32_t i = 0; i < 2000; ++i) set.train.groups.push_back(i / 2);
  write_dataset(path, set);
  std::string table = "id,label\n";
  for (size_t i = 0; i < 2000; ++i) table += std::to_string(i) + ",class " + std::to_string(set.train.labels[i]) + "\n";
  std::filesystem::remove(path / "train/labels.npy");
  write_file(path / "train/labels.csv", table);
  table = "id,label\n";
  for (size_t i = 0; i < 400; ++i) table += std::to_string(i) + ",class " + std::to_string(set.test.labels[i]) + "\n";
  std::filesystem::remove(path / "test/labels.npy");
  write_file(path / "test/labels.csv", table);
  const Dataset named =
      load_dataset(HeldOutFiles(std::make_unique<FolderFiles>(path), {.share = 0.1, .labels = 0.5, .seed = 1}));
  CHECK(named.label_names.size() == 10);
  CHECK(named.validation.rows() > 150);
  CHECK(named.validation.rows() + named.train.rows() == 2000);
  for (const Split* side : {&named.train, &named.validation}) {
    REQUIRE(std::ssize(side->groups) == side->rows());
    for (int64_t i = 0; i < side->rows(); ++i) CHECK(side->groups[static_cast<size_t>(i)] == i / 2);
  }

  const std::filesystem::path flags = std::filesystem::path(DUET_PROJECT_DIR) / "tests/data/files/flags.h5";
  std::unique_ptr<DatasetFiles> source;
  try {
    source = std::make_unique<SourceFiles>(std::vector{flags});
  } catch (const duet::Error& error) {
    MESSAGE("skipped: ", error.what());
    return;
  }
  const Dataset all = load_dataset(*source, {}, kUnscaled);
  const Dataset part = load_dataset(HeldOutFiles(std::move(source), {.share = 0.5, .seed = 2}), {}, kUnscaled);
  CHECK(part.validation.rows() + part.train.rows() == all.train.rows());
  const std::vector<int64_t> rows = held_out_rows(all.train.labels, {}, 0.5, 2);
  REQUIRE(std::ssize(rows) == part.validation.rows());
  for (size_t k = 0; k < rows.size(); ++k)
    CHECK(std::equal(part.validation.features[0].row(static_cast<int64_t>(k)),
                     part.validation.features[0].row(static_cast<int64_t>(k)) + all.train.features[0].columns,
                     all.train.features[0].row(rows[k])));
}

TEST_CASE("a validation split that is there is loaded, and refuses rows held out beside it") {
  const Folder folder;
  Dataset set = load_dataset(SampleFiles(), {}, kUnscaled);
  write_dataset(folder.path(), set);
  CHECK(load_dataset(FolderFiles(folder.path())).validation.rows() == 0);
  const std::filesystem::path val = folder.path() / "val";
  std::filesystem::copy(folder.path() / "test", val, std::filesystem::copy_options::recursive);
  std::vector<int64_t> labels;
  for (size_t i = 0; i < 400; ++i) labels.push_back(i == 7 ? 70 : i == 8 ? -1 : set.test.labels[i]);
  write_labels(val / "labels.npy", labels);
  const Dataset loaded = load_dataset(FolderFiles(folder.path()));
  CHECK(loaded.validation.features[1].values == loaded.test.features[1].values);
  CHECK(rows_beyond(loaded.validation.labels, loaded.classes) == 1);
  CHECK(loaded.validation.labelled() == 399);
  CHECK(loaded.label_values.size() == 10);
  const auto refused = [&](const std::string& words) {
    const std::string said = message([&] { load_dataset(FolderFiles(folder.path())); });
    INFO(said);
    CHECK(said.find(words) != std::string::npos);
    CHECK(said.find('\n') == std::string::npos);
  };
  const std::string both = message([&] { HeldOutFiles(std::make_unique<FolderFiles>(folder.path()), {.share = 0.1}); });
  INFO(both);
  CHECK(both.find("val: the data set has a validation split; expected none") != std::string::npos);
  write_labels(val / "labels.npy", std::vector<int64_t>(399, 1));
  refused("val/audio.npy: 400 rows; expected 399 as in labels.npy");
  std::filesystem::remove(val / "labels.npy");
  refused("val: no labels");
  std::filesystem::remove(val / "audio.npy");
  refused("val: no modality 'audio'; found visual");
}

TEST_CASE("what cannot be held out is refused in one line") {
  const auto refused = [](std::unique_ptr<DatasetFiles> files, double share, const std::string& words) {
    const std::string said = message([&] { HeldOutFiles(std::move(files), {.share = share}); });
    INFO(said);
    CHECK(said.find(words) != std::string::npos);
    CHECK(said.find('\n') == std::string::npos);
  };
  refused(digits(), 1e-4, "built-in digits, train: validation 0.0001 of 2000 rows takes none of them");
  const Folder folder;
  write_dataset(folder.path(), load_dataset(SampleFiles(), {}, kUnscaled));
  write_labels(folder.path() / "train/groups.npy", std::vector<int64_t>(3, 1));
  refused(std::make_unique<FolderFiles>(folder.path()), 0.1, "groups.npy: 3 rows; expected 2000 as there are labels");
  std::filesystem::remove(folder.path() / "train/labels.npy");
  refused(std::make_unique<FolderFiles>(folder.path()), 0.1, "train: no labels");
}
