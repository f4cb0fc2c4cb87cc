// Dense layer: outputs = s (x W^T + b). Bare loops, for tests alone: in double the reference, in float the naive
// version whose error says what float32 can be asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace duet::reference {

template <class T>
struct LinearOf {
  using Values = std::vector<T>;
  int64_t batch, in, out;
  Values x, weight, bias;  // bias may be empty
  T scale = 1;

  Values forward() const {
    Values y;
    for (int64_t i = 0; i < batch; ++i) {
      for (int64_t o = 0; o < out; ++o) {
        T sum = bias.empty() ? 0 : at(bias, o);
        for (int64_t k = 0; k < in; ++k) sum += at(x, i * in + k) * at(weight, o * in + k);
        y.push_back(scale * sum);
      }
    }
    return y;
  }

  struct Gradients {
    Values x, weight, bias;
  };
  Gradients backward(const Values& g) const {
    Gradients grad{Values(x.size()), Values(weight.size()), Values(static_cast<std::size_t>(out))};
    for (int64_t i = 0; i < batch; ++i) {
      for (int64_t o = 0; o < out; ++o) {
        const T upstream = scale * at(g, i * out + o);
        grad.bias[static_cast<std::size_t>(o)] += upstream;
        for (int64_t k = 0; k < in; ++k) {
          grad.x[static_cast<std::size_t>(i * in + k)] += upstream * at(weight, o * in + k);
          grad.weight[static_cast<std::size_t>(o * in + k)] += upstream * at(x, i * in + k);
        }
      }
    }
    return grad;
  }

 private:
  static T at(const Values& values, int64_t k) { return values[static_cast<std::size_t>(k)]; }
};

using Linear = LinearOf<double>;

}  // namespace duet::reference
