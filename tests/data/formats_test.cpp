// Files as their users' libraries write them (tests/data/files/README.md), and what is refused of them.
#include <algorithm>

#include "data/array_file.h"
#include "data/feature_source.h"
#include "data/source_files.h"
#include "data/zip.h"
#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

namespace fs = std::filesystem;

const fs::path kFiles = fs::path(DUET_PROJECT_DIR) / "tests/data/files";

// What make.py writes: rows 0 to 5 and 10 to 13.
Features expected_features(int64_t first, int64_t rows, bool audio) {
  Features out(rows, audio ? 3 : 2);
  for (int64_t i = 0; i < rows; ++i) {
    const auto value = static_cast<float>(first + i);
    for (int64_t k = 0; k < out.columns; ++k)
      out.row(i)[k] = audio ? value + 0.25f * static_cast<float>(k) : value * (k == 0 ? -1.0f : 2.0f);
  }
  return out;
}

void check_set(const DatasetFiles& files, bool has_names = false, bool absolute = false) {
  const Dataset dataset = load_dataset(files, {}, kUnscaled);
  CHECK(dataset.modalities == std::array<std::string, 2>{"audio", "visual"});
  CHECK(dataset.classes == 3);
  // Names ascend as cafe, cat, dog, where i % 3 counts dog, cafe, cat.
  const std::array<int32_t, 3> ids = has_names ? std::array<int32_t, 3>{2, 0, 1} : std::array<int32_t, 3>{0, 1, 2};
  for (const auto& [split, first, rows] :
       {std::tuple{&dataset.train, int64_t{0}, int64_t{6}}, std::tuple{&dataset.test, int64_t{10}, int64_t{4}}}) {
    REQUIRE(split->rows() == rows);
    for (const bool audio : {true, false}) {
      Features expected = expected_features(first, rows, audio);
      if (absolute && !audio)
        for (float& value : expected.values) value = std::abs(value);
      CHECK(split->features[audio ? 0 : 1].values == expected.values);
    }
    for (int64_t i = 0; i < rows; ++i)
      CHECK(split->labels[static_cast<size_t>(i)] == ids[static_cast<size_t>((first + i) % 3)]);
  }
  if (has_names) CHECK(dataset.label_names == std::vector<std::string>{"caf\xc3\xa9", "cat", "dog"});
}

std::unique_ptr<DatasetFiles> in(const fs::path& path) { return open_dataset(path, {}, Pooling::mean); }

void refused(const fs::path& path, const std::string& array, const std::vector<std::string>& parts,
             duet_status status = DUET_STATUS_INVALID_ARGUMENT) {
  check_refused([&] { open_array_file(path)->open(array); }, status, parts);
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Whatever its bytes are, a file is read or refused by one line that names it.
void survives(const fs::path& path) {
  const auto check_message = [&](const duet::Error& error) {
    const std::string message = error.what();
    CHECK_MESSAGE(message.find(path.string()) != std::string::npos, message);
    CHECK_MESSAGE(message.find('\n') == std::string::npos, message);
  };
  try {
    const auto file = open_array_file(path);
    for (const std::string& name : file->names()) {
      try {
        const StoredArray array = file->open(name);
        CHECK(std::ssize(array.view.values) == checked_bytes(array.view.shape, element_bytes(array.view), ""));
      } catch (const duet::Error& error) {
        check_message(error);
      }
    }
  } catch (const duet::Error& error) {
    check_message(error);
  }
}

// Truncations and single bytes changed, about so many of each.
void damage(const std::string& name, size_t cases) {
  const Folder folder;
  const std::string whole = content_of(kFiles / name);
  const size_t step = std::max<size_t>(1, whole.size() / cases);
  const auto check = [&](const std::string& content) {
    // A file that is truncated and written again may be brought to the disk when it is closed, a new one is not.
    fs::remove(folder.path() / "damaged");
    survives(folder.write("damaged", content));
  };
  for (size_t at = 0; at < whole.size(); at += step) {
    check(whole.substr(0, at));
    std::string changed = whole;
    changed[at] = static_cast<char>(~changed[at]);
    check(changed);
  }
}

}  // namespace

TEST_CASE("formats: .npz, stored and deflated, of big-endian and Fortran arrays, and a folder of them") {
  check_set(*in(kFiles / "stored.npz"));
  if (!zlib_version_text().empty()) check_set(*in(kFiles / "deflated.npz"), true);
  check_set(*in(kFiles / "npz"));
}

TEST_CASE("formats: a file a modality in train/ and test/, and any name where the first bytes tell") {
  const Folder folder;
  const auto copy = [&](const std::string& from, const std::string& to) {
    fs::create_directories((folder.path() / to).parent_path());
    fs::copy_file(kFiles / from, folder.path() / to);
  };
  copy("npz/train.npz", "set/train/all.npz");
  copy("npz/test.npz", "set/test/all.npz");
  const auto set = in(folder.path() / "set");
  CHECK(set->splits() == std::vector<std::string>{"train", "test"});
  CHECK(set->arrays("train") == std::vector<std::string>{"all_audio", "all_visual", "labels"});
  copy("stored.npz", "no ending");
  check_set(*in(folder.path() / "no ending"));
}

