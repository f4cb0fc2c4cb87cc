// The nodes of the losses over pairs, against their formulas (METHOD.md 3 to 6) written out in double over whole matrices.
#include "tests/reference/distance.h"
#include "tests/support/gradcheck.h"

using namespace duet;
using namespace duet::test;

namespace {

constexpr int64_t kRows = 7, kColumns = 5, kWidth = 4, kClasses = 3;
constexpr float kTemperature = 0.25f;  // its inverse is exact in float32

using Table = std::vector<Doubles>;

Table scores(const Doubles& a, const Doubles& v, int64_t n, int64_t m, double scale, duet_metric score = DUET_INNER) {
  const Doubles d = reference::distances(a, v, n, m, kWidth, score);
  Table out(static_cast<size_t>(n), Doubles(static_cast<size_t>(m)));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j)
      out[static_cast<size_t>(i)][static_cast<size_t>(j)] = (score == DUET_INNER ? scale : -scale) * d[static_cast<size_t>(i * m + j)];
  return out;
}

Table transposed(const Table& x) {
  Table out(x[0].size(), Doubles(x.size()));
  for (size_t i = 0; i < x.size(); ++i)
    for (size_t j = 0; j < x[0].size(); ++j) out[j][i] = x[i][j];
  return out;
}

double log_sum_exp(const Doubles& x) {
  double sum = 0;
  for (const double entry : x) sum += std::exp(entry);
  return std::log(sum);
}

// pos of METHOD.md 2 with anchors in rows: the other side's trust.
Table agreement(const Doubles& q_rows, const Doubles& q_columns, const Doubles& trust_columns, bool paired) {
  const size_t n = q_rows.size() / kClasses, m = q_columns.size() / kClasses;
  Table pos(n, Doubles(m));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < m; ++j) {
      for (size_t c = 0; c < kClasses; ++c) pos[i][j] += q_rows[i * kClasses + c] * q_columns[j * kClasses + c];
      pos[i][j] *= trust_columns[j];
      if (paired && i == j) pos[i][j] = 1;
    }
  return pos;
}

Doubles normalised(const Doubles& x) {
  double sum = 0;
  for (const double entry : x) sum += entry;
  Doubles out = x;
  for (double& entry : out) entry = sum > 0 ? entry / sum : 0;
  return out;
}

// sum_j target_j (log target_j - log P_j), or without the target's entropy.
double divergence(const Doubles& target, const Doubles& s, bool entropy) {
  const double lse = log_sum_exp(s);
  double sum = 0;
  for (size_t j = 0; j < s.size(); ++j)
    if (target[j] > 0) sum += target[j] * ((entropy ? std::log(target[j]) : 0) - (s[j] - lse));
  return sum;
}

double half_means(const Doubles& rows, const Doubles& row_weight, const Doubles& columns, const Doubles& column_weight) {
  double row_sum = 0, column_sum = 0;
  for (size_t i = 0; i < rows.size(); ++i) row_sum += row_weight[i] * rows[i];
  for (size_t j = 0; j < columns.size(); ++j) column_sum += column_weight[j] * columns[j];
  return 0.5 * (row_sum / static_cast<double>(rows.size()) + column_sum / static_cast<double>(columns.size()));
}

double softplus(double x) { return std::log1p(std::exp(-std::abs(x))) + std::max(x, 0.0); }

// A batch: unit rows on both sides, a teacher's, classes, trust, kappa.
struct Batch {
  Draw draw{31};
  Floats a = draw.unit_rows(kRows, kWidth), v = draw.unit_rows(kColumns, kWidth);
  Floats teacher_a = draw.unit_rows(kRows, kWidth), teacher_v = draw.unit_rows(kColumns, kWidth);
  Floats class_a = draw.distributions(kRows, kClasses), class_v = draw.distributions(kColumns, kClasses);
  Floats trust_a = draw.choice(kRows, {0, 0.5, 1}), trust_v = draw.choice(kColumns, {0.5, 1});
  Floats kappa_a = draw.choice(kRows, {0, 0.5, 1}), kappa_v = draw.choice(kColumns, {0, 0.5, 1});
  Floats scale = Floats(1, 1).fill(1 / kTemperature), bias = Floats(1, 1).fill(-0.5);
};

Tensor constant(Floats& array) { return Tensor::view(array.data(), array.rows(), array.columns()); }

}  // namespace

