// Tables of text, as the program prints them.
#pragma once

#include <string>
#include <vector>

namespace duet {

using Cells = std::vector<std::string>;

// With this many digits behind the point; "-" for NaN.
std::string number_text(double value, int digits);

// A line a row. Columns are as wide as their widest cell, two spaces apart; the first is a name, the others numbers.
// rows: at least one, of equal length.
std::string text_table(const std::vector<Cells>& rows);

}  // namespace duet
