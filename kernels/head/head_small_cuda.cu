// A warp owns a row of any modality; further blocks own 2 x 32 elements of grad_weight, the first of a class grad_bias.
// Bytes: 8 an element of a row forward, 16 backward; the classifier is read from the caches.
// Products in float32: 2 operations a class and element; within a row, and for grad_bias, sums are in double.
#include "kernels/head/head_small_cuda.h"
#include "kernels/normalization/unit_row_cuda.h"

namespace duet::cuda {
namespace {

struct SmallHead {
  static constexpr int kThreads = kRowThreads, kWarps = kThreads / 32;
  static constexpr int64_t kMostColumns = 512;       // a block's rows are 16 KB
  static constexpr int64_t kMostProducts = 16384;    // classes x columns; PLAN.md says why
  static constexpr int kTogether = 4;                // classes whose products a warp sums at once
  static constexpr int kClasses = 2, kColumns = 32;  // classes and columns of grad_weight that a block owns
  static constexpr int kAhead = 16;                  // rows that a thread of such a block loads ahead
};
using Warp = RowTeam<32>;

// The modality that a warp's row belongs to, and the row's number within it.
struct Place {
  int modality;
  int64_t row;

  __device__ Place(int64_t block, int64_t rows) : modality(0), row(block * SmallHead::kWarps + threadIdx.x / 32) {
    for (; modality < kMostModalities && row >= rows; ++modality) row -= rows;
  }
};

int64_t row_blocks(const HeadInputs& inputs) { return ceil_div(inputs.count * inputs.rows(), SmallHead::kWarps); }

struct Forward : HeadInputs {
  HeadOutputs outputs;

  template <int kWidth>
  __device__ void run(float* row) const {
    using H = SmallHead;
    const Place place(blockIdx.x, x[0].rows);
    if (place.modality >= count) return;
    float* const to = outputs.u[place.modality].row(place.row);
    unit_row<Warp, kWidth>(x[place.modality].row(place.row), weight.columns, eps,
                           [=](int64_t k, const Pack<kWidth>& value) {
                             store(to + k, value);
                             store(row + k, value);  // read by the thread that wrote it
                           });
    const int classes = static_cast<int>(weight.rows);
    for (int first = 0; first < classes; first += H::kTogether) {
      float sums[H::kTogether] = {};
      Warp::each<kWidth>(weight.columns, [&](int64_t k) {
        const Pack<kWidth> u = load<kWidth>(row + k);
        DUET_UNROLL
        for (int c = 0; c < H::kTogether; ++c) {
          if (first + c >= classes) continue;
          const Pack<kWidth> w = load<kWidth>(weight.row(first + c) + k);
          DUET_UNROLL
          for (int e = 0; e < kWidth; ++e) sums[c] = fmaf(u.at[e], w.at[e], sums[c]);
        }
      });
      DUET_UNROLL
      for (int c = 0; c < H::kTogether; ++c) {
        const float sum = warp_sum(sums[c]);
        if (Warp::thread() == c && first + c < classes)
          outputs.logits[place.modality].row(place.row)[first + c] =
              output_scale * (bias ? sum + bias[first + c] : sum);
      }
    }
  }
};

struct Backward : HeadInputs {
  HeadUpstream upstream;
  HeadGradients gradients;
  int row_blocks;     // of grad_x; all further blocks are of grad_weight
  int column_blocks;  // of grad_weight, of a few classes

  template <int kWidth>
  __device__ void add_x(float* row) const {
    const Place place(blockIdx.x, x[0].rows);
    if (place.modality >= count) return;
    const Matrix<float>& to = gradients.x[place.modality];
    const Matrix<const float>&by_u = upstream.by_u[place.modality], &by_logits = upstream.by_logits[place.modality];
    if (!to || (!by_u && !by_logits)) return;
    const float* const of_row = by_u ? by_u.row(place.row) : nullptr;
    const float* const of_logits = by_logits ? by_logits.row(place.row) : nullptr;
    const int64_t classes = of_logits ? weight.rows : 0;
    Warp::each<kWidth>(weight.columns, [=, this](int64_t k) {
      Pack<kWidth> sum{};
      for (int64_t c = 0; c < classes; ++c) {
        const float g = of_logits[c];
        const Pack<kWidth> w = load<kWidth>(weight.row(c) + k);
        DUET_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.at[e] = fmaf(g, w.at[e], sum.at[e]);
      }
      const Pack<kWidth> before = of_row ? load<kWidth>(of_row + k) : Pack<kWidth>{};
      DUET_UNROLL
      for (int e = 0; e < kWidth; ++e) sum.at[e] = fmaf(output_scale, sum.at[e], before.at[e]);
      store(row + k, sum);
    });
    unit_row_backward<Warp, kWidth>(x[place.modality].row(place.row), row, weight.columns, eps, to.row(place.row));
  }

  // The sums of a thread. weight: its column of grad_weight, for each of the block's classes. bias: of grad_bias, the
  // same in all threads of a warp.
  struct Sums {
    float weight[SmallHead::kClasses];
    double bias[SmallHead::kClasses];
  };

