// The nodes of the losses over pairs, against the double references.
#include "runtime/module.h"
#include "tests/reference/alignment.h"
#include "tests/reference/contrastive.h"
#include "tests/reference/distillation.h"
#include "tests/reference/reduction.h"
#include "tests/runtime/total.h"
#include "tests/support/annotated_rows.h"
#include "tests/support/gradcheck.h"

using namespace duet;
using namespace duet::test;

namespace {

constexpr int64_t kRows = 7, kColumns = 5, kWidth = 4, kClasses = 3;

// A batch: unit rows on both sides, a teacher's, classes, trust, kappa.
struct Batch {
  Draw draw{31};
  Floats a = draw.unit_rows(kRows, kWidth), v = draw.unit_rows(kColumns, kWidth);
  Floats teacher_a = draw.unit_rows(kRows, kWidth), teacher_v = draw.unit_rows(kColumns, kWidth);
  Floats class_a = draw.distributions(kRows, kClasses), class_v = draw.distributions(kColumns, kClasses);
  Floats trust_a = draw.choice(kRows, {0, 0.5, 1}), trust_v = draw.choice(kColumns, {0.5, 1});
  Floats kappa_a = draw.choice(kRows, {0, 0.5, 1}), kappa_v = draw.choice(kColumns, {0, 0.5, 1});
  Floats scale = Floats(1, 1).fill(4), teacher_scale = Floats(1, 1).fill(8), bias = Floats(1, 1).fill(-0.5);
  Floats annotated_a = Floats(0, 1), annotated_v = Floats(0, 1);  // without rows: no flags

  void annotate_rows() { annotated_a = annotate(draw, class_a, 0.6), annotated_v = annotate(draw, class_v, 0.6); }

  // pos with anchors in rows (n x m) and in columns (m x n): METHOD.md 2.
  Doubles row_positives(bool paired) const {
    return reference::positives(class_a.values(), class_v.values(), trust_v.values(), kRows, kColumns, paired, 0, 0,
                                annotated_a.values(), annotated_v.values());
  }
  Doubles column_positives(bool paired) const {
    return reference::positives(class_v.values(), class_a.values(), trust_a.values(), kColumns, kRows, paired, 0, 0,
                                annotated_v.values(), annotated_a.values());
  }
};

Doubles scores(const Doubles& a, const Doubles& v, double scale, duet_metric score = DUET_METRIC_INNER) {
  return reference::scores(a, v, kRows, kColumns, kWidth, score, scale);
}

// -inf where row i and column i + offset are the own pair.
Doubles without_own(Doubles s, int64_t offset) {
  for (int64_t i = 0; i < kRows; ++i)
    if (i + offset >= 0 && i + offset < kColumns)
      s[static_cast<size_t>(i * kColumns + i + offset)] = -std::numeric_limits<double>::infinity();
  return s;
}

Doubles across(const Doubles& s) { return reference::transposed(s, kRows, kColumns); }

const Doubles kRowOnes(kRows, 1.0), kColumnOnes(kColumns, 1.0);

// 1/2 of both directions' weighted means.
double both(const Doubles& rows, const Doubles& row_weight, const Doubles& columns, const Doubles& column_weight) {
  return 0.5 * (reference::weighted_mean(rows, row_weight, kRows) +
                reference::weighted_mean(columns, column_weight, kColumns));
}

Tensor constant(Floats& array) { return Tensor::view(array.data(), array.rows(), array.columns()); }

// A contrastive loss of rows and columns weighted by trust; the sigmoid loss has no columns.
Tensor contrastive_total(Tape& tape, Batch& batch, const Tensor& a, const Tensor& v, const Tensor& scale,
                         const duet_contrastive_inputs& options) {
  const bool sigmoid = options.kind == DUET_CONTRASTIVE_KIND_SIGMOID;
  const Tensor terms = ops::contrastive_terms(tape, a, v, scale, sigmoid ? constant(batch.bias) : Tensor{}, options);
  const Tensor one = tape.constant(1);
  if (sigmoid) return total(tape, {{one, {terms, constant(batch.trust_a), {}}, {}}});
  return total(tape, {ops::both_directions(one, terms, kRows, constant(batch.trust_a), constant(batch.trust_v))});
}

}  // namespace

