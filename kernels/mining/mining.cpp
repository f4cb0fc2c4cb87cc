#include "kernels/mining/mining.h"

#include "kernels/mining/mining_backends.h"

using namespace duet;

MiningDraw duet::check_draw(const duet_mining_draw* given, const char* name, int64_t first_column, int64_t m) {
  const duet_mining_draw draw = load(given, name);
  require(draw.slots >= 1, name, ".slots: expected at least 1, got ", draw.slots);
  require(draw.total_columns == 0 || draw.total_columns >= first_column + m, name, ".total_columns: expected 0 or at least ", first_column + m,
          ", got ", draw.total_columns);
  return {draw.seed, vector<const int64_t>(draw.step, text(name, ".step").c_str(), 1), draw.slots, draw.total_columns ? draw.total_columns : m};
}

namespace {

MiningInputs check(const duet_mining_inputs* given) {
  const duet_mining_inputs inputs = load(given, "inputs");
  const int metric = enum_value(inputs.metric);
  require(metric >= DUET_SQEUCLIDEAN && metric <= DUET_COSINE,
          "inputs.metric: expected sqeuclidean, euclidean or cosine (inner is no distance), got ", metric);
  require(inputs.first_row >= 0 && inputs.first_column >= 0, "inputs.first_row, first_column: expected at least 0, got ", inputs.first_row, ", ",
          inputs.first_column);
  const auto x = matrix<const float>(inputs.x, "inputs.x", kAny, kAny), y = matrix<const float>(inputs.y, "inputs.y", kAny, x.columns);
  require(x.rows <= INT32_MAX && y.rows <= INT32_MAX, "inputs.x, inputs.y: expected below 2^31 rows, the indices being int32, got ", x.rows, ", ",
          y.rows);
  return {x,
          y,
          vector<const int32_t>(inputs.labels_x, "inputs.labels_x", x.rows),
          vector<const int32_t>(inputs.labels_y, "inputs.labels_y", y.rows),
          inputs.metric,
          inputs.first_row,
          inputs.first_column};
}

// side: "rows" or "columns"; null outputs are none.
MiningHardOutputs check(const duet_mining_hard_outputs* given, const char* side, int64_t size) {
  if (given == nullptr) return {};
  const duet_mining_hard_outputs outputs = load(given, side);
  const auto name = [side](const char* field) { return text(side, ".", field); };
  return {vector<int32_t>(outputs.positive_index, name("positive_index").c_str(), size, Need::optional),
          vector<int32_t>(outputs.negative_index, name("negative_index").c_str(), size, Need::optional),
          vector<float>(outputs.positive_distance, name("positive_distance").c_str(), size, Need::optional),
          vector<float>(outputs.negative_distance, name("negative_distance").c_str(), size, Need::optional)};
}

void check_workspace(const duet_context* context, const MiningInputs& inputs, const duet_workspace& workspace) {
  Workspace(workspace).check(dispatch(
      context, [&] { return cpu::mining_workspace(*context, inputs); }, [&] { return cuda::mining_workspace(*context, inputs); }));
}

}  // namespace

duet_status duet_mining_workspace(const duet_context* context, const duet_mining_inputs* inputs, size_t* bytes) {
  return guard("mining_workspace", [&] {
    const MiningInputs checked = check(inputs);
    require(bytes != nullptr, "bytes: null");
    *bytes = dispatch(
        context, [&] { return cpu::mining_workspace(*context, checked); }, [&] { return cuda::mining_workspace(*context, checked); });
  });
}

duet_status duet_mining_hard(duet_context* context, const duet_mining_inputs* inputs, const duet_mining_hard_outputs* rows,
                             const duet_mining_hard_outputs* columns, duet_workspace workspace) {
  return guard("mining_hard", [&] {
    const MiningInputs checked = check(inputs);
    const MiningHardOutputs of_rows = check(rows, "rows", checked.x.rows), of_columns = check(columns, "columns", checked.y.rows);
    check_workspace(context, checked, workspace);
    dispatch(
        context, [&] { cpu::mining_hard(*context, checked, of_rows, of_columns, workspace); },
        [&] { cuda::mining_hard(*context, checked, of_rows, of_columns, workspace); });
  });
}

duet_status duet_mining_semihard_count(duet_context* context, const duet_mining_inputs* inputs, duet_vector count, duet_workspace workspace) {
  return guard("mining_semihard_count", [&] {
    const MiningInputs checked = check(inputs);
    const auto out = vector<int64_t>(count, "count", 1);
    check_workspace(context, checked, workspace);
    dispatch(
        context, [&] { cpu::mining_semihard_count(*context, checked, out, workspace); },
        [&] { cuda::mining_semihard_count(*context, checked, out, workspace); });
  });
}

duet_status duet_mining_semihard(duet_context* context, const duet_mining_inputs* inputs, float margin, duet_matrix triplets, duet_matrix distances,
                                 duet_workspace workspace) {
  return guard("mining_semihard", [&] {
    const MiningInputs checked = check(inputs);
    require(margin >= 0, "margin: expected at least 0, got ", margin);
    check_workspace(context, checked, workspace);
    const int64_t count = dispatch(
        context, [&] { return cpu::mining_semihard_length(*context, checked, workspace); },
        [&] { return cuda::mining_semihard_length(*context, checked, workspace); });
    const auto list = matrix<int32_t>(triplets, "triplets", count, 3);
    const auto values = matrix<float>(distances, "distances", count, 2, Need::optional);
    dispatch(
        context, [&] { cpu::mining_semihard(*context, checked, margin, list, values, workspace); },
        [&] { cuda::mining_semihard(*context, checked, margin, list, values, workspace); });
  });
}

duet_status duet_mining_distance_weighted(duet_context* context, const duet_mining_inputs* inputs, const duet_mining_draw* draw,
                                          duet_matrix negatives, duet_matrix distances, duet_workspace workspace) {
  return guard("mining_distance_weighted", [&] {
    const MiningInputs checked = check(inputs);
    const MiningDraw drawn = check_draw(draw, "draw", checked.first_column, checked.y.rows);
    const auto indices = matrix<int32_t>(negatives, "negatives", checked.x.rows, drawn.slots);
    const auto values = matrix<float>(distances, "distances", checked.x.rows, drawn.slots, Need::optional);
    check_workspace(context, checked, workspace);
    dispatch(
        context, [&] { cpu::mining_distance_weighted(*context, checked, drawn, indices, values, workspace); },
        [&] { cuda::mining_distance_weighted(*context, checked, drawn, indices, values, workspace); });
  });
}
