// A block owns 16 x 32 elements of a product, half a warp four of every 64 terms, a thread 8 x 4 elements of these.
// Bytes: a block reads 192 a term, from the second-level cache.
// Products in float32: 512 multiply-adds a term and block; the 16 partial sums are added in order.
#include "kernels/activation/relu_dropout_cuda.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/linear/linear_small_cuda.h"

namespace duet::cuda {
namespace {

// 16 rows, so that a small layer has blocks for half of the SMs; 32 columns, so that a block reads 12 bytes and not 16
// for 32 multiply-adds.
struct SmallTile {
  static constexpr int kRows = 16, kColumns = 32, kThreads = 256;
  static constexpr int kThreadRows = 8, kThreadColumns = 4;  // 32 sums: two blocks an SM have registers for more
  // Half warps, each of which sums its part of the terms.
  static constexpr int kParts = kThreads / (kRows / kThreadRows * kColumns / kThreadColumns);
  static constexpr int kDepth = 4 * kParts;                   // terms at a time
  static constexpr int kStage = (kRows + kColumns) * kDepth;  // floats
  static constexpr int kShared = std::max(2 * kStage, kParts* kRows* kColumns);
  // PLAN.md says why.
  static constexpr int64_t kMostWidth = 4096;
  static constexpr int64_t kMostProducts = 1 << 27;
};

// A matrix that is read four neighbours at a time. Elements outside of it are 0. Its extents have 32 bits, which leaves
// registers for sums. kWide: loads of 16 bytes; rows are aligned and have a multiple of four columns.
template <bool kWide>
struct Plain {
  const float* data;
  int64_t stride;
  int rows, columns;

  using Staged = Pack<4>;
  explicit Plain(Matrix<const float> of)
      : data(of.data), stride(of.stride), rows(static_cast<int>(of.rows)), columns(static_cast<int>(of.columns)) {}
  __device__ const Pack<4>& value(const Staged& staged) const { return staged; }
  __device__ Pack<4> at(int i, int j) const {
    Pack<4> value{};
    if (i >= rows || j >= columns) return value;
    const float* const from = data + i * stride + j;
    if constexpr (kWide) {
      value = load<4>(from);
    } else {
      DUET_UNROLL
      for (int e = 0; e < 4; ++e)
        if (j + e < columns) value.at[e] = from[e];
    }
    return value;
  }
};
bool is_wide(Matrix<const float> of) { return aligned(of) && of.columns % 4 == 0; }

// The gradient before ReLU and dropout.
template <bool kWide>
struct Gated {
  Plain<kWide> outputs, upstream;
  float keep_probability;
  bool relu;

  // Loaded values. Nothing is computed from them before they are needed, so that no thread waits for a load earlier
  // than it must.
  struct Staged {
    Pack<4> y, g;
  };
  Gated(const LinearInputs& inputs, Matrix<const float> y, Matrix<const float> g)
      : outputs(y), upstream(g), keep_probability(1.0f - inputs.dropout.drop_probability), relu(inputs.relu) {}
  __device__ float passed(float y, float g) const { return relu ? Relu::where_positive(y, g / keep_probability) : g; }
  __device__ Pack<4> value(const Staged& staged) const {
    Pack<4> value;
    DUET_UNROLL
    for (int e = 0; e < 4; ++e) value.at[e] = passed(staged.y.at[e], staged.g.at[e]);
    return value;
  }
  __device__ Staged at(int i, int j) const { return {relu ? outputs.at(i, j) : Pack<4>{}, upstream.at(i, j)}; }
  __device__ float one(int64_t i, int64_t j) const {
    return passed(relu ? outputs.data[i * outputs.stride + j] : 0, upstream.data[i * upstream.stride + j]);
  }
};

enum class Along { terms, elements };  // what the neighbours in an operand's memory are

// kElements rows (or columns) of a product, with 64 terms each. A thread owns kEach of them: four neighbours and, where
// kEach is 8, the four that lie half way on. Along terms, the quads of terms of an element are permuted, so that eight
// threads that read the same terms of elements 0, 4, 8 ... use different banks of shared memory.
template <Along kAlong, int kElements, int kEach, class Source>
struct Operand {
  static constexpr int kDepth = SmallTile::kDepth, kQuads = kDepth / 4, kThreads = SmallTile::kThreads;
  static constexpr int kPieces = kElements * kQuads / kThreads, kAcross = kElements / kEach;
  static_assert(kPieces * kThreads == kElements * kQuads && kAcross <= kQuads);

