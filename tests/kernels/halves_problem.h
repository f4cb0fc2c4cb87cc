// Features of float16 and bfloat16 beside the float32 of the same values, and every call that takes them.
#pragma once

#include <bit>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/arrays.h"

namespace duet::test::halves {

// What a half holds, from the definition: sign, exponent, fraction.
inline double value_of(uint16_t half, duet_dtype dtype) {
  const int digits = dtype == DUET_DTYPE_F16 ? 10 : 7, top = (1 << (15 - digits)) - 1, bias = top / 2;
  const int exponent = half >> digits & top, fraction = half & ((1 << digits) - 1);
  const double sign = half >> 15 ? -1 : 1;
  if (exponent == top) return fraction ? kNaN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - digits);
  return sign * std::ldexp((1 << digits) + fraction, exponent - bias - digits);
}

// What a float32 of this value must hold. NaN keeps its sign and its digits, the fraction's highest.
inline uint32_t bits_of(uint16_t half, duet_dtype dtype) {
  const double value = value_of(half, dtype);
  if (!std::isnan(value)) return std::bit_cast<uint32_t>(static_cast<float>(value));
  const int digits = dtype == DUET_DTYPE_F16 ? 10 : 7;
  const uint32_t fraction = half & ((1u << digits) - 1);
  return static_cast<uint32_t>(half >> 15) << 31 | 0xFFu << 23 | fraction << (23 - digits);
}

// A matrix of one dtype, and as a contiguous float32 one of the same values. padding: elements after each row; shift:
// of its first element in memory.
class Features {
 public:
  Features(duet_dtype dtype, int64_t rows, int64_t columns, int64_t padding = 0, int64_t shift = 0)
      : dtype_(dtype),
        shift_(shift),
        stride_(columns + padding),
        wide_(rows, columns),
        halves_(static_cast<size_t>(rows * stride_ + shift + kBehind), kGuard) {}
  // Of sizes up to 1, a few of them 0 or subnormal. In float32 the values are those of bfloat16.
  Features& draw(Draw& draw) {
    const bool f16 = dtype_ == DUET_DTYPE_F16;
    const int digits = f16 ? 10 : 7, top = f16 ? 14 : 126;
    for (int64_t i = 0; i < wide_.rows(); ++i)
      for (int64_t j = 0; j < wide_.columns(); ++j) {
        const int64_t exponent = draw.integer(0, 19) == 0 ? 0 : draw.integer(top - 6, top);
        set(i, j,
            static_cast<uint16_t>(draw.integer(0, 1) << 15 | exponent << digits | draw.integer(0, (1 << digits) - 1)));
      }
    return *this;
  }
  void set(int64_t i, int64_t j, uint16_t half) {
    halves_[static_cast<size_t>(shift_ + i * stride_ + j)] = half;
    wide_.at(i, j) = std::bit_cast<float>(bits_of(half, dtype_ == DUET_DTYPE_F16 ? dtype_ : DUET_DTYPE_BF16));
  }
  uint16_t* data() { return halves_.data() + shift_; }
  duet_const_matrix view() {
    if (dtype_ == DUET_DTYPE_F32) return wide_.matrix();
    return {data(), wide_.rows(), wide_.columns(), stride_, dtype_, 0};
  }
  duet_const_matrix wide() { return wide_.matrix(); }
  // What a call of it takes of the workspace.
  size_t bytes() const {
    const auto size = static_cast<size_t>(wide_.rows() * wide_.columns()) * sizeof(float);
    return dtype_ == DUET_DTYPE_F32 ? 0 : (size + 63) / 64 * 64;
  }

 private:
  static constexpr uint16_t kGuard = 0x7FFF;  // NaN in both
  static constexpr int64_t kBehind = 32;
  duet_dtype dtype_;
  int64_t shift_, stride_;
  Floats wide_;
  std::vector<uint16_t, DeviceAllocator<uint16_t>> halves_;
};

// The features of a call. teacher_x, teacher_y: of another width.
struct Sides {
  duet_const_matrix x, y, teacher_x, teacher_y;
};
struct Batch {
  Features x, y, teacher_x, teacher_y;

