#include "data/dataset.h"

#include <algorithm>
#include <limits>

#include "data/npy.h"
#include "tests/data/npy_files.h"
#include "tests/data/write_files.h"
#include "tests/support/golden.h"

using namespace duet::data;
using namespace duet::test;

namespace {

std::string matrix_file(int rows, int columns) {
  std::vector<float> values;
  for (int k = 0; k < rows * columns; ++k) values.push_back(static_cast<float>(k));
  return npy("<f4", duet::text("(", rows, ", ", columns, ")"), raw(values));
}
std::string wide_file(const std::vector<int64_t>& values) {
  return npy("<i8", duet::text("(", values.size(), ",)"), raw(values));
}
std::string label_file(const std::vector<int32_t>& labels) {
  return npy("<i4", duet::text("(", labels.size(), ",)"), raw(labels));
}

// 3 training and 2 test rows, audio 2 and visual 4 columns.
struct Sound : Folder {
  Sound() {
    for (const auto& [split, labels] :
         {std::pair{"train", std::vector<int32_t>{0, -1, 2}}, std::pair{"test", std::vector<int32_t>{1, 4}}}) {
      const int rows = static_cast<int>(labels.size());
      write(std::string(split) + "/audio.npy", matrix_file(rows, 2));
      write(std::string(split) + "/visual.npy", matrix_file(rows, 4));
      write(std::string(split) + "/labels.npy", label_file(labels));
    }
  }
  void refused(duet_status status, const std::vector<std::string>& parts,
               const std::vector<std::string>& modalities = {}) const {
    check_refused([&] { load_dataset(FolderFiles(path()), modalities); }, status, parts);
  }
};

}  // namespace

TEST_CASE("dataset loads a folder, modalities in alphabetical or in the given order") {
  const Sound folder;
  const Dataset dataset = load_dataset(FolderFiles(folder.path()), {}, kUnscaled);
  CHECK(dataset.modalities[0] == "audio");
  CHECK(dataset.modalities[1] == "visual");
  CHECK(dataset.width(0) == 2);
  CHECK(dataset.width(1) == 4);
  CHECK(dataset.train.rows() == 3);
  CHECK(dataset.test.rows() == 2);
  CHECK(dataset.train.labels == std::vector<int32_t>{0, -1, 1});  // of 0, -1, 2
  CHECK(dataset.test.labels == std::vector<int32_t>{2, 3});       // of 1, 4, which training lacks
  CHECK(dataset.test.features[1].row(1)[2] == 6);
  CHECK(dataset.classes == 2);
  CHECK(dataset.label_values == std::vector<int64_t>{0, 2, 1, 4});
  const Dataset exchanged = load_dataset(FolderFiles(folder.path()), {"visual", "audio"});
  CHECK(exchanged.modalities[0] == "visual");
  CHECK(exchanged.width(0) == 4);
  folder.write("train/text.npy", matrix_file(3, 7));
  folder.write("test/text.npy", matrix_file(2, 7));
  CHECK(load_dataset(FolderFiles(folder.path()), {"text", "audio"}).width(0) == 7);
}

TEST_CASE("dataset: a written one reads the same") {
  const Sound folder;
  const Dataset dataset = load_dataset(FolderFiles(folder.path()), {}, kUnscaled);
  write_dataset(folder.path() / "copy", dataset);
  const Dataset copy = load_dataset(FolderFiles(folder.path() / "copy"), {}, kUnscaled);
  for (const size_t side : {0, 1}) {
    CHECK(copy.train.features[side].values == dataset.train.features[side].values);
    CHECK(copy.test.features[side].values == dataset.test.features[side].values);
  }
  CHECK(copy.train.labels == dataset.train.labels);
  CHECK(copy.test.labels == dataset.test.labels);
  CHECK(copy.label_values == dataset.label_values);
}

