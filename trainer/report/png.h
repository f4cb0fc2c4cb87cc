// Small grey pictures for a page.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace duet::report {

// A picture of width columns, a byte a pixel (0 black, 255 white), row by row, as a PNG in a "data:" address. At most
// 65,535 bytes with a byte a row: the pixels are stored, not compressed, in one block.
// https://www.w3.org/TR/png-3/
std::string png_address(std::span<const uint8_t> pixels, int64_t width);

}  // namespace duet::report