  Batch(Draw& draw, duet_dtype of_x, duet_dtype of_y, int64_t n, int64_t m, int64_t d, int64_t padding, int64_t shift)
      : x(of_x, n, d, padding, shift),
        y(of_y, m, d, padding, 0),
        teacher_x(of_y, n, d + 1, 0, shift),
        teacher_y(of_x, m, d + 1, padding, shift) {
    for (Features* each : {&x, &y, &teacher_x, &teacher_y}) each->draw(draw);
  }
  Sides sides() { return {x.view(), y.view(), teacher_x.view(), teacher_y.view()}; }
  Sides wide() { return {x.wide(), y.wide(), teacher_x.wide(), teacher_y.wide()}; }
};

// One turn of an operation: its calls, one after another as long as they succeed, and what they left, by its bits.
class Turn {
 public:
  Turn(duet_context* turn_context, const Sides& turn_sides) : context(turn_context), sides(turn_sides) {}

  duet_context* const context;
  const Sides sides;
  size_t bytes = 0;  // of the workspace, as asked for
  duet_status status = DUET_STATUS_OK;
  std::string error;
  std::vector<uint32_t> bits;
  // The workspace that the calls are given, of bytes as asked for, in memory that is there.
  std::function<duet_workspace(void* data, size_t bytes)> space = [](void* data, size_t size) {
    return duet_workspace{data, size};
  };
  Draw draw{23};

  int64_t n() const { return sides.x.rows; }
  int64_t m() const { return sides.y.rows; }
  int64_t d() const { return sides.x.columns; }
  template <class Ask>
  duet_workspace workspace(Ask&& ask) {
    call(ask(&bytes));
    scratch_ = std::make_unique<Scratch>(bytes + 64);
    return space(scratch_->view().data, bytes);
  }
  void call(duet_status given) {
    if (status != DUET_STATUS_OK || given == DUET_STATUS_OK) return;
    status = given, error = duet_last_error();
  }
  Floats gradient(int64_t rows, int64_t columns) { return Floats(rows, columns).fill(0.25); }
  template <class... Arrays>
  void keep(const Arrays&... arrays) {
    device.synchronize();
    (append(arrays), ...);
  }

 private:
  template <class T>
  void append(const Array<T>& array) {
    constexpr size_t kWords = sizeof(T) / sizeof(uint32_t);
    for (int64_t i = 0; i < array.rows(); ++i)
      for (int64_t j = 0; j < array.columns(); ++j) {
        const T value = array.at(i, j);
        uint32_t words[kWords];
        std::memcpy(words, &value, sizeof value);
        bits.insert(bits.end(), words, words + kWords);
      }
  }
  std::unique_ptr<Scratch> scratch_;
};

inline void distance(Turn& t, duet_metric metric) {
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.x = t.sides.x, in.y = t.sides.y, in.metric = metric;
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_distance_workspace(t.context, &in, bytes); });
  Floats out(t.n(), t.m()), g = t.draw.normals(t.n(), t.m()), grad_x = t.gradient(t.n(), t.d()),
                            grad_y = t.gradient(t.m(), t.d());
  t.call(duet_distance_forward(t.context, &in, sized<duet_distance_outputs>({.distances = out.matrix()}), scratch));
  const bool reads = metric == DUET_METRIC_EUCLIDEAN || metric == DUET_METRIC_COSINE;
  t.call(duet_distance_backward(t.context, &in,
                                sized<duet_distance_gradients>({.distances = reads ? out.matrix() : duet_const_matrix{},
                                                                .grad_distances = g.matrix(),
                                                                .grad_x = grad_x.matrix(),
                                                                .grad_y = grad_y.matrix()}),
                                scratch));
  t.keep(out, grad_x, grad_y);
}

