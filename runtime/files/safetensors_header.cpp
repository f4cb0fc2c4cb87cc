#include "runtime/files/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "kernels/core/error.h"
#include "runtime/json_text.h"
#include "runtime/printable.h"

namespace duet {
namespace {

using Json = nlohmann::json;

constexpr const char* kMetadata = "__metadata__";
constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own limit: a length beyond it is a damaged file

template <class... Parts>
void require_file(bool condition, const std::filesystem::path& path, const Parts&... parts) {
  if (!condition) throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": ", parts...));
}

std::vector<int64_t> integers_of(const Json& list, const std::filesystem::path& path, const std::string& name,
                                 const char* what) {
  require_file(list.is_array(), path, "tensor ", name, ": expected a list of integers as ", what);
  std::vector<int64_t> out;
  for (const Json& entry : list) {
    const std::optional<int64_t> number = whole_number(entry);
    require_file(number.has_value(), path, "tensor ", name, ": expected integers as ", what, ", got ",
                 shown_json(entry));
    out.push_back(*number);
  }
  return out;
}

// "F32, F64 or I64".
std::string names_of(std::span<const SafetensorsDtype> dtypes) {
  std::string out;
  for (size_t k = 0; k < dtypes.size(); ++k)
    out += text(k == 0 ? "" : k + 1 < dtypes.size() ? ", " : " or ", dtypes[k].name);
  return out;
}

TensorEntry read_entry(const std::string& key, const Json& entry, int64_t data_bytes, const std::filesystem::path& path,
                       std::span<const SafetensorsDtype> dtypes) {
  const std::string name = shown(key);
  require_file(entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() && entry.contains("shape") &&
                   entry.contains("data_offsets"),
               path, "tensor ", name, ": expected dtype, shape and data_offsets");
  TensorEntry tensor{.name = key, .dtype = entry["dtype"].get<std::string>()};
  const auto dtype = std::ranges::find_if(dtypes, [&](const auto& known) { return tensor.dtype == known.name; });
  require_file(dtype != dtypes.end(), path, "tensor ", name, ": expected dtype ", names_of(dtypes), ", got ",
               shown(tensor.dtype));
  tensor.shape = integers_of(entry["shape"], path, name, "shape");
  const std::vector<int64_t> offsets = integers_of(entry["data_offsets"], path, name, "data_offsets");
  const int64_t bytes = tensor_bytes(tensor.shape, dtype->bytes);
  require_file(bytes >= 0, path, "tensor ", name, ": impossible shape ", shown_json(tensor.shape));
  require_file(offsets.size() == 2 && offsets[0] >= 0 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes, path,
               "tensor ", name, ": expected data_offsets within ", data_bytes, " bytes, got ", shown_json(offsets));
  require_file(offsets[1] - offsets[0] == bytes, path, "tensor ", name, ": expected ", bytes, " bytes for shape ",
               shown_json(tensor.shape), ", got ", offsets[1] - offsets[0]);
  tensor.begin = offsets[0];
  tensor.end = offsets[1];
  return tensor;
}

// null, as some writers have it, is no metadata.
std::map<std::string, std::string> read_metadata(const Json& entry, const std::filesystem::path& path) {
  std::map<std::string, std::string> out;
  if (entry.is_null()) return out;
  require_file(entry.is_object(), path, kMetadata, " is no JSON object");
  for (const auto& [word, value] : entry.items()) {
    require_file(value.is_string(), path, kMetadata, " ", shown(word), ": expected a string");
    out[word] = value.get<std::string>();
  }
  return out;
}

}  // namespace

int64_t tensor_bytes(const std::vector<int64_t>& shape, int64_t element_bytes) {
  int64_t bytes = element_bytes;
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return -1;
    if (extent == 0) empty = true;
    if (extent > 0 && __builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  }
  return empty ? 0 : bytes;
}

size_t safetensors_data_start(std::span<const std::byte> start, uint64_t file_bytes,
                              const std::filesystem::path& path) {
  require_file(file_bytes >= 8 && start.size() >= 8, path, "expected at least 8 bytes, got ", file_bytes);
  uint64_t length = 0;
  for (size_t k = 0; k < 8; ++k) length |= uint64_t{std::to_integer<uint8_t>(start[k])} << (8 * k);
  require_file(length <= kLargestHeader && length <= file_bytes - 8, path, "its header claims ", length,
               " bytes, the file holds ", file_bytes - 8);
  return 8 + static_cast<size_t>(length);
}

SafetensorsHeader read_safetensors_header(std::span<const std::byte> start, uint64_t file_bytes,
                                          const std::filesystem::path& path, std::span<const SafetensorsDtype> dtypes) {
  SafetensorsHeader out;
  out.data_start = safetensors_data_start(start, file_bytes, path);
  const auto data_bytes = static_cast<int64_t>(file_bytes - out.data_start);
  Json header;
  try {
    header = read_json({reinterpret_cast<const char*>(start.data()) + 8, out.data_start - 8});
  } catch (const JsonError& error) {
    require_file(false, path, "its header is no JSON object: ", error.with_key());
  }
  require_file(header.is_object(), path, "its header is no JSON object");
  for (const auto& [key, entry] : header.items()) {
    if (key == kMetadata)
      out.metadata = read_metadata(entry, path);
    else
      out.tensors.push_back(read_entry(key, entry, data_bytes, path, dtypes));
  }
  std::ranges::sort(out.tensors, [](const TensorEntry& x, const TensorEntry& y) {
    return std::tie(x.begin, x.end) < std::tie(y.begin, y.end);
  });
  int64_t expected = 0;
  for (const TensorEntry& tensor : out.tensors) {
    require_file(tensor.begin == expected, path, "tensor ", shown(tensor.name), ": its data starts at ", tensor.begin,
                 ", expected ", expected);
    expected = tensor.end;
  }
  require_file(expected == data_bytes, path, "expected ", expected, " bytes of data, got ", data_bytes);
  return out;
}

}  // namespace duet
