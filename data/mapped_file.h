// A file mapped into memory for reading: pages come in as they are touched, so a data set may be larger than what is read of it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace duet::data {

class MappedFile {
 public:
  // Throws DUET_IO_ERROR, naming the file and the system's reason, where it cannot be opened or mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace duet::data