TEST_CASE("alignment: log-sum-exps and probabilities") {
  for (const auto score : {DUET_INNER, DUET_SQEUCLIDEAN, DUET_EUCLIDEAN, DUET_COSINE}) {
    CAPTURE(score);
    Batch batch;
    const std::vector<Leaf> leaves = {batch.a, batch.v, batch.scale};
    gradcheck(
        "lse", leaves, [=](Tape& tape, const auto& in) { return weigh(tape, ops::alignment_lse(tape, in[0], in[1], in[2], score)); },
        [=](const auto& in) {
          const Table s = scores(in[0], in[1], kRows, kColumns, in[2][0], score);
          Doubles lse;
          for (const Doubles& row : s) lse.push_back(log_sum_exp(row));
          for (const Doubles& column : transposed(s)) lse.push_back(log_sum_exp(column));
          return weigh(lse);
        });
    gradcheck(
        "probabilities", leaves,
        [=](Tape& tape, const auto& in) { return weigh(tape, ops::alignment_probabilities(tape, in[0], in[1], in[2], score)); },
        [=](const auto& in) {
          Doubles out;
          for (const Doubles& row : scores(in[0], in[1], kRows, kColumns, in[2][0], score))
            for (const double entry : row) out.push_back(std::exp(entry - log_sum_exp(row)));
          return weigh(out);
        });
  }
}

TEST_CASE("distillation, both directions weighted") {
  for (const bool paired : {false, true}) {
    Batch batch;
    const double teacher_scale = 8;
    Floats teacher_scales = Floats(1, 1).fill(teacher_scale);
    duet_distillation_inputs options = DUET_DISTILLATION_INPUTS_INIT;
    options.teacher_a = batch.teacher_a.matrix(), options.teacher_v = batch.teacher_v.matrix();
    options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
    options.trust_a = batch.trust_a.vector(), options.trust_v = batch.trust_v.vector();
    options.kappa_a = batch.kappa_a.vector(), options.kappa_v = batch.kappa_v.vector();
    options.teacher_scale = teacher_scales.vector();
    options.paired = paired;
    const auto direction = [](const Table& s, const Table& t, const Table& pos, const Doubles& kappa) {
      Doubles terms;
      for (size_t i = 0; i < s.size(); ++i) {
        Doubles teacher;
        for (const double entry : t[i]) teacher.push_back(std::exp(entry - log_sum_exp(t[i])));
        terms.push_back((1 - kappa[i]) * divergence(teacher, s[i], true) + kappa[i] * divergence(normalised(pos[i]), s[i], true));
      }
      return terms;
    };
    gradcheck(
        "distillation", {batch.a, batch.v, batch.scale},
        [&](Tape& tape, const auto& in) {
          return ops::distillation(tape, in[0], in[1], in[2], options, constant(batch.trust_a), constant(batch.trust_v));
        },
        [&](const auto& in) {
          const Table s = scores(in[0], in[1], kRows, kColumns, in[2][0]);
          const Table t = scores(batch.teacher_a.values(), batch.teacher_v.values(), kRows, kColumns, teacher_scale);
          const Doubles rows =
              direction(s, t, agreement(batch.class_a.values(), batch.class_v.values(), batch.trust_v.values(), paired), batch.kappa_a.values());
          const Doubles columns =
              direction(transposed(s), transposed(t), agreement(batch.class_v.values(), batch.class_a.values(), batch.trust_a.values(), paired),
                        batch.kappa_v.values());
          return half_means(rows, batch.trust_a.values(), columns, batch.trust_v.values());
        });
  }
}

TEST_CASE("infonce and multi-positive, both directions") {
  for (const bool identity : {true, false}) {
    Batch batch;
    duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
    options.kind = identity ? DUET_INFONCE : DUET_MULTI_POSITIVE;
    if (!identity) {
      options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
      options.trust_a = batch.trust_a.vector(), options.trust_v = batch.trust_v.vector();
      options.paired = 1;
    }
    const auto pos = [&](bool columns) {
      if (!identity && columns) return agreement(batch.class_v.values(), batch.class_a.values(), batch.trust_a.values(), true);
      if (!identity) return agreement(batch.class_a.values(), batch.class_v.values(), batch.trust_v.values(), true);
      Table out(columns ? kColumns : kRows, Doubles(columns ? kRows : kColumns));
      for (size_t i = 0; i < out.size() && i < out[0].size(); ++i) out[i][i] = 1;
      return out;
    };
    gradcheck(
        "contrastive", {batch.a, batch.v, batch.scale},
        [&](Tape& tape, const auto& in) {
          return ops::contrastive(tape, in[0], in[1], in[2], {}, options, constant(batch.trust_a), constant(batch.trust_v));
        },
        [&](const auto& in) {
          const Table s = scores(in[0], in[1], kRows, kColumns, in[2][0]), across = transposed(s);
          Doubles rows, columns;
          for (size_t i = 0; i < s.size(); ++i) rows.push_back(divergence(normalised(pos(false)[i]), s[i], false));
          for (size_t j = 0; j < across.size(); ++j) columns.push_back(divergence(normalised(pos(true)[j]), across[j], false));
          return half_means(rows, batch.trust_a.values(), columns, batch.trust_v.values());
        });
  }
}

