#include <cmath>

#include "tests/support/arrays.h"

namespace duet::test {

double Draw::uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }
double Draw::normal() { return std::normal_distribution<double>()(engine_); }
int64_t Draw::integer(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }

Floats Draw::normals(int64_t rows, int64_t columns, double deviation, int64_t padding) {
  Floats out(rows, columns, padding);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out.at(i, j) = static_cast<float>(deviation * normal());
  return out;
}
Floats Draw::unit_rows(int64_t rows, int64_t columns, int64_t padding) {
  Floats out = normals(rows, columns, 1, padding);
  for (int64_t i = 0; i < rows; ++i) {
    double square = 0;
    for (int64_t j = 0; j < columns; ++j) square += double{out.at(i, j)} * out.at(i, j);
    for (int64_t j = 0; j < columns; ++j)
      out.at(i, j) = static_cast<float>(out.at(i, j) / std::sqrt(std::max(square, 1e-30)));
  }
  return out;
}
Ints Draw::labels(int64_t size, int64_t classes, double unlabelled) {
  Ints out(size, 1);
  for (int64_t i = 0; i < size; ++i)
    out.at(i) = uniform(0, 1) < unlabelled ? -1 : static_cast<int32_t>(integer(0, classes - 1));
  return out;
}
Floats Draw::distributions(int64_t rows, int64_t classes) {
  Floats out(rows, classes);
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    const bool hot = uniform(0, 1) < 0.5;
    const int64_t pick = integer(0, classes - 1);
    for (int64_t c = 0; c < classes; ++c)
      sum += out.at(i, c) = static_cast<float>(hot ? c == pick : std::exp(normal()));
    for (int64_t c = 0; c < classes; ++c) out.at(i, c) = static_cast<float>(out.at(i, c) / sum);
  }
  return out;
}
Floats Draw::choice(int64_t rows, const std::vector<double>& values) {
  Floats out(rows, 1);
  for (int64_t i = 0; i < rows; ++i)
    out.at(i) = static_cast<float>(values[static_cast<size_t>(integer(0, static_cast<int64_t>(values.size()) - 1))]);
  return out;
}

}  // namespace duet::test
