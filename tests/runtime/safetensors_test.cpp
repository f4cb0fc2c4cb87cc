#include "runtime/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "kernels/core/error.h"

using namespace duet;
namespace fs = std::filesystem;

namespace {

// A folder of this test's own, gone afterwards.
struct Folder {
  fs::path path = fs::path(DUET_BINARY_DIR) / "safetensors_test";
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
};

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// A file with this header and this many bytes of data.
std::string file_of(const std::string& header, size_t data_bytes) {
  std::string out;
  for (size_t k = 0; k < 8; ++k) out += static_cast<char>(header.size() >> (8 * k));
  return out + header + std::string(data_bytes, '\1');
}

std::string failure(const fs::path& path) {
  try {
    const SafetensorsFile file(path);
  } catch (const Error& error) {
    CHECK(error.status() == DUET_STATUS_IO_ERROR);
    return error.what();
  }
  return "";
}

const float kWeights[6] = {1, 2, 3, 4, 5, 6.5f};
const int32_t kLabels[3] = {-1, 0, 7};
const double kMeans[2] = {1e8 + 1e-8, -0x1p-1074};
const int64_t kStep[1] = {int64_t{1} << 40};

std::vector<NamedArray> arrays() {
  return {{"encoder_a.layer0.weight", DUET_DTYPE_F32, {2, 3}, kWeights},
          {"labels", DUET_DTYPE_I32, {3}, kLabels},
          {"nothing", DUET_DTYPE_F32, {0, 4}, nullptr},
          {"mean", DUET_DTYPE_F64, {2}, kMeans},
          {"step", DUET_DTYPE_I64, {}, kStep}};
}

}  // namespace

TEST_CASE("safetensors round trip") {
  Folder folder;
  const fs::path path = folder.path / "model.safetensors";
  const Metadata metadata = {{"config", "{\"a\": \"\\u00e4 \xc3\xa4\"}"}, {"seed", "3"}};
  for (int twice = 0; twice < 2; ++twice) write_safetensors(path, arrays(), metadata);  // over an existing file too
  CHECK(folder.files() == 1);
  const std::string bytes = bytes_of(path);
  CHECK((static_cast<unsigned char>(bytes[0]) + 256u * static_cast<unsigned char>(bytes[1])) % 8 == 0);

  const SafetensorsFile file(path);
  CHECK(file.metadata() == metadata);
  REQUIRE(file.arrays().size() == 5);
  CHECK(file.find("labels")->size() == 3);
  CHECK(file.find("step")->size() == 1);
  CHECK(file.find("absent") == nullptr);
  float weights[6];
  int32_t labels[3];
  int64_t step[1];
  file.read("encoder_a.layer0.weight", DUET_DTYPE_F32, {2, 3}, weights);
  file.read("labels", DUET_DTYPE_I32, {3}, labels);
  double means[2];
  file.read("mean", DUET_DTYPE_F64, {2}, means);
  CHECK(std::memcmp(means, kMeans, sizeof means) == 0);
  file.read("step", DUET_DTYPE_I64, {}, step);
  file.read("nothing", DUET_DTYPE_F32, {0, 4}, nullptr);
  CHECK(std::memcmp(weights, kWeights, sizeof weights) == 0);
  CHECK(std::memcmp(labels, kLabels, sizeof labels) == 0);
  CHECK(step[0] == kStep[0]);
}

TEST_CASE("safetensors has the layout of the format") {
  Folder folder;
  const fs::path path = folder.path / "one.safetensors";
  const std::vector<NamedArray> one = {{"x", DUET_DTYPE_F32, {2}, kWeights}};
  write_safetensors(path, one);
  std::string header = R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string expected = file_of(header, 0);
  expected.append(reinterpret_cast<const char*>(kWeights), 8);
  CHECK(bytes_of(path) == expected);
}

