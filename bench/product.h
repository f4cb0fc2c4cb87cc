// The yardstick: the bare product x y^T of an operation's shape over all threads, its result stored: by BLAS or by the kernels' own packed
// product (packing included), whichever is faster here.
#pragma once

#include "bench/bench.h"

namespace duet::bench {

class Product {
 public:
  // Tries both with tiles of several shapes and keeps the fastest: a yardstick that is slower than it need be would flatter every ratio.
  Product(const ProductShape& shape, const duet_context& context);
  void run();

 private:
  struct TileShape {
    int64_t rows, columns;
    bool packed;
  };
  void run(const TileShape& tile);

  ProductShape shape_;
  const duet_context& context_;
  Floats x_, y_;
  int64_t band_rows_;  // of the result that are kept at a time: all, unless that would take more than 1 GiB
  Floats result_;
  std::vector<float> packed_;  // y
  TileShape tile_;
};

}  // namespace duet::bench
