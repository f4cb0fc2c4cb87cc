#include "kernels/cpu/tile_product.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/tile_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include "kernels/cpu/register_tile-inl.h"

#ifndef DUET_TILE_PRODUCT_LEFT
#define DUET_TILE_PRODUCT_LEFT
namespace duet::cpu {

// The left factor of a product that is added: element (r, k), k < depth, at data[r * row + k * step].
struct Left {
  int64_t depth;
  const float* data;
  int64_t row, step;
};
inline Left rows_of(Matrix<const float> g) { return {g.columns, g.data, g.stride, 1}; }
inline Left columns_of(Matrix<const float> g) { return {g.rows, g.data, 1, g.stride}; }

}  // namespace duet::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// Steps over k between a load and a store of the accumulators in a backward product: so much of a panel is half of a 32
// KB L1.
constexpr int64_t kDepth = 128;

struct Operands {
  int64_t depth;
  const float* a;  // element (r, k) at a[r * a_row + k * a_step]
  int64_t a_row, a_step;
  const float* b;  // two vectors at b[k * b_step]
  int64_t b_step;
  float* c;
  int64_t c_row;
  float factor = 1;  // with Sum::apart
};

// What becomes of c: a b, the chain of c's element goes on, or c + factor (a b).
enum class Sum { fresh, chained, apart };

// c is R x 2 vectors.
template <int R, Sum kSum>
HWY_INLINE void block(const Operands& o) {
  RegisterTile<R> tile;
  if (kSum == Sum::chained)
    tile.load(o.c, o.c_row);
  else
    tile.clear();
  tile.chain(o.depth, o.a, o.a_row, o.a_step, o.b, o.b_step);
  if (kSum == Sum::apart) tile.multiply_and_add(o.factor, o.c, o.c_row);
  tile.store(o.c, o.c_row);
}

template <Sum kSum, int... R>
HWY_INLINE void last_rows(int64_t rows, const Operands& o, std::integer_sequence<int, R...>) {
  (void)((rows == R + 1 ? (block<R + 1, kSum>(o), true) : false) || ...);
}

// c (rows x 2 vectors), kTileRows rows at a time.
template <Sum kSum>
HWY_INLINE void panel(int64_t rows, Operands o) {
  for (; rows >= kTileRows; rows -= kTileRows, o.a += kTileRows * o.a_row, o.c += kTileRows * o.c_row)
    block<kTileRows, kSum>(o);
  last_rows<kSum>(rows, o, std::make_integer_sequence<int, kTileRows - 1>());
}

}  // namespace

int64_t target_panel_width() { return 2 * static_cast<int64_t>(hn::Lanes(PanelTag())); }

void target_tile_product(Matrix<const float> x, const PackedRows& y, int64_t first_row, Matrix<float> out) {
  const int64_t width = target_panel_width();
  for (int64_t column = 0; column < out.columns; column += width) {
    Operands o{y.k, x.data, x.stride, 1, y.data + (first_row + column) * y.k, width, out.data + column, out.stride};
    if (column + width <= out.columns) {
      panel<Sum::fresh>(out.rows, o);
      continue;
    }
    HWY_ALIGN float edge[kTileFloats];  // the last panel is padded: its product does not fit the tile
    for (int64_t row = 0; row < out.rows; row += kTileRows) {
      const int64_t rows = std::min<int64_t>(kTileRows, out.rows - row);
      o.a = x.row(row);
      o.c = edge;
      o.c_row = width;
      panel<Sum::fresh>(rows, o);
      for (int64_t i = 0; i < rows; ++i)
        std::memcpy(out.row(row + i) + column, edge + i * width, sizeof(float) * (out.columns - column));
    }
  }
}

