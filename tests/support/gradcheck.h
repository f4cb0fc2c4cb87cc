// Compares what the tape says of a scalar function of some leaves, value and gradients, with a double reference and its
// central differences.
#pragma once

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/ops.h"
#include "runtime/tape.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

namespace duet::test {

struct Leaf {
  Leaf(const Floats& array) : rows(array.rows()), columns(array.columns()), values(array.values()) {}
  Leaf(int64_t rows_, int64_t columns_, Doubles values_) : rows(rows_), columns(columns_), values(std::move(values_)) {}
  int64_t rows, columns;
  Doubles values;  // representable in float32
};

// What the tape computes from the leaves: a scalar; and the same in double.
using OnTape = std::function<Tensor(Tape&, const std::vector<Tensor>&)>;
using InDouble = std::function<double(const std::vector<Doubles>&)>;

// The tolerances are relative to the value, or to the gradient's largest entry. These tests ask whether the wires go to
// the right places: a wrong one is off by the gradient itself. The kernels' own tests hold them to METHOD.md's errors.
// 2e-5: some hundred float32 operations deep, and 1e-9 of the central differences.
inline void gradcheck(const std::string& what, const std::vector<Leaf>& leaves, const OnTape& on_tape,
                      const InDouble& in_double, double tolerance = 2e-5,
                      const std::vector<bool>& differentiable = {}) {
  std::vector<Doubles> point, expected;
  for (const Leaf& leaf : leaves) point.push_back(leaf.values);
  const double value = in_double(point);
  const auto differs = [&](size_t k) { return differentiable.empty() || differentiable[k]; };
  for (size_t k = 0; k < leaves.size(); ++k) {
    const auto along = [&](const Doubles& x) {
      std::vector<Doubles> moved = point;
      moved[k] = x;
      return in_double(moved);
    };
    expected.push_back(differs(k) ? central_differences(along, point[k]) : Doubles());
  }
  // Every leaf alone, then all: a null gradient must neither be written nor keep the others from theirs.
  for (size_t chosen = 0; chosen <= leaves.size(); ++chosen) {
    if (chosen < leaves.size() && !differs(chosen)) continue;
    for (const int threads : {1, 2}) {
      Context context(threads);
      Tape tape(context);
      std::vector<Floats> values, gradients;
      std::vector<Tensor> tensors;
      for (const Leaf& leaf : leaves) {
        values.emplace_back(leaf.rows, leaf.columns).assign(leaf.values);
        gradients.emplace_back(leaf.rows, leaf.columns).fill(0.5);
      }
      for (size_t k = 0; k < leaves.size(); ++k) {
        const bool wanted = differs(k) && (chosen == k || chosen == leaves.size());
        tensors.push_back(
            Tensor::view(values[k].data(), leaves[k].rows, leaves[k].columns, wanted ? gradients[k].data() : nullptr));
      }
      const Tensor loss = on_tape(tape, tensors);
      check_close({double{loss.item()}}, {value}, tolerance * std::max(std::abs(value), 0.01), what + ": value");
      tape.backward(loss);
      for (size_t k = 0; k < leaves.size(); ++k) {
        Doubles got = gradients[k].values();
        for (double& entry : got) entry -= 0.5;
        const std::string name = what + ": gradient of leaf " + std::to_string(k);
        if (tensors[k].requires_grad())
          check_relative(got, expected[k], tolerance, name, 2e-7);  // the floor: what 0.5 + gradient loses in float32
        else
          check_close(got, Doubles(got.size()), 0, name + ", not wanted");
        check_close(values[k].values(), leaves[k].values, 0, what + ": an input was written");
      }
    }
  }
}

// A scalar of any tensor: the mean of its elements times fixed numbers, all different, so that no two elements can be
// swapped unseen.
inline double coefficient(size_t k) { return static_cast<float>(0.3 + 0.7 * std::sin(1.0 + static_cast<double>(k))); }

inline Tensor weigh(Tape& tape, const Tensor& tensor) {
  const Tensor weights = tape.make(tensor.size());
  for (int64_t k = 0; k < tensor.size(); ++k) weights.data[k] = static_cast<float>(coefficient(static_cast<size_t>(k)));
  return ops::weighted_mean(tape, tensor.reshaped(tensor.size(), 1), weights);
}

inline double weigh(const Doubles& values) {
  double sum = 0;
  for (size_t k = 0; k < values.size(); ++k) sum += coefficient(k) * values[k];
  return sum / static_cast<double>(values.size());
}

}  // namespace duet::test
