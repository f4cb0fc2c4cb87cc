// Rows with several labels: how they are read, numbered, hidden, held out and written.
#include "data/label_sets.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <memory>

#include "data/array_file.h"
#include "data/array_write.h"
#include "data/dataset.h"
#include "data/held_out.h"
#include "data/label_hiding.h"
#include "data/npy.h"
#include "data/source_files.h"
#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

namespace fs = std::filesystem;

using Classes2 = std::vector<std::vector<int32_t>>;

constexpr duet_status kInvalid = DUET_STATUS_INVALID_ARGUMENT;

LabelSets rows_of(int64_t classes, const Classes2& rows) {
  LabelSets out(classes, std::ssize(rows));
  for (size_t i = 0; i < rows.size(); ++i)
    for (const int32_t c : rows[i]) out.put(static_cast<int64_t>(i), c);
  return out;
}

Classes2 classes_of_rows(const LabelSets& sets, const std::vector<int32_t>& labels) {
  Classes2 out;
  for (const int32_t label : labels) out.push_back(classes_of(sets, label));
  return out;
}
Classes2 classes_of_rows(const LabelSets& sets) {
  Classes2 out;
  for (int32_t set = 0; set < sets.count(); ++set) out.push_back(classes_of(sets, set));
  return out;
}

SetLabels numbered(const LabelSets& rows) { return label_by_set(std::array{&rows}); }

// Of labels in every type that holds 0 and 1.
template <class T>
std::string flags(const std::vector<T>& values) {
  return raw(values);
}

const Classes2 kRows = {{0, 2}, {}, {1}};
const std::string kShape = "(3, 3)";
template <class T>
std::vector<T> values_of_rows() {
  return {1, 0, 1, 0, 0, 0, 0, 1, 0};
}

LabelColumn read(const std::string& file, bool fortran = false) {
  const Folder folder;
  std::string content = file;
  if (fortran) content.replace(content.find("False"), 5, "True ");
  return label_column(open_npy(folder.write("labels.npy", content)).view);
}

std::string features(int64_t rows, int64_t columns) {
  std::vector<float> values;
  for (int64_t k = 0; k < rows * columns; ++k) values.push_back(static_cast<float>(k * k % 17));
  return npy("<f4", duet::text("(", rows, ", ", columns, ")"), raw(values));
}
std::string matrix(int64_t classes, const Classes2& rows) {
  const LabelSets sets = rows_of(classes, rows);
  std::vector<uint8_t> values;
  for (int64_t i = 0; i < sets.count(); ++i)
    for (int64_t c = 0; c < classes; ++c) values.push_back(sets.holds(i, c));
  return npy("|u1", duet::text("(", rows.size(), ", ", classes, ")"), raw(values));
}

struct Sound : Folder {
  explicit Sound(const Classes2& train, const Classes2& test, int64_t classes = 40) {
    put("train", train, classes);
    put("test", test, classes);
  }
  void put(const std::string& split, const Classes2& rows, int64_t classes = 40) const {
    write(split + "/audio.npy", features(std::ssize(rows), 2));
    write(split + "/visual.npy", features(std::ssize(rows), 3));
    write(split + "/labels.npy", matrix(classes, rows));
  }
};

}  // namespace

TEST_CASE("label sets hold classes on both sides of a word's end") {
  for (const int64_t classes : {2, 31, 32, 33, 64, 97}) {
    const auto last = static_cast<int32_t>(classes - 1);
    const LabelSets sets = rows_of(classes, {{0, last}, {}, {last}});
    CHECK(sets.width() == (classes + 31) / 32);
    CHECK(sets.count() == 3);
    CHECK(classes_of(sets, 0) == std::vector<int32_t>{0, last});
    CHECK(classes_of(sets, 1).empty());
    CHECK(classes_of(sets, -1).empty());
    CHECK(sets.holds(2, last));
    CHECK_FALSE(sets.holds(2, 0));
    CHECK(alike(sets, 0, 2));
    CHECK_FALSE(alike(sets, 0, 1));
    CHECK_FALSE(alike(sets, 0, -1));
    CHECK_FALSE(alike(sets, -1, -1));
  }
  // Without sets a label is a class.
  CHECK(classes_of({}, 7) == std::vector<int32_t>{7});
  CHECK(classes_of({}, -1).empty());
  CHECK(alike({}, 7, 7));
  CHECK_FALSE(alike({}, 7, 8));
  CHECK_FALSE(alike({}, -1, -1));
  CHECK(LabelSets().count() == 0);
}

