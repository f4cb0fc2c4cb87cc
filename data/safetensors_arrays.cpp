// safetensors files as sources of arrays; the header's reader is that of models.
#include <algorithm>

#include "data/array_file.h"
#include "kernels/core/error.h"
#include "runtime/files/file_bytes.h"
#include "runtime/files/safetensors_header.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

struct Dtype {
  const char* name;
  int64_t bytes;
  ElementType type;
};
constexpr Dtype kDtypes[] = {{"F16", 2, ElementType::f2}, {"BF16", 2, ElementType::bf2}, {"F32", 4, ElementType::f4},
                             {"F64", 8, ElementType::f8}, {"BOOL", 1, ElementType::b1},  {"I8", 1, ElementType::i1},
                             {"I16", 2, ElementType::i2}, {"I32", 4, ElementType::i4},   {"I64", 8, ElementType::i8},
                             {"U8", 1, ElementType::u1},  {"U16", 2, ElementType::u2},   {"U32", 4, ElementType::u4},
                             {"U64", 8, ElementType::u8}};

class SafetensorsArrays final : public ArrayFile {
 public:
  explicit SafetensorsArrays(std::filesystem::path path) : path_(std::move(path)) {
    constexpr uint64_t kLengthBytes = 8;
    const uint64_t size = FileBytes(path_, 0, 0).file_size();
    const FileBytes length(path_, 0, std::min(size, kLengthBytes));
    const FileBytes start(path_, 0, safetensors_data_start(length.bytes(), size, path_));
    std::vector<SafetensorsDtype> dtypes;
    for (const Dtype& dtype : kDtypes) dtypes.push_back({dtype.name, dtype.bytes});
    header_ = read_safetensors_header(start.bytes(), start.file_size(), path_, dtypes);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const TensorEntry& tensor : header_.tensors) out.push_back(tensor.name);
    std::ranges::sort(out);
    return out;
  }

  StoredArray open(const std::string& name) const override {
    const auto tensor = std::ranges::find(header_.tensors, name, &TensorEntry::name);
    require(tensor != header_.tensors.end(), path_.string(), ": no array '", shown(name), "'");
    const auto dtype = std::ranges::find_if(kDtypes, [&](const Dtype& known) { return tensor->dtype == known.name; });
    const auto file =
        std::make_shared<const FileBytes>(path_, header_.data_start + static_cast<uint64_t>(tensor->begin),
                                          static_cast<uint64_t>(tensor->end - tensor->begin));
    return {file,
            {.name = array_place(path_, name), .type = dtype->type, .shape = tensor->shape, .values = file->bytes()},
            file->mapping()};
  }

 private:
  std::filesystem::path path_;
  SafetensorsHeader header_;
};

}  // namespace

std::unique_ptr<ArrayFile> open_safetensors(const std::filesystem::path& path) {
  return std::make_unique<SafetensorsArrays>(path);
}

}  // namespace duet::data
