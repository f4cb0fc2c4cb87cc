// Blocks of 16 rows cost one addition an element beside 16 multiply-adds. Of AVX-512's registers, two blocks
// have a half each, so that every second of these additions needs no memory. A register tile forms the node of 8
// blocks, whose parts wait in a stack that fits L1, as do the 128 rows of a panel. On the levels above, nodes of a
// whole part of the gradient wait in the thread's scratch. On one core of a Xeon with AVX-512 (512 x 512, 512 rows) the
// whole takes 1.08 times a chain without blocks; the additions alone are 1.06.
#include "kernels/cpu/row_product.h"

#include <algorithm>
#include <bit>
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

// A node of at most kChunkBlocks blocks, what becomes of it, and what becomes of the sum of all chunks.
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
  RowLeaf whole;  // its nodes likewise
  float* out;
  int64_t out_row;
  // Of differences: of each block the sums of g's columns, a block every sums_row floats; and the rows they multiply.
  const float* sums = nullptr;
  int64_t sums_row = 0;
  const float* from = nullptr;
  int64_t from_row = 0;
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

template <int R, bool kDifferences>
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
    if (kDifferences) {
      const float* const sums = o.sums + kSide * leaf * o.sums_row;
      one.subtract(sums, o.from, o.from_row);
      if (second_rows > 0) two.subtract(sums + o.sums_row, o.from, o.from_row);
    }
    if (o.factor != 1) {
      one.multiply(o.factor);
      two.multiply(o.factor);
    }
    if (second_rows > 0) one.add(two);
    const TreeStep step(leaf, leaves);
    // Loops, not calls: the tile's address must not reach a function that is compiled apart.
    for (uint64_t rest = step.waiting; rest != 0; rest &= rest - 1)
      one.add(waiting + std::countr_zero(rest) * kTileFloats, row);
    if (!step.last) {
      one.store(waiting + step.level * kTileFloats, row);
      continue;
    }
    for (uint64_t rest = o.next.waiting; rest != 0; rest &= rest - 1)
      one.add(o.nodes + std::countr_zero(rest) * o.node_size, row);
    if (!o.next.last) return one.store(o.nodes + o.next.level * o.node_size, row);
    for (uint64_t rest = o.whole.step.waiting; rest != 0; rest &= rest - 1)
      one.add(o.whole.nodes + std::countr_zero(rest) * o.whole.level_size, row);
    if (!o.whole.step.last) return one.store(o.whole.nodes + o.whole.step.level * o.whole.level_size, row);
    one.add(o.out, o.out_row);
    one.store(o.out, o.out_row);
  }
}

