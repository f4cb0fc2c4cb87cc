#include "data/npy.h"

#include <charconv>
#include <cmath>
#include <memory>
#include <string_view>
#include <utility>

#include "data/feature_source.h"
#include "data/npy_header.h"
#include "kernels/core/error.h"
#include "runtime/files/file_bytes.h"

namespace duet::data {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);

// What to do about a dtype that is none of ours; kind: without the mark of its byte order.
const char* advice(const std::string& kind) {
  if (kind == "V2") return " ('V2' is bfloat16 as ml_dtypes saves it: save x.astype(numpy.float32))";
  if (kind == "f1" || kind == "V1") return " (an 8-bit float as ml_dtypes saves it: save x.astype(numpy.float32))";
  return " (save x.astype(numpy.float32), or numpy.int64 for labels)";
}

// Sets type, width and byte order.
void set_type(ArrayView& view, const std::string& descr) {
  constexpr const char* kExpected =
      "; expected float16, float32, float64, an integer of 8 to 64 bits, bool or strings of fixed width";
  require(descr.empty() || descr[0] != '[', view.name, ": structured dtype ", descr, kExpected,
          " (save its columns as one array of numpy.float32)");
  require(descr.find('O') == std::string::npos, view.name, ": object dtype '", descr, "'", kExpected, advice(descr));
  const bool marked = !descr.empty() && std::string_view("<|=>").find(descr[0]) != std::string_view::npos;
  const std::string kind = marked ? descr.substr(1) : descr;
  view.big_endian = marked && descr[0] == '>';
  constexpr std::pair<const char*, ElementType> kTypes[] = {
      {"f2", ElementType::f2}, {"f4", ElementType::f4}, {"f8", ElementType::f8}, {"b1", ElementType::b1},
      {"i1", ElementType::i1}, {"i2", ElementType::i2}, {"i4", ElementType::i4}, {"i8", ElementType::i8},
      {"u1", ElementType::u1}, {"u2", ElementType::u2}, {"u4", ElementType::u4}, {"u8", ElementType::u8}};
  for (const auto& [name, type] : kTypes)
    if (kind == name) {
      view.type = type;
      return;
    }
  if (!kind.empty() && (kind[0] == 'S' || kind[0] == 'U')) {
    constexpr int64_t kLongest = 1 << 20;  // characters; NumPy's own limit of a string's bytes is 2^31 - 1
    int64_t length = 0;
    const auto [stop, error] = std::from_chars(kind.data() + 1, kind.data() + kind.size(), length);
    if (error == std::errc() && stop == kind.data() + kind.size() && length >= 0 && length <= kLongest) {
      view.type = kind[0] == 'S' ? ElementType::bytes : ElementType::utf32;
      view.width = kind[0] == 'S' ? length : 4 * length;
      return;
    }
  }
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(view.name, ": dtype '", descr, "'", kExpected, advice(kind)));
}

}  // namespace

ArrayView parse_npy(std::span<const std::byte> file, const std::string& name) {
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
  ArrayView view{.name = name, .shape = header.shape};
  set_type(view, header.descr);
  view.fortran_order = header.fortran_order && header.shape.size() > 1;
  const int64_t bytes = checked_bytes(header.shape, element_bytes(view), name);
  const auto values = file.subspan(start + length);
  require(static_cast<uint64_t>(bytes) <= values.size(), name, ": truncated: shape ", shape_text(header.shape), " of '",
          header.descr, "' needs ", bytes, " bytes of values, ", values.size(), " are there");
  view.values = values.first(static_cast<size_t>(bytes));
  return view;
}

StoredArray open_npy(const std::filesystem::path& path) {
  const auto file = std::make_shared<const FileBytes>(path);
  return {file, parse_npy(file->bytes(), path.string()), file->mapping()};
}

Features read_features(const ArrayView& view) {
  const FeatureSource source({nullptr, view});
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

Features read_features(const std::filesystem::path& path) {
  const StoredArray opened = open_npy(path);
  return read_features(opened.view);
}

}  // namespace duet::data
