#include "data/array_file.h"

#include <algorithm>
#include <string_view>

#include "data/npy.h"
#include "data/zip.h"
#include "kernels/core/error.h"
#include "runtime/files/file_bytes.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

class OneArray final : public ArrayFile {
 public:
  explicit OneArray(std::filesystem::path path) : path_(std::move(path)) {}
  std::vector<std::string> names() const override { return {""}; }
  StoredArray open(const std::string& name) const override {
    require(name.empty(), path_.string(), ": no array '", shown(name), "': a .npy file holds one, without a name");
    return open_npy(path_);
  }

 private:
  std::filesystem::path path_;
};

constexpr std::string_view kNpy("\x93NUMPY", 6), kZip("PK\x03\x04", 4), kEmptyZip("PK\x05\x06", 4),
    kHdf5("\x89HDF\r\n\x1a\n", 8), kMatlab("MATLAB ", 7);
// A block of the user's own before HDF5's first byte has 512 bytes or a power of 2 beyond (MATLAB 7.3 has 512).
constexpr size_t kStart = 512 + kHdf5.size();
// After a safetensors file's 8 bytes of length comes its header, an object.
constexpr size_t kBrace = 8;

}  // namespace

std::unique_ptr<ArrayFile> open_array_file(const std::filesystem::path& path) {
  const uint64_t size = FileBytes(path, 0, 0).file_size();
  const FileBytes file(path, 0, std::min<uint64_t>(size, kStart));
  const std::string_view start(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (start.starts_with(kNpy)) return std::make_unique<OneArray>(path);
  if (start.starts_with(kZip) || start.starts_with(kEmptyZip)) return open_npz(path);
  if (start.starts_with(kMatlab)) return open_matlab(path);
  if (start.starts_with(kHdf5) || (start.size() == kStart && start.ends_with(kHdf5))) return open_hdf5(path);
  if (start.size() > kBrace && start[kBrace] == '{') return open_safetensors(path);
  throw Error(DUET_STATUS_INVALID_ARGUMENT,
              text(path.string(), ": no file of arrays; expected .npy, .npz, safetensors, HDF5 or MATLAB"));
}

std::string formats_text() {
  const auto with = [](const char* format, const char* library, const std::string& version) {
    return version.empty() ? text(", no ", format, " (", library, ")")
                           : text(", ", format, " (", library, " ", version, ")");
  };
  return "npy, npz" + with("deflated npz", "zlib", zlib_version_text()) + ", safetensors" +
         with("HDF5", "libhdf5", hdf5_version_text()) + with("MATLAB", "libmatio", matlab_version_text());
}

bool has_array_ending(const std::filesystem::path& path) {
  constexpr const char* kEndings[] = {".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".hdf", ".mat"};
  return std::ranges::find(kEndings, path.extension().string()) != std::end(kEndings);
}

}  // namespace duet::data
