// The yardstick: the bare product x y^T of an operation's shape on the same device, its result stored.
#pragma once

#include "bench/bench.h"

namespace duet::bench {

class Product {
 public:
  virtual ~Product() = default;
  virtual void run() = 0;
};

}  // namespace duet::bench
