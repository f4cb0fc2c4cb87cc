// What a benchmark is: one variant of one operation, prepared on one shape, with its passes, what they cost at least,
// and its own check.
// A file an operation; each registers its variants, so adding an operation adds a file and no line elsewhere.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/arrays.h"
#include "kernels/core/error.h"

namespace duet::bench {

struct Shape {
  int64_t n, m, d, classes;
};

struct Setting {
  Shape shape;
  duet_context* context;
};

// What a pass costs at least. An exponential, a logarithm or a root counts as one operation.
struct Cost {
  double flops = 0;
  double bytes =
      0;  // every input read once, every output written once; a gradient that is added into is read and written
  int products = 0;  // how many bare products of the shape below it replaces
};

// x (rows x inner) times y (columns x inner) transposed.
struct ProductShape {
  int64_t rows = 0, columns = 0, inner = 0;
  auto operator<=>(const ProductShape&) const = default;
};

// A variant with its inputs drawn. forward(0) and backward(0) have each run exactly once when they are verified.
class Prepared {
 public:
  virtual ~Prepared() = default;
  virtual int sets() const = 0;  // of inputs and outputs, between which the measurement rotates
  virtual void forward(int set) = 0;
  virtual void backward(int) {}
  virtual void verify_forward() = 0;  // set 0 against a few entries recomputed in double; throws Error
  virtual void verify_backward() {}
  // Of what runs in a loop of a program: calls a second of the wall clock, so many one after another; 0: of the others.
  virtual double loop_rate(int) { return 0; }

  Cost forward_cost, backward_cost;
  size_t extra_bytes = 0;  // the workspace asked for
  ProductShape product;
};

// The sets of a variant: as many as it takes to pass the cache, at most 4, so that small inputs do not stay in it from
// call to call.
template <class Set>
class Rotating : public Prepared {
 public:
  int sets() const override { return static_cast<int>(sets_.size()); }

 protected:
  // make(draw) draws a set, size(set) is its bytes.
  template <class Make, class Size>
  void draw_sets(Make&& make, Size&& size) {
    constexpr int kMostSets = 4;
    double bytes = 0;
    for (int k = 0; k < kMostSets && (k == 0 || bytes < past_cache_bytes); ++k) {
      Draw draw(static_cast<uint64_t>(k) + 1);
      sets_.push_back(make(draw));
      bytes += size(sets_.back());
    }
  }
  Set& set(int k) { return sets_[static_cast<size_t>(k)]; }

 private:
  std::vector<Set> sets_;
};

enum class Passes { forward_only, forward_and_backward };

struct Benchmark {
  std::string operation, variant;
  Passes passes;
  std::function<std::unique_ptr<Prepared>(const Setting&)> prepare;
};

// Every benchmark of the program; sorted by operation before use.
inline std::vector<Benchmark>& registry() {
  static std::vector<Benchmark> benchmarks;
  return benchmarks;
}

struct Registration {
  template <class Prepare>
  Registration(std::string operation, std::string variant, Passes passes, Prepare prepare) {
    registry().push_back({std::move(operation), std::move(variant), passes, std::move(prepare)});
  }
};

}  // namespace duet::bench
