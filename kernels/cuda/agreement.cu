// A thread packs four classes of a row; one block adds the tiles' numbers in the end.
// Bytes: 4 (C + 4) a row read and written once a call; at most 2048 doubles of tiles.
// Products: none.
#include "kernels/cuda/agreement_gradient.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;

// A number of no row of the other side.
constexpr int32_t kNoneOfRow = -1, kNoneOfColumn = -2;

struct PackClasses {
  Matrix<const float> classes;
  const float *trust, *annotated;  // null: 1, 0
  const int32_t* numbers;          // of the rows' groups; null: no groups
  int32_t none;                    // the number of a row without one
  int64_t count;                   // rows that are there
  float4* to;                      // groups x rows; null: no classes
  float2* trusts;
  int32_t* numbers_to;  // null: not wanted
  float* annotated_to;  // null: not wanted
  int64_t rows;
};

__global__ void __launch_bounds__(kThreads) pack_classes_kernel(PackClasses pack) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, group = blockIdx.y;
  if (i >= pack.rows) return;
  const bool inside = i < pack.count;
  const auto element = [&](int64_t c) {
    return inside && c < pack.classes.columns ? pack.classes.data[i * pack.classes.stride + c] : 0;
  };
  if (pack.to != nullptr)
    pack.to[group * pack.rows + i] =
        make_float4(element(4 * group), element(4 * group + 1), element(4 * group + 2), element(4 * group + 3));
  if (group > 0) return;
  const float t = !inside ? 0 : pack.trust ? pack.trust[i] : 1;
  pack.trusts[i] = trust_terms(t);
  if (pack.annotated_to != nullptr) pack.annotated_to[i] = inside && pack.annotated ? pack.annotated[i] : 0;
  if (pack.numbers_to == nullptr) return;
  const int32_t number = inside && pack.numbers ? pack.numbers[i] : -1;
  pack.numbers_to[i] = number < 0 ? pack.none : number;
}

__global__ void __launch_bounds__(kThreads) tile_sum_kernel(const double* sums, int64_t count, float* total) {
  double sum = 0;
  for (int64_t k = threadIdx.x; k < count; k += kThreads) sum += sums[k];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total += static_cast<float>(sum);
}

void pack(const duet_context& context, int groups, const PackClasses& rows) {
  const dim3 grid(static_cast<unsigned>(ceil_div(rows.rows, kThreads)), static_cast<unsigned>(std::max(groups, 1)));
  DUET_LAUNCH(pack_classes_kernel, grid, kThreads, 0, context.stream)(rows);
}

}  // namespace

AgreementRows::AgreementRows(Workspace& workspace, int64_t n, int64_t m, int64_t classes, bool grouped, bool annotated)
    : view_{} {
  constexpr int64_t kMostGroups = 65535;  // of a grid's second dimension
  const int64_t groups = ceil_div(classes, 4);
  require(groups <= kMostGroups, "inputs.class_a: expected at most ", 4 * kMostGroups, " classes, got ", classes);
  view_.groups = static_cast<int>(groups);
  view_.n = n, view_.m = m;
  view_.rows_a = packed_rows(n);
  view_.rows_v = packed_rows(m);
  view_.grouped = grouped || annotated;
  view_.annotated = annotated;
  if (!view_.has_others()) return;
  if (groups > 0) {
    class_a_ = workspace.take<float4>(groups * view_.rows_a);
    class_v_ = workspace.take<float4>(groups * view_.rows_v);
  }
  if (view_.grouped) {
    group_a_ = workspace.take<int32_t>(view_.rows_a);
    group_v_ = workspace.take<int32_t>(view_.rows_v);
  }
  if (annotated) {
    annotated_a_ = workspace.take<float>(view_.rows_a);
    annotated_v_ = workspace.take<float>(view_.rows_v);
  }
  trust_a_ = workspace.take<float2>(view_.rows_a);
  trust_v_ = workspace.take<float2>(view_.rows_v);
}

void AgreementRows::prepare(const duet_context& context, Matrix<const float> class_a, Matrix<const float> class_v,
                            Vector<const float> trust_a, Vector<const float> trust_v, bool paired, int64_t first_row,
                            int64_t first_column, const AgreementItems& items) {
  view_.paired = paired || items.exclude_own;
  view_.excluded = items.exclude_own;
  view_.own = first_row - first_column;
  if (!view_.has_others()) return;
  view_.class_a = class_a_, view_.class_v = class_v_, view_.trust_a = trust_a_, view_.trust_v = trust_v_;
  view_.group_a = group_a_, view_.group_v = group_v_;
  view_.annotated_a = annotated_a_, view_.annotated_v = annotated_v_;
  pack(context, view_.groups,
       {class_a, trust_a.data, items.annotated.of_a.data, items.group_a.data, kNoneOfRow, view_.n, class_a_, trust_a_,
        group_a_, annotated_a_, view_.rows_a});
  pack(context, view_.groups,
       {class_v, trust_v.data, items.annotated.of_v.data, items.group_v.data, kNoneOfColumn, view_.m, class_v_,
        trust_v_, group_v_, annotated_v_, view_.rows_v});
}

TileSums::TileSums(Workspace& workspace, int64_t n, int64_t m, int tile_columns)
    : count_(std::min(packed_rows(n), kBlockRows) / kTileRows *
             (std::min(packed_rows(m), kBackwardColumns) / tile_columns)),
      sums_(workspace.take<double>(count_)) {}

void TileSums::add_to(const duet_context& context, float* total) const {
  DUET_LAUNCH(tile_sum_kernel, 1, kThreads, 0, context.stream)(sums_, count_, total);
}

}  // namespace duet::cuda