inline void alignment(Turn& t, duet_metric score) {
  const int64_t n = t.n(), m = t.m();
  Floats scale = Floats(1, 1).fill(3), row(n, 1), column(m, 1), p(n, m), weight = t.draw.normals(n, 1),
         weights = t.draw.normals(m, 1), g = t.draw.normals(n, m), grad_a = t.gradient(n, t.d()),
         grad_v = t.gradient(m, t.d()), grad_scale = t.gradient(1, 1);
  duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
  in.a = t.sides.x, in.v = t.sides.y, in.scale = scale.vector(), in.score = score;
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_alignment_workspace(t.context, &in, bytes); });
  t.call(duet_alignment_forward(t.context, &in,
                                sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}),
                                scratch));
  t.call(duet_alignment_backward(t.context, &in,
                                 sized<duet_alignment_gradients>({.lse_row = row.vector(),
                                                                  .lse_column = column.vector(),
                                                                  .grad_lse_row = weight.vector(),
                                                                  .grad_lse_column = weights.vector(),
                                                                  .grad_a = grad_a.matrix(),
                                                                  .grad_v = grad_v.matrix(),
                                                                  .grad_scale = grad_scale.vector()}),
                                 scratch));
  t.call(duet_alignment_probabilities(
      t.context, &in,
      sized<duet_alignment_probabilities_outputs>({.lse_row = row.vector(), .probabilities = p.matrix()}), scratch));
  t.call(duet_alignment_probabilities_backward(
      t.context, &in,
      sized<duet_alignment_probabilities_gradients>({.probabilities = p.matrix(),
                                                     .grad_probabilities = g.matrix(),
                                                     .grad_a = grad_a.matrix(),
                                                     .grad_v = grad_v.matrix(),
                                                     .grad_scale = grad_scale.vector()}),
      scratch));
  t.keep(row, column, p, grad_a, grad_v, grad_scale);
}

inline void contrastive(Turn& t, duet_contrastive_kind kind) {
  const int64_t n = t.n(), m = t.m();
  Floats scale = Floats(1, 1).fill(3), row(n, 1), column(m, 1), rows(n, DUET_CONTRASTIVE_STATISTICS),
         columns(m, DUET_CONTRASTIVE_STATISTICS), class_a = t.draw.distributions(n, 3),
         class_v = t.draw.distributions(m, 3), weight = t.draw.normals(n, 1), weights = t.draw.normals(m, 1),
         grad_a = t.gradient(n, t.d()), grad_v = t.gradient(m, t.d()), grad_scale = t.gradient(1, 1);
  const bool classes = kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, sigmoid = kind == DUET_CONTRASTIVE_KIND_SIGMOID;
  duet_contrastive_inputs in = DUET_CONTRASTIVE_INPUTS_INIT;
  in.kind = kind, in.a = t.sides.x, in.v = t.sides.y, in.scale = scale.vector();
  if (classes) in.class_a = class_a.matrix(), in.class_v = class_v.matrix();
  if (sigmoid) in.bias = scale.vector();
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_contrastive_workspace(t.context, &in, bytes); });
  t.call(duet_contrastive_forward(t.context, &in,
                                  sized<duet_contrastive_outputs>({.row_loss = row.vector(),
                                                                   .column_loss = column.vector(),
                                                                   .row_statistics = rows.matrix(),
                                                                   .column_statistics = columns.matrix()}),
                                  scratch));
  t.call(duet_contrastive_backward(t.context, &in,
                                   sized<duet_contrastive_gradients>({.row_statistics = rows.matrix(),
                                                                      .column_statistics = columns.matrix(),
                                                                      .row_weight = weight.vector(),
                                                                      .column_weight = weights.vector(),
                                                                      .grad_a = grad_a.matrix(),
                                                                      .grad_v = grad_v.matrix(),
                                                                      .grad_scale = grad_scale.vector()}),
                                   scratch));
  t.keep(row, grad_a, grad_v, grad_scale);
  if (!sigmoid) t.keep(column, rows, columns);
}