template <bool kDifferences, int... R>
HWY_INLINE void add_tile_of(int64_t rows, const Chunk& o, std::integer_sequence<int, R...>) {
  (void)((rows == R + 1 ? (add_tile<R + 1, kDifferences>(o), true) : false) || ...);
}
template <bool kDifferences>
HWY_INLINE void add_tile_of(int64_t rows, const Chunk& o) {
  if (rows == kRows)
    add_tile<kRows, kDifferences>(o);
  else
    add_tile_of<kDifferences>(rows, o, std::make_integer_sequence<int, kRows - 1>());
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

// The rows of the pairs from `first` on: all tiles of out. v and nodes: of all tiles; o holds what the tiles share.
template <bool kDifferences>
HWY_INLINE void add_chunk(const RowPair* pairs, int64_t first, const float* v, float* nodes, Matrix<const float> from,
                          Chunk o, Matrix<float> out) {
  const int64_t panel = width();
  HWY_ALIGN float edge[kTileFloats], from_edge[kTileFloats];
  const float* const sums = o.sums;
  const RowLeaf whole = o.whole;
  for (int64_t column = 0; column < out.columns; column += panel) {
    const size_t bytes = sizeof(float) * static_cast<size_t>(std::min(panel, out.columns - column));
    const bool fits = column + panel <= out.columns, through_edge = !fits && o.next.last && whole.step.last;
    o.v = v + column * o.rows * o.pairs;
    o.out_row = fits ? out.stride : panel;
    for (int64_t row = 0; row < out.rows; row += kRows) {
      const int64_t rows = std::min<int64_t>(kRows, out.rows - row);
      for (int pair = 0; pair < o.pairs; ++pair) {
        o.g[pair] = pairs[pair].g.row(first) + row;
        o.step[pair] = pairs[pair].g.stride;
      }
      o.nodes = nodes + column * out.rows + row * panel;
      if (whole.nodes) o.whole.nodes = whole.nodes + column * out.rows + row * panel;
      o.out = fits ? out.row(row) + column : edge;
      if (through_edge) {
        std::memset(edge, 0, sizeof edge);
        for (int64_t i = 0; i < rows; ++i) std::memcpy(edge + i * panel, out.row(row + i) + column, bytes);
      }
      if (kDifferences) {
        o.sums = sums + row;
        o.from = fits ? from.row(row) + column : from_edge;
        o.from_row = fits ? from.stride : panel;
        if (!fits) std::memset(from_edge, 0, sizeof from_edge);
        for (int64_t i = 0; !fits && i < rows; ++i)
          std::memcpy(from_edge + i * panel, from.row(row + i) + column, bytes);
      }
      add_tile_of<kDifferences>(rows, o);
      for (int64_t i = 0; through_edge && i < rows; ++i)
        std::memcpy(out.row(row + i) + column, edge + i * panel, bytes);
    }
  }
}

// sums (a row a block of 16 rows) = the sums of g's columns, in float64 and rounded once
void sum_columns(Matrix<const float> g, Matrix<float> sums) {
  const PanelTag f;
  const hn::Half<PanelTag> half;
  const hn::RepartitionToWide<PanelTag> wide;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(f));
  for (int64_t block = 0; block < sums.rows; ++block) {
    const int64_t first = block * kTreeRows, end = std::min(first + kTreeRows, g.rows);
    float* const to = sums.row(block);
    int64_t j = 0;
    for (; j + lanes <= g.columns; j += lanes) {
      auto lower = hn::Zero(wide), upper = hn::Zero(wide);
      for (int64_t i = first; i < end; ++i) {
        const PanelVector value = hn::LoadU(f, g.row(i) + j);
        lower = hn::Add(lower, hn::PromoteTo(wide, hn::LowerHalf(half, value)));
        upper = hn::Add(upper, hn::PromoteTo(wide, hn::UpperHalf(half, value)));
      }
      hn::StoreU(hn::Combine(f, hn::DemoteTo(half, upper), hn::DemoteTo(half, lower)), f, to + j);
    }
    for (; j < g.columns; ++j) {
      double sum = 0;
      for (int64_t i = first; i < end; ++i) sum += g.row(i)[j];
      to[j] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void target_add_row_product(const RowPair* pairs, int count, float factor, Matrix<const float> from,
                            const RowLeaf& leaf, float* scratch, Matrix<float> out) {
  const int64_t rows = pairs[0].g.rows, padded = ceil_div(out.columns, width()) * width(),
                chunks = ceil_div(rows, kChunkRows);
  float* const nodes = scratch + std::min(rows, kChunkRows) * count * padded;
  float* const sums = nodes + tree_levels(chunks) * out.rows * padded;
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t first = c * kChunkRows, depth = std::min(kChunkRows, rows - first);
    pack(pairs, count, first, depth, scratch);
    Chunk chunk{depth, count,   {}, {}, nullptr, factor, TreeStep(c, chunks), nullptr, out.rows * padded,
                leaf,  nullptr, 0};
    if (from) {
      chunk.sums = sums;
      chunk.sums_row = out.rows;
      sum_columns(pairs[0].g.part(first, 0, depth, out.rows), {sums, tree_blocks(depth), out.rows, out.rows});
      add_chunk<true>(pairs, first, scratch, nodes, from, chunk, out);
    } else {
      add_chunk<false>(pairs, first, scratch, nodes, from, chunk, out);
    }
  }
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(target_add_row_product);

int64_t row_product_scratch(int64_t rows, int pairs, int64_t out_rows, int64_t out_columns, bool differences) {
  constexpr int64_t kLine = 16;
  const int64_t padded = ceil_div(out_columns, panel_width()) * panel_width(),
                size = std::min(rows, kChunkRows) * pairs * padded +
                       tree_levels(ceil_div(rows, kChunkRows)) * out_rows * padded +
                       (differences ? std::min(tree_blocks(rows), kChunkBlocks) * out_rows : 0);
  return ceil_div(size, kLine) * kLine;
}

int64_t row_leaf_size(int64_t out_rows, int64_t out_columns) {
  return out_rows * ceil_div(out_columns, panel_width()) * panel_width();
}

void add_row_product(const RowPair* pairs, int count, float factor, float* scratch, Matrix<float> out,
                     const RowLeaf& leaf) {
  HWY_DYNAMIC_DISPATCH(target_add_row_product)(pairs, count, factor, {}, leaf, scratch, out);
}

void add_row_differences(const RowPair& pair, Matrix<const float> from, float factor, float* scratch, Matrix<float> out,
                         const RowLeaf& leaf) {
  HWY_DYNAMIC_DISPATCH(target_add_row_product)(&pair, 1, factor, from, leaf, scratch, out);
}

}  // namespace duet::cpu
#endif