TEST_CASE("sigmoid, with scale and bias") {
  for (const bool identity : {true, false}) {
    Batch batch;
    duet_contrastive_inputs options = DUET_CONTRASTIVE_INPUTS_INIT;
    options.kind = DUET_SIGMOID;
    if (!identity) options.class_a = batch.class_a.matrix(), options.class_v = batch.class_v.matrix();
    const Table same = agreement(batch.class_a.values(), batch.class_v.values(), Doubles(kColumns, 1.0), false);
    gradcheck(
        "sigmoid", {batch.a, batch.v, batch.scale, batch.bias},
        [&](Tape& tape, const auto& in) { return ops::contrastive(tape, in[0], in[1], in[2], in[3], options); },
        [&](const auto& in) {
          const Table s = scores(in[0], in[1], kRows, kColumns, in[2][0]);
          double sum = 0;
          for (size_t i = 0; i < kRows; ++i)
            for (size_t j = 0; j < kColumns; ++j) {
              const double weight = identity ? i == j : same[i][j], x = s[i][j] + in[3][0];
              sum += weight * softplus(-x) + (1 - weight) * softplus(x);
            }
          return sum / kRows;
        });
  }
}

TEST_CASE("triplet: all by weights, and mined by labels") {
  static const int64_t step = 3;
  for (const auto mining : {DUET_TRIPLET_ALL, DUET_TRIPLET_HARD, DUET_TRIPLET_SEMIHARD, DUET_TRIPLET_DISTANCE_WEIGHTED}) {
    CAPTURE(mining);
    Batch batch;
    Ints labels_x(kRows, 1), labels_y(kColumns, 1);
    labels_x.assign({0, 1, 2, 0, 1, -1, 0}), labels_y.assign({0, 1, 2, 1, 0});
    duet_triplet_inputs options = DUET_TRIPLET_INPUTS_INIT;
    options.mining = mining;
    options.metric = mining == DUET_TRIPLET_DISTANCE_WEIGHTED ? DUET_EUCLIDEAN : DUET_SQEUCLIDEAN;
    options.margin = 0.5f;
    if (mining == DUET_TRIPLET_ALL) {
      options.class_x = batch.class_a.matrix(), options.class_y = batch.class_v.matrix();
      options.trust_x = batch.trust_a.vector(), options.trust_y = batch.trust_v.vector();
      options.paired = 1;
    } else {
      options.labels_x = labels_x.vector(), options.labels_y = labels_y.vector();
    }
    // The drawn negatives, so that the reference needs no draw of its own.
    Ints negatives(kRows, 1);
    if (mining == DUET_TRIPLET_DISTANCE_WEIGHTED) {
      options.draw = DUET_MINING_DRAW_INIT;
      options.draw.seed = 5, options.draw.step = duet_i64_vector(&step, 1), options.draw.slots = 1;
      duet_mining_inputs inputs = DUET_MINING_INPUTS_INIT;
      inputs.x = batch.a.matrix(), inputs.y = batch.v.matrix(), inputs.metric = DUET_EUCLIDEAN;
      inputs.labels_x = labels_x.vector(), inputs.labels_y = labels_y.vector();
      Context context(1);
      size_t bytes = 0;
      SUCCEED_CALL(duet_mining_workspace(context, &inputs, &bytes));
      Scratch scratch(bytes);
      SUCCEED_CALL(duet_mining_distance_weighted(context, &inputs, &options.draw, negatives.matrix(), {}, scratch.view()));
    }
    gradcheck(
        "triplet", {batch.a, batch.v}, [&](Tape& tape, const auto& in) { return ops::triplet(tape, in[0], in[1], options); },
        [&](const auto& in) {
          const Doubles d = reference::distances(in[0], in[1], kRows, kColumns, kWidth, options.metric);
          const Table weights = agreement(batch.class_a.values(), batch.class_v.values(), Doubles(kColumns, 1.0), true);
          double loss = 0, active = 0;
          for (int64_t i = 0; i < kRows; ++i) {
            const auto distance = [&](int64_t j) { return d[static_cast<size_t>(i * kColumns + j)]; };
            const auto add = [&](int64_t p, int64_t n, double weight) {
              const double hinge = distance(p) + options.margin - distance(n);
              if (hinge > 0) loss += weight * hinge, active += weight;
            };
            const auto positive = [&](int64_t j) { return labels_x.at(i) >= 0 && labels_x.at(i) == labels_y.at(j); };
            const auto negative = [&](int64_t j) { return labels_x.at(i) >= 0 && labels_x.at(i) != labels_y.at(j); };
            // The farthest positive, and the nearest negative beyond a distance.
            int64_t farthest = -1;
            for (int64_t j = 0; j < kColumns; ++j)
              if (positive(j) && (farthest < 0 || distance(j) > distance(farthest))) farthest = j;
            const auto nearest = [&](double beyond) {
              int64_t best = -1;
              for (int64_t j = 0; j < kColumns; ++j)
                if (negative(j) && distance(j) > beyond && (best < 0 || distance(j) < distance(best))) best = j;
              return best;
            };
            for (int64_t p = 0; p < kColumns; ++p) {
              if (mining == DUET_TRIPLET_ALL) {
                for (int64_t n = 0; n < kColumns; ++n) {
                  const auto r = static_cast<size_t>(i), cp = static_cast<size_t>(p), cn = static_cast<size_t>(n);
                  const double pos = p == i ? 1 : weights[r][cp] * batch.trust_v.at(p), neg = n == i ? 0 : (1 - weights[r][cn]) * batch.trust_v.at(n);
                  add(p, n, batch.trust_a.at(i) * pos * neg);
                }
              } else if (positive(p)) {
                const int64_t n = mining == DUET_TRIPLET_SEMIHARD ? nearest(distance(p))
                                  : mining == DUET_TRIPLET_HARD   ? nearest(-1)
                                                                  : negatives.at(i);
                if (n >= 0 && (mining != DUET_TRIPLET_HARD || p == farthest)) add(p, n, 1);
              }
            }
          }
          return active > 0 ? loss / active : 0;
        });
  }
}

