// A warp owns a row of up to 2048 columns, a block owns a longer row (kernels/cuda/rows.h).
// Bytes: 8 an element forward, 16 backward; grad_gain and grad_offset read 8 more, a fused backward pass moves 8 more.
// Operations: 2 to 8 in double an element; no products.
#include "kernels/activation/activation_cuda.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/rows.h"
#include "kernels/normalization/normalization_backends.h"
#include "kernels/normalization/unit_row_cuda.h"

namespace duet::cuda {
namespace {

template <int kWidth>
__device__ double sum_of(const Pack<kWidth>& a) {
  double sum = 0;
  DUET_UNROLL
  for (int e = 0; e < kWidth; ++e) sum += double{a.at[e]};
  return sum;
}
template <int kWidth>
__device__ Pack<kWidth> load_or(const float* from, int64_t k, float otherwise) {
  if (from) return load<kWidth>(from + k);
  Pack<kWidth> pack;
  DUET_UNROLL
  for (int e = 0; e < kWidth; ++e) pack.at[e] = otherwise;
  return pack;
}

struct UnitRows {
  Matrix<const float> x;
  double eps;
  Matrix<float> outputs;

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    float* const to = outputs.row(i);
    unit_row<Team, kWidth>(x.row(i), x.columns, eps,
                           [=](int64_t k, const Pack<kWidth>& value) { store(to + k, value); });
  }
};

struct UnitRowsBackward {
  Matrix<const float> x;
  double eps;
  Matrix<const float> grad_outputs;
  Matrix<float> grad_x;

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    unit_row_backward<Team, kWidth>(x.row(i), grad_outputs.row(i), x.columns, eps, grad_x.row(i));
  }
};

struct Moments {
  double mean, scale;  // scale = 1 / sqrt(variance + eps)
};

template <class Team, int kWidth>
__device__ Moments moments(const float* x, int64_t size, double eps) {
  const double count = static_cast<double>(size);
  const double mean =
      Team::template sum_over<kWidth>(size, [=](int64_t k) { return sum_of(load<kWidth>(x + k)); }) / count;
  const double squares = Team::template sum_over<kWidth>(size, [=](int64_t k) {
    const Pack<kWidth> value = load<kWidth>(x + k);
    double sum = 0;
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) sum += (value.at[e] - mean) * (value.at[e] - mean);
    return sum;
  });
  return {mean, 1 / sqrt(squares / count + eps)};
}

// y of neighbouring elements.
template <int kWidth>
__device__ Pack<kWidth> normalised(const LayerNormInputs& inputs, const float* from, int64_t k, const Moments& of) {
  Pack<kWidth> value = load<kWidth>(from + k);
  const Pack<kWidth> times = load_or<kWidth>(inputs.gain.data, k, 1), plus = load_or<kWidth>(inputs.offset.data, k, 0);
  DUET_UNROLL
  for (int e = 0; e < kWidth; ++e)
    value.at[e] = static_cast<float>((value.at[e] - of.mean) * of.scale * times.at[e] + plus.at[e]);
  return value;
}

// The activation and dropout after a layer norm. Dropout is a second pass of a thread over its own elements, because
// one pass for everything would need more registers than there are.
struct Following {
  duet_activation_kind activation;
  bool drops;
  Drop drop;

  explicit Following(const LayerNormInputs& inputs)
      : activation(inputs.activation), drops(inputs.drops()), drop(inputs.dropout, inputs.x.columns) {}
  // Writes row i of `to` from row i of `from`.
  template <class Team, int kWidth>
  __device__ void drop_row(int64_t i, int64_t columns, const float* from, float* to) const {
    Team::template each<kWidth>(columns, [=, this](int64_t k) {
      Pack<kWidth> value = load<kWidth>(from + k);
      drop.apply(i, k, value);
      store(to + k, value);
    });
  }
};

