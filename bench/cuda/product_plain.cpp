// For the emulator: the numbers mean nothing, the way they are taken does.
#include "bench/cuda/product.h"

namespace duet::bench::cuda {

const int64_t kPeakSize = 32;

namespace {

class PlainProduct : public Product {
 public:
  explicit PlainProduct(const ProductShape& shape)
      : x_(Draw(1).normals(shape.rows, shape.inner)), y_(Draw(2).normals(shape.columns, shape.inner)), result_(shape.rows, shape.columns) {}
  void run() override {
    const auto *x = static_cast<const float*>(x_.matrix().data), *y = static_cast<const float*>(y_.matrix().data);
    auto* result = static_cast<float*>(result_.matrix().data);
    for (int64_t i = 0; i < x_.rows(); ++i)
      for (int64_t j = 0; j < y_.rows(); ++j) {
        float sum = 0;
        for (int64_t k = 0; k < x_.columns(); ++k) sum += x[i * x_.columns() + k] * y[j * x_.columns() + k];
        result[i * y_.rows() + j] = sum;
      }
  }

 private:
  Floats x_, y_, result_;
};

}  // namespace

std::unique_ptr<Product> make_product(const ProductShape& shape, duet_precision, void*) { return std::make_unique<PlainProduct>(shape); }

}  // namespace duet::bench::cuda
