// Which thread of a block owns which elements of a tile, and what epilogues do with them: reductions over rows and
// columns, loads and stores, whatever the precision. The elements lie as mma.sync leaves its results; the tile product
// itself is in tiles.h, with how to use both.
#pragma once

#include "kernels/core/context.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/warp.h"

namespace duet::cuda {

inline constexpr int kTileRows = 128;
inline constexpr int kStepWords = 32;  // 128 bytes of k: one row of shared memory passes all banks once

__host__ __device__ constexpr int elements_of_word(duet_precision precision) {
  return precision == DUET_PRECISION_BF16 ? 2 : 1;
}

// As close to float32 as METHOD.md 1 asks of fp32 and tf32x3.
__host__ __device__ constexpr bool is_exact(duet_precision precision) {
  return precision == DUET_PRECISION_FP32 || precision == DUET_PRECISION_TF32X3;
}

// A packed operand.
struct Packed {
  uint32_t* words = nullptr;
  int64_t stride = 0;  // words from row to row, a multiple of kStepWords

  __host__ __device__ const uint32_t* row(int64_t i) const { return words + i * stride; }
  __host__ __device__ int steps() const { return static_cast<int>(stride / kStepWords); }
};

template <duet_precision P, int kTileColumns, int kWarpsAcross>
struct TileLayout {
  static constexpr duet_precision kPrecision = P;
  static constexpr int kColumns = kTileColumns;
  static constexpr int kThreads = 2 * kWarpsAcross * 32;
  static constexpr int kBlocks = 256 / kThreads;  // an SM's 64 K registers at 255 a thread
  static constexpr bool kRuns =
      kBlocks == 1;  // from tile to tile, where no other block's products run under the epilogue
  static constexpr int kWarpRows = kTileRows / 2, kWarpColumns = kColumns / kWarpsAcross;
  static constexpr int kStages = 3;
  static constexpr int kRowStepWords = kTileRows * kStepWords, kColumnStepWords = kColumns * kStepWords;
  static constexpr int kThreadRows = kWarpRows / 8, kThreadColumns = kWarpColumns / 4;
  static constexpr int kValues = kThreadRows * kThreadColumns;
  // Shared memory: kStages steps of the columns, then places for as many steps of the rows as the device holds, but at
  // least kStages.
  static constexpr size_t shared_bytes(int row_places) {
    return sizeof(uint32_t) * (kStages * kColumnStepWords + row_places * kRowStepWords);
  }
  static constexpr int row_places(int64_t bytes) {
    const int64_t places = (bytes / 4 - kStages * kColumnStepWords) / kRowStepWords;
    return places > kStages ? static_cast<int>(places) : kStages;
  }
  static constexpr size_t kSharedBytes = shared_bytes(kStages);
  static constexpr size_t kStaticBytes = 1024;  // that a kernel may have beside them
  // Whether a device gives a block of threads enough for a tile.
  static constexpr bool fits(int64_t bytes) { return bytes >= static_cast<int64_t>(kSharedBytes + kStaticBytes); }
  // Areas for reductions, where a step of the columns was.
  static constexpr int kAreaWords = kWarpsAcross * kTileRows > 2 * kColumns ? kWarpsAcross* kTileRows : 2 * kColumns;
  static constexpr int kAreas = kColumnStepWords / kAreaWords;

  static_assert(kWarpColumns == 64 || kWarpColumns == 32, "a warp's share in registers is built for these");
  static_assert(kWarpsAcross == 2 || kWarpsAcross == 4);
  static_assert(kColumns <= kThreads && kTileRows <= kThreads, "a thread for every total of a reduction");
  static_assert(kBlocks * (kSharedBytes + kStaticBytes) <= 227 * 1024, "on a Hopper SM");
  static_assert(fits(163 * 1024), "one block on an A100 SM");
  static_assert(kAreas >= 8);

