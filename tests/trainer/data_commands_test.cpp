// duet import and duet check, and training on what people have, by the program itself.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "data/array_file.h"
#include "data/npy.h"
#include "data/zip.h"
#include "tests/trainer/program.h"

using namespace duet;
using namespace duet::testing;

namespace {

const fs::path kFiles = fs::path(DUET_PROJECT_DIR) / "tests/data/files";

void check_refused(const std::vector<std::string>& arguments, const std::string& part) {
  const Outcome outcome = run_program(arguments);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK_MESSAGE(outcome.err.find(part) != std::string::npos, outcome.err);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

bool has(const std::string& words, const std::string& part) { return words.find(part) != std::string::npos; }

// The small set with labels that are names, as labels.csv.
void write_named_set(const fs::path& folder) {
  write_small_set(folder);
  for (const auto& [split, name] : {std::pair{"train", "labels.csv"}, std::pair{"test", "labels.tsv"}}) {
    const fs::path labels = folder / split / "labels.npy";
    const std::vector<int64_t> values = data::read_labels(labels);
    const std::string separator = name == std::string("labels.csv") ? "," : "\t";
    std::string table = "id" + separator + "label\n";
    for (size_t i = values.size(); i-- > 0;)
      table += std::to_string(i) + separator + "class " + std::to_string(values[i]) + "\n";
    fs::remove(labels);
    write_text(folder / split / name, table);
  }
}

}  // namespace

TEST_CASE("import converts a file, and what it writes reads the same") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const Outcome outcome = run_program({"import", kFiles / "stored.npz", "--out", out});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(has(outcome.out, out + "/train/audio.npy: (6, 3) float32 of "));
  CHECK(has(outcome.out, out + "/test/labels.npy: 4 labels\n"));
  const data::Features audio = data::read_features(out + "/test/audio.npy");
  CHECK(audio.rows == 4);
  CHECK(audio.row(3)[2] == 13.5f);
  CHECK(data::read_labels(out + "/train/labels.npy") == std::vector<int64_t>{0, 1, 2, 0, 1, 2});
  check_refused({"import", kFiles / "stored.npz", "--out", out}, "not written: it is there already (--force");
  CHECK(run_program({"import", kFiles / "stored.npz", "--out", out, "--force"}).code == 0);
  check_refused({"import", out, "--out", out, "--force"}, "it is an input of this command");

  if (data::zlib_version_text().empty()) return;
  // Several files, of which --map names the arrays; the labels of one of them are names.
  const std::string map =
      "sound/train=stored/audio_train,image/train=parts/visual_train,labels/train=deflated/lab_train";
  const Outcome mapped = run_program({"import", kFiles / "stored.npz", kFiles / "deflated.npz",
                                      kFiles / "parts.safetensors", "--map", map, "--out", folder / "mapped"});
  REQUIRE_MESSAGE(mapped.code == 0, mapped.err);
  const data::StoredArray labels = data::open_npy(folder / "mapped" / "train/labels.npy");
  CHECK(data::read_strings(labels.view) ==
        std::vector<std::string>{"dog", "caf\xc3\xa9", "cat", "dog", "caf\xc3\xa9", "cat"});
  CHECK(data::read_features(folder / "mapped" / "train/image.npy").row(5)[1] == 10);
  CHECK_FALSE(fs::exists(folder / "mapped" / "test"));
}

TEST_CASE("import takes the ids of rows along") {
  const TemporaryFolder folder;
  REQUIRE(run_program({"import", kFiles / "stored.npz", "--out", folder / "data"}).code == 0);
  fs::remove(folder / "data" / "test/labels.npy");
  write_text(folder / "data" / "test/ids.txt", "b,1\na\nd\nc\n");
  write_text(folder / "data" / "test/labels.csv", "id,label\na,4\n\"b,1\",3\nc,6\nd,5\n");
  const std::string copy = folder / "copy";
  const Outcome outcome = run_program({"import", folder / "data", "--out", copy});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(has(outcome.out, copy + "/test/ids.txt: 4 ids\n"));
  CHECK(read_text(copy + "/test/ids.txt") == "b,1\na\nd\nc\n");
  CHECK(data::read_labels(copy + "/test/labels.npy") == std::vector<int64_t>{3, 4, 5, 6});
  CHECK_FALSE(fs::exists(copy + "/train/ids.txt"));
}

