#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {

std::string features_header(const Features& features) {
  std::string header =
      text("{'descr': '<f4', 'fortran_order': False, 'shape': (", features.rows, ", ", features.columns, "), }");
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10, ' ');  // values start at a multiple of 64 bytes
  header.back() = '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 255);
  start += static_cast<char>(header.size() >> 8);
  return start + header;
}

}  // namespace duet::data
