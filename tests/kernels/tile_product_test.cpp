#include "kernels/cpu/tile_product.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet;
using namespace duet::test;

namespace {

Matrix<const float> view(const Floats& array, int64_t stride) {
  return {array.data(), array.rows(), array.columns(), stride};
}

// sum_k a(i, k) b(j, k), and the sum of the terms' sizes, which bounds what rounding can do.
struct Exact {
  Doubles value;
  double scale = 0;
};
template <class A, class B>
Exact product(int64_t rows, int64_t columns, int64_t depth, A a, B b) {
  Exact out;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < depth; ++k) sum += a(i, k) * b(j, k), size += std::abs(a(i, k) * b(j, k));
      out.value.push_back(sum);
      out.scale = std::max(out.scale, size);
    }
  return out;
}

// A chain of fused multiply-adds over k rounds k times, by at most half an ulp of the running sum each: well under k
// 2^-24 of the terms' sizes.
double tolerance(int64_t depth, double scale) { return static_cast<double>(depth + 1) * 6e-8 * scale + 1e-30; }

struct Shape {
  int64_t rows, columns, depth;
};
const Shape kShapes[] = {{1, 1, 1},    {1, 33, 5},      {13, 31, 7},     {12, 32, 16},
                         {25, 97, 65}, {128, 256, 128}, {131, 257, 300}, {5, 3, 0}};

}  // namespace

TEST_CASE("a tile product equals the sum in double, wherever the tile stands") {
  const Context threads(2);
  const duet_context& context = *threads;
  for (const Shape& s : kShapes) {
    CAPTURE(s.rows);
    CAPTURE(s.columns);
    Draw draw(11);
    const Floats x = draw.normals(s.rows, s.depth, 1, 3), y = draw.normals(s.columns, s.depth, 1, 2);
    std::vector<float> storage(static_cast<size_t>(cpu::packed_size(s.columns, s.depth)));
    const cpu::PackedRows packed = cpu::pack_rows(context, view(y, s.depth + 2), storage.data());
    Floats out(s.rows, s.columns, 5);
    cpu::tile_product(view(x, s.depth + 3), packed, 0, {out.data(), s.rows, s.columns, s.columns + 5});
    const Exact exact = product(
        s.rows, s.columns, s.depth, [&](int64_t i, int64_t k) { return double{x.at(i, k)}; },
        [&](int64_t j, int64_t k) { return double{y.at(j, k)}; });
    check_close(out.values(), exact.value, tolerance(s.depth, exact.scale), "x y^T");

    // The same elements from a tile that starts at row 3 and at the second panel: the same bits.
    const int64_t column = cpu::panel_width(), row = 3;
    if (s.columns <= column || s.rows <= row) continue;
    Floats part(s.rows - row, s.columns - column);
    cpu::tile_product(view(x, s.depth + 3).part(row, 0, s.rows - row, s.depth), packed, column,
                      {part.data(), s.rows - row, s.columns - column, s.columns - column});
    for (int64_t i = row; i < s.rows; ++i)
      for (int64_t j = column; j < s.columns; ++j) REQUIRE(part.at(i - row, j - column) == out.at(i, j));
  }
}

TEST_CASE("products of a backward tile are added") {
  const Context threads(2);
  const duet_context& context = *threads;
  for (const Shape& s : kShapes) {
    CAPTURE(s.rows);
    CAPTURE(s.columns);
    Draw draw(12);
    const Floats g = draw.normals(s.rows, s.depth, 1, 1), gt = draw.normals(s.depth, s.rows, 1, 4),
                 v = draw.normals(s.depth, s.columns, 1, 2);
    const Floats before = draw.normals(s.rows, s.columns, 1, 5);
    const Doubles start = before.values();
    const auto b = [&](int64_t j, int64_t k) { return double{v.at(k, j)}; };
    for (const bool transposed : {false, true}) {
      Exact exact = product(
          s.rows, s.columns, s.depth,
          [&](int64_t i, int64_t k) { return double{transposed ? gt.at(k, i) : g.at(i, k)}; }, b);
      std::vector<float> storage(static_cast<size_t>(cpu::packed_columns_size(s.depth, s.columns)));
      const cpu::PackedColumns values =
          cpu::pack_columns(context, {v.data(), s.depth, s.columns, s.columns + 2}, storage.data());
      const Matrix<const float> left = transposed ? Matrix<const float>{gt.data(), s.depth, s.rows, s.rows + 4}
                                                  : Matrix<const float>{g.data(), s.rows, s.depth, s.depth + 1};
      Floats scaled = before;
      (transposed ? cpu::add_scaled_tn : cpu::add_scaled_nn)(-3, left, values, 0,
                                                             {scaled.data(), s.rows, s.columns, s.columns + 5});
      Doubles expected = start;
      for (size_t k = 0; k < expected.size(); ++k) expected[k] -= 3 * exact.value[k];
      // A sum of at most 128 terms rounds as a chain does, and each is added to out once.
      const double additions = static_cast<double>(s.depth / 128 + 1) * 6e-8 * (3 * exact.scale + largest(start));
      check_close(scaled.values(), expected, 3 * tolerance(std::min<int64_t>(s.depth, 128), exact.scale) + additions,
                  "scaled");

      for (size_t k = 0; k < exact.value.size(); ++k) exact.value[k] += start[k];
      Floats out = before;
      (transposed ? cpu::add_product_tn : cpu::add_product_nn)(left, values, 0,
                                                               {out.data(), s.rows, s.columns, s.columns + 5});
      check_close(out.values(), exact.value, tolerance(s.depth, exact.scale + largest(before.values())),
                  transposed ? "g^T v" : "g v");
    }
  }
}

TEST_CASE("NaN in a row reaches its own products and no others") {
  const duet_context context{.threads = 1};
  Draw draw(13);
  Floats x = draw.normals(14, 20), y = draw.normals(40, 20);
  x.at(13, 7) = std::numeric_limits<float>::quiet_NaN();
  y.at(39, 0) = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> storage(static_cast<size_t>(cpu::packed_size(40, 20)));
  const cpu::PackedRows packed = cpu::pack_rows(context, view(y, 20), storage.data());
  Floats out(14, 40);
  cpu::tile_product(view(x, 20), packed, 0, {out.data(), 14, 40, 40});
  for (int64_t i = 0; i < 14; ++i)
    for (int64_t j = 0; j < 40; ++j) CHECK(std::isnan(out.at(i, j)) == (i == 13 || j == 39));
}
