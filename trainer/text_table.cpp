#include "trainer/text_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace duet {

std::string number_text(double value, int digits) {
  if (std::isnan(value)) return "-";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

std::string text_table(const std::vector<Cells>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const Cells& row : rows)
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  std::string lines;
  for (const Cells& row : rows) {
    for (size_t column = 0; column < row.size(); ++column) {
      const std::string padding(widths[column] - row[column].size(), ' ');
      lines += column == 0 ? row[column] + padding : "  " + padding + row[column];
    }
    lines += '\n';
  }
  return lines;
}

}  // namespace duet