TEST_CASE("dataset: classes are the distinct labels of the training split, any whole number but -1, ascending") {
  const Sound folder;
  folder.write("train/labels.npy", wide_file({3'999'999'993, -7, 3'999'999'993}));
  folder.write("test/labels.npy", wide_file({-7, -9'000'000'000'000}));
  Dataset dataset = load_dataset(FolderFiles(folder.path()));
  CHECK(dataset.classes == 2);
  CHECK(dataset.train.labels == std::vector<int32_t>{1, 0, 1});
  CHECK(dataset.test.labels == std::vector<int32_t>{0, 2});
  CHECK(rows_beyond(dataset.test.labels, dataset.classes) == 1);
  CHECK(rows_beyond(dataset.train.labels, dataset.classes) == 0);
  CHECK(std::ranges::equal(dataset.class_values(), std::vector<int64_t>{-7, 3'999'999'993}));
  // A label of the test split alone changes nothing of training.
  folder.write("test/labels.npy", wide_file({-7, 65535}));
  const Dataset stray = load_dataset(FolderFiles(folder.path()));
  CHECK(stray.classes == 2);
  CHECK(stray.train.labels == dataset.train.labels);
  // A model that is there already maps by its own values; the others follow, ascending.
  const std::vector<int64_t> values = {-7, 8};
  const Split split = load_split(FolderFiles(folder.path()), "train", dataset.modalities, dataset.inputs, {values});
  CHECK(split.labels == std::vector<int32_t>{2, 0, 2});
  // Without any label there is no class.
  folder.write("train/labels.npy", wide_file({-1, -1, -1}));
  dataset = load_dataset(FolderFiles(folder.path()));
  CHECK(dataset.classes == 0);
  CHECK(dataset.test.labels == std::vector<int32_t>{0, 1});
  CHECK(rows_beyond(dataset.test.labels, 0) == 2);
}

TEST_CASE("dataset: groups are loaded where they are, and are no modality") {
  const Sound folder;
  CHECK(load_dataset(FolderFiles(folder.path())).test.groups.empty());
  const std::vector<int32_t> groups = {0, -1};
  folder.write("test/groups.npy", wide_file({int64_t{1} << 40, -1}));
  const Dataset dataset = load_dataset(FolderFiles(folder.path()), {}, kUnscaled);
  CHECK(dataset.modalities == std::array<std::string, 2>{"audio", "visual"});
  CHECK(dataset.train.groups.empty());
  CHECK(dataset.test.groups == groups);
  CHECK(load_split(FolderFiles(folder.path()), "test", dataset.modalities, dataset.inputs, {}).groups == groups);
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"no modality 'groups'"}, {"audio", "groups"});
  write_dataset(folder.path() / "copy", dataset);
  CHECK(load_dataset(FolderFiles(folder.path() / "copy")).test.groups == groups);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "copy/train/groups.npy"));
  // Numbers by value: any number but -1 is a group's.
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min(), kMost = std::numeric_limits<int64_t>::max();
  CHECK(group_numbers(std::vector<int64_t>{kMost, -1, 5, kLeast, 5, -2}) == std::vector<int32_t>{3, -1, 2, 0, 2, 1});
  CHECK(group_numbers({}).empty());
}

TEST_CASE("dataset scales both splits by the training split, and a split alone by what a model keeps") {
  const Sound folder;
  folder.write("train/audio.npy",
               npy("<f8", "(3, 2)", raw(std::vector<double>{1e8, 2023, 1e8 + 1, 2023, 1e8 + 2, 2023})));
  folder.write("test/audio.npy", npy("<f8", "(2, 2)", raw(std::vector<double>{1e8 + 3, 2024, 1e8 + 0.5, 2025})));
  const Dataset dataset = load_dataset(FolderFiles(folder.path()), {}, {{Scaling::zscore, Scaling::none}, kInputLimit});
  CHECK(dataset.train.features[0].values == std::vector<float>{-1, 0, 0, 0, 1, 0});
  CHECK(dataset.test.features[0].values == std::vector<float>{2, 0, -0.5f, 0});
  CHECK(dataset.test.features[1].values == std::vector<float>{0, 1, 2, 3, 4, 5, 5, 5});
  const Split again =
      load_split(FolderFiles(folder.path()), "test", dataset.modalities, dataset.inputs, {dataset.class_values()});
  for (const size_t side : {0, 1}) CHECK(again.features[side].values == dataset.test.features[side].values);
  CHECK(again.labels == dataset.test.labels);
}