TEST_CASE("alignment: log-sum-exps and probabilities") {
  for (const bool exclude_own : {false, true}) {
    for (const auto score : {DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
      CAPTURE(score);
      CAPTURE(exclude_own);
      Batch batch;
      const ops::OwnPairs own{exclude_own, 1, 3};
      const std::vector<Leaf> leaves = {batch.a, batch.v, batch.scale};
      const auto scores_of = [=](const auto& in) {
        const Doubles s = scores(in[0], in[1], in[2][0], score);
        return exclude_own ? without_own(s, own.first_row - own.first_column) : s;
      };
      gradcheck(
          "lse", leaves,
          [=](Tape& tape, const auto& in) {
            return weigh(tape, ops::alignment_lse(tape, in[0], in[1], in[2], score, own));
          },
          [=](const auto& in) {
            const Doubles s = scores_of(in);
            Doubles lse = reference::log_sum_exp_rows(s, kRows, kColumns);
            for (const double entry : reference::log_sum_exp_rows(across(s), kColumns, kRows)) lse.push_back(entry);
            return weigh(lse);
          });
      gradcheck(
          "probabilities", leaves,
          [=](Tape& tape, const auto& in) {
            return weigh(tape, ops::alignment_probabilities(tape, in[0], in[1], in[2], score, own));
          },
          [=](const auto& in) { return weigh(reference::softmax_rows(scores_of(in), kRows, kColumns)); });
    }
  }
}

TEST_CASE("distillation, both directions weighted, with annotated rows and without") {
  for (const int what : {0, 1, 2, 3}) {
    const bool paired = what & 1, annotated = what & 2;
    CAPTURE(paired);
    CAPTURE(annotated);
    Batch batch;
    if (annotated) batch.annotate_rows();
    duet_distillation_inputs options = DUET_DISTILLATION_INPUTS_INIT;
    options.teacher_a = batch.teacher_a.matrix(), options.teacher_v = batch.teacher_v.matrix();
    options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
    options.trust_a = batch.trust_a.vector(), options.trust_v = batch.trust_v.vector();
    options.kappa_a = batch.kappa_a.vector(), options.kappa_v = batch.kappa_v.vector();
    options.teacher_scale = batch.teacher_scale.vector();
    options.paired = paired;
    if (annotated) options.annotated_a = batch.annotated_a.vector(), options.annotated_v = batch.annotated_v.vector();
    gradcheck(
        "distillation", {batch.a, batch.v, batch.scale},
        [&](Tape& tape, const auto& in) {
          const Tensor terms = ops::distillation_terms(tape, in[0], in[1], in[2], options);
          return total(tape, {ops::both_directions(tape.constant(1), terms, kRows, constant(batch.trust_a),
                                                   constant(batch.trust_v))});
        },
        [&](const auto& in) {
          const Doubles s = scores(in[0], in[1], in[2][0]),
                        t = scores(batch.teacher_a.values(), batch.teacher_v.values(), 8);
          const auto rows = reference::distillation_rows(s, t, batch.row_positives(paired), batch.kappa_a.values(),
                                                         kRowOnes, kRows, kColumns);
          const auto columns = reference::distillation_rows(across(s), across(t), batch.column_positives(paired),
                                                            batch.kappa_v.values(), kColumnOnes, kColumns, kRows);
          return both(rows.loss, batch.trust_a.values(), columns.loss, batch.trust_v.values());
        });
  }
}

TEST_CASE("distillation with groups and without own pairs") {
  Batch batch;
  Ints group_a(kRows, 1), group_v(kColumns, 1);
  for (int64_t i = 0; i < kRows; ++i) group_a.at(i) = static_cast<int32_t>(i % 4) - 1;
  for (int64_t j = 0; j < kColumns; ++j) group_v.at(j) = static_cast<int32_t>(j % 3) - 1;
  duet_distillation_inputs options = DUET_DISTILLATION_INPUTS_INIT;
  options.teacher_a = batch.teacher_a.matrix(), options.teacher_v = batch.teacher_v.matrix();
  options.kappa_a = batch.kappa_a.vector(), options.kappa_v = batch.kappa_v.vector();
  options.group_a = group_a.vector(), options.group_v = group_v.vector();
  options.teacher_scale = batch.teacher_scale.vector();
  options.exclude_own = 1, options.first_column = 1;
  Doubles positives(kRows * kColumns);
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < kColumns; ++j)
      positives[static_cast<size_t>(i * kColumns + j)] =
          group_a.at(i) >= 0 && group_a.at(i) == group_v.at(j) && i != j + 1;
  gradcheck(
      "distillation", {batch.a, batch.v, batch.scale},
      [&](Tape& tape, const auto& in) {
        return weigh(tape, ops::distillation_terms(tape, in[0], in[1], in[2], options));
      },
      [&](const auto& in) {
        const Doubles s = without_own(scores(in[0], in[1], in[2][0]), -1),
                      t = without_own(scores(batch.teacher_a.values(), batch.teacher_v.values(), 8), -1);
        Doubles terms =
            reference::distillation_rows(s, t, positives, batch.kappa_a.values(), kRowOnes, kRows, kColumns).loss;
        const auto columns = reference::distillation_rows(across(s), across(t), across(positives),
                                                          batch.kappa_v.values(), kColumnOnes, kColumns, kRows);
        terms.insert(terms.end(), columns.loss.begin(), columns.loss.end());
        return weigh(terms);
      });
}

