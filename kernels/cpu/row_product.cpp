// Blocks of 16 rows cost one addition an element beside 16 multiply-adds. Of AVX-512's registers, two blocks
// have a half each, so that every second of these additions needs no memory. A register tile forms the node of 8
// blocks, whose parts wait in a stack that fits L1, as do the 128 rows of a panel. On the levels above, nodes of a
// whole part of the gradient wait in the thread's scratch. On one core of a Xeon with AVX-512 (512 x 512, 512 rows) the
// whole takes 1.08 times a chain without blocks; the additions alone are 1.06.
#include "kernels/cpu/row_product.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cpu/row_tree.h"
#include "kernels/cpu/tile_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include "kernels/cpu/register_tile-inl.h"

#ifndef DUET_ROW_PRODUCT_CHUNK
#define DUET_ROW_PRODUCT_CHUNK
namespace duet::cpu {

// A node of at most kChunkBlocks blocks, and what becomes of it.
constexpr int64_t kChunkBlocks = 8, kChunkRows = kChunkBlocks * kTreeRows;
constexpr int kChunkLevels = tree_levels(kChunkBlocks);

struct Chunk {
  int64_t rows;
  int pairs;
  const float* g[kMostRowPairs];  // element (k, r) at g[pair][k * step[pair] + r]
  int64_t step[kMostRowPairs];
  const float* v;  // a panel: for every block its rows of all pairs
  float factor;
  TreeStep next;
  float* nodes;  // of this tile: rows of a panel's width, a level every node_size floats
  int64_t node_size;
  float* out;
  int64_t out_row;
};

}  // namespace duet::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// Blocks that lie in registers side by side: with 16 registers, what two would save in memory they would cost in loads.
constexpr int kSide = HWY_TARGET == HWY_AVX3 ? 2 : 1;
constexpr int kRows = kTileRows / kSide;  // of each

int64_t width() { return 2 * static_cast<int64_t>(hn::Lanes(PanelTag())); }

// Goes on with the chains of two blocks at once, side by side: of the first, rows k of g and v, of the second, rows k
// of second_g and second_v.
template <int R>
HWY_INLINE void chain_two(RegisterTile<R>& one, RegisterTile<R>& two, int64_t rows, const float* first_g,
                          const float* second_g, int64_t step, const float* first_v, const float* second_v,
                          int64_t width) {
  const PanelTag f;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
  const float *g = first_g, *h = second_g;
  for (int64_t k = 0; k < rows; ++k, g += step, h += step, first_v += width, second_v += width) {
    const PanelVector low = hn::LoadU(f, first_v), high = hn::LoadU(f, first_v + lanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const PanelVector value = hn::Set(f, g[r]);
      one.low[r] = hn::MulAdd(value, low, one.low[r]);
      one.high[r] = hn::MulAdd(value, high, one.high[r]);
    }
    const PanelVector second_low = hn::LoadU(f, second_v), second_high = hn::LoadU(f, second_v + lanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const PanelVector value = hn::Set(f, h[r]);
      two.low[r] = hn::MulAdd(value, second_low, two.low[r]);
      two.high[r] = hn::MulAdd(value, second_high, two.high[r]);
    }
  }
}

template <int R>
HWY_INLINE void add_tile(const Chunk& o) {
  HWY_ALIGN float waiting[kChunkLevels * kTileFloats];
  constexpr int64_t kLeafRows = kSide * kTreeRows;
  const int64_t row = width(), leaves = ceil_div(o.rows, kLeafRows);
  const float* v = o.v;
  for (int64_t leaf = 0; leaf < leaves; ++leaf) {
    const int64_t first = leaf * kLeafRows, second = first + kTreeRows, rows = std::min(kTreeRows, o.rows - first),
                  second_rows = kSide == 1 ? 0 : std::min(kTreeRows, o.rows - second);
    RegisterTile<R> one, two;
    one.clear();
    two.clear();
    if (second_rows == kTreeRows) {
      for (int pair = 0; pair < o.pairs; ++pair, v += kTreeRows * row) {
        const float* const g = o.g[pair] + first * o.step[pair];
        chain_two<R>(one, two, kTreeRows, g, g + kTreeRows * o.step[pair], o.step[pair], v,
                     v + o.pairs * kTreeRows * row, row);
      }
      v += o.pairs * kTreeRows * row;
    } else {
      for (int pair = 0; pair < o.pairs; ++pair, v += rows * row)
        one.chain(rows, o.g[pair] + first * o.step[pair], 1, o.step[pair], v, row);
      for (int pair = 0; second_rows > 0 && pair < o.pairs; ++pair, v += second_rows * row)
        two.chain(second_rows, o.g[pair] + second * o.step[pair], 1, o.step[pair], v, row);
    }
    if (o.factor != 1) {
      one.multiply(o.factor);
      two.multiply(o.factor);
    }
    if (second_rows > 0) one.add(two);
    const TreeStep step(leaf, leaves);
    step.for_each([&](int level) HWY_ATTR { one.add(waiting + level * kTileFloats, row); });
    if (!step.last) {
      one.store(waiting + step.level * kTileFloats, row);
      continue;
    }
    o.next.for_each([&](int level) HWY_ATTR { one.add(o.nodes + level * o.node_size, row); });
    if (!o.next.last) return one.store(o.nodes + o.next.level * o.node_size, row);
    one.add(o.out, o.out_row);
    one.store(o.out, o.out_row);
  }
}

