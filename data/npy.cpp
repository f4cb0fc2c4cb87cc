#include "data/npy.h"

#include <cmath>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "data/feature_source.h"
#include "data/npy_elements.h"
#include "data/npy_header.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);

struct TypeFacts {
  NpyType type;
  int64_t bytes;
};

// What to do about a dtype that is none of ours; kind: without the mark of its byte order.
const char* advice(const std::string& kind) {
  if (kind == "V2") return " ('V2' is bfloat16 as ml_dtypes saves it: save x.astype(numpy.float32))";
  if (kind == "f1" || kind == "V1") return " (an 8-bit float as ml_dtypes saves it: save x.astype(numpy.float32))";
  return " (save x.astype(numpy.float32), or numpy.int64 for labels)";
}

TypeFacts type_of(const std::string& descr, const std::string& name) {
  constexpr const char* kExpected = "; expected float16, float32, float64 or an integer of 8 to 64 bits, little-endian";
  constexpr const char* kSwap = " (save x.astype(x.dtype.newbyteorder('<')))";
  require(descr.empty() || descr[0] != '[', name, ": structured dtype ", descr, kExpected,
          " (save its columns as one array of numpy.float32)");
  require(descr.find('O') == std::string::npos, name, ": object dtype '", descr, "'", kExpected, advice(descr));
  require(descr.size() < 2 || descr[0] != '>' || descr == ">u1" || descr == ">i1", name, ": big-endian dtype '", descr,
          "'", kExpected, kSwap);
  const std::string kind =
      !descr.empty() && std::string_view("<|=>").find(descr[0]) != std::string_view::npos ? descr.substr(1) : descr;
  if (kind == "f2") return {NpyType::f2, 2};
  if (kind == "f4") return {NpyType::f4, 4};
  if (kind == "f8") return {NpyType::f8, 8};
  if (kind == "i1") return {NpyType::i1, 1};
  if (kind == "i2") return {NpyType::i2, 2};
  if (kind == "i4") return {NpyType::i4, 4};
  if (kind == "i8") return {NpyType::i8, 8};
  if (kind == "u1") return {NpyType::u1, 1};
  if (kind == "u2") return {NpyType::u2, 2};
  if (kind == "u4") return {NpyType::u4, 4};
  if (kind == "u8") return {NpyType::u8, 8};
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(name, ": dtype '", descr, "'", kExpected, advice(kind)));
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "(";
  for (size_t k = 0; k < shape.size(); ++k) out += text(k ? ", " : "", shape[k]);
  out += shape.size() == 1 ? ",)" : ")";
  return out;
}

NpyView parse_npy(std::span<const std::byte> file, const std::string& name) {
  const std::string_view all(reinterpret_cast<const char*>(file.data()), file.size());
  const auto byte = [&](size_t at) { return std::to_integer<uint32_t>(file[at]); };
  require(all.substr(0, kMagic.size()) == kMagic, name, ": not a .npy file (it does not start with \\x93NUMPY)");
  require(all.size() >= 10, name, ": truncated inside the .npy header: ", all.size(), " bytes");
  const uint32_t version = byte(6);
  require(version >= 1 && version <= 3, name, ": .npy version ", version, ".", byte(7), "; expected 1, 2 or 3");
  const size_t start = version == 1 ? 10 : 12;
  require(all.size() >= start, name, ": truncated inside the .npy header: ", all.size(), " bytes");
  const size_t length =
      version == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  require(length <= all.size() - start, name, ": the .npy header is said to be ", length, " bytes long, but only ",
          all.size() - start, " follow");

  const NpyHeader header = parse_npy_header(all.substr(start, length), name);
  const TypeFacts facts = type_of(header.descr, name);
  int64_t bytes = facts.bytes;
  for (const int64_t extent : header.shape) {
    require(extent == 0 || bytes <= std::numeric_limits<int64_t>::max() / extent, name, ": shape ",
            shape_text(header.shape), " is beyond 2^63 bytes");
    bytes *= extent;
  }
  const auto values = file.subspan(start + length);
  require(static_cast<uint64_t>(bytes) <= values.size(), name, ": truncated: shape ", shape_text(header.shape), " of '",
          header.descr, "' needs ", bytes, " bytes of values, ", values.size(), " are there");
  return {name, facts.type, header.shape, header.fortran_order && header.shape.size() > 1,
          values.first(static_cast<size_t>(bytes))};
}

NpyFile open_npy(const std::filesystem::path& path) {
  NpyFile opened{FileBytes(path), {}};
  opened.view = parse_npy(opened.file->bytes(), path.string());
  return opened;
}

std::vector<int64_t> read_labels(const NpyView& view) {
  require(view.shape.size() == 1, view.name, ": shape ", shape_text(view.shape),
          "; expected whole numbers of one dimension");
  require(view.shape[0] > 0, view.name, ": no rows; expected at least one");
  std::vector<int64_t> out(static_cast<size_t>(view.shape[0]));
  with_elements(view, [&](auto value) {
    for (int64_t i = 0; i < view.shape[0]; ++i) {
      const auto label = value(i);
      using Label = std::remove_const_t<decltype(label)>;
      // Compared in the file's own type: 1e30 must not be cast first, and NaN fails.
      if constexpr (std::is_floating_point_v<Label>) {
        constexpr int64_t kEnd = int64_t{1} << std::numeric_limits<Label>::digits;
        require(label == std::floor(label) && std::abs(label) < static_cast<Label>(kEnd), view.name, ": row ", i,
                " is ", label, "; expected a whole number, below ", kEnd, " in magnitude in a float of this size");
      } else {
        require(std::in_range<int64_t>(label), view.name, ": row ", i, " is ", +label,
                "; expected a whole number below 2^63");
      }
      out[static_cast<size_t>(i)] = static_cast<int64_t>(label);
    }
  });
  return out;
}

std::vector<int64_t> read_labels(const std::filesystem::path& path) {
  const NpyFile opened = open_npy(path);
  return read_labels(opened.view);
}

Features read_features(const NpyView& view, FortranOrder order) {
  const FeatureSource source({std::nullopt, view}, order);
  Features out(source.rows(), source.columns());
  std::vector<double> values(static_cast<size_t>(out.columns));
  for (int64_t i = 0; i < out.rows; ++i) {
    source.read_row(i, values);
    for (size_t k = 0; k < values.size(); ++k) {
      out.row(i)[k] = static_cast<float>(values[k]);
      require(std::isfinite(out.row(i)[k]), view.name, ": row ", i, ", column ", k, " is ", values[k],
              "; expected a number that is finite in float32");
    }
  }
  return out;
}

Features read_features(const std::filesystem::path& path, FortranOrder order) {
  const NpyFile opened = open_npy(path);
  return read_features(opened.view, order);
}

}  // namespace duet::data
