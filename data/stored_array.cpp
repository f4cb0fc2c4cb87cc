#include "data/stored_array.h"

#include <limits>

#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet::data {

int64_t element_bytes(const ArrayView& view) {
  switch (view.type) {
    case ElementType::b1:
    case ElementType::i1:
    case ElementType::u1: return 1;
    case ElementType::f2:
    case ElementType::bf2:
    case ElementType::i2:
    case ElementType::u2: return 2;
    case ElementType::f4:
    case ElementType::i4:
    case ElementType::u4: return 4;
    case ElementType::f8:
    case ElementType::i8:
    case ElementType::u8: return 8;
    case ElementType::bytes:
    case ElementType::utf32: return view.width;
  }
  return 0;
}

bool is_text(ElementType type) { return type == ElementType::bytes || type == ElementType::utf32; }

std::string array_place(const std::filesystem::path& path, const std::string& array) {
  return path.string() + ": " + shown(array);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "(";
  for (size_t k = 0; k < shape.size(); ++k) out += text(k ? ", " : "", shape[k]);
  out += shape.size() == 1 ? ",)" : ")";
  return out;
}

int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t bytes_each, const std::string& name) {
  int64_t bytes = bytes_each;
  for (const int64_t extent : shape) {
    require(extent >= 0, name, ": shape ", shape_text(shape), "; expected extents of at least 0");
    require(extent == 0 || bytes <= std::numeric_limits<int64_t>::max() / extent, name, ": shape ", shape_text(shape),
            " is beyond 2^63 bytes");
    bytes *= extent;
  }
  // Whoever reads an array takes memory for each of its rows, of which there may be many though none has a byte.
  constexpr int64_t kMostOfNothing = 1 << 20;
  for (const int64_t extent : shape)
    require(bytes > 0 || extent <= kMostOfNothing, name, ": shape ", shape_text(shape),
            " has no bytes; expected extents of at most ", kMostOfNothing, " where no element has any");
  return bytes;
}

}  // namespace duet::data