  Source source;
  int first;  // element
  typename Source::Staged staged[kPieces];

  __device__ Operand(const Source& from, int at) : source(from), first(at) {}
  __device__ static int place(int element, int quad) { return element * kDepth + 4 * (quad ^ (element / 4)); }

  // The terms from start on: from memory, and on to shared memory.
  __device__ void fetch(int start) {
    DUET_UNROLL
    for (int p = 0; p < kPieces; ++p) {
      const int piece = static_cast<int>(threadIdx.x) + p * kThreads;
      if constexpr (kAlong == Along::terms)
        staged[p] = source.at(first + piece / kQuads, start + 4 * (piece % kQuads));
      else
        staged[p] = source.at(start + piece / (kElements / 4), first + 4 * (piece % (kElements / 4)));
    }
  }
  __device__ void put(float* shared) const {
    DUET_UNROLL
    for (int p = 0; p < kPieces; ++p) {
      const int piece = static_cast<int>(threadIdx.x) + p * kThreads;
      store(shared + (kAlong == Along::terms ? place(piece / kQuads, piece % kQuads) : 4 * piece),
            source.value(staged[p]));
    }
  }
  // Four terms of the elements of a thread, of[element].at[term].
  __device__ static void read(const float* shared, int thread, int quad, Pack<4> (&of)[kEach]) {
    DUET_UNROLL
    for (int h = 0; h < kEach / 4; ++h) {
      const int element = 4 * (thread + h * kAcross);
      DUET_UNROLL
      for (int e = 0; e < 4; ++e) {
        if constexpr (kAlong == Along::terms) {
          of[4 * h + e] = load<4>(shared + place(element + e, quad));
        } else {
          const Pack<4> term = load<4>(shared + (4 * quad + e) * kElements + element);
          DUET_UNROLL
          for (int k = 0; k < 4; ++k) of[4 * h + k].at[e] = term.at[k];
        }
      }
    }
  }
};

template <Along kAlong, class Source>
using RowOperand = Operand<kAlong, SmallTile::kRows, SmallTile::kThreadRows, Source>;
template <Along kAlong, class Source>
using ColumnOperand = Operand<kAlong, SmallTile::kColumns, SmallTile::kThreadColumns, Source>;

// Calls finish(i, j, sums) for every four neighbours of a tile; they may lie past the matrix.
template <class Rows, class Columns, class Finish>
__device__ void tile_product(float* shared, Rows rows, Columns columns, int terms, const Finish& finish) {
  using T = SmallTile;
  constexpr int kEach = T::kThreadRows, kRowFloats = T::kRows * T::kDepth;
  const int thread = static_cast<int>(threadIdx.x), part = thread / (T::kThreads / T::kParts);
  const int across = thread % Columns::kAcross, down = thread / Columns::kAcross % Rows::kAcross;
  Pack<4> sums[kEach] = {};
  rows.fetch(0), columns.fetch(0);
  rows.put(shared), columns.put(shared + kRowFloats);
  __syncthreads();
  DUET_NO_UNROLL
  for (int start = 0; start < terms; start += T::kDepth) {
    const int next = start + T::kDepth, stage = start / T::kDepth % 2 * T::kStage;
    if (next < terms) rows.fetch(next), columns.fetch(next);
    Pack<4> a[kEach], b[T::kThreadColumns];
    Rows::read(shared + stage, down, part, a);
    Columns::read(shared + stage + kRowFloats, across, part, b);
    DUET_UNROLL
    for (int k = 0; k < 4; ++k) {
      DUET_UNROLL
      for (int i = 0; i < kEach; ++i) {
        DUET_UNROLL
        for (int j = 0; j < T::kThreadColumns; ++j) sums[i].at[j] += a[i].at[k] * b[j].at[k];
      }
    }
    const int other = T::kStage - stage;
    if (next < terms) rows.put(shared + other), columns.put(shared + other + kRowFloats);
    __syncthreads();
  }
  DUET_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const int row = 4 * (down + i / 4 * Rows::kAcross) + i % 4;
    store(shared + (part * T::kRows + row) * T::kColumns + 4 * across, sums[i]);
  }
  __syncthreads();
  if (4 * thread >= T::kRows * T::kColumns) return;
  Pack<4> total{};
  DUET_UNROLL
  for (int p = 0; p < T::kParts; ++p) {
    const Pack<4> of = load<4>(shared + p * T::kRows * T::kColumns + 4 * thread);
    DUET_UNROLL
    for (int e = 0; e < 4; ++e) total.at[e] += of.at[e];
  }
  finish(rows.first + 4 * thread / T::kColumns, columns.first + 4 * thread % T::kColumns, total);
}

// The tiles of a matrix of results. A null matrix has none.
struct Tiles {
  Matrix<float> of;
  bool wide;
  int across, count;