template <bool kFuses>
struct LayerNorm {
  LayerNormInputs inputs;
  Following following;
  Matrix<float> outputs;

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const float* const from = inputs.x.row(i);
    float* const to = outputs.row(i);
    const Moments of = moments<Team, kWidth>(from, inputs.x.columns, inputs.eps);
    Team::template each<kWidth>(inputs.x.columns, [=, this](int64_t k) {
      Pack<kWidth> value = normalised<kWidth>(inputs, from, k, of);
      if constexpr (kFuses) {
        DUET_UNROLL
        for (int e = 0; e < kWidth; ++e) value.at[e] = activation_value(following.activation, value.at[e]);
      }
      store(to + k, value);
    });
    if constexpr (kFuses)
      if (following.drops) following.drop_row<Team, kWidth>(i, inputs.x.columns, to, to);
  }
};

template <bool kFuses>
struct LayerNormBackward {
  LayerNormInputs inputs;
  Following following;
  Matrix<float> upstream;  // B x d of scratch where the call fuses: the gradient by y
  Matrix<const float> grad_outputs;
  Matrix<float> grad_x;  // or null
  Moments* row_moments;  // or null

  template <class Team, int kWidth>
  __device__ void run(int64_t i) const {
    const float *const from = inputs.x.row(i), *const gain = inputs.gain.data, *const given = grad_outputs.row(i);
    const int64_t columns = inputs.x.columns;
    const double count = static_cast<double>(columns);
    const Moments of = moments<Team, kWidth>(from, columns, inputs.eps);
    const float* g = given;
    if constexpr (kFuses) {
      float* const by_y = upstream.row(i);
      if (following.drops) following.drop_row<Team, kWidth>(i, columns, given, by_y);
      const float* const undropped = following.drops ? by_y : given;
      Team::template each<kWidth>(columns, [=, this](int64_t k) {
        const Pack<kWidth> y = normalised<kWidth>(inputs, from, k, of);
        Pack<kWidth> grad = load<kWidth>(undropped + k);
        DUET_UNROLL
        for (int e = 0; e < kWidth; ++e)
          grad.at[e] = fmaf(activation_slope(following.activation, y.at[e]), grad.at[e], 0.0f);
        store(by_y + k, grad);
      });
      g = by_y;
    }
    if (row_moments && Team::thread() == 0) row_moments[i] = of;
    if (!grad_x) return;
    float* const to = grad_x.row(i);
    const double mean_g =
        Team::template sum_over<kWidth>(
            columns, [=](int64_t k) { return dot(load<kWidth>(g + k), load_or<kWidth>(gain, k, 1)); }) /
        count;
    const double mean_gx = Team::template sum_over<kWidth>(
                               columns,
                               [=](int64_t k) {
                                 const Pack<kWidth> value = load<kWidth>(from + k), upstream = load<kWidth>(g + k),
                                                    times = load_or<kWidth>(gain, k, 1);
                                 double sum = 0;
                                 DUET_UNROLL
                                 for (int e = 0; e < kWidth; ++e)
                                   sum += double{upstream.at[e]} * times.at[e] * ((value.at[e] - of.mean) * of.scale);
                                 return sum;
                               }) /
                           count;
    Team::template each<kWidth>(columns, [=](int64_t k) {
      const Pack<kWidth> value = load<kWidth>(from + k), upstream = load<kWidth>(g + k),
                         times = load_or<kWidth>(gain, k, 1);
      Pack<kWidth> grad = load<kWidth>(to + k);
      DUET_UNROLL
      for (int e = 0; e < kWidth; ++e) {
        const double standardised = (value.at[e] - of.mean) * of.scale;
        grad.at[e] = static_cast<float>(
            (double{upstream.at[e]} * times.at[e] - mean_g - standardised * mean_gx) * of.scale + grad.at[e]);
      }
      store(to + k, grad);
    });
  }
};

struct GainTerms {
  Matrix<const float> x, grad_outputs;
  const Moments* row_moments;

  __device__ ColumnTerms<2> operator()(int64_t i, int64_t j) const {
    const double g = grad_outputs.row(i)[j];
    return {{g * ((x.row(i)[j] - row_moments[i].mean) * row_moments[i].scale), g}};
  }
};

struct AddGain {
  Vector<float> gain, offset;  // each may be null

