#include "trainer/ranked_losses.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace duet {
namespace {

// A part's rows of what an operation takes a row each of: float32 or int32; null stays null.
duet_const_matrix rows_of(duet_const_matrix all, const BatchPart& part) {
  if (all.data) all.data = static_cast<const float*>(all.data) + part.first * all.row_stride, all.rows = part.count;
  return all;
}
duet_const_vector rows_of(duet_const_vector all, const BatchPart& part) {
  if (all.data) all.data = static_cast<const float*>(all.data) + part.first, all.size = part.count;
  return all;
}

// The parts' sums over the columns' pairs, rows x width float64 each, and what they come to over all ranks.
struct ColumnSums {
  std::span<void*> parts;
  int64_t rows, width;
  double* whole;

  ColumnSums(Tape& tape, const RankedBatch& batch, int64_t column_count, int64_t row_width)
      : parts(tape.host_array<void*>(std::ssize(batch.parts())), batch.parts().size()),
        rows(column_count),
        width(row_width),
        whole(tape.array<double>(rows * width)) {
    for (void*& part : parts) part = tape.array<double>(rows * width);
  }
  duet_matrix part(size_t k) const { return duet_f64_matrix(static_cast<double*>(parts[k]), rows, width); }

  // merge(left, right) adds the sums of count columns, views of count x width, to the left ones.
  template <class Merge>
  void merge(RankedBatch& batch, const Merge& merge) const {
    batch.add(parts, rows, width * static_cast<int64_t>(sizeof(double)),
              std::as_writable_bytes(std::span(whole, static_cast<size_t>(rows * width))),
              [&](void* left, const void* right, int64_t count) {
                merge(duet_f64_matrix(static_cast<double*>(left), count, width),
                      duet_f64_const_matrix(static_cast<const double*>(right), count, width));
              });
  }
};

// What a part's rows add to the gradients of the columns' rows (rows x columns), of the scale and of the bias, and the
// sums over all ranks.
struct ColumnGradients {
  std::span<float*> parts;
  int64_t rows, columns;
  float* whole;

  ColumnGradients(Tape& tape, const RankedBatch& batch, const Tensor& of)
      : parts(tape.host_array<float*>(std::ssize(batch.parts())), batch.parts().size()),
        rows(of.rows),
        columns(of.columns),
        whole(tape.array<float>(floats())) {
    for (float*& part : parts) part = tape.array<float>(floats());
  }
  int64_t floats() const { return rows * columns + 2; }

