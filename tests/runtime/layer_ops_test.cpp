// The nodes of the layers, of distances, of the losses of one row each and of small sums, against the double
// references.
#include "tests/reference/activation.h"
#include "tests/reference/cross_entropy.h"
#include "tests/reference/decorrelation.h"
#include "tests/reference/distance.h"
#include "tests/reference/gather.h"
#include "tests/reference/head.h"
#include "tests/reference/linear.h"
#include "tests/reference/normalization.h"
#include "tests/reference/reduction.h"
#include "tests/runtime/total.h"
#include "tests/support/gradcheck.h"

using namespace duet;
using namespace duet::test;

TEST_CASE("linear") {
  Draw draw(1);
  const std::vector<Leaf> leaves = {draw.normals(7, 5), draw.normals(3, 5), draw.normals(3, 1)};
  gradcheck(
      "linear", leaves, [](Tape& tape, const auto& in) { return weigh(tape, ops::linear(tape, in[0], in[1], in[2])); },
      [](const auto& in) {
        return weigh(reference::Linear{7, 5, 3, in[0], in[1], in[2]}.forward());
      });
  gradcheck(
      "linear without bias", {leaves[0], leaves[1]},
      [](Tape& tape, const auto& in) { return weigh(tape, ops::linear(tape, in[0], in[1], {})); },
      [](const auto& in) {
        return weigh(reference::Linear{7, 5, 3, in[0], in[1], {}}.forward());
      });
}

TEST_CASE("linear with ReLU and dropout") {
  Draw draw(11);
  static const int64_t step = 9;
  gradcheck(
      "linear_relu", {draw.normals(17, 5), draw.normals(6, 5), draw.normals(6, 1)},
      [](Tape& tape, const auto& in) {
        return weigh(tape, ops::linear_relu(tape, in[0], in[1], in[2], {0.3f, 2, 77, {&step, 1}, 4}));
      },
      [](const auto& in) {
        Doubles out = reference::dropout_factors(0.3f, 77, 2, 9, 4, 17, 6);
        const Doubles layer = reference::Linear{17, 5, 6, in[0], in[1], in[2]}.forward();
        for (size_t k = 0; k < out.size(); ++k) out[k] *= reference::activation(DUET_ACTIVATION_KIND_RELU, layer[k]);
        return weigh(out);
      });
}

TEST_CASE("activation") {
  Draw draw(2);
  for (const auto kind : {DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_TANH, DUET_ACTIVATION_KIND_GELU})
    gradcheck(
        "activation", {draw.normals(7, 5)},
        [=](Tape& tape, const auto& in) { return weigh(tape, ops::activation(tape, in[0], kind)); },
        [=](const auto& in) {
          Doubles out;
          for (const double x : in[0]) out.push_back(reference::activation(kind, x));
          return weigh(out);
        });
}

TEST_CASE("dropout") {
  Draw draw(3);
  static const int64_t step = 9;
  gradcheck(
      "dropout", {draw.normals(17, 5)},
      [](Tape& tape, const auto& in) {
        return weigh(tape, ops::dropout(tape, in[0], {0.3f, 2, 77, {&step, 1}, 4}));
      },
      [](const auto& in) {
        Doubles out = reference::dropout_factors(0.3f, 77, 2, 9, 4, 17, 5);
        for (size_t k = 0; k < out.size(); ++k) out[k] *= in[0][k];
        return weigh(out);
      });
}

TEST_CASE("unit_rows and layer_norm") {
  Draw draw(4);
  gradcheck(
      "unit_rows", {draw.normals(7, 5)},
      [](Tape& tape, const auto& in) { return weigh(tape, ops::unit_rows(tape, in[0])); },
      [](const auto& in) { return weigh(reference::unit_rows(in[0], 5, 1e-12)); });
  gradcheck(
      "layer_norm", {draw.normals(7, 5), draw.normals(5, 1), draw.normals(5, 1)},
      [](Tape& tape, const auto& in) { return weigh(tape, ops::layer_norm(tape, in[0], in[1], in[2])); },
      [](const auto& in) {
        return weigh(reference::LayerNorm{5, in[1], in[2], 1e-5f}.forward(in[0]));
      });
}

