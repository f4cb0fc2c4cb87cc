#include "trainer/report/png.h"

#include <array>

#include "kernels/core/error.h"

namespace duet::report {
namespace {

void append_big(std::string& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 0xff));
}

uint32_t crc32(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

uint32_t adler32(std::string_view bytes) {
  constexpr uint32_t kModulus = 65521;
  uint32_t a = 1, b = 0;
  for (const char byte : bytes) {
    a = (a + static_cast<uint8_t>(byte)) % kModulus;
    b = (b + a) % kModulus;
  }
  return b << 16 | a;
}

void append_chunk(std::string& png, const std::string& type, const std::string& content) {
  append_big(png, static_cast<uint32_t>(content.size()));
  png += type + content;
  append_big(png, crc32(type + content));
}

// One stored block of RFC 1951 in the frame of RFC 1950.
std::string stored(const std::string& bytes) {
  const auto size = static_cast<uint16_t>(bytes.size());
  std::string out = {0x78, 0x01, 0x01};
  for (const auto half : {size, static_cast<uint16_t>(~size)}) {
    out.push_back(static_cast<char>(half & 0xff));
    out.push_back(static_cast<char>(half >> 8));
  }
  out += bytes;
  append_big(out, adler32(bytes));
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::array<uint32_t, 3> three = {};
    for (size_t k = 0; k < 3 && i + k < bytes.size(); ++k) three[k] = static_cast<uint8_t>(bytes[i + k]);
    const uint32_t word = three[0] << 16 | three[1] << 8 | three[2];
    for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : kDigits[word >> (18 - 6 * k) & 63];
  }
  return out;
}

}  // namespace

std::string png_address(std::span<const uint8_t> pixels, int64_t width) {
  const auto columns = static_cast<size_t>(width), rows = pixels.size() / columns;
  require(pixels.size() + rows <= 0xffff, "png_address: ", pixels.size(), " pixels are too many for one block");
  std::string lines;
  for (size_t row = 0; row < rows; ++row) {
    lines.push_back(0);  // no filter
    for (size_t column = 0; column < columns; ++column)
      lines.push_back(static_cast<char>(pixels[row * columns + column]));
  }
  std::string header;
  append_big(header, static_cast<uint32_t>(columns));
  append_big(header, static_cast<uint32_t>(rows));
  header += std::string("\x08\x00\x00\x00\x00", 5);  // 8 bits, grey, the one compression and filter, not interlaced
  std::string png = "\x89PNG\r\n\x1a\n";
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", stored(lines));
  append_chunk(png, "IEND", "");
  return "data:image/png;base64," + base64(png);
}

}  // namespace duet::report