TEST_CASE("dataset: a split that is read for its features needs neither labels nor both modalities") {
  const Sound folder;
  const Dataset dataset = load_dataset(FolderFiles(folder.path()));
  const auto load = [&] {
    return load_split(FolderFiles(folder.path()), "test", dataset.modalities, dataset.inputs, {}, SplitUse::features);
  };
  folder.write("test/labels.npy", "no labels at all");
  CHECK(load().labels == std::vector<int32_t>{-1, -1});
  std::filesystem::remove(folder.path() / "test/labels.npy");
  const Split split = load();
  CHECK(split.labels == std::vector<int32_t>{-1, -1});
  for (const size_t side : {0, 1}) CHECK(split.features[side].values == dataset.test.features[side].values);
  folder.write("test/visual.npy", matrix_file(3, 4));
  check_refused(load, DUET_STATUS_INVALID_ARGUMENT, {"test/visual.npy: 3 rows; expected 2 as in audio.npy"});
  std::filesystem::remove(folder.path() / "test/visual.npy");
  CHECK(load().features[0].rows == 2);
  CHECK(load().features[1].rows == 0);
  std::filesystem::remove(folder.path() / "test/audio.npy");
  check_refused(load, DUET_STATUS_INVALID_ARGUMENT, {"test: no modality 'audio'; found none"});
}

TEST_CASE("dataset: labels are names, of an array or of a table") {
  const Sound folder;
  // "<U3" of b, a and nothing; the test split has one that training lacks.
  const std::vector<uint32_t> train = {'b', 0, 'a', 0, 0, 0};
  folder.write("train/labels.npy", npy("<U2", "(3, 1)", raw(train)));
  folder.write("test/labels.npy", npy("|S2", "(2,)", std::string("abb\0", 4)));
  const Dataset dataset = load_dataset(FolderFiles(folder.path()));
  CHECK(dataset.classes == 2);
  CHECK(dataset.train.labels == std::vector<int32_t>{1, 0, -1});
  CHECK(dataset.test.labels == std::vector<int32_t>{2, 1});
  CHECK(dataset.label_names == std::vector<std::string>{"a", "b", "ab"});
  CHECK(dataset.label_values == std::vector<int64_t>{0, 1, 2});
  const auto load = [&](const Classes& classes) {
    return load_split(FolderFiles(folder.path()), "test", dataset.modalities, dataset.inputs, classes).labels;
  };
  const std::vector<std::string> names = {"ab", "zebra"};
  const std::vector<int64_t> values = {0, 1};
  CHECK(load({values, names}) == std::vector<int32_t>{0, 2});
  const Split split =
      load_split(FolderFiles(folder.path()), "test", dataset.modalities, dataset.inputs, {values, names});
  CHECK(split.label_names == std::vector<std::string>{"ab", "zebra", "b"});
  CHECK(split.label_values == std::vector<int64_t>{0, 1, 2});
  CHECK(Classes{split.label_values, split.label_names}.name(2) == "b");
  check_refused([&] { load({values}); }, DUET_STATUS_INVALID_ARGUMENT,
                {"test/labels.npy: labels are names; expected numbers"});
  folder.write("test/labels.npy", label_file({0, 1}));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test/labels.npy: labels are numbers; expected names"});
  check_refused([&] { load({values, names}); }, DUET_STATUS_INVALID_ARGUMENT, {"labels are numbers; expected names"});

  folder.write("test/labels.csv", "id,label\n1,a\n0,\n");
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test: both labels.npy and labels.csv"});
  std::filesystem::remove(folder.path() / "test/labels.npy");
  CHECK(load_dataset(FolderFiles(folder.path())).test.labels == std::vector<int32_t>{-1, 0});
  folder.write("test/ids.txt", "clip one\nclip two\n");
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test/labels.csv: line 2: unknown id '1'"});
  folder.write("test/labels.csv", "id,label\nclip two,7\nclip one,-1\n");
  std::filesystem::remove(folder.path() / "train/labels.npy");
  folder.write("train/labels.tsv", "label\tid\n-7\t0\n7\t2\n\t1\n");
  const Dataset numbers = load_dataset(FolderFiles(folder.path()));
  CHECK(numbers.label_values == std::vector<int64_t>{-7, 7});
  CHECK(numbers.label_names.empty());
  CHECK(numbers.train.labels == std::vector<int32_t>{0, -1, 1});
  CHECK(numbers.test.labels == std::vector<int32_t>{-1, 1});
}