  explicit Tiles(Matrix<float> matrix)
      : of(matrix),
        wide(aligned(matrix)),
        across(static_cast<int>(ceil_div(matrix.columns, SmallTile::kColumns))),
        count(matrix ? static_cast<int>(ceil_div(matrix.rows, SmallTile::kRows)) * across : 0) {}
  __device__ int row(int tile) const { return tile / across * SmallTile::kRows; }
  __device__ int column(int tile) const { return tile % across * SmallTile::kColumns; }

  // Sets the four neighbours from (i, j) on to value, or adds value to them.
  template <bool kAdd>
  __device__ void put(int i, int j, Pack<4> value) const {
    if (i >= of.rows || j >= of.columns) return;
    float* const to = of.row(i) + j;
    if (wide && j + 4 <= of.columns) {
      if constexpr (kAdd) {
        const Pack<4> before = load<4>(to);
        DUET_UNROLL
        for (int e = 0; e < 4; ++e) value.at[e] += before.at[e];
      }
      return store(to, value);
    }
    DUET_UNROLL
    for (int e = 0; e < 4; ++e)
      if (j + e < of.columns) to[e] = kAdd ? to[e] + value.at[e] : value.at[e];
  }
};

template <bool kWide>
struct Forward {
  Plain<kWide> x, weight;
  Tiles outputs;
  Vector<const float> bias;
  float scale;
  bool relu, drops;
  Drop drop;

  Forward(const LinearInputs& inputs, Matrix<float> to)
      : x(inputs.x),
        weight(inputs.weight),
        outputs(to),
        bias(inputs.bias),
        scale(inputs.output_scale),
        relu(inputs.relu),
        drops(inputs.drops()),
        drop(inputs.dropout, to.columns) {}
  __device__ void run(float* shared, int tile) const {
    tile_product(shared, RowOperand<Along::terms, Plain<kWide>>(x, outputs.row(tile)),
                 ColumnOperand<Along::terms, Plain<kWide>>(weight, outputs.column(tile)), x.columns,
                 [this](int i, int j, Pack<4> value) {
                   DUET_UNROLL
                   for (int e = 0; e < 4; ++e) {
                     if (bias && j + e < bias.size) value.at[e] += bias[j + e];
                     value.at[e] *= scale;
                     if (relu) value.at[e] = Relu::value(value.at[e]);
                   }
                   if (drops) drop.apply(i, j, value);
                   outputs.put<false>(i, j, value);
                 });
  }
};

template <bool kWide>
struct Backward {
  Plain<kWide> x, weight;
  Gated<kWide> upstream;
  Tiles grad_x, grad_weight;
  Vector<float> grad_bias;
  float scale;

