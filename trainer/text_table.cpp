#include "trainer/text_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace duet {

namespace {

std::string formatted(const char* pattern, int digits, double value) {
  if (!std::isfinite(value)) return "-";
  char buffer[512];  // the largest double has 309 digits before the point
  std::snprintf(buffer, sizeof buffer, pattern, digits, value);
  return buffer;
}

}  // namespace

std::string fixed_text(double value, int digits) { return formatted("%.*f", digits, value); }
std::string number_text(double value, int digits) { return formatted("%.*g", digits, value); }

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
