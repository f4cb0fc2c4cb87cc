#include "kernels/mining/mining.h"

#include "kernels/core/arguments.h"
#include "kernels/core/numbers.h"
#include "kernels/mining/mining_backends.h"

using namespace duet;

namespace {
constexpr int64_t kMostSlots = 1 << 24;  // each has a random stream of its own, 6 + 256 slot, and streams are 32 bits
}

MiningDraw duet::check_draw(const duet_context* context, const duet_mining_draw* given, int64_t end_row,
                            int64_t end_column, int64_t m, Arguments& arguments) {
  const duet_mining_draw draw = load(given, "inputs.draw");
  require(draw.slots >= 1, "inputs.draw.slots: expected at least 1, got ", draw.slots);
  require(draw.slots <= kMostSlots, "inputs.draw.slots: expected at most 2^24, got ", draw.slots);
  require(draw.total_columns == 0 || draw.total_columns >= end_column,
          "inputs.draw.total_columns: expected 0 or at least ", end_column, ", got ", draw.total_columns);
  const int64_t columns = draw.total_columns ? draw.total_columns : m;
  require(columns == 0 || end_row <= INT64_MAX / columns,
          "inputs.draw.total_columns: expected at most 2^63 - 1 elements in ", end_row, " rows, got ", columns,
          " columns");
  const auto step = arguments.vector<const int64_t>(draw.step, "inputs.draw.step", 1);
  // On the CPU the step can be read here; a device takes its low 32 bits as they are.
  if (arguments.look() == Look::data && context != nullptr && context->device == DUET_DEVICE_CPU)
    require(step[0] >= 0 && step[0] <= UINT32_MAX, "inputs.draw.step: expected 0 to below 2^32, got ", step[0]);
  return {draw.seed, step, draw.slots, columns};
}

namespace {

MiningInputs check(const duet_mining_inputs* given, Arguments& arguments) {
  const duet_mining_inputs inputs = load(given, "inputs");
  const int metric = enum_value(inputs.metric);
  require(metric >= DUET_METRIC_SQEUCLIDEAN && metric <= DUET_METRIC_COSINE,
          "inputs.metric: expected sqeuclidean, euclidean or cosine (inner is no distance), got ", metric);
  const auto x = arguments.side(inputs.x, "inputs.x", kAny), y = arguments.side(inputs.y, "inputs.y", x.columns);
  check_first(inputs.first_row, x.rows, "inputs", ".first_row");
  check_first(inputs.first_column, y.rows, "inputs", ".first_column");
  require_reserved(inputs.reserved, "inputs.reserved");
  MiningInputs out{x,
                   y,
                   arguments.vector<const int32_t>(inputs.labels_x, "inputs.labels_x", x.rows),
                   arguments.vector<const int32_t>(inputs.labels_y, "inputs.labels_y", y.rows),
                   {},
                   {},
                   static_cast<duet_metric>(metric),
                   inputs.first_row,
                   inputs.first_column,
                   inputs.exclude_own != 0};
  check_numbers(arguments, inputs.group_x, "inputs.group_x", inputs.group_y, "inputs.group_y", x.rows, y.rows,
                out.group_x, out.group_y);
  out.label_sets = check_label_sets(arguments, inputs.label_sets, "inputs.label_sets");
  return out;
}

struct SideNames {
  const char *side, *positive_index, *negative_index, *positive_distance, *negative_distance;
};
constexpr SideNames kRows{"outputs.rows", "outputs.rows.positive_index", "outputs.rows.negative_index",
                          "outputs.rows.positive_distance", "outputs.rows.negative_distance"};
constexpr SideNames kColumns{"outputs.columns", "outputs.columns.positive_index", "outputs.columns.negative_index",
                             "outputs.columns.positive_distance", "outputs.columns.negative_distance"};

// Null outputs are none.
MiningHardOutputs check(const duet_mining_hard_side* given, const SideNames& names, int64_t size,
                        Arguments& arguments) {
  if (given == nullptr) return {};
  const duet_mining_hard_side side = load(given, names.side);
  return {arguments.vector<int32_t>(side.positive_index, names.positive_index, size, Need::optional),
          arguments.vector<int32_t>(side.negative_index, names.negative_index, size, Need::optional),
          arguments.vector<float>(side.positive_distance, names.positive_distance, size, Need::optional),
          arguments.vector<float>(side.negative_distance, names.negative_distance, size, Need::optional)};
}

size_t needed(const duet_context* context, const MiningInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::mining_workspace(*context, inputs); },
      [&] { return cuda::mining_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_mining_workspace(const duet_context* context, const duet_mining_inputs* inputs, size_t* bytes) {
  return guard("mining_workspace", [&] {
    Arguments arguments(Look::shapes);
    const MiningInputs checked = check(inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked) + arguments.reserved();
  });
}

duet_status duet_mining_hard(duet_context* context, const duet_mining_inputs* inputs,
                             const duet_mining_hard_outputs* outputs, duet_workspace workspace) {
  return guard("mining_hard", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const MiningInputs checked = check(inputs, arguments);
    const MiningHardOutputs of_rows = check(raw.rows, kRows, checked.x.rows, arguments),
                            of_columns = check(raw.columns, kColumns, checked.y.rows, arguments);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::mining_hard(*context, checked, of_rows, of_columns, workspace); },
        [&] { cuda::mining_hard(*context, checked, of_rows, of_columns, workspace); });
  });
}