namespace {

template <Sum kSum>
HWY_INLINE void add_product(const Left& a, const PackedColumns& v, int64_t first_row, float factor, Matrix<float> out) {
  const int64_t width = target_panel_width();
  HWY_ALIGN float edge[kTileFloats];
  for (int64_t k = 0; k < a.depth; k += kDepth) {
    const int64_t steps = std::min(kDepth, a.depth - k);
    for (int64_t column = 0; column < out.columns; column += width) {
      const float* const b = v.data + column * v.rows + (first_row + k) * width;
      Operands o{steps, a.data + k * a.step, a.row, a.step, b, width, out.data + column, out.stride, factor};
      if (column + width <= out.columns) {
        panel<kSum>(out.rows, o);
        continue;
      }
      const size_t bytes = sizeof(float) * static_cast<size_t>(out.columns - column);
      for (int64_t row = 0; row < out.rows; row += kTileRows) {  // as in tile_product, with what is there already
        const int64_t rows = std::min<int64_t>(kTileRows, out.rows - row);
        o.a = a.data + k * a.step + row * a.row;
        o.c = edge;
        o.c_row = width;
        std::memset(edge, 0, sizeof edge);
        for (int64_t i = 0; i < rows; ++i) std::memcpy(edge + i * width, out.row(row + i) + column, bytes);
        panel<kSum>(rows, o);
        for (int64_t i = 0; i < rows; ++i) std::memcpy(out.row(row + i) + column, edge + i * width, bytes);
      }
    }
  }
}

}  // namespace

void target_add_product(const Left& a, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  add_product<Sum::chained>(a, v, first_row, 1, out);
}

void target_add_scaled(const Left& a, const PackedColumns& v, int64_t first_row, float factor, Matrix<float> out) {
  add_product<Sum::apart>(a, v, first_row, factor, out);
}

// 4 x 4 at a time, kPackDepth columns of all rows before the next: what is written stays in L1, and a row is read in
// runs that the processor foresees.
void target_pack_rows(Matrix<const float> y, float* storage) {
  const hn::FixedTag<float, 4> four;
  const hn::FixedTag<double, 2> pairs;
  constexpr int64_t kPackDepth = 64, kLine = 16, kAhead = 8;
  const int64_t width = target_panel_width(), depth = y.columns;
  for (int64_t start = 0; start < y.rows; start += width) {
    float* const panel = storage + start * depth;
    const int64_t rows = std::min(width, y.rows - start);
    for (int64_t k = 0; k < depth; k += kPackDepth) {
      const int64_t end = std::min(depth, k + kPackDepth);
      int64_t j = 0;
      for (; j + 4 <= rows; j += 4) {
        const float *r0 = y.row(start + j), *r1 = y.row(start + j + 1), *r2 = y.row(start + j + 2),
                    *r3 = y.row(start + j + 3);
        // Rows are too many streams for the processor to foresee; beyond the panel's last row those of the next
        // columns, or of the next panel.
        const bool wraps = j + kAhead >= rows;
        const int64_t ahead = wraps ? j + kAhead - rows : j + kAhead, ahead_k = wraps ? end : k;
        for (int64_t r = ahead; r < std::min(rows, ahead + 4); ++r)
          for (int64_t line = ahead_k; line < std::min(depth, ahead_k + kPackDepth); line += kLine)
            hwy::Prefetch(y.row(start + r) + line);
        int64_t c = k;
        for (; c + 4 <= end; c += 4) {
          const auto a = hn::LoadU(four, r0 + c), b = hn::LoadU(four, r1 + c), e = hn::LoadU(four, r2 + c),
                     g = hn::LoadU(four, r3 + c);
          const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(four, a, b)),
                     ab_high = hn::BitCast(pairs, hn::InterleaveUpper(four, a, b));
          const auto eg_low = hn::BitCast(pairs, hn::InterleaveLower(four, e, g)),
                     eg_high = hn::BitCast(pairs, hn::InterleaveUpper(four, e, g));
          float* to = panel + c * width + j;
          hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, ab_low, eg_low)), four, to);
          hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, ab_low, eg_low)), four, to + width);
          hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, ab_high, eg_high)), four, to + 2 * width);
          hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, ab_high, eg_high)), four, to + 3 * width);
        }
        for (; c < end; ++c)
          for (int64_t r = 0; r < 4; ++r) panel[c * width + j + r] = y.row(start + j + r)[c];
      }
      for (; j < width; ++j)
        for (int64_t c = k; c < end; ++c) panel[c * width + j] = j < rows ? y.row(start + j)[c] : 0;
    }
  }
}