TEST_CASE("a head of modalities that share a classifier") {
  Draw draw(14);
  const std::vector<Leaf> leaves = {draw.normals(7, 5), draw.normals(7, 5), draw.normals(3, 5), draw.normals(3, 1)};
  const auto on_tape = [](Tape& tape, std::span<const ops::Head> heads) {
    const Tensor one = tape.constant(1), half = tape.constant(0.5f), quarter = tape.constant(0.25f),
                 two = tape.constant(2);
    return total(tape, {times(one, weigh(tape, heads[0].embeddings)), times(half, weigh(tape, heads[1].embeddings)),
                        times(quarter, weigh(tape, heads[0].logits)), times(two, weigh(tape, heads[1].logits))});
  };
  const auto in_double = [](const auto& in, const Doubles& bias) {
    const auto out = reference::Head{7, 5, 3, {in[0], in[1]}, in[2], bias, 1e-12, 10}.forward();
    return weigh(out.u[0]) + 0.5 * weigh(out.u[1]) + 0.25 * weigh(out.logits[0]) + 2 * weigh(out.logits[1]);
  };
  gradcheck(
      "head", leaves,
      [&](Tape& tape, const auto& in) {
        return on_tape(tape, ops::head(tape, {in[0], in[1]}, in[2], in[3], 10));
      },
      [&](const auto& in) { return in_double(in, in[3]); });
  gradcheck(
      "head without bias", {leaves[0], leaves[1], leaves[2]},
      [&](Tape& tape, const auto& in) {
        return on_tape(tape, ops::head(tape, {in[0], in[1]}, in[2], {}, 10));
      },
      [&](const auto& in) { return in_double(in, {}); });
  Context context(1);
  Tape tape(context);
  const Tensor x = tape.make(3, 4), weight = tape.make(2, 4), narrow = tape.make(3, 5);
  for (const ops::Head& head : ops::head(tape, {x, x}, weight, {})) {
    CHECK_FALSE(head.embeddings.requires_grad());
    CHECK_FALSE(head.logits.requires_grad());
  }
  CHECK_THROWS_WITH(ops::head(tape, {}, weight, {}), doctest::Contains("head: expected a modality, got none"));
  CHECK_THROWS_WITH(ops::head(tape, {x, narrow}, weight, {}),
                    doctest::Contains("head_workspace: inputs.x[1]: expected 3 x 4, got 3 x 5"));
}

TEST_CASE("gather") {
  Draw draw(5);
  static const int64_t rows[] = {3, 0, 3, 5, 1, 3};
  gradcheck(
      "gather", {draw.normals(6, 4)},
      [](Tape& tape, const auto& in) {
        return weigh(tape, ops::gather(tape, in[0], {rows, 6}));
      },
      [](const auto& in) {
        return weigh(reference::gather(in[0], 4, {rows, rows + 6}));
      });
}

TEST_CASE("distance") {
  Draw draw(6);
  for (const auto metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE, DUET_METRIC_INNER})
    gradcheck(
        "distance", {draw.normals(7, 5), draw.normals(4, 5)},
        [=](Tape& tape, const auto& in) { return weigh(tape, ops::distance(tape, in[0], in[1], metric)); },
        [=](const auto& in) { return weigh(reference::distances(in[0], in[1], 7, 4, 5, metric)); });
}

TEST_CASE("cross-entropy with weights and a divisor") {
  Draw draw(9);
  Floats targets = draw.distributions(7, 3), weights = draw.choice(7, {0, 0.5, 1}), divisor = Floats(1, 1).fill(4);
  gradcheck(
      "cross-entropy", {draw.normals(7, 3, 3)},
      [&](Tape& tape, const auto& in) {
        const Tensor terms = ops::cross_entropy_terms(tape, in[0], Tensor::view(targets.data(), 7, 3));
        return ops::weighted_mean(tape, terms, Tensor::view(weights.data(), 7), Tensor::view(divisor.data(), 1));
      },
      [&](const auto& in) {
        return reference::weighted_mean(reference::cross_entropy(in[0], targets.values(), 7, 3), weights.values(), 4);
      });
}

TEST_CASE("cross-entropies of several logits in one call") {
  Draw draw(12);
  Floats targets = draw.distributions(7, 3);
  const auto expected = [&](const auto& in) {
    Doubles all;
    for (const Doubles& logits : in)
      for (const double term : reference::cross_entropy(logits, targets.values(), 7, 3)) all.push_back(term);
    return weigh(all);
  };
  // Each alone may need no gradient, as gradcheck goes through them.
  gradcheck(
      "two", {draw.normals(7, 3), draw.normals(7, 3)},
      [&](Tape& tape, const auto& in) {
        return weigh(tape, ops::cross_entropy_terms(tape, {in[0], in[1]}, Tensor::view(targets.data(), 7, 3)));
      },
      expected);
  gradcheck(
      "three", {draw.normals(7, 3), draw.normals(7, 3), draw.normals(7, 3)},
      [&](Tape& tape, const auto& in) {
        return weigh(tape, ops::cross_entropy_terms(tape, {in[0], in[1], in[2]}, Tensor::view(targets.data(), 7, 3)));
      },
      expected);
}

TEST_CASE("decorrelation") {
  Draw draw(10);
  gradcheck(
      "decorrelation", {draw.normals(11, 4), draw.normals(11, 4)},
      [](Tape& tape, const auto& in) { return ops::decorrelation(tape, in[0], in[1]); },
      [](const auto& in) { return reference::decorrelation(in[0], in[1], 11, 4); });
}