TEST_CASE("infonce and multi-positive, both directions") {
  for (const bool identity : {true, false}) {
    CAPTURE(identity);
    Batch batch;
    duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
    options.kind = identity ? DUET_CONTRASTIVE_KIND_INFONCE : DUET_CONTRASTIVE_KIND_MULTI_POSITIVE;
    Doubles row_positives(kRows * kColumns), column_positives(kRows * kColumns);
    if (identity) {
      for (int64_t i = 0; i < std::min(kRows, kColumns); ++i)
        row_positives[i * kColumns + i] = column_positives[i * kRows + i] = 1;
    } else {
      options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
      options.trust_a = batch.trust_a.vector(), options.trust_v = batch.trust_v.vector();
      options.paired = 1;
      row_positives = batch.row_positives(true), column_positives = batch.column_positives(true);
    }
    gradcheck(
        "contrastive", {batch.a, batch.v, batch.scale},
        [&](Tape& tape, const auto& in) {
          const Tensor terms = ops::contrastive_terms(tape, in[0], in[1], in[2], {}, options);
          return total(tape, {ops::both_directions(tape.constant(1), terms, kRows, constant(batch.trust_a),
                                                   constant(batch.trust_v))});
        },
        [&](const auto& in) {
          const Doubles s = scores(in[0], in[1], in[2][0]);
          const auto rows = reference::cross_entropy_rows(s, row_positives, kRowOnes, kRows, kColumns);
          const auto columns = reference::cross_entropy_rows(across(s), column_positives, kColumnOnes, kColumns, kRows);
          return both(rows.loss, batch.trust_a.values(), columns.loss, batch.trust_v.values());
        });
  }
}

