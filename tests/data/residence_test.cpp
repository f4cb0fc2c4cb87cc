// Features in files in place of memory have the same values, whatever they are read from.
#include "data/residence.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <utility>

#include "data/dataset.h"
#include "data/npy.h"
#include "data/source_files.h"
#include "data/synthetic.h"
#include "runtime/files/reading_limit.h"
#include "tests/data/sources.h"
#include "tests/data/write_files.h"

using namespace duet;
using namespace duet::data;
using namespace duet::test;

namespace {

namespace fs = std::filesystem;

Dataset small_set(std::array<int64_t, 2> widths = {3, 5}) {
  SyntheticOptions options;
  options.train_rows = 41, options.test_rows = 13, options.classes = 3, options.widths = widths;
  return synthetic_dataset(options);
}

void check_same(const Dataset& a, const Dataset& b) {
  for (size_t side = 0; side < kModalities; ++side) {
    CHECK(a.train.features[side].values == b.train.features[side].values);
    CHECK(a.test.features[side].values == b.test.features[side].values);
    CHECK(a.inputs[side].mean == b.inputs[side].mean);
    CHECK(a.inputs[side].scale == b.inputs[side].scale);
  }
}

}  // namespace

TEST_CASE("values: those in a file and those in memory are told apart by nothing but where they lie") {
  const Folder folder;
  Values in_memory = {1, -2, 0.5f}, in_file(PagedMemory(3 * sizeof(float), folder.path()));
  CHECK(in_memory.paged() == nullptr);
  REQUIRE(in_file.paged() != nullptr);
  CHECK(in_file == Values(3));
  CHECK(in_file.size() == 3);
  std::copy(in_memory.begin(), in_memory.end(), in_file.begin());
  CHECK(in_file == in_memory);
  CHECK(in_file == std::vector<float>{1, -2, 0.5f});
  CHECK_FALSE(in_file == std::vector<float>{1, -2});
  in_file[1] = 7;
  CHECK(std::as_const(in_file)[1] == 7);
  const Values copy = in_file;
  CHECK(copy.paged() == nullptr);
  CHECK(copy == in_file);
  const Values moved = std::move(in_file);
  CHECK(moved.paged() != nullptr);
  CHECK(moved == copy);
  in_memory = moved;
  CHECK(in_memory == copy);
  CHECK(Values().empty());
  // Equal as numbers, as float's own comparison has it.
  CHECK(Values{0.0f} == Values{-0.0f});
  CHECK_FALSE(Values{std::nanf("")} == Values{std::nanf("")});
}

TEST_CASE("features lie in memory as long as they fit") {
  const Folder folder;
  Residence residence(100, folder.path());
  const Features first = residence.features(3, 5), beyond = residence.features(3, 4), last = residence.features(2, 5);
  CHECK(first.values.paged() == nullptr);   // 60 of 100 bytes
  CHECK(beyond.values.paged() != nullptr);  // 48 more
  CHECK(last.values.paged() == nullptr);    // 40 fit
  CHECK((beyond.rows == 3 && beyond.columns == 4 && beyond.values.size() == 12));
  CHECK(residence.bytes() == 148);
  CHECK(residence.bytes_in_files() == 48);
  CHECK(residence.features(0, 7).values.size() == 0);
  CHECK(Residence().features(1000, 1000).values.paged() == nullptr);
  CHECK_THROWS_AS(Residence(0, folder.path() / "absent").features(1, 1), Error);
}

TEST_CASE("a data set in files has the bits of one in memory, and leaves nothing in the folder") {
  const Folder folder, room;
  write_dataset(folder.path(), small_set());
  const Dataset resident = load_dataset(FolderFiles(folder.path()));
  // All in files; the first array in memory: 41 x 3; each source mapped; all three.
  constexpr uint64_t kFirst = 41 * 3 * sizeof(float);
  for (const auto& [most, read] : {std::pair{uint64_t{0}, UINT64_MAX}, std::pair{kFirst, UINT64_MAX},
                                   std::pair{UINT64_MAX, uint64_t{0}}, std::pair{uint64_t{0}, uint64_t{0}}}) {
    Residence residence(most, room.path());
    const ReadingLimit limit(read, room.path());
    const Dataset paged = load_dataset(FolderFiles(folder.path()), {}, {}, &residence);
    CHECK((paged.train.features[0].values.paged() != nullptr) == (most == 0));
    CHECK((paged.test.features[1].values.paged() != nullptr) == (most != UINT64_MAX));
    CHECK(fs::is_empty(room.path()));
    check_same(paged, resident);
    const Split split = load_split(FolderFiles(folder.path()), "test", paged.modalities, paged.inputs,
                                   {paged.class_values()}, SplitUse::pairs, &residence);
    for (size_t side = 0; side < kModalities; ++side)
      CHECK(split.features[side].values == resident.test.features[side].values);
  }
}