TEST_CASE("dataset: hidden files are no data") {
  const Sound folder;
  for (const std::string split : {"train", "test"}) folder.write(split + "/._audio.npy", "what another system leaves");
  CHECK(load_dataset(FolderFiles(folder.path())).modalities == std::array<std::string, 2>{"audio", "visual"});
}

TEST_CASE("dataset pools a time axis, and says so") {
  const Sound folder;
  for (const auto& [split, rows] : {std::pair{"train", 3}, std::pair{"test", 2}}) {
    std::vector<float> values;
    for (int k = 0; k < rows * 4; ++k) values.push_back(static_cast<float>(k * k));
    folder.write(duet::text(split, "/audio.npy"), npy("<f4", duet::text("(", rows, ", 2, 2)"), raw(values)));
  }
  const auto first_row = [&](Pooling pooling) {
    const Dataset dataset = load_dataset(FolderFiles(folder.path(), pooling), {}, kUnscaled);
    const Features& audio = dataset.test.features[0];
    const std::string& reason = dataset.inputs[0].reason;
    return std::pair(std::vector<float>(audio.row(1), audio.row(1) + audio.columns),
                     reason.substr(reason.rfind("; ") + 2));
  };
  // Row 1: (16, 25) and (36, 49).
  CHECK(first_row(Pooling::mean) == std::pair(std::vector<float>{26, 37}, std::string("mean over 2 times")));
  CHECK(first_row(Pooling::max) == std::pair(std::vector<float>{36, 49}, std::string("max over 2 times")));
  CHECK(first_row(Pooling::first) == std::pair(std::vector<float>{16, 25}, std::string("first of 2 times")));
  CHECK(first_row(Pooling::flatten) ==
        std::pair(std::vector<float>{16, 25, 36, 49}, std::string("2 times of 2 columns side by side")));
}

TEST_CASE("dataset refuses folders that are none") {
  const Folder empty;
  check_refused([&] { load_dataset(FolderFiles(empty.path() / "absent")); }, DUET_STATUS_IO_ERROR,
                {"absent/train", "No such file or directory"});
  check_refused([&] { load_dataset(FolderFiles(empty.path())); }, DUET_STATUS_IO_ERROR,
                {"train", "No such file or directory"});
  std::filesystem::create_directories(empty.path() / "train");
  check_refused([&] { load_dataset(FolderFiles(empty.path())); }, DUET_STATUS_INVALID_ARGUMENT,
                {"train: expected 2 modalities", "found none"});
  const Sound folder;
  std::filesystem::remove_all(folder.path() / "test");
  folder.refused(DUET_STATUS_IO_ERROR, {"test", "No such file or directory"});
}

TEST_CASE("dataset refuses missing files and unknown modalities") {
  const Sound folder;
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"train: no modality 'text'; found audio, visual"}, {"audio", "text"});
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"expected two names, got 1 (audio)"}, {"audio"});
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"expected two different names, got audio twice"}, {"audio", "audio"});
  folder.write("train/text.npy", matrix_file(3, 7));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT,
                 {"train: expected 2 modalities", "found audio, text, visual", "--modalities"});
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test: no modality 'text'; found audio, visual"}, {"audio", "text"});
  std::filesystem::remove(folder.path() / "train" / "text.npy");
  std::filesystem::remove(folder.path() / "test" / "labels.npy");
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test: no labels (labels.npy, .csv or .tsv)", "-1"});
  std::filesystem::remove(folder.path() / "train" / "visual.npy");
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"train: expected 2 modalities", "found audio"});
}