TEST_CASE("factors of contrastive gradients: g_a L(A, stop V) + g_v L(stop A, V)") {
  for (const auto kind :
       {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID})
    for (const auto& factors : {std::pair{0.25f, 2.0f}, {1.0f, 0.0f}, {0.0f, 1.0f}}) {
      const float g_a = factors.first, g_v = factors.second;
      CAPTURE(kind);
      CAPTURE(g_a);
      CAPTURE(g_v);
      Batch batch;
      Floats factor_a = Floats(1, 1).fill(g_a), factor_v = Floats(1, 1).fill(g_v);
      duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
      options.kind = kind, options.grad_factor_a = factor_a.vector(), options.grad_factor_v = factor_v.vector();
      Doubles row_positives(kRows * kColumns), column_positives(kRows * kColumns);
      for (int64_t i = 0; i < std::min(kRows, kColumns); ++i)
        row_positives[i * kColumns + i] = column_positives[i * kRows + i] = 1;
      if (kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE) {
        options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
        options.trust_a = batch.trust_a.vector(), options.trust_v = batch.trust_v.vector();
        options.paired = 1;
        row_positives = batch.row_positives(true), column_positives = batch.column_positives(true);
      }
      const bool sigmoid = kind == DUET_CONTRASTIVE_KIND_SIGMOID;
      const auto loss = [&](const Doubles& a, const Doubles& v, double scale) {
        Doubles s = scores(a, v, scale);
        if (sigmoid) {
          for (double& x : s) x -= 0.5;
          return reference::weighted_mean(reference::sigmoid_rows(s, row_positives, kRowOnes, kRows, kColumns).loss,
                                          batch.trust_a.values(), kRows);
        }
        const auto rows = reference::cross_entropy_rows(s, row_positives, kRowOnes, kRows, kColumns);
        const auto columns = reference::cross_entropy_rows(across(s), column_positives, kColumnOnes, kColumns, kRows);
        return both(rows.loss, batch.trust_a.values(), columns.loss, batch.trust_v.values());
      };
      // The loss where nothing moves; each side moves it by its factor against the other as it was, the scale by
      // itself.
      const Doubles a = batch.a.values(), v = batch.v.values();
      const double scale = batch.scale.at(0), here = loss(a, v, scale), by_a = g_a, by_v = g_v;
      gradcheck(
          "stopped contrastive", {batch.a, batch.v, batch.scale},
          [&](Tape& tape, const auto& in) { return contrastive_total(tape, batch, in[0], in[1], in[2], options); },
          [&](const auto& in) {
            return here + by_a * (loss(in[0], v, scale) - here) + by_v * (loss(a, in[1], scale) - here) +
                   (loss(a, v, in[2][0]) - here);
          });
    }
}

TEST_CASE("a learned scale gets the gradient of its logarithm") {
  Batch batch;
  duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
  options.kind = DUET_CONTRASTIVE_KIND_INFONCE;
  Doubles row_positives(kRows * kColumns), column_positives(kRows * kColumns);
  for (int64_t i = 0; i < std::min(kRows, kColumns); ++i)
    row_positives[i * kColumns + i] = column_positives[i * kRows + i] = 1;
  for (const double start : {0.1, 1.0, 4.0, 40.0}) {
    CAPTURE(start);
    Context context(1);
    Tape tape(context);
    ParameterStore store;
    const LearnedScale scale(store, "log_scale", start);
    store.initialise(context, 1);
    const Tensor terms = ops::contrastive_terms(tape, constant(batch.a), constant(batch.v),
                                                scale.forward(tape, store.student()), {}, options);
    const Tensor loss = total(tape, {ops::both_directions(tape.constant(1), terms, kRows)});
    tape.backward(loss);
    const double logarithm = store.tensor(0, ParameterKind::value).item();
    const auto in_double = [&](const Doubles& x) {
      const Doubles s = scores(batch.a.values(), batch.v.values(), std::exp(x[0]));
      const auto rows = reference::cross_entropy_rows(s, row_positives, kRowOnes, kRows, kColumns);
      const auto columns = reference::cross_entropy_rows(across(s), column_positives, kColumnOnes, kColumns, kRows);
      return both(rows.loss, kRowOnes, columns.loss, kColumnOnes);
    };
    CHECK(loss.item() == doctest::Approx(in_double({logarithm})).epsilon(2e-5));
    CHECK(store.tensor(0, ParameterKind::gradient).item() ==
          doctest::Approx(central_differences(in_double, {logarithm})[0]).epsilon(2e-5));
  }
}

