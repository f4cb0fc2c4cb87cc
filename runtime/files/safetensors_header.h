// What a file in the safetensors format says of itself: 8 bytes with the header's length (little-endian), a JSON header
// (name -> dtype, shape, data_offsets; "__metadata__" -> strings), then the tensors' bytes.
// Every failure throws Error(DUET_STATUS_IO_ERROR) that names the file and, where there is one, the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace duet {

struct SafetensorsDtype {
  const char* name;
  int64_t bytes;  // an element
};

struct TensorEntry {
  std::string name, dtype;
  std::vector<int64_t> shape;  // empty: one element
  int64_t begin = 0, end = 0;  // of its bytes in the file's data
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
  size_t data_start = 0;  // bytes of the file before its data
};

// Bytes of the file before its data, of its first 8 (fewer where it is shorter) and its size.
size_t safetensors_data_start(std::span<const std::byte> start, uint64_t file_bytes, const std::filesystem::path& path);

// start: at least the file's bytes before its data. Checks every dtype (which must be one of dtypes), shape and offset,
// and that the tensors fill the file without gap or overlap; they may be named in any order.
SafetensorsHeader read_safetensors_header(std::span<const std::byte> start, uint64_t file_bytes,
                                          const std::filesystem::path& path, std::span<const SafetensorsDtype> dtypes);

// Bytes of a shape's elements, or -1 where it holds a negative extent or its bytes do not fit in 63 bits.
int64_t tensor_bytes(const std::vector<int64_t>& shape, int64_t element_bytes);

}  // namespace duet
