#include "trainer/report/alignment.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/json_text.h"
#include "runtime/ops.h"
#include "runtime/tape.h"
#include "trainer/format.h"
#include "trainer/report/draw.h"
#include "trainer/run_directory.h"

namespace duet::report {
namespace {

constexpr size_t kRows = 24, kClasses = 8;

// The rows of a batch, one after another.
data::Features taken(const data::Features& features, const std::vector<int64_t>& rows) {
  data::Features out(std::ssize(rows), features.columns);
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy_n(features.row(rows[i]), features.columns, out.row(static_cast<int64_t>(i)));
  return out;
}

std::vector<float> probabilities(duet_context* context, const Model& model,
                                 const std::array<data::Features, data::kModalities>& batch, bool student) {
  Tape tape(context);
  const NoGradient no_gradient(tape);
  const ParameterView parameters = student ? model.parameters().student() : model.parameters().teacher();
  std::array<Tensor, data::kModalities> x;
  for (size_t side = 0; side < x.size(); ++side) {
    x[side] = tape.make(batch[side].rows, batch[side].columns);
    copy_to_device(context, x[side].data, std::span<const float>(batch[side].values));
  }
  const Mode mode = Mode::evaluation();
  const Tensor a = model.encoders().forward_a(tape, parameters, x[0], mode),
               v = model.encoders().forward_v(tape, parameters, x[1], mode);
  const Config& config = model.description().config;
  const Tensor scale = !student                ? tape.constant(static_cast<float>(1 / config.teacher_temperature))
                       : model.learned_scale() ? model.learned_scale()->forward(tape, parameters)
                                               : tape.constant(static_cast<float>(1 / config.temperature));
  const Tensor p = ops::alignment_probabilities(tape, a, v, scale);
  std::vector<float> values(static_cast<size_t>(p.size()));
  copy_to_host(context, std::span(values), static_cast<const float*>(p.data));
  return values;
}

nlohmann::ordered_json rounded(const std::vector<float>& values) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const float value : values) out.push_back(std::round(static_cast<double>(value) * 1e4) / 1e4);
  return out;
}

}  // namespace

AlignmentBatch draw_batch(std::span<const int32_t> labels, uint64_t seed) {
  // In the order of the draw: classes by their first row, then the rows of each.
  const std::vector<int64_t> order = shuffled(std::ssize(labels), seed);
  std::vector<int32_t> classes;
  std::map<int32_t, std::vector<int64_t>> rows_of;
  for (const int64_t row : order) {
    const int32_t label = labels[static_cast<size_t>(row)];
    std::vector<int64_t>& rows = rows_of[label];
    if (rows.empty() && label >= 0) classes.push_back(label);
    rows.push_back(row);
  }
  if (classes.size() > kClasses) classes.resize(kClasses);
  std::vector<int64_t> chosen;
  const auto take = [&](const std::vector<int64_t>& rows, size_t from, size_t most) {
    for (size_t i = from; i < std::min(rows.size(), from + most) && chosen.size() < kRows; ++i)
      chosen.push_back(rows[i]);
  };
  const size_t each = classes.empty() ? 0 : std::max(kRows / kClasses, kRows / classes.size());
  for (const int32_t label : classes) take(rows_of[label], 0, each);
  for (const int32_t label : classes) take(rows_of[label], each, kRows);
  for (const auto& [label, rows] : rows_of)
    if (label >= 0 && std::ranges::find(classes, label) == classes.end()) take(rows, 0, kRows);
  take(rows_of[-1], 0, kRows);

  AlignmentBatch batch;
  std::ranges::sort(chosen, {}, [&](int64_t row) { return std::pair(labels[static_cast<size_t>(row)], row); });
  batch.rows = std::move(chosen);
  for (const int64_t row : batch.rows) batch.classes.push_back(labels[static_cast<size_t>(row)]);
  return batch;
}

Alignment align(duet_context* context, const Model& model,
                const std::array<data::Features, data::kModalities>& features, const AlignmentBatch& batch,
                Members members) {
  const std::array<data::Features, data::kModalities> rows = {taken(features[0], batch.rows),
                                                              taken(features[1], batch.rows)};
  Alignment out;
  if (batch.rows.empty()) return out;
  if (members == Members::both) out.student = probabilities(context, model, rows, true);
  out.teacher = probabilities(context, model, rows, false);
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::ranges::all_of(out.student, finite) || !std::ranges::all_of(out.teacher, finite)) return {};
  return out;
}

namespace {

// Whether list is one of whole numbers of that type.
template <class Integer>
bool take_whole_numbers(const nlohmann::json& list, std::vector<Integer>& out) {
  if (!list.is_array()) return false;
  for (const nlohmann::json& entry : list) {
    const std::optional<int64_t> number = whole_number(entry);
    if (!number || !std::in_range<Integer>(*number)) return false;
    out.push_back(static_cast<Integer>(*number));
  }
  return true;
}

}  // namespace

nlohmann::ordered_json to_json(const AlignmentBatch& batch, const Alignment& alignment) {
  return {{"rows", batch.rows},
          {"classes", batch.classes},
          {"student", rounded(alignment.student)},
          {"teacher", rounded(alignment.teacher)}};
}

std::optional<RecordedAlignment> read_alignment(const std::filesystem::path& run, std::span<const int32_t> labels) {
  std::ifstream file(run / kAlignmentFile);
  if (!file) return std::nullopt;
  const std::string words{std::istreambuf_iterator<char>(file), {}};
  try {
    const nlohmann::json object = read_json(words);
    if (object.contains(kFormatKey))
      require_known_format(object[kFormatKey], kAlignmentFormat, (run / kAlignmentFile).string());
    RecordedAlignment out;
    if (!take_whole_numbers(object.at("rows"), out.batch.rows) ||
        !take_whole_numbers(object.at("classes"), out.batch.classes))
      return std::nullopt;
    object.at("student").get_to(out.alignment.student);
    object.at("teacher").get_to(out.alignment.teacher);
    const size_t n = out.batch.rows.size();
    const bool whole = n > 0 && out.batch.classes.size() == n && out.alignment.student.size() == n * n &&
                       out.alignment.teacher.size() == n * n;
    for (size_t i = 0; whole && i < n; ++i) {
      const int64_t row = out.batch.rows[i];
      if (row < 0 || row >= std::ssize(labels) || labels[static_cast<size_t>(row)] != out.batch.classes[i])
        return std::nullopt;
    }
    if (!whole) return std::nullopt;
    return out;
  } catch (const JsonError&) {
    return std::nullopt;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace duet::report
