#include "runtime/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "runtime/files/atomic_file.h"
#include "runtime/finite.h"
#include "runtime/json_text.h"
#include "runtime/printable.h"

namespace duet {
namespace {

using Json = nlohmann::json;

constexpr const char* kMetadata = "__metadata__";
constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own limit: a length beyond it is a damaged file

struct DtypeName {
  duet_dtype dtype;
  const char* name;
  int64_t bytes;
  int64_t (*first_not_finite)(const void* values, int64_t count);  // null, as the next: every value is a finite number
  double (*value)(const void* values, int64_t k);
};
constexpr DtypeName kDtypes[] = {{DUET_DTYPE_F32, "F32", 4, first_not_finite<float>, value_at<float>},
                                 {DUET_DTYPE_F64, "F64", 8, first_not_finite<double>, value_at<double>},
                                 {DUET_DTYPE_I32, "I32", 4, nullptr, nullptr},
                                 {DUET_DTYPE_I64, "I64", 8, nullptr, nullptr}};

const DtypeName* by_dtype(duet_dtype dtype) {
  for (const DtypeName& known : kDtypes)
    if (known.dtype == dtype) return &known;
  return nullptr;
}

const DtypeName* by_name(const std::string& name) {
  for (const DtypeName& known : kDtypes)
    if (name == known.name) return &known;
  return nullptr;
}

template <class... Parts>
void require_file(bool condition, const std::filesystem::path& path, const Parts&... parts) {
  if (!condition) throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": ", parts...));
}

std::string shape_text(const std::vector<int64_t>& shape) { return shown_json(shape); }

// Elements of a shape out of a file, or -1 where it holds a negative extent or its bytes do not fit in 63 bits.
int64_t checked_size(const std::vector<int64_t>& shape, int64_t element_bytes) {
  int64_t bytes = element_bytes;
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return -1;
    if (extent == 0) empty = true;
    if (extent > 0 && __builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  }
  return empty ? 0 : bytes / element_bytes;
}

std::vector<int64_t> integers_of(const Json& list, const std::filesystem::path& path, const std::string& name,
                                 const char* what) {
  require_file(list.is_array(), path, "tensor ", name, ": expected a list of integers as ", what);
  std::vector<int64_t> out;
  for (const Json& entry : list) {
    // An unsigned number above the largest int64 would wrap: no extent and no offset is that large.
    require_file(entry.is_number_integer() && (!entry.is_number_unsigned() || entry.get<uint64_t>() <= INT64_MAX), path,
                 "tensor ", name, ": expected integers as ", what, ", got ", shown_json(entry));
    out.push_back(entry.get<int64_t>());
  }
  return out;
}

std::vector<std::byte> read_all(const std::filesystem::path& path) {
  std::error_code ignored;
  require_file(std::filesystem::is_regular_file(path, ignored), path, "is no file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  require_file(file.good(), path, "cannot be opened");
  const std::streamoff size = file.tellg();
  require_file(size >= 0, path, "has no length");
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  require_file(file.good(), path, "cannot be read");
  return bytes;
}

std::string header_text(const nlohmann::ordered_json& header) {
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors start at a multiple of 8
    return text;
  } catch (const Json::exception& error) {  // a name or a value that is no UTF-8
    throw Error(DUET_STATUS_INVALID_ARGUMENT, error.what());
  }
}

Json parse_header(const std::vector<std::byte>& bytes, const std::filesystem::path& path, size_t& data_start) {
  require_file(bytes.size() >= 8, path, "expected at least 8 bytes, got ", bytes.size());
  uint64_t length = 0;
  for (size_t k = 0; k < 8; ++k) length |= uint64_t{std::to_integer<uint8_t>(bytes[k])} << (8 * k);
  require_file(length <= kLargestHeader && length <= bytes.size() - 8, path, "its header claims ", length,
               " bytes, the file holds ", bytes.size() - 8);
  data_start = 8 + static_cast<size_t>(length);
  const auto* start = reinterpret_cast<const char*>(bytes.data()) + 8;
  Json header;
  try {
    header = read_json({start, static_cast<size_t>(length)});
  } catch (const JsonError& error) {
    require_file(false, path, "its header is no JSON object: ", error.with_key());
  }
  require_file(header.is_object(), path, "its header is no JSON object");
  return header;
}

}  // namespace

int64_t NamedArray::size() const {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  return elements;
}

std::string first_not_finite(std::span<const NamedArray> arrays) {
  for (const NamedArray& array : arrays) {
    const DtypeName* dtype = by_dtype(array.dtype);
    const int64_t at =
        dtype != nullptr && dtype->first_not_finite != nullptr ? dtype->first_not_finite(array.data, array.size()) : -1;
    if (at >= 0)
      return text("tensor ", shown(array.name), ": element ", at, " is ",
                  not_finite_name(dtype->value(array.data, at)));
  }
  return "";
}

