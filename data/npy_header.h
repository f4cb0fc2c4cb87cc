// The text of a .npy header, a Python dictionary literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
// Internal to npy.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace duet::data {

struct NpyHeader {
  std::string descr;  // "<f4"; for a structured dtype its text, which starts with '['
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

// Throws DUET_STATUS_INVALID_ARGUMENT, one line that starts with name, where text is not such a dictionary.
NpyHeader parse_npy_header(std::string_view text, const std::string& name);

}  // namespace duet::data