TEST_CASE("safetensors metadata may be null, and tensors named in any order") {
  Folder folder;
  const fs::path path = folder.path / "other.safetensors";
  put(path, file_of(R"({"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"__metadata__":null,)"
                    R"("x":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}   )",
                    8));
  const SafetensorsFile file(path);
  CHECK(file.metadata().empty());
  REQUIRE(file.arrays().size() == 2);
  CHECK(file.arrays()[0].name == "x");
}

TEST_CASE("reading the wrong tensor is named") {
  Folder folder;
  const fs::path path = folder.path / "model.safetensors";
  write_safetensors(path, arrays());
  const SafetensorsFile file(path);
  float out[6];
  CHECK_THROWS_WITH_AS(file.read("absent", DUET_DTYPE_F32, {2, 3}, out), doctest::Contains("tensor absent is missing"),
                       Error);
  CHECK_THROWS_WITH_AS(file.read("labels", DUET_DTYPE_F32, {3}, out),
                       doctest::Contains("tensor labels: expected dtype F32, got I32"), Error);
  CHECK_THROWS_WITH_AS(file.read("encoder_a.layer0.weight", DUET_DTYPE_F32, {3, 2}, out),
                       doctest::Contains("expected shape [3,2], got [2,3]"), Error);
  CHECK_THROWS_WITH_AS(file.read("absent", DUET_DTYPE_F32, {1}, out), doctest::Contains("model.safetensors"), Error);
}

TEST_CASE("the first element that is not finite is named, wherever it lies") {
  Folder folder;
  const fs::path path = folder.path / "odd.safetensors";
  // Two bytes of padding before it: the tensor is not aligned.
  const std::string nan("\0\0\xc0\x7f", 4);
  std::string bytes = file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}, )"
                              R"("y":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                              12);
  put(path, bytes + nan);
  CHECK(first_not_finite(SafetensorsFile(path).arrays()) == "tensor y: element 1 is nan");
  put(path, bytes + std::string(4, '\1'));
  CHECK(first_not_finite(SafetensorsFile(path).arrays()).empty());
}

TEST_CASE("what cannot be written is refused and leaves the old file alone") {
  Folder folder;
  const fs::path path = folder.path / "model.safetensors";
  put(path, "old");
  const auto refused = [&](const std::vector<NamedArray>& given, const Metadata& metadata = {}) {
    CHECK_THROWS_AS(write_safetensors(path, given, metadata), Error);
    CHECK(bytes_of(path) == "old");
    CHECK(folder.files() == 1);
  };
  refused({{"x", DUET_DTYPE_F32, {1}, kWeights}, {"x", DUET_DTYPE_F32, {1}, kWeights}});
  refused({{"__metadata__", DUET_DTYPE_F32, {1}, kWeights}});
  refused({{"x", DUET_DTYPE_U32, {1}, kWeights}});
  refused({{"x", DUET_DTYPE_F32, {-1}, kWeights}});
  refused({{"x", DUET_DTYPE_F32, {1}, nullptr}});
  refused({{"\xff", DUET_DTYPE_F32, {1}, kWeights}});
  refused({}, {{"key", "\xff"}});
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    const float values[3] = {1, 2, bad};
    std::ostringstream number;
    number << bad;
    refused({{"x", DUET_DTYPE_F32, {1}, kWeights}, {"encoder.weight", DUET_DTYPE_F32, {1, 3}, values}});
    CHECK_THROWS_WITH_AS(
        write_safetensors(path, std::vector<NamedArray>{{"encoder.weight", DUET_DTYPE_F32, {1, 3}, values}}),
        doctest::Contains(
            ("model.safetensors: not written: tensor encoder.weight: element 2 is " + number.str()).c_str()),
        Error);
  }
  CHECK_THROWS_WITH_AS(write_safetensors(folder.path / "absent" / "model.safetensors", arrays()),
                       doctest::Contains("cannot be created"), Error);
  fs::create_directory(folder.path / "taken");
  CHECK_THROWS_WITH_AS(write_safetensors(folder.path / "taken", arrays()), doctest::Contains("cannot be renamed"),
                       Error);
  CHECK(folder.files() == 2);  // no temporary file stays behind
}