TEST_CASE("import leaves out strings that are no labels, and says so") {
  if (data::hdf5_version_text().empty()) return check_refused({"check", kFiles / "types.h5"}, "no libhdf5");
  const TemporaryFolder folder;
  const Outcome outcome = run_program({"import", kFiles / "types.h5", "--map",
                                       "clip/train=kinds/strings,audio/train=kinds/int8", "--out", folder / "out"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(has(outcome.out, "types.h5: kinds/strings: left out: strings are no features\n"));
  CHECK(data::read_features(folder / "out" / "train/audio.npy").values == std::vector<float>{-1, 2});
  CHECK_FALSE(fs::exists(folder / "out" / "train/clip.npy"));
}

TEST_CASE("import leaves nothing where it cannot read all") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  const std::string file = read_text(folder / "data" / "test/visual.npy");
  write_text(folder / "data" / "test/visual.npy", file.substr(0, file.size() - 1));
  check_refused({"import", folder / "data", "--out", folder / "out"}, "test/visual.npy: truncated");
  for (const auto& entry : fs::recursive_directory_iterator(folder / "out")) CHECK(entry.is_directory());
  check_refused({"import", folder / "absent", "--out", folder / "out"}, "absent/train: No such file");
  check_refused({"import", kFiles / "stored.npz", "--map", "a=b", "--out", folder / "out"},
                "--map: expected ARRAY/SPLIT=PATH");
  write_text(folder / "text.npz", "some text");
  check_refused({"import", folder / "text.npz", "--out", folder / "out"}, "text.npz: no file of arrays");
}

TEST_CASE("a damaged file of HDF5 or MATLAB is one line") {
  if (data::hdf5_version_text().empty()) return check_refused({"check", kFiles / "vegas.h5"}, "no libhdf5");
  if (data::matlab_version_text().empty()) return check_refused({"check", kFiles / "cells.mat"}, "no libmatio");
  const TemporaryFolder folder;
  for (const std::string name : {"vegas.h5", "version73.mat"}) {
    const std::string whole = read_text(kFiles / name);
    write_text(folder / name, whole.substr(0, whole.size() / 2));
    for (const std::string command : {"check", "import"}) {
      std::vector<std::string> arguments = {command, folder / name};
      if (command == "import") arguments.insert(arguments.end(), {"--out", folder / "out"});
      check_refused(arguments, (folder / name).string() + ": ");
    }
  }
}

TEST_CASE("check says what a data set holds") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program({"check", kFiles / "deflated.npz"});
  if (outcome.code == 0) {
    for (const char* part :
         {"deflated.npz, train:\n", "audio: (6, 3) float16, from 0 to 5.5, mean 2.75, deviation 1.77, 5.6 % zeros\n",
          "zscore (auto: negative values)\n",
          "labels: 4 of 4 rows labelled, 3 classes, 1 (cat) to 2 (caf\xc3\xa9) rows", "caf\xc3\xa9 2, cat 2, dog 2\n"})
      CHECK_MESSAGE(has(outcome.out, part), part);
  } else {
    CHECK(has(outcome.err, "this build has no zlib"));
  }
  // Rows 0 to 2 of training, row 1 a second time, a column that is constant; the test split has one of them.
  data::Features train(4, 2), test(2, 2);
  train.values = {1, 7, 2, 7, 3, 7, 2, 7};
  test.values = {2, 7, 9, 9};
  for (const std::string modality : {"audio", "visual"}) {
    test::write_features(folder / "data" / ("train/" + modality + ".npy"), train);
    test::write_features(folder / "data" / ("test/" + modality + ".npy"), test);
  }
  test::write_labels(folder / "data" / "train/labels.npy", std::vector<int32_t>{3, -1, 3, 4});
  test::write_labels(folder / "data" / "train/groups.npy", std::vector<int32_t>{0, 0, -1, 1});
  const Outcome sums = run_program({"check", folder / "data"});
  REQUIRE_MESSAGE(sums.code == 0, sums.err);
  for (const char* part :
       {"audio: (4, 2) float32, from 1 to 7, mean 4.5, deviation 2.726, 0.0 % zeros; 1 rows equal an earlier one\n",
        "1 of 2 columns is constant", "; 1 rows are rows of train\n",
        "labels: 3 of 4 rows labelled, 2 classes, 1 (4) to", "          3 2, 4 1\n",
        "groups: 2 groups of 3 of 4 rows\n", "  labels: none\n"})
    CHECK_MESSAGE(has(sums.out, part), sums.out);
  check_refused({"check", folder / "absent"}, "absent/train: No such file");
  check_refused({"check", kFiles / "stored.npz", "--pool", "median"}, "--pool: expected one of mean, max");
}

