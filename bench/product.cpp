#include "bench/product.h"

#include <chrono>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/tile_product.h"

namespace duet::bench {
namespace {

constexpr int64_t kBandElements = int64_t{1} << 28;
// Multiply-adds up to which one thread may be as fast as several: handing out the work costs microseconds.
constexpr double kOneThread = 1e7;

}  // namespace

Product::Product(const ProductShape& shape, const duet_context& context)
    : shape_(shape),
      context_(context),
      x_(Draw(1).normals(shape.rows, shape.inner)),
      y_(Draw(2).normals(shape.columns, shape.inner)),
      band_rows_(std::clamp<int64_t>(kBandElements / std::max<int64_t>(1, shape.columns), 1, std::max<int64_t>(1, shape.rows))),
      result_(band_rows_, shape.columns),
      packed_(static_cast<size_t>(cpu::packed_size(shape.columns, shape.inner))),
      tile_{128, 256, false} {
  using Clock = std::chrono::steady_clock;
  run();  // the first run pays for what any first run pays for
  auto best = Clock::duration::max();
  const int64_t share = cpu::ceil_div(band_rows_, std::max(1, context.threads));
  for (const int64_t rows : {int64_t{64}, int64_t{128}, int64_t{256}, int64_t{512}, share, band_rows_}) {
    for (const int64_t columns : {int64_t{256}, int64_t{1024}, shape.columns}) {
      if (columns > shape.columns || columns == 0) continue;
      if (rows > share && static_cast<double>(shape.rows) * shape.columns * shape.inner > kOneThread) continue;
      for (const bool packed : {false, true}) {
        if (packed && columns % cpu::panel_width() != 0 && columns != shape.columns) continue;
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

void Product::run() { run(tile_); }

void Product::run(const TileShape& tile) {
  const Matrix<const float> x{x_.row(0), shape_.rows, shape_.inner, shape_.inner}, y{y_.row(0), shape_.columns, shape_.inner, shape_.inner};
  const Matrix<float> result{result_.row(0), band_rows_, shape_.columns, shape_.columns};
  cpu::PackedRows packed;
  if (tile.packed) packed = cpu::pack_rows(context_, y, packed_.data());
  const int64_t across = cpu::ceil_div(shape_.columns, tile.columns);
  for (int64_t band = 0; band < shape_.rows; band += band_rows_) {
    const int64_t band_height = std::min(band_rows_, shape_.rows - band);
    cpu::parallel_for(context_, cpu::ceil_div(band_height, tile.rows) * across, [&](int64_t item, int) {
      const int64_t i = item / across * tile.rows, j = item % across * tile.columns;
      const int64_t rows = std::min(tile.rows, band_height - i), columns = std::min(tile.columns, shape_.columns - j);
      const auto x_part = x.part(band + i, 0, rows, shape_.inner);
      const auto to = result.part(i, j, rows, columns);
      if (tile.packed)
        cpu::tile_product(x_part, packed, j, to);
      else
        cpu::product_nt(1, x_part, y.part(j, 0, columns, shape_.inner), 0, to);
    });
  }
}

}  // namespace duet::bench
