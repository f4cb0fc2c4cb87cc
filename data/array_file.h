// A file that holds arrays under names, of whatever format: .npy (one array, without a name), .npz, safetensors, HDF5,
// MATLAB. What a file is, its first bytes say; its name does not matter.
// Every error is one line that names the file, and the array where one is at fault (DUET_STATUS_INVALID_ARGUMENT;
// DUET_STATUS_IO_ERROR where the system refuses the file or it is damaged; DUET_STATUS_UNSUPPORTED where this build
// lacks the library that reads it).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/stored_array.h"

namespace duet::data {

class ArrayFile {
 public:
  virtual ~ArrayFile() = default;
  // Ascending; of HDF5 the paths without the leading '/'.
  virtual std::vector<std::string> names() const = 0;
  // Throws where there is no such array.
  virtual StoredArray open(const std::string& name) const = 0;
};

std::unique_ptr<ArrayFile> open_array_file(const std::filesystem::path& path);
// Whether a file of this name is taken for one of arrays where a folder is read.
bool has_array_ending(const std::filesystem::path& path);

// One format each; the version of the library that this build reads it with, "" where it does without.
std::unique_ptr<ArrayFile> open_npz(const std::filesystem::path& path);
std::unique_ptr<ArrayFile> open_safetensors(const std::filesystem::path& path);
std::unique_ptr<ArrayFile> open_hdf5(const std::filesystem::path& path);
std::unique_ptr<ArrayFile> open_matlab(const std::filesystem::path& path);
std::string hdf5_version_text();
std::string matlab_version_text();

// "npy, npz, safetensors, HDF5 (libhdf5 1.10.8), no MATLAB (libmatio)": what this build reads, with which library.
std::string formats_text();

}  // namespace duet::data
