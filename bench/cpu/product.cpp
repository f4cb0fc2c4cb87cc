#include <chrono>

#include "bench/cpu/backend.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_product.h"

namespace duet::bench::cpu {
namespace {

constexpr int64_t kBandElements = int64_t{1} << 28;
// Multiply-adds up to which one thread may be as fast as several: handing out the work costs microseconds.
constexpr double kOneThread = 1e7;

class CpuProduct : public Product {
 public:
  // Tries both with tiles of several shapes and keeps the fastest.
  CpuProduct(const ProductShape& shape, const duet_context& context);
  void run() override { run(tile_); }

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

CpuProduct::CpuProduct(const ProductShape& shape, const duet_context& context)
    : shape_(shape),
      context_(context),
      x_(Draw(1).normals(shape.rows, shape.inner)),
      y_(Draw(2).normals(shape.columns, shape.inner)),
      band_rows_(std::clamp<int64_t>(kBandElements / std::max<int64_t>(1, shape.columns), 1,
                                     std::max<int64_t>(1, shape.rows))),
      result_(band_rows_, shape.columns),
      packed_(static_cast<size_t>(duet::cpu::packed_size(shape.columns, shape.inner))),
      tile_{128, 256, false} {
  using Clock = std::chrono::steady_clock;
  run();  // the first run pays for what any first run pays for
  auto best = Clock::duration::max();
  const int64_t share = duet::ceil_div(band_rows_, std::max(1, context.threads));
  for (const int64_t rows : {int64_t{64}, int64_t{128}, int64_t{256}, int64_t{512}, share, band_rows_}) {
    for (const int64_t columns : {int64_t{256}, int64_t{1024}, shape.columns}) {
      if (columns > shape.columns || columns == 0) continue;
      if (rows > share && static_cast<double>(shape.rows) * shape.columns * shape.inner > kOneThread) continue;
      for (const bool packed : {false, true}) {
        if (packed && columns % duet::cpu::panel_width() != 0 && columns != shape.columns) continue;
        auto fastest = Clock::duration::max();
        for (int attempt = 0; attempt < 2; ++attempt) {
          const auto start = Clock::now();
          run({rows, columns, packed});
          fastest = std::min(fastest, Clock::now() - start);
        }
        if (fastest < best) best = fastest, tile_ = {rows, columns, packed};
      }
    }
  }
}

void CpuProduct::run(const TileShape& tile) {
  const Matrix<const float> x{x_.row(0), shape_.rows, shape_.inner, shape_.inner},
      y{y_.row(0), shape_.columns, shape_.inner, shape_.inner};
  const Matrix<float> result{result_.row(0), band_rows_, shape_.columns, shape_.columns};
  duet::cpu::PackedRows packed;
  if (tile.packed) packed = duet::cpu::pack_rows(context_, y, packed_.data());
  const int64_t across = duet::ceil_div(shape_.columns, tile.columns);
  for (int64_t band = 0; band < shape_.rows; band += band_rows_) {
    const int64_t band_height = std::min(band_rows_, shape_.rows - band);
    duet::cpu::parallel_for(context_, duet::ceil_div(band_height, tile.rows) * across, [&](int64_t item, int) {
      const int64_t i = item / across * tile.rows, j = item % across * tile.columns;
      const int64_t rows = std::min(tile.rows, band_height - i), columns = std::min(tile.columns, shape_.columns - j);
      const auto x_part = x.part(band + i, 0, rows, shape_.inner);
      const auto to = result.part(i, j, rows, columns);
      if (tile.packed)
        duet::cpu::tile_product(x_part, packed, j, to);
      else
        blas_product(x_part, y.part(j, 0, columns, shape_.inner), to);
    });
  }
}

}  // namespace

std::unique_ptr<Product> make_product(const ProductShape& shape, const duet_context& context) {
  return std::make_unique<CpuProduct>(shape, context);
}

}  // namespace duet::bench::cpu
