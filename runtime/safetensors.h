// Model files in the safetensors format: 8 bytes with the header's length (little-endian), a JSON header (name ->
// dtype, shape, data_offsets; "__metadata__" -> strings), then the tensors' bytes. Written atomically: a reader sees
// the old file or the new one, never a part.
// Every failure throws Error(DUET_STATUS_IO_ERROR) that names the file and, where there is one, the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/view.h"
#include "runtime/files/checksum.h"
#include "runtime/parameters.h"

namespace duet {

using Metadata = std::map<std::string, std::string>;

// A tensor of a file, or of memory to be written: DUET_DTYPE_F32, DUET_DTYPE_F64, DUET_DTYPE_I32 or DUET_DTYPE_I64,
// row-major without padding.
struct NamedArray {
  std::string name;
  duet_dtype dtype = DUET_DTYPE_F32;
  std::vector<int64_t> shape;  // empty: one element
  const void* data = nullptr;

  int64_t size() const;  // elements
};

// "tensor encoder_a.layer0.weight: element 17 is nan" of the first element that is NaN or infinite; "" where every one
// is a finite number.
std::string first_not_finite(std::span<const NamedArray> arrays);

// Whether a file may hold NaN and infinity. A model that does is broken, whoever reads it; what lies beside a model's
// weights may.
enum class Values { finite, any };

// What is refused leaves an earlier file as it was.
// Names must be unique and not "__metadata__". In the order given; the header is padded with spaces to a multiple of 8
// bytes. Returns the checksum of the file's bytes, which knows their number.
Checksum write_safetensors(const std::filesystem::path& path, std::span<const NamedArray> arrays,
                           const Metadata& metadata = {}, Values values = Values::finite);

class SafetensorsFile {
 public:
  // Reads and checks all of it: the header's length, every dtype, shape and offset, and that the tensors fill the file
  // without gap or overlap.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const Metadata& metadata() const { return metadata_; }
  const std::vector<NamedArray>& arrays() const {
    return arrays_;
  }                                                       // in the order of their data, which may be unaligned
  const NamedArray* find(const std::string& name) const;  // null where there is none

  // Copies one tensor out; throws unless it exists with this dtype and shape.
  void read(const std::string& name, duet_dtype dtype, const std::vector<int64_t>& shape, void* to) const;

 private:
  std::filesystem::path path_;
  std::vector<std::byte> bytes_;
  std::vector<NamedArray> arrays_;
  Metadata metadata_;
};

// The store's parameters as arrays to write, each name with this prefix ("teacher." ...); they point into values, which
// ParameterStore::read() gave.
std::vector<NamedArray> named_arrays(const ParameterStore& store, std::span<const float> values,
                                     const std::string& prefix = "");
// The way back: reads every parameter of a kind, under the same names; but not the one of this name, where one is
// given.
void read_parameters(const SafetensorsFile& file, ParameterStore& store, ParameterKind kind,
                     const std::string& prefix = "", const std::string& except = "");

}  // namespace duet