inline void distillation(Turn& t, int) {
  const int64_t n = t.n(), m = t.m();
  Floats scale = Floats(1, 1).fill(3), row(n, 1), column(m, 1), rows(n, DUET_DISTILLATION_STATISTICS),
         columns(m, DUET_DISTILLATION_STATISTICS), weight = t.draw.normals(n, 1), weights = t.draw.normals(m, 1),
         grad_a = t.gradient(n, t.d()), grad_v = t.gradient(m, t.d()), grad_scale = t.gradient(1, 1);
  duet_distillation_inputs in = DUET_DISTILLATION_INPUTS_INIT;
  in.student_a = t.sides.x, in.student_v = t.sides.y, in.teacher_a = t.sides.teacher_x,
  in.teacher_v = t.sides.teacher_y, in.scale = in.teacher_scale = scale.vector(), in.paired = 1;
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_distillation_workspace(t.context, &in, bytes); });
  t.call(duet_distillation_forward(t.context, &in,
                                   sized<duet_distillation_outputs>({.row_loss = row.vector(),
                                                                     .column_loss = column.vector(),
                                                                     .row_statistics = rows.matrix(),
                                                                     .column_statistics = columns.matrix()}),
                                   scratch));
  t.call(duet_distillation_backward(t.context, &in,
                                    sized<duet_distillation_gradients>({.row_statistics = rows.matrix(),
                                                                        .column_statistics = columns.matrix(),
                                                                        .row_weight = weight.vector(),
                                                                        .column_weight = weights.vector(),
                                                                        .grad_a = grad_a.matrix(),
                                                                        .grad_v = grad_v.matrix(),
                                                                        .grad_scale = grad_scale.vector()}),
                                    scratch));
  t.keep(row, column, rows, columns, grad_a, grad_v, grad_scale);
}

// The draws of distance_weighted.
struct Drawn {
  Longs step = Longs(1, 1).fill(4);
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  Drawn() { draw.seed = 5, draw.slots = 2, draw.step = step.vector(); }
};

inline void mining(Turn& t, duet_metric metric) {
  const int64_t n = t.n(), m = t.m();
  Drawn drawn;
  Ints labels_x = t.draw.labels(n, 3), labels_y = t.draw.labels(m, 3), positive(n, 1), negative(n, 1),
       other_positive(m, 1), other_negative(m, 1), negatives(n, drawn.draw.slots);
  Floats far(n, 1), near(n, 1), distances(n, drawn.draw.slots);
  Longs count(1, 1);
  duet_mining_inputs in = DUET_MINING_INPUTS_INIT;
  in.x = t.sides.x, in.y = t.sides.y, in.metric = metric, in.margin = 0.5f, in.draw = &drawn.draw;
  in.labels_x = labels_x.vector(), in.labels_y = labels_y.vector();
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_mining_workspace(t.context, &in, bytes); });
  duet_mining_hard_side rows = DUET_MINING_HARD_SIDE_INIT, columns = DUET_MINING_HARD_SIDE_INIT;
  rows.positive_index = positive.vector(), rows.negative_index = negative.vector();
  rows.positive_distance = far.vector(), rows.negative_distance = near.vector();
  columns.positive_index = other_positive.vector(), columns.negative_index = other_negative.vector();
  t.call(
      duet_mining_hard(t.context, &in, sized<duet_mining_hard_outputs>({.rows = &rows, .columns = &columns}), scratch));
  t.call(duet_mining_semihard_count(t.context, &in,
                                    sized<duet_mining_semihard_count_outputs>({.count = count.vector()}), scratch));
  device.synchronize();
  const int64_t pairs = t.status == DUET_STATUS_OK ? count.at(0) : 0;
  Ints triplets(pairs, 3);
  Floats of_triplets(pairs, 2);
  t.call(duet_mining_semihard(
      t.context, &in,
      sized<duet_mining_semihard_outputs>({.triplets = triplets.matrix(), .distances = of_triplets.matrix()}),
      scratch));
  t.call(duet_mining_distance_weighted(
      t.context, &in,
      sized<duet_mining_distance_weighted_outputs>({.negatives = negatives.matrix(), .distances = distances.matrix()}),
      scratch));
  t.keep(positive, negative, other_positive, other_negative, far, near, triplets, of_triplets, negatives, distances);
}

