#include "data/dataset.h"

#include "data/npy.h"
#include "tests/data/npy_files.h"
#include "tests/support/golden.h"

using namespace duet::data;
using namespace duet::test;

namespace {

std::string matrix_file(int rows, int columns) {
  std::vector<float> values;
  for (int k = 0; k < rows * columns; ++k) values.push_back(static_cast<float>(k));
  return npy("<f4", duet::text("(", rows, ", ", columns, ")"), raw(values));
}
std::string label_file(const std::vector<int32_t>& labels) { return npy("<i4", duet::text("(", labels.size(), ",)"), raw(labels)); }

// 3 training and 2 test rows, audio 2 and visual 4 columns.
struct Sound : Folder {
  Sound() {
    for (const auto& [split, labels] : {std::pair{"train", std::vector<int32_t>{0, -1, 2}}, std::pair{"test", std::vector<int32_t>{1, 4}}}) {
      const int rows = static_cast<int>(labels.size());
      write(std::string(split) + "/audio.npy", matrix_file(rows, 2));
      write(std::string(split) + "/visual.npy", matrix_file(rows, 4));
      write(std::string(split) + "/labels.npy", label_file(labels));
    }
  }
  void refused(duet_status status, const std::vector<std::string>& parts, const std::vector<std::string>& modalities = {}) const {
    check_refused([&] { load_dataset(path(), modalities); }, status, parts);
  }
};

}  // namespace

TEST_CASE("dataset loads a folder, modalities in alphabetical or in the given order") {
  const Sound folder;
  const Dataset dataset = load_dataset(folder.path());
  CHECK(dataset.modalities[0] == "audio");
  CHECK(dataset.modalities[1] == "visual");
  CHECK(dataset.width(0) == 2);
  CHECK(dataset.width(1) == 4);
  CHECK(dataset.train.rows() == 3);
  CHECK(dataset.test.rows() == 2);
  CHECK(dataset.train.labels == std::vector<int32_t>{0, -1, 2});
  CHECK(dataset.test.features[1].row(1)[2] == 6);
  CHECK(dataset.classes == 5);
  const Dataset exchanged = load_dataset(folder.path(), {"visual", "audio"});
  CHECK(exchanged.modalities[0] == "visual");
  CHECK(exchanged.width(0) == 4);
  folder.write("train/text.npy", matrix_file(3, 7));
  folder.write("test/text.npy", matrix_file(2, 7));
  CHECK(load_dataset(folder.path(), {"text", "audio"}).width(0) == 7);
}

TEST_CASE("dataset: a written one reads the same") {
  const Sound folder;
  const Dataset dataset = load_dataset(folder.path());
  write_dataset(folder.path() / "copy", dataset);
  const Dataset copy = load_dataset(folder.path() / "copy");
  for (const size_t side : {0, 1}) {
    CHECK(copy.train.features[side].values == dataset.train.features[side].values);
    CHECK(copy.test.features[side].values == dataset.test.features[side].values);
  }
  CHECK(copy.train.labels == dataset.train.labels);
  CHECK(copy.test.labels == dataset.test.labels);
}

TEST_CASE("dataset refuses folders that are none") {
  const Folder empty;
  check_refused([&] { load_dataset(empty.path() / "absent"); }, DUET_IO_ERROR, {"absent/train", "No such file or directory"});
  check_refused([&] { load_dataset(empty.path()); }, DUET_IO_ERROR, {"train", "No such file or directory"});
  std::filesystem::create_directories(empty.path() / "train");
  check_refused([&] { load_dataset(empty.path()); }, DUET_INVALID_ARGUMENT, {"train: expected 2 modalities", "found none"});
  const Sound folder;
  std::filesystem::remove_all(folder.path() / "test");
  folder.refused(DUET_IO_ERROR, {"test", "No such file or directory"});
}

TEST_CASE("dataset refuses missing files and unknown modalities") {
  const Sound folder;
  folder.refused(DUET_INVALID_ARGUMENT, {"train: no modality text; found audio, visual"}, {"audio", "text"});
  folder.refused(DUET_INVALID_ARGUMENT, {"expected two names, got 1 (audio)"}, {"audio"});
  folder.refused(DUET_INVALID_ARGUMENT, {"expected two different names, got audio twice"}, {"audio", "audio"});
  folder.write("train/text.npy", matrix_file(3, 7));
  folder.refused(DUET_INVALID_ARGUMENT, {"train: expected 2 modalities", "found audio, text, visual", "--modalities"});
  folder.refused(DUET_INVALID_ARGUMENT, {"test: no modality text; found audio, visual"}, {"audio", "text"});
  std::filesystem::remove(folder.path() / "train" / "text.npy");
  std::filesystem::remove(folder.path() / "test" / "labels.npy");
  folder.refused(DUET_INVALID_ARGUMENT, {"test: no labels.npy", "-1"});
  std::filesystem::remove(folder.path() / "train" / "visual.npy");
  folder.refused(DUET_INVALID_ARGUMENT, {"train: expected 2 modalities", "found audio"});
}

TEST_CASE("dataset refuses files that do not fit each other") {
  const Sound folder;
  folder.write("train/visual.npy", matrix_file(4, 4));
  folder.refused(DUET_INVALID_ARGUMENT, {"train/visual.npy: 4 rows; expected 3 as in labels.npy"});
  folder.write("train/visual.npy", matrix_file(3, 5));
  folder.refused(DUET_INVALID_ARGUMENT, {"visual has 4 columns in test; expected 5 as in train"});
  folder.write("train/visual.npy", matrix_file(3, 4).substr(0, 100));
  folder.refused(DUET_INVALID_ARGUMENT, {"train/visual.npy: truncated"});
  folder.write("train/visual.npy", matrix_file(3, 4));
  folder.write("test/labels.npy", label_file({0, -7}));
  folder.refused(DUET_INVALID_ARGUMENT, {"test/labels.npy: row 1 has label -7"});
}

TEST_CASE("dataset loads the shared data") {
  const auto root = shared_dir() / "data";
  if (!std::filesystem::is_directory(root)) {
    MESSAGE("skipped: no data at " << root.string() << " (set DUET_SHARED_DIR)");
    return;
  }
  const Dataset digits = load_dataset(root / "avdigits");
  CHECK(digits.train.rows() == 2700);
  CHECK(digits.test.rows() == 300);
  CHECK(digits.width(0) == 128);
  CHECK(digits.width(1) == 784);
  CHECK(digits.classes == 10);
  const Folder folder;
  copy_in_c_order(root / "wikipedia", folder.path());
  const Dataset wikipedia = load_dataset(folder.path(), {"text", "image"});
  CHECK(wikipedia.train.rows() == 2173);
  CHECK(wikipedia.test.rows() == 693);
  CHECK(wikipedia.width(0) == 1000);
  CHECK(wikipedia.classes == 10);
}