TEST_CASE("label sets: rows of one set have one label, in every list") {
  const LabelSets first = rows_of(35, {{3, 34}, {3}, {}, {34}, {3, 34}}), second = rows_of(35, {{3}, {0}, {33, 34}});
  const SetLabels both = label_by_set(std::array{&first, &second});
  CHECK(classes_of_rows(both.sets) == Classes2{{0}, {3, 34}, {3}, {33, 34}, {34}});
  CHECK(both.labels == std::vector<std::vector<int32_t>>{{1, 2, -1, 4, 1}, {2, 0, 3}});
  // Their order does not depend on that of the rows.
  const SetLabels turned = label_by_set(std::array{&second, &first});
  CHECK(turned.sets == both.sets);
  const SetLabels none = numbered(rows_of(3, {{}, {}}));
  CHECK(none.sets.given());
  CHECK(none.sets.count() == 0);
  CHECK(none.labels[0] == std::vector<int32_t>{-1, -1});
}

TEST_CASE("labels of shape (n, C) are read in every type and order") {
  const std::vector<std::pair<std::string, std::string>> types = {
      {"|b1", flags(values_of_rows<uint8_t>())},  {"|i1", flags(values_of_rows<int8_t>())},
      {"|u1", flags(values_of_rows<uint8_t>())},  {"<i2", flags(values_of_rows<int16_t>())},
      {"<i4", flags(values_of_rows<int32_t>())},  {"<i8", flags(values_of_rows<int64_t>())},
      {"<u4", flags(values_of_rows<uint32_t>())}, {"<u8", flags(values_of_rows<uint64_t>())},
      {"<f4", flags(values_of_rows<float>())},    {"<f8", flags(values_of_rows<double>())}};
  for (const auto& each : types) {
    const std::string &type = each.first, &values = each.second;
    INFO(type);
    const LabelColumn column = read(npy(type, kShape, values));
    CHECK(column.sets.classes == 3);
    CHECK(column.rows() == 3);
    CHECK_FALSE(column.numbers.has_value());
    CHECK_FALSE(column.names.has_value());
    CHECK(classes_of_rows(column.sets) == kRows);
    // Columns become rows.
    CHECK(classes_of_rows(read(npy(type, kShape, values), true).sets) == Classes2{{0}, {2}, {0}});
  }
  // One column, or no second axis, is a label a row as ever.
  CHECK(read(npy("<i4", "(3, 1)", raw(std::vector<int32_t>{1, 0, 1}))).numbers == std::vector<int64_t>{1, 0, 1});
  CHECK(read(npy("<i4", "(3,)", raw(std::vector<int32_t>{1, 0, 1}))).numbers == std::vector<int64_t>{1, 0, 1});
}