inline void triplet(Turn& t, duet_triplet_mining mining) {
  const int64_t n = t.n(), m = t.m();
  Drawn drawn;
  Ints labels_x = t.draw.labels(n, 3), labels_y = t.draw.labels(m, 3);
  Floats loss(n, 1), active(n, 1), sum_x(n, t.d()), sum_y(m, t.d()),
      total = Floats(1, 1).fill(7), upstream = Floats(1, 1).fill(2), grad_x = t.gradient(n, t.d()),
      grad_y = t.gradient(m, t.d());
  duet_triplet_inputs in = DUET_TRIPLET_INPUTS_INIT;
  in.x = t.sides.x, in.y = t.sides.y, in.metric = DUET_METRIC_EUCLIDEAN, in.mining = mining, in.margin = 0.5f;
  in.labels_x = labels_x.vector(), in.labels_y = labels_y.vector();
  if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) in.draw = &drawn.draw;
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_triplet_workspace(t.context, &in, bytes); });
  t.call(duet_triplet_forward(
      t.context, &in,
      sized<duet_triplet_outputs>(
          {.row_loss = loss.vector(), .row_active = active.vector(), .sum_x = sum_x.matrix(), .sum_y = sum_y.matrix()}),
      scratch));
  t.call(duet_triplet_backward(t.context, &in,
                               sized<duet_triplet_gradients>({.active = total.vector(),
                                                              .grad_loss = upstream.vector(),
                                                              .grad_x = grad_x.matrix(),
                                                              .grad_y = grad_y.matrix()}),
                               scratch));
  t.keep(loss, active, sum_x, sum_y, grad_x, grad_y);
}

inline void retrieval(Turn& t, int) {
  const int64_t n = t.n(), m = t.m();
  Ints query_labels = t.draw.labels(n, 3), gallery_labels = t.draw.labels(m, 3), relevant(n, 1), indices(n, 3);
  Floats precision(n, 1), matching(n, 1), scores(n, 3);
  duet_retrieval_inputs in = DUET_RETRIEVAL_INPUTS_INIT;
  in.queries = t.sides.x, in.gallery = t.sides.y, in.paired = 1;
  in.query_labels = query_labels.vector(), in.gallery_labels = gallery_labels.vector();
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_retrieval_workspace(t.context, &in, bytes); });
  t.call(duet_retrieval_forward(
      t.context, &in,
      sized<duet_retrieval_outputs>(
          {.relevant = relevant.vector(), .average_precision = precision.vector(), .matching = matching.vector()}),
      scratch));
  t.call(duet_retrieval_top_k(
      t.context, &in, sized<duet_retrieval_top_k_outputs>({.indices = indices.matrix(), .scores = scores.matrix()}),
      scratch));
  t.keep(relevant, precision, matching, indices, scores);
}

// Of pairs: the first rows of the longer side.
inline void decorrelation(Turn& t, int) {
  const int64_t n = std::min(t.n(), t.m());
  Floats loss(1, 1), upstream = Floats(1, 1).fill(2), grad_a = t.gradient(n, t.d()), grad_v = t.gradient(n, t.d());
  duet_decorrelation_inputs in = DUET_DECORRELATION_INPUTS_INIT;
  in.a = t.sides.x, in.v = t.sides.y, in.a.rows = in.v.rows = n;
  const auto scratch = t.workspace([&](size_t* bytes) { return duet_decorrelation_workspace(t.context, &in, bytes); });
  t.call(
      duet_decorrelation_forward(t.context, &in, sized<duet_decorrelation_outputs>({.loss = loss.vector()}), scratch));
  t.call(duet_decorrelation_backward(
      t.context, &in,
      sized<duet_decorrelation_gradients>(
          {.grad_loss = upstream.vector(), .grad_a = grad_a.matrix(), .grad_v = grad_v.matrix()}),
      scratch));
  t.keep(loss, grad_a, grad_v);
}

struct Operation {
  std::string name;
  std::function<void(Turn&)> run;
};
// Every operation that takes halves, in each of its forms.
inline std::vector<Operation> operations() {
  std::vector<Operation> all;
  const auto add = [&](const char* name, auto run, auto forms) {
    for (const auto form : forms)
      all.push_back({std::string(name) + ' ' + std::to_string(form), [run, form](Turn& turn) { run(turn, form); }});
  };
  add("distance", distance,
      values_of({DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}));
  add("alignment", alignment, values_of({DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN}));
  add("contrastive", contrastive,
      values_of({DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID,
                 DUET_CONTRASTIVE_KIND_DECOUPLED, DUET_CONTRASTIVE_KIND_CIRCLE, DUET_CONTRASTIVE_KIND_NTXENT}));
  add("distillation", distillation, std::vector<int>{0});
  add("mining", mining, values_of({DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_COSINE}));
  add("triplet", triplet,
      values_of({DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                 DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}));
  add("retrieval", retrieval, std::vector<int>{0});
  add("decorrelation", decorrelation, std::vector<int>{0});
  return all;
}

}  // namespace duet::test::halves
