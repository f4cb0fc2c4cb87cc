// The tile product on the GPU, x y^T for 128 x 128 (or 128 x 256) elements at a time: what every matrix operation is
// built on.
//
// One loop for all products. Operands are packed once a call (pack.h): rows of 32-bit words, padded with zeros to whole
// tiles and whole steps, so that the loop has no bounds, converts nothing and always copies 16 aligned bytes. A word is
// a float32 (fp32, tf32x3), a float32 rounded to TF32 (tf32) or two bf16 neighbours in k (bf16). A backward product G v
// is the same loop over k = columns of G with v packed transposed, and G^T a is it with G stored transposed as well
// (sweep.h): no second loop for other layouts, at the price of (n + m) d words and one more block of G.
//
// A warp owns 64 x 64 elements in 128 registers a thread. fp32 and tf32x3: 4 warps in 2 x 2, 128 x 128, two blocks an
// SM, one's epilogue under the other's products. tf32 and bf16, which ask 4 times the operands of the L2: 8 warps in 2
// x 4, 128 x 256, one block. A step is 128 bytes of k from every row, three stages of cp.async, one barrier a step.
// 16-byte chunks are swizzled by the row's last three bits, so that a ldmatrix (8 rows, one chunk) reads all 32 banks
// once.
//
// One block an SM has nothing beside its epilogue but its own loads. So a kernel of many tiles walks over them
// (sweep.h) and hands the loop the next product with each: two stages fill with its first steps under the epilogue,
// which works in the third. And along a row of tiles the steps of the rows stay in shared memory: as many as the device
// holds beside the columns' stages, 8 in 224 KiB on an H200 (d = 512 in bf16; of longer rows 5, as 3 places serve the
// others), 4 or 1 in 160 KiB on an A100.
//
// Where a block may have 99 KiB (sm_86, sm_89, sm_120), three stages of 128 x 256 do not fit, and tf32 and bf16 take
// 128 x 128 in the same 8 warps, 96 KiB. Two stages of 128 x 256 would fit, but a step's loads would have one step of
// products to arrive under. For as many products the narrow tile asks L2 for 16 KiB where the wide one asks for 12; a
// multiprocessor of those devices multiplies at half of an A100's rate or less, and so asks less a cycle.
//
// Figures for one H200 SM (132 at 1.75 GHz sustained; 128 B a cycle of shared memory; mma.sync at 5/8 of wgmma's 2048
// bf16 or 1024 tf32 FMA a cycle; L2 about 5.5 TB/s = 24 B a cycle and SM), a tile and 16 bf16 or 8 words of k:
//   mma       256 of 2048 (1024) FMA: 256 / 4 x 6.4 = 410 cycles, and some 80 a step (of 4) from the barrier to the
//   first fragments shared    8 warps x (64 + 64) rows x 32 B = 32 KiB: 256 cycles, 0.62 of the mma's. (Warps of 64 x
//   32 would read half as much again, as long as the mma.)
//   issue     280 instructions a warp and step, 128 of them mma: a third of the slots
//   L2        (128 + 256) x 32 B = 12 KiB: 512 cycles at 24 B; 8 KiB, 341 cycles, where the rows are kept
//   tf32x3    128 x 128: 384 mma, 615 cycles; 8 KiB from L2 are 340. Splitting 32 words a lane costs 96 instructions a
//             warp beside 96 mma, and adding what 8 of k sum up to 128: 0.5 of the issue slots. (Packing both parts
//             would double the bytes of L2 and shared memory: the split in registers is cheaper.)
//   fp32      128 x 128: 4 warps x 1024 FMA instructions / 4 = 1024 cycles; 48 16-byte loads a thread are at most 768
//             cycles of shared memory and 5 % of the issue slots
// So a tile of d = 512 takes 13,700 cycles of mma in bf16 and 27,500 in tf32, then its epilogue, 2,400 to 3,000; and
// beside both L2 11,000 in bf16 (rows kept), 29,400 in tf32 (5 of 16 steps kept), and 5,500 where the tile is stored.
// The larger sum binds, with 5 % more as the two meet. A tile without a walk: the 16,400 (32,800) that L2 takes for all
// operands, and 4,000 for start and epilogue. Expected at n = m = 16384, d = 512, of cuBLAS's 780 TFLOP/s in bf16 and
// 390 in tf32: distance 0.53 and 0.51, alignment 0.52 and 0.57; tf32x3 80 TFLOP/s against 52 of cuBLAS fp32, fp32 0.87
// (45 of 52). Measured (bench/results/nvidia-h200.md): distance 0.46 and 0.46, alignment 0.52 and 0.49; tf32x3 54 and
// 56 TFLOP/s against 50, and 66 and 67 before it had a sum of its own for 8 of k (multiply_add); fp32 0.85 and 0.90.
//
// Bits: an element's sum runs over k in one fixed order, and no other element takes part: it depends on its two rows
// alone.
//
// How to use it (a kernel of T::kThreads threads, __launch_bounds__(T::kThreads, T::kBlocks), T::kSharedBytes of
//   dynamic shared memory, or a walk's): using T = SingleTile<P>;                                      // DualTile<P>:
//   half the columns, for two products held at once DUET_SHARED_DYNAMIC(uint32_t, shared);
//   typename T::Values dots;                                      // registers: T::kThreadRows x T::kThreadColumns of
//   this thread T::multiply(shared, operands, dots);                          // or T::multiply(loop, operands, next
//   operands, dots), loop.scratch() for shared for r < T::kThreadRows, c < T::kThreadColumns (both under DUET_UNROLL:
//   an index that is no constant sends the registers to memory):
//     dots(r, c) is element (T::row(r), T::column(c)) of the tile
//   float largest[T::kThreadRows] = ...;                          // over the thread's columns
//   const float* of_row = T::reduce_rows(T::template area<float>(shared, 0), largest, MaxNumber());   // kTileRows
//   totals; any thread may read any T::store(dots, out, out_stride, rows, columns);               // any alignment; or
//   store_packed / store_packed_transposed
#pragma once

