// Writes the wire format of Protocol Buffers: numbers and strings by the number of their field, messages in messages.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace duet {

class ProtobufMessage {
 public:
  ProtobufMessage& integer(int field, int64_t value) {
    tag(field, kVarint);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  ProtobufMessage& number(int field, float value) {
    tag(field, kFixed32);
    return fixed(std::bit_cast<uint32_t>(value));
  }
  ProtobufMessage& number(int field, double value) {
    tag(field, kFixed64);
    return fixed(std::bit_cast<uint64_t>(value));
  }
  ProtobufMessage& text(int field, std::string_view value) {
    tag(field, kLength);
    varint(value.size());
    bytes_.append(value);
    return *this;
  }
  ProtobufMessage& message(int field, const ProtobufMessage& value) { return text(field, value.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  enum Wire { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

  void tag(int field, Wire wire) { varint(static_cast<uint64_t>(field) << 3 | wire); }
  template <class Bits>
  ProtobufMessage& fixed(Bits bits) {
    for (size_t k = 0; k < sizeof bits; ++k) bytes_.push_back(static_cast<char>(bits >> 8 * k & 0xff));
    return *this;
  }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }

  std::string bytes_;
};

}  // namespace duet