TEST_CASE("sigmoid, with scale and bias") {
  for (const bool identity : {true, false}) {
    CAPTURE(identity);
    Batch batch;
    duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
    options.kind = DUET_CONTRASTIVE_KIND_SIGMOID;
    Doubles same(kRows * kColumns);
    if (identity) {
      for (int64_t i = 0; i < std::min(kRows, kColumns); ++i) same[i * kColumns + i] = 1;
    } else {
      options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
      same = reference::positives(batch.class_a.values(), batch.class_v.values(), kColumnOnes, kRows, kColumns, false);
    }
    gradcheck(
        "sigmoid", {batch.a, batch.v, batch.scale, batch.bias},
        [&](Tape& tape, const auto& in) {
          const Tensor terms = ops::contrastive_terms(tape, in[0], in[1], in[2], in[3], options);
          return total(tape, {{tape.constant(1), {terms, constant(batch.trust_a), {}}, {}}});
        },
        [&](const auto& in) {
          Doubles x = scores(in[0], in[1], in[2][0]);
          for (double& entry : x) entry += in[3][0];
          return reference::weighted_mean(reference::sigmoid_rows(x, same, kRowOnes, kRows, kColumns).loss,
                                          batch.trust_a.values(), kRows);
        });
  }
}

TEST_CASE("contrastive losses of groups and labels, without own pairs") {
  Draw draw(32);
  Ints labels_a = draw.labels(kRows, 2, 0.2), labels_v = draw.labels(kColumns, 2, 0.2),
       group_a = draw.labels(kRows, 3, 0.3), group_v = draw.labels(kColumns, 3, 0.3);
  for (const auto kind :
       {DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID})
    for (const bool exclude_own : {false, true}) {
      CAPTURE(kind);
      CAPTURE(exclude_own);
      Batch batch;
      const bool labels = kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, sigmoid = kind == DUET_CONTRASTIVE_KIND_SIGMOID;
      duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
      options.kind = kind, options.group_a = group_a.vector(), options.group_v = group_v.vector();
      if (labels) options.labels_a = labels_a.vector(), options.labels_v = labels_v.vector();
      options.exclude_own = exclude_own;
      const reference::Relation rows =
          reference::relation_of_pairs(labels ? labels_a.values() : Doubles(), labels ? labels_v.values() : Doubles(),
                                       group_a.values(), group_v.values(), exclude_own, kRows, kColumns);
      const reference::Relation columns{across(rows.positive), across(rows.negative)};
      Doubles taken = rows.positive;
      for (size_t k = 0; k < taken.size(); ++k) taken[k] += rows.negative[k];
      gradcheck(
          "contrastive of a relation", {batch.a, batch.v, batch.scale},
          [&](Tape& tape, const auto& in) { return contrastive_total(tape, batch, in[0], in[1], in[2], options); },
          [&](const auto& in) {
            Doubles s = scores(in[0], in[1], in[2][0]);
            if (sigmoid) {
              for (double& x : s) x -= 0.5;
              const auto terms = reference::sigmoid_rows(s, rows.positive, kRowOnes, kRows, kColumns, taken);
              return reference::weighted_mean(terms.loss, batch.trust_a.values(), kRows);
            }
            return both(reference::infonce_rows(s, rows, kRowOnes, kRows, kColumns).loss, batch.trust_a.values(),
                        reference::infonce_rows(across(s), columns, kColumnOnes, kColumns, kRows).loss,
                        batch.trust_v.values());
          });
    }
}