#include "kernels/cuda/tile_layout.h"

namespace duet::cuda {

template <duet_precision P, int kTileColumns, int kWarpsAcross>
struct TileProduct : TileLayout<P, kTileColumns, kWarpsAcross> {
  using Layout = TileLayout<P, kTileColumns, kWarpsAcross>;
  using Layout::column, Layout::lane, Layout::row, Layout::warp_column, Layout::warp_row;
  using Layout::kColumns, Layout::kColumnStepWords, Layout::kRowStepWords, Layout::kRuns, Layout::kStages,
      Layout::kThreads, Layout::kThreadColumns, Layout::kThreadRows, Layout::kWarpColumns, Layout::kWarpRows;
  using typename Layout::Values;

  // One product: kTileRows rows from a on times kColumns rows from b on, over `steps` steps of k; none: no steps.
  struct Operands {
    const uint32_t* a = nullptr;
    int64_t a_stride = 0;
    const uint32_t* b = nullptr;
    int64_t b_stride = 0;
    int steps = 0;
    bool keeps = false;  // the rows' first steps, in the places that the loop has for them
    bool kept = false;   // they are there already: of the last product that keeps
  };

  // The loop over all products of a block of threads.
  struct Loop {
    uint32_t* shared;
    int places = 0;        // for kept steps; other steps of the rows go through kStages more behind them
    int stage = 0;         // of the next step
    bool started = false;  // the next product's first steps are on their way

    // What a product has left free, until the next one: kAreas areas.
    __device__ __forceinline__ uint32_t* scratch() const {
      return kRuns ? shared + before(stage) * kColumnStepWords : shared;
    }
    static __device__ __forceinline__ int before(int stage) { return stage == 0 ? kStages - 1 : stage - 1; }
  };