  __device__ void operator()(int64_t j, const ColumnTerms<2>& sums) const {
    if (gain) gain[j] = static_cast<float>(gain[j] + sums.at[0]);
    if (offset) offset[j] = static_cast<float>(offset[j] + sums.at[1]);
  }
};

struct Scratch {
  ColumnRuns cut;
  Moments* row_moments;
  double* partials;
  Matrix<float> upstream;  // B x d where the call fuses; as aligned as the workspace

  Scratch(Matrix<const float> x, bool fuses, Workspace& workspace)
      : cut(x.rows, x.columns),
        row_moments(workspace.take<Moments>(x.rows)),
        partials(workspace.take<double>(cut.partials(2))),
        upstream(workspace.take_matrix<float>(fuses ? x.rows : 0, x.columns)) {}
};

// Whether every row is aligned and has a multiple of four columns.
template <class... Matrices>
bool wide_rows(int64_t columns, const Matrices&... matrices) {
  return columns % 4 == 0 && (aligned(matrices) && ...);
}
bool wide_affine(const LayerNormInputs& inputs) { return aligned(inputs.gain.data) && aligned(inputs.offset.data); }

}  // namespace

size_t layer_norm_workspace(Matrix<const float> x, bool fuses, bool) {
  Workspace measure;
  Scratch(x, fuses, measure);
  return measure.used();
}

void unit_rows_forward(const duet_context& context, Matrix<const float> x, float eps, Matrix<float> outputs) {
  if (x.columns == 0) return;
  for_each_row(context, x.rows, x.columns, wide_rows(x.columns, x, outputs), UnitRows{x, eps, outputs});
}

void unit_rows_backward(const duet_context& context, Matrix<const float> x, float eps, Matrix<const float> grad_outputs,
                        Matrix<float> grad_x) {
  if (x.columns == 0) return;
  for_each_row(context, x.rows, x.columns, wide_rows(x.columns, x, grad_outputs, grad_x),
               UnitRowsBackward{x, eps, grad_outputs, grad_x});
}

void layer_norm_forward(const duet_context& context, const LayerNormInputs& inputs, Matrix<float> outputs) {
  const Matrix<const float> x = inputs.x;
  if (x.columns == 0) return;
  const bool wide = wide_rows(x.columns, x, outputs) && wide_affine(inputs);
  if (inputs.fuses)
    for_each_row(context, x.rows, x.columns, wide, LayerNorm<true>{inputs, Following(inputs), outputs});
  else
    for_each_row(context, x.rows, x.columns, wide, LayerNorm<false>{inputs, Following(inputs), outputs});
}

void layer_norm_backward(const duet_context& context, const LayerNormInputs& inputs, Matrix<const float> grad_outputs,
                         const LayerNormGradients& gradients, Workspace workspace) {
  const Matrix<const float> x = inputs.x;
  if (x.rows == 0 || x.columns == 0) return;
  const Scratch scratch(x, inputs.fuses, workspace);
  const bool sums = gradients.gain || gradients.offset;
  if (!sums && !gradients.x) return;
  const bool wide =
      wide_rows(x.columns, x, grad_outputs) && wide_affine(inputs) && (!gradients.x || aligned(gradients.x));
  Moments* const row_moments = sums ? scratch.row_moments : nullptr;
  if (inputs.fuses)
    for_each_row(
        context, x.rows, x.columns, wide,
        LayerNormBackward<true>{inputs, Following(inputs), scratch.upstream, grad_outputs, gradients.x, row_moments});
  else
    for_each_row(context, x.rows, x.columns, wide,
                 LayerNormBackward<false>{inputs, Following(inputs), {}, grad_outputs, gradients.x, row_moments});
  if (!sums) return;
  const Matrix<const float> upstream = inputs.fuses ? Matrix<const float>(scratch.upstream) : grad_outputs;
  column_sums<2>(context, scratch.cut, GainTerms{x, upstream, scratch.row_moments},
                 AddGain{gradients.gain, gradients.offset}, scratch.partials);
}

}  // namespace duet::cuda
