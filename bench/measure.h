// Times one pass of a prepared variant, and the bare product of its shape in turn with it.
#pragma once

#include <map>

#include "bench/backend.h"

namespace duet::bench {

enum class Pass { forward, backward, both };

const char* pass_name(Pass pass);

struct Measurement {
  double median_s = 0;
  double spread = 0;  // (upper quartile - lower quartile) / median
  double product_s = 0;
  double loop_rate = 0;  // calls a second of the wall clock, of what runs in a loop of a program; 0: of the others
  Cost cost;
  double ratio() const { return median_s / (cost.products * product_s); }
};

// The products that a run of the program has tuned so far.
class Yardsticks {
 public:
  explicit Yardsticks(const duet_context& context) : context_(context) {}
  Product& of(const ProductShape& shape);

 private:
  const duet_context& context_;
  std::map<ProductShape, std::unique_ptr<Product>> products_;
};

// Runs every set once, and verifies set 0; an Error says what was wrong.
void warm_up_and_verify(Prepared& prepared, bool backward);

// repeat 0: as many as take about half a second, at least 5.
Measurement measure(Prepared& prepared, Pass pass, int repeat, Yardsticks& yardsticks);

}  // namespace duet::bench