  struct Values {
    float tile[kThreadRows / 2][kThreadColumns / 2][4];  // as mma.sync holds its 16 x 8 results
    __device__ __forceinline__ float& operator()(int r, int c) { return tile[r >> 1][c >> 1][(r & 1) * 2 + (c & 1)]; }
    __device__ __forceinline__ float operator()(int r, int c) const {
      return tile[r >> 1][c >> 1][(r & 1) * 2 + (c & 1)];
    }
  };

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) & 31; }
  static __device__ __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / (32 * kWarpsAcross); }
  static __device__ __forceinline__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % kWarpsAcross; }
  // The thread's rows and columns of the tile: r < kThreadRows, c < kThreadColumns. Columns c, c + 1 (c even) are
  // neighbours.
  static __device__ __forceinline__ int row(int r) { return warp_row() * kWarpRows + 8 * r + (lane() >> 2); }
  static __device__ __forceinline__ int column(int c) {
    return warp_column() * kWarpColumns + 8 * (c >> 1) + 2 * (lane() & 3) + (c & 1);
  }

  // Shared memory for one reduction; index < kAreas, and 8-byte numbers take two of them, from an even index on. It is
  // free again behind the next barrier after the last read of its totals.
  template <class V>
  static __device__ __forceinline__ V* area(uint32_t* scratch, int index) {
    static_assert(sizeof(V) == 4 || sizeof(V) == 8);
    return reinterpret_cast<V*>(scratch + index * kAreaWords);
  }

  // partial[r]: of the thread's part of row(r). Returns the tile's kTileRows totals, in area. All threads of the block.
  template <class V, class Combine>
  static __device__ __forceinline__ const V* reduce_rows(V* area, V (&partial)[kThreadRows], Combine combine) {
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r) {
      partial[r] = warp_reduce<4>(partial[r], combine);
      if ((r & 3) == (lane() & 3)) area[warp_column() * kTileRows + row(r)] = partial[r];
    }
    return add_warps(area, kTileRows, kWarpsAcross, combine);
  }

  // partial[c]: of the thread's part of column(c), destroyed. Returns the tile's kColumns totals, in area.
  template <class V, class Combine>
  static __device__ __forceinline__ const V* reduce_columns(V* area, V (&partial)[kThreadColumns], Combine combine) {
    // Each step a lane hands half of its columns to a partner and takes the partner's part of the other half: 14
    // shuffles, not 48.
    const int first = keep_half<kThreadColumns / 2>(16, partial, combine) +
                      keep_half<kThreadColumns / 4>(8, partial, combine) +
                      keep_half<kThreadColumns / 8>(4, partial, combine);
    DUET_UNROLL
    for (int k = 0; k < kThreadColumns / 8; ++k) area[warp_row() * kColumns + column(first + k)] = partial[k];
    return add_warps(area, kColumns, 2, combine);
  }

  // For the rare element that its product cannot tell: value (r, c) with bit r * kThreadColumns + c of flags set
  // becomes recompute(row, column). Registers have no index. Where close pairs are recomputed, every thread's values go
  // through places of its own in shared, all of which is free then; where NaN alone is, each register is asked whether
  // it is the one.
  template <class Recompute>
  static __device__ __forceinline__ void replace([[maybe_unused]] uint32_t* shared,
                                                 const unsigned (&flags)[kValues / 32], Recompute recompute,
                                                 Values& values) {
    [[maybe_unused]] float* places = reinterpret_cast<float*>(shared) + threadIdx.x;
    if constexpr (is_exact(P)) {
      DUET_UNROLL
      for (int k = 0; k < kValues; ++k) places[k * kThreads] = values(k / kThreadColumns, k % kThreadColumns);
    }
    DUET_NO_UNROLL
    for (int word = 0; word < kValues / 32; ++word) {
      unsigned bits = 0;
      DUET_UNROLL
      for (int k = 0; k < kValues / 32; ++k) bits = k == word ? flags[k] : bits;
      for (; bits; bits &= bits - 1) {
        const int place = 32 * word + __ffs(static_cast<int>(bits)) - 1;
        const float value = recompute(row(place / kThreadColumns), column(place % kThreadColumns));
        if constexpr (is_exact(P)) {
          places[place * kThreads] = value;
        } else {
          DUET_UNROLL
          for (int k = 0; k < kValues; ++k) {
            float& old = values(k / kThreadColumns, k % kThreadColumns);
            old = k == place ? value : old;
          }
        }
      }
    }
    if constexpr (is_exact(P)) {
      DUET_UNROLL
      for (int k = 0; k < kValues; ++k) values(k / kThreadColumns, k % kThreadColumns) = places[k * kThreads];
    }
  }

  // body(value) for every element of the thread's.
  template <class Body>
  static __device__ __forceinline__ void for_each(Values& values, Body body) {
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c) body(values(r, c));
    }
  }

  // Elements outside rows x columns become `value`.
  static __device__ __forceinline__ void fill_outside(int rows, int columns, float value, Values& values) {
    if (rows >= kTileRows && columns >= kColumns) return;
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c)
        if (row(r) >= rows || column(c) >= columns) values(r, c) = value;
    }
  }

  // out (rows x columns of the tile, any alignment and stride) = values, or += with kAdd. A quad of lanes writes 32
  // bytes, a whole sector.
  template <bool kAdd = false>
  static __device__ __forceinline__ void store(const Values& values, float* out, int64_t stride, int rows,
                                               int columns) {
    const bool whole = rows >= kTileRows && columns >= kColumns;
    const bool aligned = reinterpret_cast<uintptr_t>(out) % sizeof(float2) == 0 && stride % 2 == 0;
    if (whole && aligned) {
      DUET_UNROLL
      for (int r = 0; r < kThreadRows; ++r) {
        float* to = out + row(r) * stride + column(0);
        DUET_UNROLL
        for (int c = 0; c < kThreadColumns; c += 2) {
          auto* pair = reinterpret_cast<float2*>(to + 4 * c);
          float2 value = make_float2(values(r, c), values(r, c + 1));
          if constexpr (kAdd) {
            const float2 before = *pair;
            value = make_float2(before.x + value.x, before.y + value.y);
          }
          *pair = value;
        }
      }
      return;
    }
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r) {
      float* to = out + row(r) * stride;
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c) {
        if (row(r) >= rows || column(c) >= columns) continue;
        to[column(c)] = kAdd ? to[column(c)] + values(r, c) : values(r, c);
      }
    }
  }

  // values = rows x columns from there, `outside` elsewhere.
  static __device__ __forceinline__ void load(const float* from, int64_t stride, int rows, int columns, float outside,
                                              Values& values) {
    const bool whole = rows >= kTileRows && columns >= kColumns;
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r) {
      const float* at = from + row(r) * stride;
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c)
        values(r, c) = whole || (row(r) < rows && column(c) < columns) ? __ldg(at + column(c)) : outside;
    }
  }

  // The tile as an operand of the next product: element (i, j) at k = j of row i of `to`, whose first word is the
  // tile's. The whole tile is written: what is outside the matrix must be 0.
  static __device__ __forceinline__ void store_packed(const Values& values, uint32_t* to, int64_t stride) {
    uint32_t* words = to + row(0) * stride + column(0) / elements_of_word(P);
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r, words += 8 * stride) {
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; c += 2) {
        if constexpr (P == DUET_PRECISION_BF16)
          words[2 * c] = ptx::pack_bf16(values(r, c), values(r, c + 1));
        else
          *reinterpret_cast<uint2*>(words + 4 * c) = make_uint2(word(values(r, c)), word(values(r, c + 1)));
      }
    }
  }

  // The same transposed: element (i, j) at k = i of row j of `to`.
  static __device__ __forceinline__ void store_packed_transposed(const Values& values, uint32_t* to, int64_t stride) {
    if constexpr (P == DUET_PRECISION_BF16) {
      // Two rows make a word: of two lanes with neighbouring rows one takes the even column and one the odd.
      const bool odd = lane() & 4;
      uint32_t* words = to + (column(0) + odd) * stride + row(0) / 2;
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; c += 2, words += 8 * stride) {
        DUET_UNROLL
        for (int r = 0; r < kThreadRows; ++r) {
          const float even_column = values(r, c), odd_column = values(r, c + 1);
          const float other = shuffle_xor(odd ? even_column : odd_column, 4);
          words[4 * r] = odd ? ptx::pack_bf16(other, odd_column) : ptx::pack_bf16(even_column, other);
        }
      }
    } else {
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c) {
        uint32_t* words = to + column(c) * stride;
        DUET_UNROLL
        for (int r = 0; r < kThreadRows; ++r) words[row(r)] = word(values(r, c));
      }
    }
  }

 private:
  static __device__ __forceinline__ uint32_t word(float value) {
    if constexpr (P == DUET_PRECISION_TF32) return ptx::to_tf32(value);
    return __float_as_uint(value);
  }

  // Returns how far the kept half is from the first column.
  template <int kHalf, class V, class Combine>
  static __device__ __forceinline__ int keep_half(int bit, V (&partial)[kThreadColumns], Combine combine) {
    const bool upper = lane() & bit;
    DUET_UNROLL
    for (int k = 0; k < kHalf; ++k) {
      const V low = partial[k], high = partial[k + kHalf];
      const V sent = upper ? low : high, kept = upper ? high : low;
      partial[k] = combine(kept, shuffle_xor(sent, bit));
    }
    return upper ? kHalf : 0;
  }

  template <class V, class Combine>
  static __device__ __forceinline__ const V* add_warps(V* area, int count, int warps, Combine combine) {
    __syncthreads();
    const int k = static_cast<int>(threadIdx.x);
    if (k < count) {
      V total = area[k];
      for (int warp = 1; warp < warps; ++warp) total = combine(total, area[warp * count + k]);
      area[k] = total;
    }
    __syncthreads();
    return area;
  }
};

}  // namespace duet::cuda
