// For the emulator: the numbers mean nothing, the way they are taken does.
#include "bench/cuda/product.h"
#include "kernels/simt/simt.h"

namespace duet::bench::cuda {

const int64_t kPeakSize = 32;

namespace {

class PlainProduct : public Product {
 public:
  PlainProduct(const ProductShape& shape, void* stream)
      : x_(Draw(1).normals(shape.rows, shape.inner)),
        y_(Draw(2).normals(shape.columns, shape.inner)),
        result_(shape.rows, shape.columns),
        stream_(stream) {}
  void run() override {
    const auto *x = static_cast<const float*>(x_.matrix().data), *y = static_cast<const float*>(y_.matrix().data);
    auto* const result = static_cast<float*>(result_.matrix().data);
    simt::submit(stream_, [x, y, result, rows = x_.rows(), columns = y_.rows(), inner = x_.columns()] {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          float sum = 0;
          for (int64_t k = 0; k < inner; ++k) sum += x[i * inner + k] * y[j * inner + k];
          result[i * columns + j] = sum;
        }
    });
  }

 private:
  Floats x_, y_, result_;
  void* stream_;
};

}  // namespace

std::unique_ptr<Product> make_product(const ProductShape& shape, duet_precision, void* stream) {
  return std::make_unique<PlainProduct>(shape, stream);
}

}  // namespace duet::bench::cuda
