#include "bench/backend.h"

namespace duet::bench {
namespace {

// The yardstick as a line of its own, so that it can stand beside other libraries' product of the same shape. Its bits
// are those of the tile product that every other line's check goes through.
class BareProduct : public Prepared {
 public:
  explicit BareProduct(const Setting& setting)
      : product_(backend().product({setting.shape.n, setting.shape.m, setting.shape.d}, *setting.context)) {
    const double n = static_cast<double>(setting.shape.n), m = static_cast<double>(setting.shape.m),
                 d = static_cast<double>(setting.shape.d);
    forward_cost = {2 * n * m * d, sizeof(float) * (n * d + m * d + n * m), 1};
    product = {setting.shape.n, setting.shape.m, setting.shape.d};
  }
  int sets() const override { return 1; }
  void forward(int) override { product_->run(); }
  void verify_forward() override {}

 private:
  std::unique_ptr<Product> product_;
};

const Registration kBare{"product", "bare", Passes::forward_only,
                         [](const Setting& setting) { return std::make_unique<BareProduct>(setting); }};

}  // namespace
}  // namespace duet::bench
