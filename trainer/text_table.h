// Tables of text, as the program prints them.
#pragma once

#include <string>
#include <vector>

namespace duet {

using Cells = std::vector<std::string>;

// With this many digits behind the point; "-" where there is no number.
std::string fixed_text(double value, int digits);
// With so many significant digits, no zeros behind them; "-" where there is no number.
std::string number_text(double value, int digits = 4);

// A line a row. Columns are as wide as their widest cell, two spaces apart; the first is a name, the others numbers.
// rows: at least one, of equal length.
std::string text_table(const std::vector<Cells>& rows);

}  // namespace duet