TEST_CASE("cross-entropy with weights and a divisor") {
  Draw draw(8);
  Floats targets = draw.distributions(kRows, kClasses), weights = draw.choice(kRows, {0, 0.5, 1}), divisor = Floats(1, 1).fill(4);
  gradcheck(
      "cross-entropy", {draw.normals(kRows, kClasses, 3)},
      [&](Tape& tape, const auto& in) { return ops::cross_entropy(tape, in[0], constant(targets), constant(weights), constant(divisor)); },
      [&](const auto& in) {
        double sum = 0;
        for (int64_t i = 0; i < kRows; ++i) {
          const Doubles z(in[0].begin() + i * kClasses, in[0].begin() + (i + 1) * kClasses);
          for (int64_t c = 0; c < kClasses; ++c) sum -= weights.at(i) * targets.at(i, c) * (z[static_cast<size_t>(c)] - log_sum_exp(z));
        }
        return sum / 4;
      });
}

TEST_CASE("decorrelation") {
  Draw draw(9);
  constexpr int64_t n = 11;
  const auto standardised = [](const Doubles& x) {
    Doubles out = x;
    for (int64_t k = 0; k < kWidth; ++k) {
      double mean = 0, variance = 0;
      for (int64_t i = 0; i < n; ++i) mean += x[static_cast<size_t>(i * kWidth + k)] / n;
      for (int64_t i = 0; i < n; ++i) variance += std::pow(x[static_cast<size_t>(i * kWidth + k)] - mean, 2) / n;
      for (int64_t i = 0; i < n; ++i) {
        double& entry = out[static_cast<size_t>(i * kWidth + k)];
        entry = (entry - mean) / std::sqrt(variance + 1e-5f);
      }
    }
    return out;
  };
  gradcheck(
      "decorrelation", {draw.normals(n, kWidth), draw.normals(n, kWidth)},
      [](Tape& tape, const auto& in) { return ops::decorrelation(tape, in[0], in[1]); },
      [&](const auto& in) {
        const Doubles a = standardised(in[0]), v = standardised(in[1]);
        double sum = 0;
        for (int64_t k = 0; k < kWidth; ++k)
          for (int64_t l = 0; l < kWidth; ++l) {
            double r = 0;
            for (int64_t i = 0; i < n; ++i) r += a[static_cast<size_t>(i * kWidth + k)] * v[static_cast<size_t>(i * kWidth + l)] / n;
            if (k != l) sum += r * r;
          }
        return sum / (kWidth * (kWidth - 1));
      });
}