  // values = the product, by all threads of the block. The next one's first steps are loaded under its last ones: both
  // of kStages steps or more, or the next begins anew.
  static __device__ __forceinline__ void multiply(Loop& loop, const Operands& product, const Operands& next,
                                                  Values& values) {
    constexpr int kAhead = kStages - 1;
    DUET_UNROLL
    for (int r = 0; r < kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c) values(r, c) = 0;
    }
    // A thread copies chunk `threadIdx % 8` of every kPass-th row.
    constexpr int kPass = kThreads / 8;
    const int chunk = static_cast<int>(threadIdx.x) & 7, first = static_cast<int>(threadIdx.x) >> 3;
    const int to = first * kStepWords + 4 * (chunk ^ (first & 7));
    uint32_t* const rows = loop.shared + kStages * kColumnStepWords;
    const int places = kRuns ? loop.places : 0;
    const auto kept_of = [&](const Operands& of) { return of.keeps && of.steps >= kStages ? places : 0; };
    const int kept = kept_of(product);
    const uint32_t *a = product.a + first * product.a_stride + 4 * chunk,
                   *b = product.b + first * product.b_stride + 4 * chunk;
    int64_t a_stride = product.a_stride, b_stride = product.b_stride;
    int step_to_load = 0, load_until = product.steps, load_kept = kept;
    bool skips_kept = product.kept;
    const auto load = [&](int stage) {
      const bool keeps = step_to_load < load_kept;
      if (!(keeps && skips_kept)) {
        uint32_t* place = rows + (keeps ? step_to_load : places + stage) * kRowStepWords + to;
        const uint32_t* from = a;
        DUET_UNROLL
        for (int i = 0; i < kTileRows / kPass; ++i, from += kPass * a_stride)
          ptx::cp_async16(place + i * kPass * kStepWords, from, 16);
      }
      uint32_t* place = loop.shared + stage * kColumnStepWords + to;
      const uint32_t* from = b;
      DUET_UNROLL
      for (int i = 0; i < kColumns / kPass; ++i, from += kPass * b_stride)
        ptx::cp_async16(place + i * kPass * kStepWords, from, 16);
      a += kStepWords;
      b += kStepWords;
      ++step_to_load;
    };
    if (loop.started) {
      a += kAhead * kStepWords;
      b += kAhead * kStepWords;
      step_to_load = kAhead;
    } else {
      __syncthreads();  // whatever the block kept in shared
      loop.stage = 0;
      DUET_UNROLL
      for (int stage = 0; stage < kAhead; ++stage) {
        if (stage < product.steps) load(stage);
        ptx::cp_async_commit();
      }
    }
    loop.started = product.steps >= kStages && next.steps >= kStages;
    for (int step = 0; step < product.steps; ++step) {
      ptx::cp_async_wait<kStages - 2>();
#ifndef DUET_PLANT_MISSING_BARRIER  // planted_barrier_test.cpp
      __syncthreads();              // this step has arrived for all, and nobody reads the stage that is filled now
#endif
      if (step_to_load == load_until && loop.started) {
        a = next.a + first * next.a_stride + 4 * chunk, b = next.b + first * next.b_stride + 4 * chunk;
        a_stride = next.a_stride, b_stride = next.b_stride;
        step_to_load = 0, load_until = kAhead, load_kept = kept_of(next);
        skips_kept = next.kept;
      }
      if (step_to_load < load_until) load(Loop::before(loop.stage));
      ptx::cp_async_commit();
      const uint32_t *of_rows = rows + (step < kept ? step : places + loop.stage) * kRowStepWords,
                     *of_columns = loop.shared + loop.stage * kColumnStepWords;
      if constexpr (P == DUET_PRECISION_FP32)
        step_on_cores(of_rows, of_columns, values);
      else
        step_on_tensor_cores(of_rows, of_columns, values);
      loop.stage = loop.stage == kStages - 1 ? 0 : loop.stage + 1;
    }
    if (!loop.started) ptx::cp_async_wait<0>();
    __syncthreads();
  }