  __device__ void add_sums(int block, Sums (*shared)[SmallHead::kColumns]) const {
    using H = SmallHead;
    const int lane = Warp::thread(), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t first = int64_t{block / column_blocks} * H::kClasses,
                  column = int64_t{block % column_blocks} * H::kColumns + lane;
    const int64_t classes = weight.rows - first < H::kClasses ? weight.rows - first : H::kClasses, rows = x[0].rows;
    const bool inside = gradients.weight && column < weight.columns;
    Sums mine{};
    for (int64_t modality = count - 1; modality >= 0; --modality) {
      const Matrix<const float>&u = upstream.u[modality], &by_logits = upstream.by_logits[modality];
      if (!by_logits) continue;
      for (int64_t start = warp; start < rows; start += H::kAhead * H::kWarps) {
        float of_u[H::kAhead], g[H::kAhead][H::kClasses];
        DUET_UNROLL
        for (int a = 0; a < H::kAhead; ++a) {
          const int64_t i = start + a * H::kWarps;
          of_u[a] = inside && i < rows ? u.row(i)[column] : 0;
          DUET_UNROLL
          for (int c = 0; c < H::kClasses; ++c) g[a][c] = c < classes && i < rows ? by_logits.row(i)[first + c] : 0;
        }
        DUET_UNROLL
        for (int a = 0; a < H::kAhead; ++a) {
          DUET_UNROLL
          for (int c = 0; c < H::kClasses; ++c) {
            mine.weight[c] = fmaf(g[a][c], of_u[a], mine.weight[c]);
            mine.bias[c] += g[a][c];
          }
        }
      }
    }
    shared[warp][lane] = mine;
    __syncthreads();
    if (warp != 0) return;
    for (int w = 1; w < H::kWarps; ++w) {
      DUET_UNROLL
      for (int c = 0; c < H::kClasses; ++c)
        mine.weight[c] += shared[w][lane].weight[c], mine.bias[c] += shared[w][lane].bias[c];
    }
    for (int64_t c = 0; c < classes; ++c) {
      if (inside) gradients.weight.row(first + c)[column] += output_scale * mine.weight[c];
      if (gradients.bias && block % column_blocks == 0 && lane == 0)
        gradients.bias[first + c] = static_cast<float>(gradients.bias[first + c] + output_scale * mine.bias[c]);
    }
  }
};

template <int kWidth>
__global__ void __launch_bounds__(SmallHead::kThreads) small_head_kernel(Forward head) {
  DUET_SHARED(float, rows, [SmallHead::kWarps][SmallHead::kMostColumns]);
  head.run<kWidth>(rows[threadIdx.x / 32]);
}

template <int kWidth>
__global__ void __launch_bounds__(SmallHead::kThreads) small_head_backward_kernel(Backward head) {
  DUET_SHARED(float, rows, [SmallHead::kWarps][SmallHead::kMostColumns]);
  DUET_SHARED(Backward::Sums, sums, [SmallHead::kWarps][SmallHead::kColumns]);
  const int block = static_cast<int>(blockIdx.x);
  if (block < head.row_blocks) return head.add_x<kWidth>(rows[threadIdx.x / 32]);
  head.add_sums(block - head.row_blocks, sums);
}

// Whether every row is aligned and has a multiple of four columns. True for a null matrix.
template <class T>
bool all_aligned(const Matrix<T>* matrices, int64_t count) {
  return std::all_of(matrices, matrices + count, [](const Matrix<T>& matrix) { return aligned(matrix); });
}
bool is_wide(const HeadInputs& inputs) {
  return inputs.columns() % 4 == 0 && aligned(inputs.weight) && all_aligned(inputs.x, inputs.count);
}

}  // namespace

bool fits_small(const duet_context& context, const HeadInputs& inputs) {
  return inputs.rows() <= context.small_rows && inputs.columns() <= SmallHead::kMostColumns &&
         inputs.classes() <= SmallHead::kMostProducts / std::max<int64_t>(inputs.columns(), 1);
}

void small_head_forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs) {
  const Forward head{inputs, outputs};
  const int64_t grid = row_blocks(inputs);
  if (is_wide(inputs) && all_aligned(outputs.u, inputs.count))
    DUET_LAUNCH(small_head_kernel<4>, grid, SmallHead::kThreads, 0, context.stream)(head);
  else
    DUET_LAUNCH(small_head_kernel<1>, grid, SmallHead::kThreads, 0, context.stream)(head);
}

void small_head_backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                         const HeadGradients& gradients) {
  using H = SmallHead;
  const auto has_some = [&](const auto* matrices) {
    return std::any_of(matrices, matrices + inputs.count, [](const auto& matrix) { return static_cast<bool>(matrix); });
  };
  const bool sums = (gradients.weight || gradients.bias) && has_some(upstream.by_logits);
  const int64_t rows = has_some(gradients.x) ? row_blocks(inputs) : 0;
  const int64_t columns = gradients.weight ? std::max<int64_t>(ceil_div(inputs.columns(), H::kColumns), 1) : 1;
  const int64_t grid = rows + (sums ? columns * ceil_div(inputs.classes(), H::kClasses) : 0);
  const Backward head{inputs, upstream, gradients, static_cast<int>(rows), static_cast<int>(columns)};
  if (is_wide(inputs) && all_aligned(upstream.by_u, inputs.count) && all_aligned(gradients.x, inputs.count))
    DUET_LAUNCH(small_head_backward_kernel<4>, grid, H::kThreads, 0, context.stream)(head);
  else
    DUET_LAUNCH(small_head_backward_kernel<1>, grid, H::kThreads, 0, context.stream)(head);
}

}  // namespace duet::cuda