TEST_CASE("formats: safetensors of float16 and bfloat16") {
  check_set(*in(kFiles / "parts.safetensors"));
  const Folder folder;
  const std::string header = R"({"b":{"dtype":"F64","shape":[1,1],"data_offsets":[4,12]},"__metadata__":null,)"
                             R"("a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}}     )";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  const auto path =
      folder.write("x.safetensors", file + header + raw(std::vector<int16_t>{-1, 7}) + raw(std::vector<double>{0.1}));
  const auto arrays = open_array_file(path);
  CHECK(arrays->names() == std::vector<std::string>{"a", "b"});
  CHECK(read_labels(arrays->open("a").view) == std::vector<int64_t>{-1, 7});
  std::vector<double> row(1);
  FeatureSource(arrays->open("b")).read_row(0, row);
  CHECK(row[0] == 0.1);
  refused(path, "c", {"x.safetensors: no array 'c'"});
  refused(folder.write("y.safetensors", file + header), "a", {"y.safetensors: tensor"}, DUET_STATUS_IO_ERROR);
}

TEST_CASE("formats: HDF5 as VEGAS and AVE have it") {
  if (hdf5_version_text().empty()) {
    refused(kFiles / "vegas.h5", "lab_train", {"vegas.h5: an HDF5 file, and this build has no libhdf5"},
            DUET_STATUS_UNSUPPORTED);
    return;
  }
  check_set(*in(kFiles / "vegas.h5"));
  check_set(*in(kFiles / "flags.h5"));
  check_set(*in(kFiles / "ave"));
  const SourceFiles ave({kFiles / "ave"});
  CHECK(ave.splits() == std::vector<std::string>{"train", "test", "val"});
  CHECK(ave.open("val", "audio").view.rows() == 2);
  const std::vector<std::string> map = {"sound/train=/audio_train", "image/train=visual_train",
                                        "labels/train=lab_train",   "sound/test=audio_test",
                                        "image/test=visual_test",   "labels/test=/lab_test"};
  const Dataset mapped = load_dataset(SourceFiles({kFiles / "vegas.h5"}, map), {"sound", "image"}, kUnscaled);
  CHECK(mapped.train.features[0].values == expected_features(0, 6, true).values);
  CHECK(mapped.test.features[1].values == expected_features(10, 4, false).values);
}

TEST_CASE("formats: types and storage of HDF5") {
  const fs::path types = kFiles / "types.h5";
  if (hdf5_version_text().empty()) return refused(types, "soft", {"no libhdf5"}, DUET_STATUS_UNSUPPORTED);
  const auto file = open_array_file(types);
  const auto row = [&](const std::string& name) {
    const FeatureSource source(file->open(name));
    std::vector<double> values(static_cast<size_t>(source.columns()));
    source.read_row(0, values);
    return values;
  };
  CHECK(row("kinds/bool") == std::vector<double>{1, 0});
  CHECK(row("kinds/int8") == std::vector<double>{-1, 2});
  CHECK(row("soft") == std::vector<double>{-1, 2});
  CHECK(row("kinds/uint64") == std::vector<double>{0x1p40, 1});
  CHECK(row("kinds/one chunk") == std::vector<double>{0, 0.25, 0.5});
  CHECK(read_strings(file->open("kinds/fixed strings").view) == std::vector<std::string>{"ab", "", "c"});
  CHECK(read_strings(file->open("kinds/strings").view) == std::vector<std::string>{"dog", "caf\xc3\xa9", "cat"});
  refused(types, "kinds/bfloat16", {"types.h5: kinds/bfloat16: an opaque type", "bfloat16"});
  refused(types, "kinds/complex", {"types.h5: kinds/complex: no numbers"});
  refused(types, "kinds/scalar", {"types.h5: kinds/scalar: a single value"});
  refused(types, "kinds/lzf", {"types.h5: kinds/lzf: compressed with lzf", "expected gzip"}, DUET_STATUS_UNSUPPORTED);
  refused(types, "kinds/external", {"types.h5: kinds/external: a link into another file"});
  refused(types, "kinds/virtual", {"types.h5: kinds/virtual: its values lie in other files"});
  refused(types, "kinds/absent", {"types.h5: no array 'kinds/absent'"});
  std::vector<double> constant(2);
  FeatureSource(open_array_file(kFiles / "other.h5")->open("constant")).read_row(2, constant);
  CHECK(constant == std::vector<double>{2.5, 2.5});
  std::vector<double> plain(3);
  FeatureSource(open_array_file(kFiles / "latest.h5")->open("plain")).read_row(5, plain);
  CHECK(plain == std::vector<double>{5, 5.25, 5.5});
  refused(kFiles / "latest.h5", "compressed", {"latest.h5: compressed: cannot be opened: written by a newer HDF5"},
          DUET_STATUS_IO_ERROR);
}