  Backward(const LinearInputs& inputs, Matrix<const float> y, Matrix<const float> g, const LinearGradients& gradients)
      : x(inputs.x),
        weight(inputs.weight),
        upstream(inputs, y, g),
        grad_x(gradients.x),
        grad_weight(gradients.weight),
        grad_bias(gradients.bias),
        scale(inputs.output_scale) {}
  __device__ void add(const Tiles& to, int i, int j, Pack<4> value) const {
    DUET_UNROLL
    for (int e = 0; e < 4; ++e) value.at[e] *= scale;
    to.put<true>(i, j, value);
  }
  __device__ void add_x(float* shared, int tile) const {
    tile_product(shared, RowOperand<Along::terms, Gated<kWide>>(upstream, grad_x.row(tile)),
                 ColumnOperand<Along::elements, Plain<kWide>>(weight, grad_x.column(tile)), weight.rows,
                 [this](int i, int j, const Pack<4>& sums) { add(grad_x, i, j, sums); });
  }
  __device__ void add_weight(float* shared, int tile) const {
    tile_product(shared, RowOperand<Along::elements, Gated<kWide>>(upstream, grad_weight.row(tile)),
                 ColumnOperand<Along::elements, Plain<kWide>>(x, grad_weight.column(tile)), x.rows,
                 [this](int i, int j, const Pack<4>& sums) { add(grad_weight, i, j, sums); });
  }
  // In double, in the same order as for larger batches.
  __device__ void add_bias(int block) const {
    const int64_t j = int64_t{block} * ColumnRuns::kColumns + threadIdx.x % ColumnRuns::kColumns;
    const auto term = [this](int64_t i, int64_t column) { return ColumnTerms<1>{{double{upstream.one(i, column)}}}; };
    const double sum = run_sums<1>(0, x.rows, j, grad_bias.size, term).at[0];
    if (threadIdx.x < ColumnRuns::kColumns && j < grad_bias.size)
      grad_bias[j] = static_cast<float>(grad_bias[j] + scale * sum);
  }
};

template <bool kWide>
__global__ void __launch_bounds__(SmallTile::kThreads, 2) small_layer_kernel(Forward<kWide> layer) {
  DUET_SHARED(float, shared, [SmallTile::kShared]);
  layer.run(shared, static_cast<int>(blockIdx.x));
}

// The tiles with the most terms come first. Two blocks a multiprocessor, except where four loads replace one, because
// their addresses would spill.
template <bool kWide>
__global__ void __launch_bounds__(SmallTile::kThreads, kWide ? 2 : 1)
    small_layer_backward_kernel(Backward<kWide> layer) {
  DUET_SHARED(float, shared, [SmallTile::kShared]);
  int block = static_cast<int>(blockIdx.x);
  if (block < layer.grad_x.count) return layer.add_x(shared, block);
  block -= layer.grad_x.count;
  if (block < layer.grad_weight.count) return layer.add_weight(shared, block);
  layer.add_bias(block - layer.grad_weight.count);
}

template <bool kWide>
void run(const duet_context& context, const Forward<kWide>& layer) {
  DUET_LAUNCH(small_layer_kernel<kWide>, layer.outputs.count, SmallTile::kThreads, 0, context.stream)(layer);
}
template <bool kWide>
void run(const duet_context& context, const Backward<kWide>& layer) {
  const int64_t sums = ceil_div(layer.grad_bias.size, ColumnRuns::kColumns);  // none where grad_bias is null
  const int64_t grid = layer.grad_x.count + layer.grad_weight.count + sums;
  DUET_LAUNCH(small_layer_backward_kernel<kWide>, grid, SmallTile::kThreads, 0, context.stream)(layer);
}

}  // namespace

bool fits_small(const duet_context& context, const LinearInputs& inputs) {
  const int64_t batch = inputs.x.rows, in = inputs.x.columns, out = inputs.weight.rows;
  if (batch > context.small_rows || std::max(in, out) > SmallTile::kMostWidth) return false;
  return batch <= SmallTile::kMostProducts / std::max<int64_t>(in * out, 1);
}

void small_linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs) {
  if (is_wide(inputs.x) && is_wide(inputs.weight)) return run(context, Forward<true>(inputs, outputs));
  run(context, Forward<false>(inputs, outputs));
}

void small_linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> outputs,
                           Matrix<const float> grad_outputs, const LinearGradients& gradients) {
  if (is_wide(inputs.x) && is_wide(inputs.weight) && is_wide(outputs) && is_wide(grad_outputs))
    return run(context, Backward<true>(inputs, outputs, grad_outputs, gradients));
  run(context, Backward<false>(inputs, outputs, grad_outputs, gradients));
}

}  // namespace duet::cuda