// Rows first ... of the panels' height.
void target_pack_columns(Matrix<const float> v, float factor, int64_t first, int64_t height, float* storage) {
  const PanelTag f;
  const int64_t width = target_panel_width(), lanes = static_cast<int64_t>(hn::Lanes(f));
  const auto scale = hn::Set(f, factor);
  for (int64_t column = 0; column < v.columns; column += width) {
    const int64_t columns = std::min(width, v.columns - column);
    float* to = storage + column * height + first * width;
    for (int64_t i = 0; i < v.rows; ++i, to += width) {
      const float* from = v.row(i) + column;
      if (columns == width) {
        hn::StoreU(hn::Mul(scale, hn::LoadU(f, from)), f, to);
        hn::StoreU(hn::Mul(scale, hn::LoadU(f, from + lanes)), f, to + lanes);
      } else {
        for (int64_t j = 0; j < width; ++j) to[j] = j < columns ? factor * from[j] : 0;
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
HWY_EXPORT(target_add_scaled);
HWY_EXPORT(target_pack_rows);
HWY_EXPORT(target_pack_columns);

int64_t panel_width() { return HWY_DYNAMIC_DISPATCH(target_panel_width)(); }

int64_t packed_size(int64_t rows, int64_t k) { return ceil_div(rows, panel_width()) * panel_width() * k; }

PackedRows pack_rows(Matrix<const float> y, float* storage) {
  HWY_DYNAMIC_DISPATCH(target_pack_rows)(y, storage);
  return {storage, y.rows, y.columns};
}

namespace {

// Elements that one thread packs in about 2 us, which is what handing out parts of them costs, and the other threads'
// reading what they have not in their caches.
constexpr int64_t kPackedAlone = 16384;

}  // namespace

PackedRows pack_rows(const duet_context& context, Matrix<const float> y, float* storage) {
  if (y.rows * y.columns <= kPackedAlone) return pack_rows(y, storage);
  parallel_chunks(context, y.rows, panel_width(), [&](int64_t first, int64_t count, int) {
    pack_rows(y.part(first, 0, count, y.columns), storage + first * y.columns);
  });
  return {storage, y.rows, y.columns};
}

int64_t packed_columns_size(int64_t rows, int64_t columns) { return packed_size(columns, rows); }

PackedColumns pack_columns(Matrix<const float> v, float* storage, float factor) {
  HWY_DYNAMIC_DISPATCH(target_pack_columns)(v, factor, 0, v.rows, storage);
  return {storage, v.rows, v.columns};
}

void pack_part(Matrix<const float> v, int64_t first, int64_t height, float* storage) {
  HWY_DYNAMIC_DISPATCH(target_pack_columns)(v, 1, first, height, storage);
}

PackedColumns pack_columns(const duet_context& context, Matrix<const float> v, float* storage, float factor) {
  if (v.rows * v.columns <= kPackedAlone) return pack_columns(v, storage, factor);
  constexpr int64_t kRowsOfItem = 64;
  parallel_chunks(context, v.rows, kRowsOfItem, [&](int64_t first, int64_t count, int) {
    HWY_DYNAMIC_DISPATCH(target_pack_columns)(v.part(first, 0, count, v.columns), factor, first, v.rows, storage);
  });
  return {storage, v.rows, v.columns};
}

void tile_product(Matrix<const float> x, const PackedRows& y, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_tile_product)(x, y, first_row, out);
}

void add_product_nn(Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_product)(rows_of(g), v, first_row, out);
}

void add_product_tn(Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_product)(columns_of(g), v, first_row, out);
}

void add_scaled_nn(float factor, Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_scaled)(rows_of(g), v, first_row, factor, out);
}

void add_scaled_tn(float factor, Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_scaled)(columns_of(g), v, first_row, factor, out);
}

}  // namespace duet::cpu
#endif