  // One product alone; shared is free again when it returns.
  static __device__ __forceinline__ void multiply(uint32_t* shared, const Operands& product, Values& values) {
    Loop loop{shared};
    multiply(loop, product, {}, values);
  }

 private:
  // d += the product of 8 or 16 of k. mma cuts off what a sum has beyond float32, where an addition rounds: over a long
  // k the cuts of one accumulator add up, always towards zero (4096 of k in tf32x3 on an H200: 1e-5 of the sum). tf32
  // and bf16 keep one accumulator: that their operands are rounded is the larger error.
  static __device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    if constexpr (P == DUET_PRECISION_BF16)
      ptx::mma_m16n8k16_bf16(d, a, b, d);
    else
      ptx::mma_m16n8k8_tf32(d, a, b, d);
  }

  static __device__ __forceinline__ void split(unsigned& high, unsigned& low) {
    const float value = __uint_as_float(high);
    high = ptx::to_tf32(value);
    low = ptx::to_tf32(value - __uint_as_float(high));
  }

  static __device__ __forceinline__ void step_on_tensor_cores(const uint32_t* rows, const uint32_t* columns,
                                                              Values& values) {
    constexpr int kTilesDown = kWarpRows / 16, kTilesAcross = kWarpColumns / 8;
    constexpr bool kSplit = P == DUET_PRECISION_TF32X3;
    const int bank_row = lane() & 7;
    // ldmatrix x4: a takes rows 0-7 and 8-15 of the first chunk, then of the second; b both chunks of rows 0-7, then of
    // 8-15.
    const uint32_t* a_rows = rows + (warp_row() * kWarpRows + (lane() & 15)) * kStepWords;
    const uint32_t* b_rows = columns + (warp_column() * kWarpColumns + bank_row + (lane() >> 4) * 8) * kStepWords;
    const auto multiply_chunks = [&](int pair) {  // 16 bf16 or 8 tf32 of k
      unsigned a[kTilesDown][4], a_low[kTilesDown][4];
      const int a_chunk = 4 * ((2 * pair + (lane() >> 4)) ^ bank_row),
                b_chunk = 4 * ((2 * pair + (lane() >> 3 & 1)) ^ bank_row);
      DUET_UNROLL
      for (int i = 0; i < kTilesDown; ++i) {
        ptx::ldmatrix_x4(a[i], a_rows + i * 16 * kStepWords + a_chunk);
        if constexpr (kSplit) {
          DUET_UNROLL
          for (int k = 0; k < 4; ++k) split(a[i][k], a_low[i][k]);
        }
      }
      DUET_UNROLL
      for (int j = 0; j < kTilesAcross; j += 2) {
        unsigned both[4], both_low[4];
        ptx::ldmatrix_x4(both, b_rows + j * 8 * kStepWords + b_chunk);
        if constexpr (kSplit) {
          DUET_UNROLL
          for (int k = 0; k < 4; ++k) split(both[k], both_low[k]);
        }
        const unsigned b[2][2] = {{both[0], both[1]}, {both[2], both[3]}};
        if constexpr (kSplit) {  // a sum of its own for 8 of k, the small terms first, which an addition rounds
          const unsigned b_low[2][2] = {{both_low[0], both_low[1]}, {both_low[2], both_low[3]}};
          DUET_UNROLL
          for (int i = 0; i < kTilesDown; i += 2) {
            float part[4][4] = {};
            DUET_UNROLL
            for (int t = 0; t < 4; ++t) multiply_add(part[t], a_low[i + t / 2], b[t % 2]);
            DUET_UNROLL
            for (int t = 0; t < 4; ++t) multiply_add(part[t], a[i + t / 2], b_low[t % 2]);
            DUET_UNROLL
            for (int t = 0; t < 4; ++t) multiply_add(part[t], a[i + t / 2], b[t % 2]);
            DUET_UNROLL
            for (int t = 0; t < 4; ++t) {
              DUET_UNROLL
              for (int e = 0; e < 4; ++e) values.tile[i + t / 2][j + t % 2][e] += part[t][e];
            }
          }
        } else {
          DUET_UNROLL
          for (int i = 0; i < kTilesDown; ++i) {
            DUET_UNROLL
            for (int k = 0; k < 2; ++k) multiply_add(values.tile[i][j + k], a[i], b[k]);
          }
        }
      }
    };
    if constexpr (kSplit) {  // unrolled, the next ones' operands would go past 255 registers
      DUET_NO_UNROLL
      for (int pair = 0; pair < kStepWords / 8; ++pair) multiply_chunks(pair);
    } else {
      DUET_UNROLL
      for (int pair = 0; pair < kStepWords / 8; ++pair) multiply_chunks(pair);
    }
  }

  static __device__ __forceinline__ float4 four(const uint32_t* words) {
    const uint4 four = *reinterpret_cast<const uint4*>(words);
    return make_float4(__uint_as_float(four.x), __uint_as_float(four.y), __uint_as_float(four.z),
                       __uint_as_float(four.w));
  }

  // Plain fused multiply-adds in the order of k, the elements spread over threads as mma spreads them.
  static __device__ __forceinline__ void step_on_cores(const uint32_t* rows, const uint32_t* columns, Values& values) {
    const int quad = lane() >> 2, member = lane() & 3;
    const uint32_t* a_rows = rows + row(0) * kStepWords;
    const uint32_t* b_rows = columns + column(0) * kStepWords;
    for (int chunk = 0; chunk < kStepWords / 4; ++chunk) {
      float4 a[kThreadRows];
      DUET_UNROLL
      for (int r = 0; r < kThreadRows; ++r) a[r] = four(a_rows + r * 8 * kStepWords + 4 * (chunk ^ quad));
      DUET_UNROLL
      for (int c = 0; c < kThreadColumns; ++c) {
        const float4 b = four(b_rows + ((c >> 1) * 8 + (c & 1)) * kStepWords + 4 * (chunk ^ (2 * member + (c & 1))));
        DUET_UNROLL
        for (int r = 0; r < kThreadRows; ++r) values(r, c) = fmaf(a[r].x, b.x, values(r, c));
        DUET_UNROLL
        for (int r = 0; r < kThreadRows; ++r) values(r, c) = fmaf(a[r].y, b.y, values(r, c));
        DUET_UNROLL
        for (int r = 0; r < kThreadRows; ++r) values(r, c) = fmaf(a[r].z, b.z, values(r, c));
        DUET_UNROLL
        for (int r = 0; r < kThreadRows; ++r) values(r, c) = fmaf(a[r].w, b.w, values(r, c));
      }
    }
  }
};

