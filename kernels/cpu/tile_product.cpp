#include "kernels/cpu/tile_product.h"

#include <cstring>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/tile_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Float = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Float>;

// Rows of accumulators: two vectors each, two more for the loads and one for the broadcast must fit the register file (32 or 16).
constexpr int kRows = HWY_TARGET == HWY_AVX3 ? 12 : 6;
// Steps over k between a load and a store of the accumulators in a backward product: so much of a panel is half of a 32 KB L1.
constexpr int64_t kDepth = 128;

struct Operands {
  int64_t depth;
  const float* a;  // element (r, k) at a[r * a_row + k * a_step]
  int64_t a_row, a_step;
  const float* b;  // two vectors at b[k * b_step]
  int64_t b_step;
  float* c;
  int64_t c_row;
};

// c (R x 2 vectors) = a b, or += with kAdd.
template <int R, bool kAdd>
HWY_INLINE void block(const Operands& o) {
  const Float f;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
  FloatVector low[R], high[R];
  for (int r = 0; r < R; ++r) {
    low[r] = kAdd ? hn::LoadU(f, o.c + r * o.c_row) : hn::Zero(f);
    high[r] = kAdd ? hn::LoadU(f, o.c + r * o.c_row + lanes) : hn::Zero(f);
  }
  const float* a = o.a;
  const float* b = o.b;
  for (int64_t k = 0; k < o.depth; ++k, a += o.a_step, b += o.b_step) {
    const FloatVector b_low = hn::LoadU(f, b), b_high = hn::LoadU(f, b + lanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const FloatVector value = hn::Set(f, a[r * o.a_row]);
      low[r] = hn::MulAdd(value, b_low, low[r]);
      high[r] = hn::MulAdd(value, b_high, high[r]);
    }
  }
  for (int r = 0; r < R; ++r) {
    hn::StoreU(low[r], f, o.c + r * o.c_row);
    hn::StoreU(high[r], f, o.c + r * o.c_row + lanes);
  }
}

template <bool kAdd, int... R>
HWY_INLINE void last_rows(int64_t rows, const Operands& o, std::integer_sequence<int, R...>) {
  (void)((rows == R + 1 ? (block<R + 1, kAdd>(o), true) : false) || ...);
}

// c (rows x 2 vectors), kRows rows at a time.
template <bool kAdd>
HWY_INLINE void panel(int64_t rows, Operands o) {
  for (; rows >= kRows; rows -= kRows, o.a += kRows * o.a_row, o.c += kRows * o.c_row) block<kRows, kAdd>(o);
  last_rows<kAdd>(rows, o, std::make_integer_sequence<int, kRows - 1>());
}

}  // namespace

int64_t target_panel_width() { return 2 * static_cast<int64_t>(hn::Lanes(Float())); }

void target_tile_product(Matrix<const float> x, const PackedRows& y, int64_t first_row, Matrix<float> out) {
  const int64_t width = target_panel_width();
  for (int64_t column = 0; column < out.columns; column += width) {
    Operands o{y.k, x.data, x.stride, 1, y.data + (first_row + column) * y.k, width, out.data + column, out.stride};
    if (column + width <= out.columns) {
      panel<false>(out.rows, o);
      continue;
    }
    HWY_ALIGN float edge[kRows * 2 * HWY_MAX_BYTES / sizeof(float)];  // the last panel is padded: its product does not fit the tile
    for (int64_t row = 0; row < out.rows; row += kRows) {
      const int64_t rows = std::min<int64_t>(kRows, out.rows - row);
      o.a = x.row(row);
      o.c = edge;
      o.c_row = width;
      panel<false>(rows, o);
      for (int64_t i = 0; i < rows; ++i) std::memcpy(out.row(row + i) + column, edge + i * width, sizeof(float) * (out.columns - column));
    }
  }
}

void target_add_product(int64_t depth, const float* a, int64_t a_row, int64_t a_step, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  const int64_t width = target_panel_width();
  HWY_ALIGN float edge[kRows * 2 * HWY_MAX_BYTES / sizeof(float)];
  for (int64_t k = 0; k < depth; k += kDepth) {
    const int64_t steps = std::min(kDepth, depth - k);
    for (int64_t column = 0; column < out.columns; column += width) {
      Operands o{steps, a + k * a_step, a_row, a_step, v.data + column * v.rows + (first_row + k) * width, width, out.data + column, out.stride};
      if (column + width <= out.columns) {
        panel<true>(out.rows, o);
        continue;
      }
      const size_t bytes = sizeof(float) * static_cast<size_t>(out.columns - column);
      for (int64_t row = 0; row < out.rows; row += kRows) {  // as in tile_product, with what is there already
        const int64_t rows = std::min<int64_t>(kRows, out.rows - row);
        o.a = a + k * a_step + row * a_row;
        o.c = edge;
        o.c_row = width;
        std::memset(edge, 0, sizeof edge);
        for (int64_t i = 0; i < rows; ++i) std::memcpy(edge + i * width, out.row(row + i) + column, bytes);
        panel<true>(rows, o);
        for (int64_t i = 0; i < rows; ++i) std::memcpy(out.row(row + i) + column, edge + i * width, bytes);
      }
    }
  }
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(target_panel_width);
HWY_EXPORT(target_tile_product);
HWY_EXPORT(target_add_product);

int64_t panel_width() { return HWY_DYNAMIC_DISPATCH(target_panel_width)(); }

int64_t packed_size(int64_t rows, int64_t k) { return ceil_div(rows, panel_width()) * panel_width() * k; }

PackedRows pack_rows(const duet_context& context, Matrix<const float> y, float* storage) {
  const int64_t width = panel_width();
  parallel_chunks(context, y.rows, width, [&](int64_t first, int64_t count, int) {
    float* panel = storage + first * y.columns;
    for (int64_t k = 0; k < y.columns; ++k, panel += width) {  // the rows stay in L1, and lines are written whole
      for (int64_t j = 0; j < count; ++j) panel[j] = y.row(first + j)[k];
      for (int64_t j = count; j < width; ++j) panel[j] = 0;
    }
  });
  return {storage, y.rows, y.columns};
}

int64_t packed_columns_size(int64_t rows, int64_t columns) { return packed_size(columns, rows); }

PackedColumns pack_columns(const duet_context& context, Matrix<const float> v, float* storage, float factor) {
  constexpr int64_t kRowsOfItem = 64;
  const int64_t width = panel_width();
  parallel_chunks(context, v.rows, kRowsOfItem, [&](int64_t first, int64_t count, int) {
    for (int64_t column = 0; column < v.columns; column += width) {
      const int64_t columns = std::min(width, v.columns - column);
      for (int64_t i = first; i < first + count; ++i) {
        float* to = storage + column * v.rows + i * width;
        std::copy_n(v.row(i) + column, columns, to);
        std::fill(to + columns, to + width, 0.0f);
      }
      if (factor == 1) continue;
      for (int64_t i = first; i < first + count; ++i) {
        float* to = storage + column * v.rows + i * width;
        std::transform(to, to + columns, to, [factor](float x) { return factor * x; });
      }
    }
  });
  return {storage, v.rows, v.columns};
}

void tile_product(Matrix<const float> x, const PackedRows& y, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_tile_product)(x, y, first_row, out);
}

void add_product_nn(Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_product)(g.columns, g.data, g.stride, 1, v, first_row, out);
}

void add_product_tn(Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_product)(g.rows, g.data, 1, g.stride, v, first_row, out);
}

}  // namespace duet::cpu
#endif
