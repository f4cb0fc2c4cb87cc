#include "tests/support/arrays.h"

namespace duet::test {

template class Array<float>;
template class Array<double>;
template class Array<int32_t>;
template class Array<uint32_t>;
template class Array<int64_t>;

Scratch::Scratch(size_t bytes) : bytes_(bytes), data_((bytes + 127) / 64, Line{}) {
  std::memset(data_.data(), 0xA5, data_.size() * sizeof(Line));
}
Scratch::~Scratch() {
  const auto* data = reinterpret_cast<const unsigned char*>(data_.data());
  for (size_t k = bytes_; k < data_.size() * sizeof(Line); ++k)
    CHECK_MESSAGE(data[k] == 0xA5, "a call wrote past its workspace");
}

}  // namespace duet::test