TEST_CASE("dataset refuses files that do not fit each other") {
  const Sound folder;
  folder.write("train/visual.npy", matrix_file(4, 4));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"train/visual.npy: 4 rows; expected 3 as in labels.npy"});
  folder.write("train/visual.npy", matrix_file(3, 5));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"visual has 4 columns in test; expected 5 as in train"});
  folder.write("train/visual.npy", matrix_file(3, 4).substr(0, 100));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"train/visual.npy: truncated"});
  folder.write("train/visual.npy", matrix_file(3, 4));
  folder.write("test/labels.npy", npy("<f4", "(2,)", raw(std::vector<float>{0, 0.5f})));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test/labels.npy: row 1 is 0.5"});
  folder.write("test/labels.npy", label_file({0, 1}));
  folder.write("test/groups.npy", wide_file({4, 4, 4}));
  folder.refused(DUET_STATUS_INVALID_ARGUMENT, {"test/groups.npy: 3 rows; expected 2 as in labels.npy"});
}

TEST_CASE("dataset loads the shared data") {
  const auto root = shared_dir() / "data";
  if (!std::filesystem::is_directory(root)) {
    report_absent(root);
    return;
  }
  const Dataset digits = load_dataset(FolderFiles(root / "avdigits"));
  CHECK(digits.train.rows() == 2700);
  CHECK(digits.test.rows() == 300);
  CHECK(digits.width(0) == 128);
  CHECK(digits.width(1) == 784);
  CHECK(digits.classes == 10);
  // This one's matrices are in Fortran order.
  const Dataset wikipedia = load_dataset(FolderFiles(root / "wikipedia"), {"text", "image"});
  CHECK(wikipedia.train.rows() == 2173);
  CHECK(wikipedia.test.rows() == 693);
  CHECK(wikipedia.width(0) == 1000);
  CHECK(wikipedia.classes == 10);
}

TEST_CASE("dataset: a label is one id in several sets") {
  const LabelColumn numbers{"a", std::vector<int64_t>{7, -1, 40}, {}}, more{"b", std::vector<int64_t>{-5, 40, 3}, {}},
      words{"c", {}, std::vector<std::string>{"x", ""}},
      both{"d", std::vector<int64_t>{7, 9}, std::vector<std::string>{"7", "9"}};
  const std::vector<int64_t> values = {3, 7};
  const LabelIds ids = ids_by_classes(std::array{&numbers, &more, &both}, {values});
  CHECK(ids.ids == std::vector<std::vector<int32_t>>{{1, -1, 4}, {2, 4, 0}, {1, 3}});
  CHECK(ids.values == std::vector<int64_t>{3, 7, -5, 9, 40});
  CHECK(ids.names.empty());
  CHECK(Classes{ids.values, ids.names}.name(2) == "-5");
  // A model without classes takes what all sets have.
  const LabelIds names = ids_by_classes(std::array{&words, &both}, {});
  CHECK(names.ids == std::vector<std::vector<int32_t>>{{2, -1}, {0, 1}});
  CHECK(names.names == std::vector<std::string>{"7", "9", "x"});
  CHECK(names.values == std::vector<int64_t>{0, 1, 2});
  check_refused(
      [&] {
        ids_by_classes(std::array{&words, &numbers}, {});
      },
      DUET_STATUS_INVALID_ARGUMENT, {"a: labels are numbers; expected names, as in c"});
  check_refused(
      [&] {
        ids_by_classes(std::array{&numbers, &words}, {values});
      },
      DUET_STATUS_INVALID_ARGUMENT, {"c: labels are names; expected numbers, which the model was trained on"});
}
