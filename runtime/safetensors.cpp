#include "runtime/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "runtime/files/atomic_file.h"
#include "runtime/files/safetensors_header.h"
#include "runtime/finite.h"
#include "runtime/json_text.h"
#include "runtime/printable.h"

namespace duet {
namespace {

constexpr const char* kMetadata = "__metadata__";

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
  } catch (const nlohmann::json::exception& error) {  // a name or a value that is no UTF-8
    throw Error(DUET_STATUS_INVALID_ARGUMENT, error.what());
  }
}

std::vector<SafetensorsDtype> known_dtypes() {
  std::vector<SafetensorsDtype> out;
  for (const DtypeName& known : kDtypes) out.push_back({known.name, known.bytes});
  return out;
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
    require(tensor_bytes(array.shape, dtype->bytes) >= 0, "tensor ", array.name, ": expected a shape, got ",
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
  SafetensorsHeader header = read_safetensors_header(bytes_, bytes_.size(), path, known_dtypes());
  metadata_ = std::move(header.metadata);
  for (TensorEntry& tensor : header.tensors)
    arrays_.push_back({std::move(tensor.name), by_name(tensor.dtype)->dtype, std::move(tensor.shape),
                       bytes_.data() + header.data_start + tensor.begin});
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