  void clear() const {
    for (float* const part : parts) std::fill_n(part, floats(), 0.0f);
  }
  duet_matrix of_rows(size_t k) const { return duet_f32_matrix(parts[k], rows, columns); }
  duet_vector of_scale(size_t k, const Tensor& scale) const {
    return scale.requires_grad() ? duet_f32_vector(parts[k] + rows * columns, 1) : duet_vector{};
  }
  duet_vector of_bias(size_t k, const Tensor& bias) const {
    return bias.requires_grad() ? duet_f32_vector(parts[k] + rows * columns + 1, 1) : duet_vector{};
  }
  // Adds the sums into the gradients: of the rank's own rows, and of the scalars.
  void add(RankedBatch& batch, const Tensor& to, const Tensor& scale, const Tensor& bias) const {
    batch.add(parts, std::span(whole, static_cast<size_t>(floats())));
    const Tensor own = batch.own().of(to);
    for (int64_t i = 0; to.requires_grad() && i < own.rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        own.grad[i * own.stride + j] += whole[(batch.own().first + i) * columns + j];
    if (scale.requires_grad()) scale.grad[0] += whole[rows * columns];
    if (bias.requires_grad()) bias.grad[0] += whole[rows * columns + 1];
  }
};

// The options of each part, the columns being all rows of the batch.
template <class Inputs, class Change>
std::span<Inputs> part_inputs(Tape& tape, const RankedBatch& batch, const Inputs& options, const Change& change) {
  const std::span<const BatchPart> parts = batch.parts();
  const std::span<Inputs> inputs(tape.host_array<Inputs>(std::ssize(parts)), parts.size());
  for (size_t k = 0; k < parts.size(); ++k) {
    inputs[k] = options;
    inputs[k].first_row = parts[k].first;
    change(inputs[k], parts[k]);
  }
  return inputs;
}

}  // namespace

bool can_be_shared_out(duet_contrastive_kind kind) { return kind != DUET_CONTRASTIVE_KIND_NTXENT; }

Tensor ranked_contrastive_terms(Tape& tape, RankedBatch& batch, const Tensor& a, const Tensor& v, const Tensor& scale,
                                const Tensor& bias, const duet_contrastive_inputs& options) {
  const bool both = options.kind != DUET_CONTRASTIVE_KIND_SIGMOID;
  const int64_t n = a.rows, m = both ? v.rows : 0;
  const std::span<duet_contrastive_inputs> inputs =
      part_inputs(tape, batch, options, [&](duet_contrastive_inputs& of, const BatchPart& part) {
        of.a = part.of(a).matrix(), of.v = v.matrix();
        of.scale = scale.vector(), of.bias = bias.vector();
        of.class_a = rows_of(of.class_a, part), of.trust_a = rows_of(of.trust_a, part);
        of.labels_a = rows_of(of.labels_a, part), of.group_a = rows_of(of.group_a, part);
        of.annotated_a = rows_of(of.annotated_a, part);
      });
  const Tensor terms = tape.make(n + m), row_loss = terms.row_part(0, n), column_loss = terms.row_part(n, m);
  const Tensor row_statistics = both ? tape.make(n, DUET_CONTRASTIVE_STATISTICS) : Tensor{},
               column_statistics = both ? tape.make(m, DUET_CONTRASTIVE_STATISTICS) : Tensor{};
  const ColumnSums sums(tape, batch, m, DUET_CONTRASTIVE_SUMS);
  for (size_t k = 0; k < inputs.size(); ++k) {
    const BatchPart& part = batch.parts()[k];
    duet_contrastive_outputs outputs = DUET_CONTRASTIVE_OUTPUTS_INIT;
    outputs.row_loss = part.of(row_loss).vector();
    if (both) outputs.row_statistics = part.of(row_statistics).matrix(), outputs.column_sums = sums.part(k);
    succeed(duet_contrastive_forward(tape.context(), &inputs[k], &outputs,
                                     tape.workspace(duet_contrastive_workspace, inputs[k])));
  }
  batch.gather({row_loss});
  if (both) {
    sums.merge(batch, [&](duet_matrix left, duet_const_matrix right) {
      succeed(duet_contrastive_merge(tape.context(),
                                     sized<duet_contrastive_merge_inputs>({.left = left, .right = right}),
                                     sized<duet_contrastive_merge_outputs>({.sums = left})));
    });
    const bool relation =
        options.kind == DUET_CONTRASTIVE_KIND_INFONCE
            ? options.group_a.data || options.exclude_own
            : options.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE && options.labels_a.data != nullptr;
    succeed(duet_contrastive_close(
        tape.context(),
        sized<duet_contrastive_close_inputs>(
            {.sums = duet_f64_const_matrix(sums.whole, m, sums.width), .kind = options.kind, .relation = relation}),
        sized<duet_contrastive_close_outputs>(
            {.loss = column_loss.vector(), .statistics = column_statistics.matrix()})));
  }
  const ColumnGradients gradients(tape, batch, v);
  RankedBatch* const of = &batch;
  return tape.record(terms, {a, v, scale, bias}, [=](Tape& tape, const Tensor& output) {
    gradients.clear();
    const Tensor row_terms = output.row_part(0, n), column_terms = output.row_part(n, m);
    for (size_t k = 0; k < inputs.size(); ++k) {
      const BatchPart& part = of->parts()[k];
      duet_contrastive_gradients to = DUET_CONTRASTIVE_GRADIENTS_INIT;
      if (both) to.row_statistics = part.of(row_statistics).matrix(), to.column_statistics = column_statistics.matrix();
      to.row_weight = part.of(row_terms).grad_vector();
      if (both) to.column_weight = column_terms.grad_vector();
      to.grad_a = part.of(a).grad_matrix();
      if (v.requires_grad()) to.grad_v = gradients.of_rows(k);
      to.grad_scale = gradients.of_scale(k, scale), to.grad_bias = gradients.of_bias(k, bias);
      succeed(duet_contrastive_backward(tape.context(), &inputs[k], &to,
                                        tape.workspace(duet_contrastive_workspace, inputs[k])));
    }
    gradients.add(*of, v, scale, bias);
  });
}

Tensor ranked_distillation_terms(Tape& tape, RankedBatch& batch, const Tensor& student_a, const Tensor& student_v,
                                 const Tensor& scale, const duet_distillation_inputs& options) {
  const int64_t n = student_a.rows, m = student_v.rows;
  const std::span<duet_distillation_inputs> inputs =
      part_inputs(tape, batch, options, [&](duet_distillation_inputs& of, const BatchPart& part) {
        of.student_a = part.of(student_a).matrix(), of.student_v = student_v.matrix();
        of.scale = scale.vector();
        of.teacher_a = rows_of(of.teacher_a, part);
        of.class_a = rows_of(of.class_a, part), of.trust_a = rows_of(of.trust_a, part);
        of.group_a = rows_of(of.group_a, part), of.kappa_a = rows_of(of.kappa_a, part);
        of.annotated_a = rows_of(of.annotated_a, part);
      });
  const Tensor terms = tape.make(n + m), row_loss = terms.row_part(0, n), column_loss = terms.row_part(n, m);
  const Tensor row_statistics = tape.make(n, DUET_DISTILLATION_STATISTICS),
               column_statistics = tape.make(m, DUET_DISTILLATION_STATISTICS);
  const ColumnSums sums(tape, batch, m, DUET_DISTILLATION_SUMS);
  for (size_t k = 0; k < inputs.size(); ++k) {
    const BatchPart& part = batch.parts()[k];
    succeed(
        duet_distillation_forward(tape.context(), &inputs[k],
                                  sized<duet_distillation_outputs>({.row_loss = part.of(row_loss).vector(),
                                                                    .row_statistics = part.of(row_statistics).matrix(),
                                                                    .column_sums = sums.part(k)}),
                                  tape.workspace(duet_distillation_workspace, inputs[k])));
  }
  batch.gather({row_loss});
  sums.merge(batch, [&](duet_matrix left, duet_const_matrix right) {
    succeed(duet_distillation_merge(tape.context(),
                                    sized<duet_distillation_merge_inputs>({.left = left, .right = right}),
                                    sized<duet_distillation_merge_outputs>({.sums = left})));
  });
  succeed(duet_distillation_close(
      tape.context(),
      sized<duet_distillation_close_inputs>({.sums = duet_f64_const_matrix(sums.whole, m, sums.width),
                                             .kappa = options.kappa_v,
                                             .agreement = options.class_v.data || options.group_v.data}),
      sized<duet_distillation_close_outputs>(
          {.loss = column_loss.vector(), .statistics = column_statistics.matrix()})));
  const ColumnGradients gradients(tape, batch, student_v);
  RankedBatch* const of = &batch;
  return tape.record(terms, {student_a, student_v, scale}, [=](Tape& tape, const Tensor& output) {
    gradients.clear();
    const Tensor row_terms = output.row_part(0, n), column_terms = output.row_part(n, m);
    for (size_t k = 0; k < inputs.size(); ++k) {
      const BatchPart& part = of->parts()[k];
      duet_distillation_gradients to = DUET_DISTILLATION_GRADIENTS_INIT;
      to.row_statistics = part.of(row_statistics).matrix(), to.column_statistics = column_statistics.matrix();
      to.row_weight = part.of(row_terms).grad_vector(), to.column_weight = column_terms.grad_vector();
      to.grad_a = part.of(student_a).grad_matrix();
      if (student_v.requires_grad()) to.grad_v = gradients.of_rows(k);
      to.grad_scale = gradients.of_scale(k, scale);
      succeed(duet_distillation_backward(tape.context(), &inputs[k], &to,
                                         tape.workspace(duet_distillation_workspace, inputs[k])));
    }
    gradients.add(*of, student_v, scale, {});
  });
}

Tensor ranked_triplet(Tape& tape, RankedBatch& batch, const Tensor& x, const Tensor& y,
                      const duet_triplet_inputs& options) {
  const std::span<duet_triplet_inputs> inputs =
      part_inputs(tape, batch, options, [&](duet_triplet_inputs& of, const BatchPart& part) {
        of.x = part.of(x).matrix(), of.y = y.matrix();
        of.class_x = rows_of(of.class_x, part), of.trust_x = rows_of(of.trust_x, part);
        of.labels_x = rows_of(of.labels_x, part), of.group_x = rows_of(of.group_x, part);
        of.annotated_x = rows_of(of.annotated_x, part);
      });
  const Tensor row_loss = tape.make(x.rows), row_active = tape.make(x.rows), loss = tape.make(1), active = tape.make(1);
  const bool recorded = tape.recording() && (x.requires_grad() || y.requires_grad());
  const Tensor sum_x = recorded && x.requires_grad() ? tape.make(x.rows, x.columns) : Tensor{};
  const ColumnGradients sums(tape, batch, y);
  for (size_t k = 0; k < inputs.size(); ++k) {
    const BatchPart& part = batch.parts()[k];
    duet_triplet_outputs outputs = DUET_TRIPLET_OUTPUTS_INIT;
    outputs.row_loss = part.of(row_loss).vector(), outputs.row_active = part.of(row_active).vector();
    if (sum_x) outputs.sum_x = part.of(sum_x).matrix();
    if (recorded && y.requires_grad()) outputs.sum_y = sums.of_rows(k);
    succeed(
        duet_triplet_forward(tape.context(), &inputs[k], &outputs, tape.workspace(duet_triplet_workspace, inputs[k])));
  }
  batch.gather({row_loss, row_active});
  succeed(duet_triplet_loss(
      tape.context(),
      sized<duet_triplet_loss_inputs>({.row_loss = row_loss.vector(), .row_active = row_active.vector()}),
      sized<duet_triplet_loss_outputs>({.loss = loss.vector(), .active = active.vector()})));
  RankedBatch* const of = &batch;
  return tape.record(loss, {x, y}, [=](Tape& tape, const Tensor& output) {
    const size_t floats = static_cast<size_t>(y.rows * y.columns);
    if (y.requires_grad()) of->add(sums.parts, std::span(sums.whole, floats));
    const BatchPart& own = of->own();
    if (own.count == 0) return;
    const Tensor sum_y = y.requires_grad() ? own.of(Tensor::view(sums.whole, y.rows, y.columns)) : Tensor{};
    succeed(duet_triplet_add_gradient(
        tape.context(),
        sized<duet_triplet_sums>({.sum_x = sum_x ? own.of(sum_x).matrix() : duet_matrix{}, .sum_y = sum_y.matrix()}),
        sized<duet_triplet_gradients>({.active = active.vector(),
                                       .grad_loss = output.grad_vector(),
                                       .grad_x = own.of(x).grad_matrix(),
                                       .grad_y = own.of(y).grad_matrix()})));
  });
}

}  // namespace duet