template <int... R>
HWY_INLINE void add_tile_of(int64_t rows, const Chunk& o, std::integer_sequence<int, R...>) {
  (void)((rows == R + 1 ? (add_tile<R + 1>(o), true) : false) || ...);
}

void pack(const RowPair* pairs, int count, int64_t first, int64_t rows, float* storage) {
  const int64_t run = count == 1 ? rows : kTreeRows;
  for (int64_t k = 0; k < rows; k += run) {
    const int64_t part = std::min(run, rows - k);
    for (int pair = 0; pair < count; ++pair) {
      const Matrix<const float> v = pairs[pair].v;
      pack_part(v.part(first + k, 0, part, v.columns), k * count + pair * part, rows * count, storage);
    }
  }
}

}  // namespace

void target_add_row_product(const RowPair* pairs, int count, float factor, float* scratch, Matrix<float> out) {
  const int64_t rows = pairs[0].g.rows, panel = width(), padded = ceil_div(out.columns, panel) * panel,
                chunks = ceil_div(rows, kChunkRows);
  float* const nodes = scratch + std::min(rows, kChunkRows) * count * padded;
  HWY_ALIGN float edge[kTileFloats];
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t first = c * kChunkRows, depth = std::min(kChunkRows, rows - first);
    pack(pairs, count, first, depth, scratch);
    for (int64_t column = 0; column < out.columns; column += panel) {
      const size_t bytes = sizeof(float) * static_cast<size_t>(std::min(panel, out.columns - column));
      const bool fits = column + panel <= out.columns;
      Chunk o{depth,
              count,
              {},
              {},
              scratch + column * depth * count,
              factor,
              TreeStep(c, chunks),
              nullptr,
              out.rows * padded,
              nullptr,
              fits ? out.stride : panel};
      for (int64_t row = 0; row < out.rows; row += kRows) {
        const int64_t height = std::min<int64_t>(kRows, out.rows - row);
        for (int pair = 0; pair < count; ++pair) {
          o.g[pair] = pairs[pair].g.row(first) + row;
          o.step[pair] = pairs[pair].g.stride;
        }
        o.nodes = nodes + column * out.rows + row * panel;
        o.out = fits ? out.row(row) + column : edge;
        const bool through_edge = !fits && o.next.last;
        if (through_edge) {
          std::memset(edge, 0, sizeof edge);
          for (int64_t i = 0; i < height; ++i) std::memcpy(edge + i * panel, out.row(row + i) + column, bytes);
        }
        if (height == kRows)
          add_tile<kRows>(o);
        else
          add_tile_of(height, o, std::make_integer_sequence<int, kRows - 1>());
        for (int64_t i = 0; through_edge && i < height; ++i)
          std::memcpy(out.row(row + i) + column, edge + i * panel, bytes);
      }
    }
  }
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(target_add_row_product);

int64_t row_product_scratch(int64_t rows, int pairs, int64_t out_rows, int64_t out_columns) {
  constexpr int64_t kLine = 16;
  const int64_t padded = ceil_div(out_columns, panel_width()) * panel_width(),
                size = std::min(rows, kChunkRows) * pairs * padded +
                       tree_levels(ceil_div(rows, kChunkRows)) * out_rows * padded;
  return ceil_div(size, kLine) * kLine;
}

void add_row_product(const RowPair* pairs, int count, float factor, float* scratch, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(target_add_row_product)(pairs, count, factor, scratch, out);
}

}  // namespace duet::cpu
#endif
