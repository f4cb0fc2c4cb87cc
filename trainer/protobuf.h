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
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<char>(bits >> shift & 0xff));
    return *this;
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
  enum Wire { kVarint = 0, kLength = 2, kFixed32 = 5 };

  void tag(int field, Wire wire) { varint(static_cast<uint64_t>(field) << 3 | wire); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }

  std::string bytes_;
};

}  // namespace duet