TEST_CASE("a set larger than a part that leaves memory") {
  constexpr int64_t kRows = 11, kColumns = 1 << 20;  // a part of 32 MiB and a rest
  const Folder folder;
  Features x(kRows, kColumns);
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t k = 0; k < kColumns; ++k) x.row(i)[k] = static_cast<float>((i * 31 + k * 7) % 1009 - 500);
  write_features(folder.path() / "x.npy", x);
  const Preprocessing inputs = Preprocessing::fit(source_of(x), Scaling::zscore);
  const Features scaled = inputs.apply(source_of(x));
  const ReadingLimit limit(0, folder.path());
  const StoredArray stored = open_npy(folder.path() / "x.npy");
  REQUIRE(stored.mapping != nullptr);
  const FeatureSource source(stored);
  CHECK(source.rows_at_once() == 8);
  const Preprocessing again = Preprocessing::fit(source, Scaling::zscore);
  CHECK(again.mean == inputs.mean);
  CHECK(again.scale == inputs.scale);
  Residence residence(0, folder.path());
  const Features paged = again.apply(source, &residence);
  CHECK(paged.values == scaled.values);
  paged.release(0, kRows);
  CHECK(paged.values == scaled.values);
}

TEST_CASE("a mapped array in Fortran order") {
  const Folder folder;
  const std::vector<float> by_columns = {1, 2, 3, 4, 5, 6};
  const auto path = folder.write(
      "x.npy", npy_with_header(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }\n", raw(by_columns)));
  const ReadingLimit limit(0, folder.path());
  CHECK(read_features(path).values == std::vector<float>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("every format is read into files as into memory") {
  const fs::path files = fs::path(DUET_PROJECT_DIR) / "tests/data/files";
  const Folder room;
  int sets = 0;
  for (const char* name :
       {"stored.npz", "deflated.npz", "parts.safetensors", "flags.h5", "vegas.h5", "version5.mat", "version73.mat"}) {
    const auto open = [&] { return open_dataset(files / name, {}, Pooling::mean); };
    Dataset resident;
    try {
      resident = load_dataset(*open(), {}, kUnscaled);
    } catch (const Error& error) {
      if (error.status() != DUET_STATUS_UNSUPPORTED) FAIL(error.what());  // a build without its library
      continue;
    }
    ++sets;
    Residence residence(0, room.path());
    const ReadingLimit limit(0, room.path());
    const Dataset paged = load_dataset(*open(), {}, kUnscaled, &residence);
    REQUIRE(paged.train.features[0].values.paged() != nullptr);
    check_same(paged, resident);
  }
  CHECK(sets >= 2);
}

TEST_CASE("a mapped source that is written to between its statistics and its values is refused") {
  const Folder folder;
  const fs::path file = folder.path() / "features.npy";
  Features features(7, 3);
  for (size_t k = 0; k < 21; ++k) features.values[k] = static_cast<float>(k);
  const auto write = [&] {
    const std::string header = features_header(features);
    std::ofstream out(file, std::ios::binary);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    out.write(reinterpret_cast<const char*>(features.values.data()),
              static_cast<std::streamsize>(features.values.size() * sizeof(float)));
  };
  write();
  fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(1));
  const ReadingLimit limit(1, folder.path());
  const FeatureSource source(open_npy(file));
  const Preprocessing inputs = Preprocessing::fit(source, Scaling::zscore);
  CHECK(inputs.apply(source).values.size() == 21);
  write();  // the same size
  CHECK_THROWS_WITH_AS(inputs.apply(source), (file.string() + ": changed while it was read").c_str(), Error);
}
