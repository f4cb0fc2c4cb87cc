// The classification head of modalities that share a classifier, for tests alone: unit rows in double, the classifier
// in T (double: the reference; float: the naive version whose error says what float32 can be asked for).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/reference/linear.h"
#include "tests/reference/normalization.h"

namespace duet::reference {

template <class T>
struct HeadOf {
  int64_t rows, columns, classes;
  std::vector<Doubles> x;  // a modality each
  Doubles weight, bias;    // bias may be empty
  double eps, scale;

  struct Outputs {
    std::vector<Doubles> u, logits;
  };
  Outputs forward() const {
    Outputs out;
    for (const Doubles& of : x) {
      out.u.push_back(columns ? unit_rows(of, columns, eps) : of);
      out.logits.push_back(as<double>(layer(out.u.back()).forward()));
    }
    return out;
  }

  struct Gradients {
    std::vector<Doubles> x;
    Doubles weight, bias;
  };
  // What came back for the unit rows and for the logits of every modality; an empty one is none.
  Gradients backward(const std::vector<Doubles>& by_u, const std::vector<Doubles>& by_logits) const {
    Gradients grad{{}, Doubles(weight.size()), Doubles(static_cast<std::size_t>(classes))};
    const Outputs out = forward();
    for (std::size_t k = 0; k < x.size(); ++k) {
      Doubles g = by_u[k].empty() ? Doubles(x[k].size()) : by_u[k];
      if (!by_logits[k].empty()) {
        const auto of_layer = layer(out.u[k]).backward(as<T>(by_logits[k]));
        for (std::size_t e = 0; e < g.size(); ++e) g[e] = static_cast<T>(static_cast<T>(g[e]) + of_layer.x[e]);
        for (std::size_t e = 0; e < grad.weight.size(); ++e)
          grad.weight[e] = static_cast<T>(static_cast<T>(grad.weight[e]) + of_layer.weight[e]);
        for (std::size_t c = 0; c < grad.bias.size(); ++c) grad.bias[c] += of_layer.bias[c];
      }
      grad.x.push_back(columns ? unit_rows_backward(x[k], columns, eps, g) : g);
    }
    return grad;
  }

 private:
  template <class To, class From>
  static std::vector<To> as(const std::vector<From>& values) {
    return std::vector<To>(values.begin(), values.end());
  }
  LinearOf<T> layer(const Doubles& u) const {
    return {rows, columns, classes, as<T>(u), as<T>(weight), as<T>(bias), static_cast<T>(scale)};
  }
};

using Head = HeadOf<double>;

}  // namespace duet::reference