Checksum write_safetensors(const std::filesystem::path& path, std::span<const NamedArray> arrays,
                           const Metadata& metadata, Values values) {
  // Keys in the order of their data, as readers of the format expect them.
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  int64_t offset = 0;
  for (const NamedArray& array : arrays) {
    const DtypeName* dtype = by_dtype(array.dtype);
    require(dtype != nullptr, "tensor ", array.name, ": expected f32, f64, i32 or i64");
    require(array.name != kMetadata && !header.contains(array.name), "tensor ", array.name, ": its name is taken");
    require(checked_size(array.shape, dtype->bytes) >= 0, "tensor ", array.name, ": expected a shape, got ",
            shape_text(array.shape));
    require(array.data != nullptr || array.size() == 0, "tensor ", array.name, ": null data");
    const int64_t end = offset + array.size() * dtype->bytes;
    header[array.name] = {{"dtype", dtype->name}, {"shape", array.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  const std::string text = header_text(header);
  const std::string fault = values == Values::finite ? first_not_finite(arrays) : "";
  require(fault.empty(), path.string(), ": not written: ", fault);

  AtomicFile file(path);
  Checksum checksum;
  const auto write = [&](const void* data, size_t bytes) {
    file.write(data, bytes);
    checksum.add(data, bytes);
  };
  unsigned char length[8];
  for (size_t k = 0; k < 8; ++k) length[k] = static_cast<unsigned char>(text.size() >> (8 * k));
  write(length, sizeof length);
  write(text.data(), text.size());
  for (const NamedArray& array : arrays)
    if (array.size() > 0) write(array.data, static_cast<size_t>(array.size() * by_dtype(array.dtype)->bytes));
  file.commit();
  return checksum;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), bytes_(read_all(path)) {
  size_t data_start = 0;
  const Json header = parse_header(bytes_, path, data_start);
  const auto data_bytes = static_cast<int64_t>(bytes_.size() - data_start);
  struct Span {
    int64_t begin, end;
  };
  std::vector<std::pair<Span, NamedArray>> found;
  for (const auto& [key, entry] : header.items()) {
    const std::string name = shown(key);
    if (key == kMetadata) {
      require_file(entry.is_object(), path, kMetadata, " is no JSON object");
      for (const auto& [word, value] : entry.items()) {
        require_file(value.is_string(), path, kMetadata, " ", shown(word), ": expected a string");
        metadata_[word] = value.get<std::string>();
      }
      continue;
    }
    require_file(entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() &&
                     entry.contains("shape") && entry.contains("data_offsets"),
                 path, "tensor ", name, ": expected dtype, shape and data_offsets");
    const auto dtype_text = entry["dtype"].get<std::string>();
    const DtypeName* dtype = by_name(dtype_text);
    require_file(dtype != nullptr, path, "tensor ", name, ": expected dtype F32, F64, I32 or I64, got ",
                 shown(dtype_text));
    NamedArray array{key, dtype->dtype, integers_of(entry["shape"], path, name, "shape"), nullptr};
    const std::vector<int64_t> offsets = integers_of(entry["data_offsets"], path, name, "data_offsets");
    const int64_t size = checked_size(array.shape, dtype->bytes);
    require_file(size >= 0, path, "tensor ", name, ": impossible shape ", shape_text(array.shape));
    require_file(offsets.size() == 2 && offsets[0] >= 0 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes, path,
                 "tensor ", name, ": expected data_offsets within ", data_bytes, " bytes, got ", shape_text(offsets));
    require_file(offsets[1] - offsets[0] == size * dtype->bytes, path, "tensor ", name, ": expected ",
                 size * dtype->bytes, " bytes for shape ", shape_text(array.shape), ", got ", offsets[1] - offsets[0]);
    array.data = bytes_.data() + data_start + offsets[0];
    found.push_back({{offsets[0], offsets[1]}, std::move(array)});
  }
  std::sort(found.begin(), found.end(), [](const auto& x, const auto& y) {
    return x.first.begin != y.first.begin ? x.first.begin < y.first.begin : x.first.end < y.first.end;
  });
  int64_t expected = 0;
  for (auto& [span, array] : found) {
    require_file(span.begin == expected, path, "tensor ", shown(array.name), ": its data starts at ", span.begin,
                 ", expected ", expected);
    expected = span.end;
    arrays_.push_back(std::move(array));
  }
  require_file(expected == data_bytes, path, "expected ", expected, " bytes of data, got ", data_bytes);
}

const NamedArray* SafetensorsFile::find(const std::string& name) const {
  const auto at =
      std::find_if(arrays_.begin(), arrays_.end(), [&](const NamedArray& array) { return array.name == name; });
  return at == arrays_.end() ? nullptr : &*at;
}

void SafetensorsFile::read(const std::string& name, duet_dtype dtype, const std::vector<int64_t>& shape,
                           void* to) const {
  const NamedArray* array = find(name);
  require_file(array != nullptr, path_, "tensor ", name, " is missing");
  const DtypeName* wanted = by_dtype(dtype);
  require(wanted != nullptr, "tensor ", name, ": expected f32, f64, i32 or i64");
  require_file(array->dtype == dtype, path_, "tensor ", name, ": expected dtype ", wanted->name, ", got ",
               by_dtype(array->dtype)->name);
  require_file(array->shape == shape, path_, "tensor ", name, ": expected shape ", shape_text(shape), ", got ",
               shape_text(array->shape));
  const auto bytes = static_cast<size_t>(array->size() * wanted->bytes);
  if (bytes > 0) std::memcpy(to, array->data, bytes);
}

std::vector<NamedArray> named_arrays(const ParameterStore& store, std::span<const float> values,
                                     const std::string& prefix) {
  std::vector<NamedArray> arrays;
  for (int64_t number = 0; number < store.count(); ++number) {
    const Parameter& parameter = store.parameter(number);
    arrays.push_back({prefix + parameter.name, DUET_DTYPE_F32, parameter.shape, values.data() + parameter.offset});
  }
  return arrays;
}

void read_parameters(const SafetensorsFile& file, ParameterStore& store, ParameterKind kind, const std::string& prefix,
                     const std::string& except) {
  std::vector<float> values = store.read(kind);
  for (int64_t number = 0; number < store.count(); ++number) {
    const Parameter& parameter = store.parameter(number);
    if (parameter.name == except) continue;
    file.read(prefix + parameter.name, DUET_DTYPE_F32, parameter.shape, values.data() + parameter.offset);
  }
  store.write(kind, values);
}

}  // namespace duet