// The tile of kernels that hold one product, and of those that hold two.
template <duet_precision P>
using SingleTile = std::conditional_t<is_exact(P), TileProduct<P, 128, 2>, TileProduct<P, 256, 4>>;
template <duet_precision P>
using DualTile = std::conditional_t<is_exact(P), TileProduct<P, 64, 2>, TileProduct<P, 128, 4>>;

constexpr int dual_columns(duet_precision precision) {
  return is_exact(precision) ? DualTile<DUET_PRECISION_FP32>::kColumns : DualTile<DUET_PRECISION_BF16>::kColumns;
}

// body(std::integral_constant<duet_precision, P>) for the context's precision: the one place where it becomes a
// template argument.
template <class Body>
void with_precision(duet_precision precision, Body&& body) {
  switch (precision) {
    case DUET_PRECISION_FP32: return body(std::integral_constant<duet_precision, DUET_PRECISION_FP32>());
    case DUET_PRECISION_TF32X3: return body(std::integral_constant<duet_precision, DUET_PRECISION_TF32X3>());
    case DUET_PRECISION_TF32: return body(std::integral_constant<duet_precision, DUET_PRECISION_TF32>());
    case DUET_PRECISION_BF16: return body(std::integral_constant<duet_precision, DUET_PRECISION_BF16>());
  }
}

}  // namespace duet::cuda