TEST_CASE("labels of shape (n, C) are refused where a value is neither 0 nor 1") {
  const auto refused = [](const std::string& type, const std::string& values, const std::string& words) {
    check_refused([&] { read(npy(type, "(2, 2)", values)); }, kInvalid, {"labels.npy: " + words});
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  refused("<i4", raw(std::vector<int32_t>{0, 1, 0, 2}),
          "row 1, column 1 is 2; expected 0 or 1 in labels of shape (2, 2), a column a class");
  refused("|i1", raw(std::vector<int8_t>{0, -1, 0, 0}), "row 0, column 1 is -1; expected 0 or 1");
  refused("<f4", raw(std::vector<float>{0, 1, 0.5f, 1}), "row 1, column 0 is 0.5; expected 0 or 1");
  refused("<f4", raw(std::vector<float>{0, 1, nan, 1}), "row 1, column 0 is ");
  check_refused([&] { read(npy("<i4", "(0, 2)", "")); }, kInvalid, {"labels.npy: no rows"});
  check_refused([&] { read(npy("<i4", "(2, 0)", "")); }, kInvalid, {"labels.npy: shape (2, 0)"});
  check_refused(
      [&] {
        read(npy("<i4", "(1, 1, 2)", raw(std::vector<int32_t>{1, 0})));
      },
      kInvalid, {"labels.npy: shape (1, 1, 2)"});
  check_refused([&] { read(npy("|S1", "(1, 2)", "ab")); }, kInvalid, {"shape (1, 2); expected strings"});
}

TEST_CASE("labels of shape (n, C) in safetensors, HDF5 and MATLAB") {
  const Folder folder;
  const std::string header = R"({"labels":{"dtype":"BOOL","shape":[2,3],"data_offsets":[0,6]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header + std::string("\1\0\1\0\1\0", 6);
  const auto path = folder.write("x.safetensors", file);
  CHECK(classes_of_rows(label_column(open_array_file(path)->open("labels").view).sets) == Classes2{{0, 2}, {1}});

  if (!hdf5_version_text().empty()) {
    const auto types = open_array_file(fs::path(DUET_PROJECT_DIR) / "tests/data/files/types.h5");
    CHECK(classes_of_rows(label_column(types->open("kinds/bool").view).sets) == Classes2{{0}});
    check_refused([&] { label_column(types->open("kinds/int8").view); }, kInvalid,
                  {"types.h5: kinds/int8: row 0, column 0 is -1; expected 0 or 1"});
  }

  if (matlab_version_text().empty()) return;
  // Version 5: a header, then one matrix of doubles, column by column.
  const auto part = [](int32_t type, const std::string& bytes) {
    return raw(std::vector<int32_t>{type, static_cast<int32_t>(bytes.size())}) + bytes +
           std::string((8 - bytes.size() % 8) % 8, '\0');
  };
  constexpr int32_t kInt8 = 1, kInt32 = 5, kUint32 = 6, kDouble = 9, kMatrix = 14, kDoubleClass = 6;
  const std::string content = part(kUint32, raw(std::vector<int32_t>{kDoubleClass, 0})) +
                              part(kInt32, raw(std::vector<int32_t>{2, 3})) + part(kInt8, "labels") +
                              part(kDouble, raw(std::vector<double>{1, 0, 0, 1, 1, 0}));
  std::string head = "MATLAB 5.0 MAT-file";
  head.resize(124, ' ');
  const auto mat = folder.write("x.mat", head + std::string("\0\1IM", 4) + part(kMatrix, content));
  CHECK(classes_of_rows(label_column(open_array_file(mat)->open("labels").view).sets) == Classes2{{0, 2}, {1}});
}

TEST_CASE("a data set of rows with several labels") {
  const Sound folder({{0, 39}, {}, {5}, {0, 39}}, {{5}, {39}});
  const Dataset dataset = load_dataset(FolderFiles(folder.path()), {}, kUnscaled);
  CHECK(dataset.several_labels());
  CHECK(dataset.classes == 40);
  CHECK(dataset.train.labels == std::vector<int32_t>{0, -1, 1, 0});
  CHECK(dataset.train.labelled() == 3);
  CHECK(classes_of_rows(dataset.train.sets) == Classes2{{0, 39}, {5}});
  CHECK(classes_of_rows(dataset.test.sets, dataset.test.labels) == Classes2{{5}, {39}});
  CHECK(dataset.class_values().size() == 40);
  CHECK(dataset.class_values()[39] == 39);
  CHECK(dataset.class_names().empty());

  folder.put("val", {{}, {0, 5}});
  const Dataset with_val = load_dataset(FolderFiles(folder.path()), {}, kUnscaled);
  CHECK(classes_of_rows(with_val.validation.sets, with_val.validation.labels) == Classes2{{}, {0, 5}});

  // As one of all rows, told apart by a column of flags.
  const Folder files;
  files.write("all/audio.npy", features(6, 2));
  files.write("all/visual.npy", features(6, 3));
  files.write("all/labels.npy", matrix(3, {{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}}));
  files.write("all/split.npy", npy("|u1", "(6,)", std::string("\1\0\1\0\1\1", 6)));
  const Dataset taken = load_dataset(SourceFiles({files.path() / "all"}), {}, kUnscaled);
  CHECK(classes_of_rows(taken.train.sets, taken.train.labels) == Classes2{{0}, {2}, {1, 2}, {0, 1, 2}});
  CHECK(classes_of_rows(taken.test.sets, taken.test.labels) == Classes2{{1}, {0, 1}});
  files.write("all/split.npy", npy("|u1", "(6, 2)", std::string(12, '\1')));
  check_refused([&] { SourceFiles({files.path() / "all"}); }, kInvalid, {"shape (6, 2); expected one flag a row"});
}

TEST_CASE("a data set of two forms is refused in one line that names both") {
  const Sound folder({{0}, {1, 2}}, {{2}}, 3);
  const auto refused = [&](const std::vector<std::string>& parts) {
    check_refused([&] { load_dataset(FolderFiles(folder.path())); }, kInvalid, parts);
  };
  folder.put("test", {{2}}, 4);
  refused({"test/labels.npy: several labels a row, of 4 classes; expected several labels a row, of 3 classes, as in ",
           "train/labels.npy"});
  folder.write("test/labels.npy", npy("<i4", "(1,)", raw(std::vector<int32_t>{2})));
  refused(
      {"test/labels.npy: one label a row; expected several labels a row, of 3 classes, as in ", "train/labels.npy"});
  folder.put("test", {{2}}, 3);
  folder.put("val", {{2}}, 2);
  refused({"val/labels.npy: several labels a row, of 2 classes; expected several labels a row, of 3 classes, as in ",
           "train/labels.npy"});
  folder.write("val/labels.npy", npy("<i4", "(1,)", raw(std::vector<int32_t>{2})));
  refused({"val/labels.npy: one label a row; expected several", "train/labels.npy"});
  folder.write("train/labels.npy", npy("<i4", "(2,)", raw(std::vector<int32_t>{2, 1})));
  refused(
      {"test/labels.npy: several labels a row, of 3 classes; expected one label a row, as in ", "train/labels.npy"});
}

TEST_CASE("a model takes labels of its own form alone") {
  const Sound folder({{0}, {1, 2}}, {{2}, {0, 1}}, 3);
  const Dataset dataset = load_dataset(FolderFiles(folder.path()));
  const auto load = [&](const Classes& classes) {
    return load_split(FolderFiles(folder.path()), "test", dataset.modalities, dataset.inputs, classes);
  };
  const std::vector<int64_t> three = {0, 1, 2}, four = {0, 1, 2, 3};
  const Split split = load({three, {}, true});
  CHECK(classes_of_rows(split.sets, split.labels) == Classes2{{2}, {0, 1}});
  CHECK(split.label_values == three);
  CHECK(load({}).sets == split.sets);  // a model without classes
  check_refused(
      [&] {
        load({four, {}, true});
      },
      kInvalid,
      {"test/labels.npy: several labels a row, of 3 classes; expected several labels a row, of 4 classes, "
       "as in the model"});
  check_refused([&] { load({three}); }, kInvalid, {"of 3 classes; expected one label a row, as in the model"});
  folder.write("test/labels.npy", npy("<i4", "(2,)", raw(std::vector<int32_t>{2, 1})));
  check_refused(
      [&] {
        load({three, {}, true});
      },
      kInvalid, {"test/labels.npy: one label a row; expected several labels a row, of 3 classes, as in the model"});
  // Queries and a gallery have one set of sets.
  const LabelColumn query{.name = "q", .numbers = {}, .names = {}, .sets = rows_of(3, {{1}, {0, 2}})},
      gallery{.name = "g", .numbers = {}, .names = {}, .sets = rows_of(3, {{0, 2}, {0}})},
      other{.name = "o", .numbers = {}, .names = {}, .sets = rows_of(4, {{0}})};
  const LabelIds ids = ids_by_classes(std::array{&query, &gallery}, {three, {}, true});
  CHECK(ids.ids[0][1] == ids.ids[1][0]);
  CHECK(classes_of_rows(ids.sets, ids.ids[1]) == Classes2{{0, 2}, {0}});
  CHECK(ids.values == three);
  check_refused(
      [&] {
        ids_by_classes(std::array{&query, &other}, {});
      },
      kInvalid, {"o: several labels a row, of 4 classes; expected several labels a row, of 3 classes, as in q"});
}

TEST_CASE("a row's stratum is its rarest class, the lowest of equal ones") {
  // Class 0 has 4 rows, 1 and 2 have 2 each, 3 has 1.
  const SetLabels by_set = numbered(rows_of(4, {{0}, {0, 1}, {0, 2}, {0, 1, 2, 3}, {}}));
  const std::vector<int32_t>& labels = by_set.labels[0];
  CHECK(strata_of(labels, by_set.sets) == std::vector<int32_t>{0, 1, 2, 3, -1});
  CHECK(strata_of(std::vector<int32_t>{labels[3], labels[3]}, by_set.sets) == std::vector<int32_t>{0, 0});
  CHECK(strata_of({}, by_set.sets).empty());
  CHECK(strata_of(std::vector<int32_t>{5, -1, 2}, {}) == std::vector<int32_t>{5, -1, 2});
}

TEST_CASE("hiding takes whole rows, a share of each stratum") {
  Classes2 rows;
  for (int k = 0; k < 100; ++k) rows.push_back(k % 2 ? std::vector<int32_t>{0} : std::vector<int32_t>{0, 1});
  for (int k = 0; k < 15; ++k) rows.push_back({0, 1, 2});
  rows.push_back({3, 0});
  rows.emplace_back();
  const SetLabels by_set = numbered(rows_of(4, rows));
  const std::vector<int32_t>& labels = by_set.labels[0];
  const std::vector<int32_t> kept = hide_labels(labels, by_set.sets, 0.1, 3);
  std::map<int32_t, int> strata;
  for (size_t i = 0; i < kept.size(); ++i) {
    CHECK((kept[i] == labels[i] || kept[i] == -1));  // a row keeps all of its labels or none
    if (kept[i] >= 0) ++strata[strata_of(labels, by_set.sets)[i]];
  }
  CHECK(strata == std::map<int32_t, int>{{0, 5}, {1, 5}, {2, 2}, {3, 1}});  // 1.5 to 2, 0.1 to at least 1
  CHECK(hide_labels(labels, by_set.sets, 1, 3) == labels);
  CHECK(hide_labels(labels, by_set.sets, 0, 3) == std::vector<int32_t>(labels.size(), -1));
  CHECK(hide_labels(labels, {}, 0.1, 3) == hide_labels(labels, 0.1, 3));
}

TEST_CASE("rows are held out a share of each stratum, and every class keeps a row") {
  Classes2 rows;
  for (int k = 0; k < 40; ++k) rows.push_back(k % 2 ? std::vector<int32_t>{0} : std::vector<int32_t>{0, 1});
  for (int k = 0; k < 10; ++k) rows.emplace_back();
  const SetLabels by_set = numbered(rows_of(2, rows));
  const std::vector<int64_t> out = held_out_rows(by_set.labels[0], {}, 0.25, 7, by_set.sets);
  std::map<size_t, int> sizes;
  for (const int64_t row : out) ++sizes[rows[static_cast<size_t>(row)].size()];
  CHECK(sizes == std::map<size_t, int>{{0, 2}, {1, 5}, {2, 5}});  // 2.5 to 2
  // All that may go: of both classes one row stays, here one that has both.
  const SetLabels few = numbered(rows_of(3, {{0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}));
  const std::vector<int64_t> most = held_out_rows(few.labels[0], {}, 1, 7, few.sets);
  std::vector<bool> stays(3);
  for (int64_t row = 0; row < 4; ++row)
    if (std::ranges::find(most, row) == most.end())
      for (const int32_t c : classes_of(few.sets, few.labels[0][static_cast<size_t>(row)]))
        stays[static_cast<size_t>(c)] = true;
  CHECK(stays == std::vector<bool>{true, true, true});
  CHECK(!most.empty());
}

TEST_CASE("a split that is held out has the visible labels of its rows") {
  Classes2 rows;
  for (int32_t k = 0; k < 60; ++k) rows.push_back({k % 3, 3});
  const Sound folder(rows, {{0}}, 4);
  HeldOutFiles files(std::make_unique<FolderFiles>(folder.path()), {.share = 0.2, .labels = 0.5, .seed = 1});
  const Dataset dataset = load_dataset(files, {}, kUnscaled);
  CHECK(dataset.several_labels());
  CHECK(dataset.train.rows() + dataset.validation.rows() == 60);
  CHECK(dataset.validation.rows() == 12);
  CHECK(dataset.train.labelled() + dataset.validation.labelled() == 30);
  CHECK(dataset.validation.labelled() == 6);
  for (const std::vector<int32_t>& row : classes_of_rows(dataset.train.sets)) CHECK(row.size() == 2);
}

TEST_CASE("labels of shape (n, C) are written as bytes that read the same") {
  const Folder folder;
  const LabelColumn column{.name = "x", .numbers = {}, .names = {}, .sets = rows_of(33, {{0, 32}, {}, {7}})};
  {
    duet::AtomicFile file(folder.path() / "labels.npy");
    write_npy(file, column);
    file.sync();
    file.commit();
  }
  const StoredArray array = open_npy(folder.path() / "labels.npy");
  CHECK(array.view.type == ElementType::u1);
  CHECK(array.view.shape == std::vector<int64_t>{3, 33});
  CHECK(label_column(array.view).sets == column.sets);
}