TEST_CASE("weighted mean and weighted sum") {
  Draw draw(7);
  const std::vector<Leaf> leaves = {draw.normals(9, 1), draw.normals(1, 1), draw.normals(1, 1), Leaf(1, 1, {3})};
  gradcheck(
      "mean over a divisor, then a sum with shared terms", leaves,
      [](Tape& tape, const auto& in) {
        const Tensor mean = ops::weighted_mean(tape, in[0], {}, in[3]);
        const Tensor two = tape.constant(2), half = tape.constant(0.5f), zero = tape.constant(0);
        return total(tape, {times(two, mean), times(half, in[1]), times(half, mean), times(zero, in[2]),
                            times(half, tape.constant(5))});
      },
      [](const auto& in) { return 2.5 * reference::weighted_mean(in[0], {}, in[3][0]) + 0.5 * in[1][0] + 2.5; }, 2e-5,
      {true, true, true, false});
}

TEST_CASE("both directions of a loss over pairs") {
  Draw draw(8);
  gradcheck(
      "both directions", {draw.normals(7, 1), draw.normals(3, 1), draw.normals(4, 1)},
      [](Tape& tape, const auto& in) {
        return total(tape, {ops::both_directions(tape.constant(1), in[0], 3, in[1], in[2])});
      },
      [](const auto& in) {
        const Doubles rows(in[0].begin(), in[0].begin() + 3), columns(in[0].begin() + 3, in[0].end());
        return 0.5 * (reference::weighted_mean(rows, in[1], 3) + reference::weighted_mean(columns, in[2], 4));
      },
      2e-5, {true, false, false});
}

TEST_CASE("loss terms and their weighted total") {
  Draw draw(13);
  Floats weights = draw.choice(9, {0, 0.5, 1}), row_weight = draw.choice(4, {0, 0.5, 1}),
         column_weight = draw.choice(5, {0.5, 1});
  const auto view = [](Floats& array) { return Tensor::view(array.data(), array.rows()); };
  // Leaves: nine row losses, in two terms; a scalar; nine losses of 4 rows and 5 columns; a scalar whose weight is 0; a
  // divisor; the same of 0.
  gradcheck(
      "loss terms",
      {draw.normals(9, 1), draw.normals(1, 1), draw.normals(9, 1), draw.normals(1, 1), Leaf(1, 1, {3}),
       Leaf(1, 1, {0})},
      [&](Tape& tape, const auto& in) {
        const Tensor two = tape.constant(2), half = tape.constant(0.5f), zero = tape.constant(0);
        const ops::LossTerm terms[] = {{two, {in[0], view(weights), in[4]}, {}},
                                       {half, {in[1], {}, {}}, {}},
                                       ops::both_directions(two, in[2], 4, view(row_weight), view(column_weight)),
                                       {half, {in[0], {}, {}}, {}},
                                       {zero, {in[3], {}, {}}, {}},
                                       {two, {in[0], view(weights), in[5]}, {}}};
        const auto [total, values] = ops::loss_terms(tape, terms);
        CHECK_FALSE(values.requires_grad());
        REQUIRE(values.size() == 6);
        CHECK(values.data[1] == in[1].item());
        CHECK(values.data[4] == in[3].item());  // reported, though it does not count
        CHECK(values.data[5] == 0);
        const double sum = 2.0 * values.data[0] + 0.5 * values.data[1] + 2.0 * values.data[2] + 0.5 * values.data[3];
        CHECK(std::abs(total.item() - sum) <= 1e-6 * 10);  // a few float32 roundings of terms of at most 10
        return total;
      },
      [&](const auto& in) {
        const Doubles rows(in[2].begin(), in[2].begin() + 4), columns(in[2].begin() + 4, in[2].end());
        return 2 * reference::weighted_mean(in[0], weights.values(), in[4][0]) + 0.5 * in[1][0] +
               (reference::weighted_mean(rows, row_weight.values(), 4) +
                reference::weighted_mean(columns, column_weight.values(), 5)) +
               0.5 * reference::weighted_mean(in[0], {}, 9);
      },
      2e-5, {true, true, true, true, false, false});
  Context context(1);
  Tape tape(context);
  const Tensor one = tape.constant(1);
  CHECK_FALSE(ops::loss_terms(tape, std::array<ops::LossTerm, 1>{{{one, {one, {}, {}}, {}}}}).total.requires_grad());
}

TEST_CASE("a weighted sum of constants needs no gradient, and an error of a kernel is thrown with its text") {
  Context context(1);
  Tape tape(context);
  const Tensor one = tape.constant(1);
  CHECK_FALSE(total(tape, {times(one, one)}).requires_grad());
  CHECK(total(tape, {}).item() == 0);
  const Tensor x = tape.make(3, 4), y = tape.make(2, 5);
  CHECK_THROWS_WITH(ops::distance(tape, x, y, DUET_METRIC_INNER), doctest::Contains("distance_workspace"));
  CHECK_THROWS_WITH(ops::linear(tape, x, y, {}), doctest::Contains("linear_workspace"));
}