duet_status duet_mining_semihard_count(duet_context* context, const duet_mining_inputs* inputs,
                                       const duet_mining_semihard_count_outputs* outputs, duet_workspace workspace) {
  return guard("mining_semihard_count", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const MiningInputs checked = check(inputs, arguments);
    const auto out = arguments.vector<int64_t>(raw.count, "outputs.count", 1);
    arguments.check(workspace, needed(context, checked));  // the labels alone are read: there is nothing to widen
    dispatch(
        context, [&] { cpu::mining_semihard_count(*context, checked, out, workspace); },
        [&] { cuda::mining_semihard_count(*context, checked, out, workspace); });
  });
}

duet_status duet_mining_semihard(duet_context* context, const duet_mining_inputs* inputs,
                                 const duet_mining_semihard_outputs* outputs, duet_workspace workspace) {
  return guard("mining_semihard", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const MiningInputs checked = check(inputs, arguments);
    const float margin = load(inputs, "inputs").margin;
    require(margin >= 0, "inputs.margin: expected at least 0, got ", margin);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    const int64_t count = dispatch(
        context, [&] { return cpu::mining_semihard_length(*context, checked, workspace); },
        [&] { return cuda::mining_semihard_length(*context, checked, workspace); });
    const auto list = arguments.matrix<int32_t>(raw.triplets, "outputs.triplets", count, 3);
    const auto values = arguments.matrix<float>(raw.distances, "outputs.distances", count, 2, Need::optional);
    arguments.check();
    dispatch(
        context, [&] { cpu::mining_semihard(*context, checked, margin, list, values, workspace); },
        [&] { cuda::mining_semihard(*context, checked, margin, list, values, workspace); });
  });
}

duet_status duet_mining_distance_weighted(duet_context* context, const duet_mining_inputs* inputs,
                                          const duet_mining_distance_weighted_outputs* outputs,
                                          duet_workspace workspace) {
  return guard("mining_distance_weighted", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const MiningInputs checked = check(inputs, arguments);
    const MiningDraw drawn = check_draw(context, load(inputs, "inputs").draw, checked.first_row + checked.x.rows,
                                        checked.first_column + checked.y.rows, checked.y.rows, arguments);
    const auto indices = arguments.matrix<int32_t>(raw.negatives, "outputs.negatives", checked.x.rows, drawn.slots);
    const auto values =
        arguments.matrix<float>(raw.distances, "outputs.distances", checked.x.rows, drawn.slots, Need::optional);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::mining_distance_weighted(*context, checked, drawn, indices, values, workspace); },
        [&] { cuda::mining_distance_weighted(*context, checked, drawn, indices, values, workspace); });
  });
}