TEST_CASE("formats: MATLAB 5 and 7.3, and cells of strings") {
  if (matlab_version_text().empty()) {
    refused(kFiles / "version5.mat", "lab_train", {"version5.mat: a MATLAB file, and this build has no libmatio"},
            DUET_STATUS_UNSUPPORTED);
    return;
  }
  check_set(*in(kFiles / "version5.mat"));
  check_set(*in(kFiles / "version73.mat"));
  check_set(*in(kFiles / "cells.mat"), true, true);
  refused(kFiles / "version5.mat", "absent", {"version5.mat: no array 'absent'"});
}

TEST_CASE("formats: damaged files are refused or read, and nothing else") {
  damage("stored.npz", 2000);
  damage("deflated.npz", 2000);
  damage("parts.safetensors", 600);
  if (!hdf5_version_text().empty()) {
    damage("flags.h5", 20);
    damage("vegas.h5", 20);
    damage("types.h5", 10);
  }
  if (!matlab_version_text().empty()) {
    damage("version5.mat", 20);
    damage("version73.mat", 20);
  }
}

TEST_CASE("formats: what is no file of arrays") {
  const Folder folder;
  refused(folder.path() / "absent.npz", "", {"absent.npz: No such file"}, DUET_STATUS_IO_ERROR);
  refused(folder.write("text.npz", "some text"), "", {"text.npz: no file of arrays; expected .npy, .npz"});
  refused(folder.write("empty", ""), "", {"empty: no file of arrays"});
  refused(folder.write("x.npy", npy("|u1", "(1,)", "a")), "a", {"x.npy: no array 'a'"});
  check_refused([&] { in(folder.path() / "text.npz"); }, DUET_STATUS_INVALID_ARGUMENT, {"no file of arrays"});
  check_refused([&] { SourceFiles({folder.path() / "x.npy"}); }, DUET_STATUS_INVALID_ARGUMENT,
                {"x.npy: no layout that is known", "found x"});
}

TEST_CASE("formats: a ZIP's names and sizes are not believed") {
  const Folder folder;
  const auto field = [](uint64_t value, int bytes) {
    std::string out;
    for (int k = 0; k < bytes; ++k) out += static_cast<char>(value >> (8 * k));
    return out;
  };
  struct Entry {
    std::string name = "a.npy";
    uint64_t stored = 1, content = 1, offset = 0, members = 1;
    int method = 0, flags = 0;
  };
  const auto archive = [&](const Entry& entry) {
    const std::string member =
        "PK\x03\x04" + std::string(22, '\0') + field(entry.name.size(), 2) + field(0, 2) + entry.name + "x";
    const std::string directory = "PK\x01\x02" + field(20, 2) + field(20, 2) +
                                  field(static_cast<uint64_t>(entry.flags), 2) +
                                  field(static_cast<uint64_t>(entry.method), 2) + field(0, 4) + field(0x8CDC1683, 4) +
                                  field(entry.stored, 4) + field(entry.content, 4) + field(entry.name.size(), 2) +
                                  std::string(12, '\0') + field(entry.offset, 4) + entry.name;
    return folder.write("x.npz", member + directory + "PK\x05\x06" + field(0, 4) + field(entry.members, 2) +
                                     field(entry.members, 2) + field(directory.size(), 4) + field(member.size(), 4) +
                                     field(0, 2));
  };
  const auto check = [&](const Entry& entry, const std::vector<std::string>& parts) {
    const fs::path path = archive(entry);
    check_refused([&] { zip_members(path); }, DUET_STATUS_INVALID_ARGUMENT, parts);
  };
  const fs::path sound = archive({});
  REQUIRE(zip_members(sound).size() == 1);
  CHECK(read_zip_member(sound, zip_members(sound)[0]).bytes.size() == 1);
  for (const std::string name : {"../a.npy", "/a.npy", "b/../../a.npy", "b\\a.npy", ".."})
    check({.name = name}, {"x.npz: '", "expected a name that stays within its folder"});
  check({.name = std::string("a\0.npy", 6)}, {"x.npz: 'a\\x00.npy'"});
  check({.stored = 1000, .content = 1000}, {"x.npz: a.npy: 1000 bytes from byte 0 on are beyond"});
  check({.content = 2}, {"x.npz: a.npy: 1 bytes cannot hold the 2"});
  check({.content = 4'000'000'000, .method = 8}, {"1 bytes cannot hold the 4000000000"});
  check({.offset = 5000}, {"beyond the file's"});
  check({.method = 12}, {"a.npy: compression method 12; expected stored or deflated"});
  check({.flags = 1}, {"a.npy: encrypted"});
  check({.members = 2}, {"said to name 2 members"});
  check({.stored = 0xFFFFFFFF}, {"beyond the file's"});
}
