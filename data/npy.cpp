#include "data/npy.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "data/mapped_file.h"
#include "data/npy_header.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

static_assert(std::endian::native == std::endian::little, "values are read as they lie in the file");

constexpr std::string_view kMagic("\x93NUMPY", 6);

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "(";
  for (size_t k = 0; k < shape.size(); ++k) out += text(k ? ", " : "", shape[k]);
  out += shape.size() == 1 ? ",)" : ")";
  return out;
}

struct TypeFacts {
  NpyType type;
  int64_t bytes;
};

TypeFacts type_of(const std::string& descr, const std::string& name) {
  constexpr const char* kExpected = "; expected float16, float32, float64, uint8, int32 or int64, little-endian";
  require(descr.empty() || descr[0] != '[', name, ": structured dtype ", descr, kExpected);
  require(descr.find('O') == std::string::npos, name, ": object dtype '", descr, "'", kExpected);
  require(descr.size() < 2 || descr[0] != '>' || descr == ">u1" || descr == ">i1", name, ": big-endian dtype '", descr, "'", kExpected);
  const std::string kind = !descr.empty() && std::string_view("<|=>").find(descr[0]) != std::string_view::npos ? descr.substr(1) : descr;
  if (kind == "u1") return {NpyType::u1, 1};
  if (kind == "f2") return {NpyType::f2, 2};
  if (kind == "f4") return {NpyType::f4, 4};
  if (kind == "f8") return {NpyType::f8, 8};
  if (kind == "i4") return {NpyType::i4, 4};
  if (kind == "i8") return {NpyType::i8, 8};
  throw Error(DUET_INVALID_ARGUMENT, text(name, ": dtype '", descr, "'", kExpected));
}

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3FFu;
  if (exponent == 0) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f));  // 0 and subnormals
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

// Element k of values that need not be aligned.
template <class T>
T element(const std::byte* values, int64_t k) {
  T value;
  std::memcpy(&value, values + k * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// Calls body with a function from an element's number to its value, in the file's type (float for f2).
template <class Body>
void with_elements(const NpyView& view, Body&& body) {
  const std::byte* const values = view.values.data();
  switch (view.type) {
    case NpyType::f2: return body([values](int64_t k) { return half_to_float(element<uint16_t>(values, k)); });
    case NpyType::f4: return body([values](int64_t k) { return element<float>(values, k); });
    case NpyType::f8: return body([values](int64_t k) { return element<double>(values, k); });
    case NpyType::u1: return body([values](int64_t k) { return element<uint8_t>(values, k); });
    case NpyType::i4: return body([values](int64_t k) { return element<int32_t>(values, k); });
    case NpyType::i8: return body([values](int64_t k) { return element<int64_t>(values, k); });
  }
}

}  // namespace

NpyView parse_npy(std::span<const std::byte> file, const std::string& name) {
  const std::string_view all(reinterpret_cast<const char*>(file.data()), file.size());
  const auto byte = [&](size_t at) { return std::to_integer<uint32_t>(file[at]); };
  require(all.substr(0, kMagic.size()) == kMagic, name, ": not a .npy file (it does not start with \\x93NUMPY)");
  require(all.size() >= 10, name, ": truncated inside the .npy header: ", all.size(), " bytes");
  const uint32_t version = byte(6);
  require(version >= 1 && version <= 3, name, ": .npy version ", version, ".", byte(7), "; expected 1, 2 or 3");
  const size_t start = version == 1 ? 10 : 12;
  require(all.size() >= start, name, ": truncated inside the .npy header: ", all.size(), " bytes");
  const size_t length = version == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  require(length <= all.size() - start, name, ": the .npy header is said to be ", length, " bytes long, but only ", all.size() - start, " follow");

  const NpyHeader header = parse_npy_header(all.substr(start, length), name);
  const TypeFacts facts = type_of(header.descr, name);
  require(!header.fortran_order || header.shape.size() < 2, name, ": Fortran order; expected C order (save numpy.ascontiguousarray of it)");
  int64_t bytes = facts.bytes;
  for (const int64_t extent : header.shape) {
    require(extent == 0 || bytes <= std::numeric_limits<int64_t>::max() / extent, name, ": shape ", shape_text(header.shape),
            " is beyond 2^63 bytes");
    bytes *= extent;
  }
  const auto values = file.subspan(start + length);
  require(static_cast<uint64_t>(bytes) <= values.size(), name, ": truncated: shape ", shape_text(header.shape), " of '", header.descr, "' needs ",
          bytes, " bytes of values, ", values.size(), " are there");
  return {name, facts.type, header.shape, values.first(static_cast<size_t>(bytes))};
}

Features read_features(const NpyView& view) {
  require(view.shape.size() == 2, view.name, ": shape ", shape_text(view.shape), "; expected features of two dimensions, rows x columns");
  require(view.shape[0] > 0 && view.shape[1] > 0, view.name, ": shape ", shape_text(view.shape), "; expected at least one row and one column");
  Features out(view.shape[0], view.shape[1]);
  with_elements(view, [&](auto value) {
    for (int64_t i = 0; i < out.rows; ++i) {
      float* const row = out.row(i);
      bool finite = true;
      for (int64_t k = 0; k < out.columns; ++k) {
        row[k] = static_cast<float>(value(i * out.columns + k));
        finite &= std::isfinite(row[k]);
      }
      if (finite) continue;
      int64_t k = 0;
      while (std::isfinite(row[k])) ++k;
      throw Error(DUET_INVALID_ARGUMENT, text(view.name, ": row ", i, ", column ", k, " is ", static_cast<double>(value(i * out.columns + k)),
                                              "; expected a number that is finite in float32"));
    }
  });
  return out;
}

std::vector<int32_t> read_labels(const NpyView& view) {
  require(view.shape.size() == 1, view.name, ": shape ", shape_text(view.shape), "; expected labels of one dimension");
  require(view.shape[0] > 0, view.name, ": no rows; expected at least one label");
  std::vector<int32_t> out(static_cast<size_t>(view.shape[0]));
  with_elements(view, [&](auto value) {
    for (int64_t i = 0; i < view.shape[0]; ++i) {
      const auto label = value(i);
      // Compared in the file's own type: a float label of 1e30 must not be cast first, NaN fails both.
      bool good = label >= decltype(label)(-1 + std::is_unsigned_v<decltype(label)>);
      if constexpr (sizeof(label) > 1) good = good && label <= decltype(label){kLargestLabel};
      if constexpr (std::is_floating_point_v<decltype(label)>) good = good && label == std::floor(label);
      require(good, view.name, ": row ", i, " has label ", +label, "; expected a whole number from -1 (unlabelled) to ", kLargestLabel);
      out[static_cast<size_t>(i)] = static_cast<int32_t>(label);
    }
  });
  return out;
}

Features read_features(const std::filesystem::path& path) {
  const MappedFile file(path);
  return read_features(parse_npy(file.bytes(), path.string()));
}

std::vector<int32_t> read_labels(const std::filesystem::path& path) {
  const MappedFile file(path);
  return read_labels(parse_npy(file.bytes(), path.string()));
}

}  // namespace duet::data