TEST_CASE("damaged files are refused with the file's and the tensor's name") {
  Folder folder;
  const fs::path path = folder.path / "damaged.safetensors";
  CHECK(failure(path).find("is no file") != std::string::npos);
  CHECK(failure(folder.path).find("is no file") != std::string::npos);
  const auto x = [](const std::string& entry) { return "{\"x\":" + entry + "}"; };
  const struct {
    std::string bytes, part;
  } cases[] = {
      {"", "at least 8 bytes"},
      {"1234567", "at least 8 bytes"},
      {std::string(8, '\xff') + "{}", "its header claims"},
      {std::string("\x03\0\0\0\0\0\0\0{}", 10), "its header claims 3 bytes"},
      {file_of("[]", 0), "no JSON object"},
      {file_of("{\"x\":", 0), "no JSON object"},
      {file_of(x("3"), 0), "tensor x: expected dtype"},
      {file_of(x(R"({"dtype":"F32","shape":[1]})"), 4), "tensor x: expected dtype"},
      {file_of(x(R"({"dtype":"F16","shape":[4],"data_offsets":[0,8]})"), 8),
       "tensor x: expected dtype F32, F64, I32 or I64, got F16"},
      {file_of(x(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), 8), "tensor x: expected a list"},
      {file_of(x(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,8]})"), 8), "tensor x: expected integers as shape"},
      {file_of(x(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), 8), "tensor x: impossible shape [-2]"},
      {file_of(x(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})"), 0),
       "tensor x: impossible shape"},
      {file_of(x(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0]})"), 0),
       "tensor x: expected integers"},
      {file_of(x(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), 8), "tensor x: expected data_offsets within 8"},
      {file_of(x(R"({"dtype":"F32","shape":[2],"data_offsets":[0,12]})"), 8),
       "tensor x: expected data_offsets within 8"},
      {file_of(x(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), 8),
       "tensor x: expected data_offsets within 8"},
      {file_of(x(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), 8),
       "tensor x: expected data_offsets within 8"},
      {file_of(x(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), 8), "tensor x: expected 12 bytes"},
      {file_of(x(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), 8),
       "tensor x: its data starts at 4, expected 0"},
      {file_of(x(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 9), "expected 8 bytes of data, got 9"},
      {file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
               12),
       "tensor y: its data starts at 4"},
      {file_of(R"({"__metadata__":{"a":1}})", 0), "__metadata__ a: expected a string"},
      {file_of(x("{\"dtype\":\"F32\",\"shape\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"), 0),
       "x: lists and objects nested"},
      {file_of(x(R"({"dtype":"F32","shape":[[[1]]],"data_offsets":[0,4]})"), 4),
       "tensor x: expected integers as shape, got [[1]]"},
      {file_of(x(R"({"dtype":"F32","shape":[1e400],"data_offsets":[0,4]})"), 4), "got 1e400"},
      {file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("x":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}})",
               8),
       "given twice"},
      {file_of(x("{\"dtype\":\"" + std::string(5000, 'F') + "\",\"shape\":[1],\"data_offsets\":[0,4]}"), 4),
       "got " + std::string(60, 'F') + "..."},
      {file_of("{\"" + std::string(5000, 'n') + "\":3}", 0), "tensor " + std::string(60, 'n') + "...: expected dtype"},
      {file_of(R"({"__metadata__":[]})", 0), "__metadata__ is no JSON object"},
  };
  for (const auto& damaged : cases) {
    CAPTURE(damaged.part);
    put(path, damaged.bytes);
    const std::string message = failure(path);
    CHECK_MESSAGE(message.find(damaged.part) != std::string::npos, message);
    CHECK(message.find("damaged.safetensors") != std::string::npos);
    CHECK(message.size() < path.string().size() + 300);
  }
  // Every truncation of a good file is refused.
  write_safetensors(path, arrays(), {{"seed", "3"}});
  const std::string whole = bytes_of(path);
  for (size_t length = 0; length < whole.size(); ++length) {
    put(path, whole.substr(0, length));
    CHECK(failure(path) != "");
  }
}