TEST_CASE("embed needs one modality and no labels") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", out = folder / "out", one = folder / "one";
  write_small_set(data);
  REQUIRE(run_program({"train", "--data", data, "--epochs", "1", "--run", run}).code == 0);
  REQUIRE(run_program({"embed", "--run", run, "--data", data, "--out", out}).code == 0);
  fs::remove(data + "/test/labels.npy");
  fs::remove(data + "/test/visual.npy");
  const Outcome outcome = run_program({"embed", "--run", run, "--data", data, "--out", one});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(read_text(one + "/audio.npy") == read_text(out + "/audio.npy"));
  CHECK_FALSE(fs::exists(one + "/visual.npy"));
  CHECK_FALSE(has(outcome.err, "visual"));
  check_refused({"eval", "--run", run, "--data", data}, "test: no modality 'visual'");
}

TEST_CASE("training and evaluation on labels that are names, and on a file") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", npy = folder / "npy";
  write_named_set(data);
  const auto train = [](const std::string& from, const std::string& to) {
    return run_program({"train", "--data", from, "--epochs", "2", "--run", to});
  };
  REQUIRE(train(data, run).code == 0);
  const Outcome evaluation = run_program({"eval", "--run", run, "--data", data, "--json"});
  REQUIRE(evaluation.code == 0);
  // The same as of the same labels in .npy.
  REQUIRE(run_program({"import", data, "--out", npy}).code == 0);
  CHECK(run_program({"eval", "--run", run, "--data", npy, "--json"}).out == evaluation.out);
  REQUIRE(train(npy, folder / "second").code == 0);
  CHECK(run_program({"eval", "--run", folder / "second", "--data", npy, "--json"}).out == evaluation.out);
  // Numbers are none of its classes.
  write_small_set(folder / "numbers");
  const Outcome numbers = run_program({"eval", "--run", run, "--data", folder / "numbers"});
  CHECK(numbers.code == 2);
  CHECK(has(numbers.err, "test/labels.npy: labels are numbers; expected names"));

  if (!data::hdf5_version_text().empty()) {
    const Outcome small = run_program({"train", "--data", kFiles / "vegas.h5", "--epochs", "1", "--set",
                                       "smallest_batch=2", "--run", folder / "vegas"});
    CHECK_MESSAGE(small.code == 0, small.err);
    const Outcome pooled = run_program(
        {"train", "--data", kFiles / "ave", "--epochs", "1", "--set", "smallest_batch=2", "--set", "pool=max"});
    CHECK(has(pooled.err, "max over 2 times"));
    CHECK(run_program({"eval", "--run", folder / "vegas", "--data", kFiles / "ave"}).code == 0);
  }
}
