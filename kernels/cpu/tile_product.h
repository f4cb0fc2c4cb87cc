// The product of one tile, x y^T, for sweeps and layers: y packed once, for a sweep or for a block of it, the sum over
// k of every element is one chain of fused multiply-adds in the order of k. So an element's bits depend on its two rows
// alone, not on where in which tile it stands: equal rows give equal scores, and a part of a batch gives the bits of
// the whole batch.
//
// The accumulators fill the registers (12 x 2 vectors of AVX-512, 6 x 2 elsewhere). Measured on one core of an EPYC
// 9004 at k = 128: 112 of 115 GFLOP/s, where OpenBLAS 0.3.21 gives 93 on the same tiles.
#pragma once

#include "kernels/core/check.h"
#include "kernels/cpu/parallel.h"

namespace duet::cpu {

// The rows of a matrix in panels of panel_width() rows: within a panel k-major, so that a step over k loads whole
// vectors. The last panel is padded with zeros.
struct PackedRows {
  const float* data = nullptr;
  int64_t rows = 0, k = 0;
};

int64_t panel_width();
// Floats that rows x k take when packed.
int64_t packed_size(int64_t rows, int64_t k);
// Packs y (rows x k) into storage of packed_size(rows, k) floats: over the threads of a context, or on the thread that
// calls.
PackedRows pack_rows(Matrix<const float> y, float* storage);
PackedRows pack_rows(const duet_context& context, Matrix<const float> y, float* storage);

// out (x.rows x out.columns) = x y[first_row ...]^T. out has no column beyond y's last row. first_row is a multiple of
// panel_width(), as every multiple of Sweep::kTileColumns is.
void tile_product(Matrix<const float> x, const PackedRows& y, int64_t first_row, Matrix<float> out);

// The columns of a matrix v (rows x columns) in panels of panel_width() columns, the last padded with zeros: what
// add_product reads by rows. PackedRows of a matrix are the PackedColumns of its transpose.
struct PackedColumns {
  const float* data = nullptr;
  int64_t rows = 0, columns = 0;
};
int64_t packed_columns_size(int64_t rows, int64_t columns);
// Packs factor v into storage of packed_columns_size(rows, columns) floats: over the threads of a context, or on the
// thread that calls.
PackedColumns pack_columns(Matrix<const float> v, float* storage, float factor = 1);
PackedColumns pack_columns(const duet_context& context, Matrix<const float> v, float* storage, float factor = 1);
// Packs v as the rows first ... of a matrix of `height` rows, whose storage is given.
void pack_part(Matrix<const float> v, int64_t first, int64_t height, float* storage);

// out (r x c) += g (r x k) v[first_row ... + k] (k x c), and out (r x c) += g (k x r)^T v[first_row ... + k]: what ends
// a backward sweep.
void add_product_nn(Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out);
void add_product_tn(Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out);
// The same with a factor on g: out += factor (g v). The sum over k is formed apart from out, in runs of up to 128, so
// that a small sum keeps its digits beside a large out.
void add_scaled_nn(float factor, Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out);
void add_scaled_tn(float factor, Matrix<const float> g, const PackedColumns& v, int64_t first_row, Matrix<float> out);

}  // namespace duet::cpu
