#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {

std::string npy_header(const std::string& descr, const std::vector<int64_t>& shape) {
  std::string header = text("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape_text(shape), ", }");
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10, ' ');  // values start at a multiple of 64 bytes
  header.back() = '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 255);
  start += static_cast<char>(header.size() >> 8);
  return start + header;
}

std::string features_header(const Features& features) { return npy_header("<f4", {features.rows, features.columns}); }

}  // namespace duet::data
