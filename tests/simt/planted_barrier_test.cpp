// Two of our own kernels, the products of a backward sweep and the merge of sums, through every schedule. Built with
// DUET_PLANT_MISSING_BARRIER, which leaves a barrier out of the tile product and one out of the merge, the emulator
// must find both; built without, it must find nothing.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/scores.h"
#include "tests/simt/schedules.h"

namespace duet::simt {
namespace {

duet_context context() {
  duet_context context;
  context.device = DUET_DEVICE_CUDA;
  context.precision = DUET_PRECISION_FP32;
  context.multiprocessors = kMultiprocessors;
  return context;
}

class Memory64 {
 public:
  explicit Memory64(size_t bytes) : bytes_(bytes), lines_(new Line[bytes / sizeof(Line) + 1]()) {}
  duet_workspace view() const { return {lines_.get(), bytes_}; }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  size_t bytes_;
  std::unique_ptr<Line[]> lines_;
};

template <class Piece, class... Arguments>
size_t bytes_of(const Arguments&... arguments) {
  Workspace measure;
  Piece(measure, arguments...);
  return measure.used();
}

// Every G, a and v is 1, so that every gradient is a count.
bool products_right() {
  const int64_t n = 70, m = 130, d = 5;
  const duet_context device = context();
  const Memory64 memory(bytes_of<cuda::BlockGradients>(device.precision, n, m, d));
  Workspace pieces(memory.view());
  cuda::BlockGradients products(pieces, device.precision, n, m, d);
  std::vector<float> a(n * d, 1), v(m * d, 1), grad_a(n * d), grad_v(m * d);
  products.begin(device, {a.data(), n, d, d}, nullptr, {v.data(), m, d, d}, nullptr, {grad_a.data(), n, d, d},
                 {grad_v.data(), m, d, d});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      products.block().g.words[i * products.block().g.stride + j] = __float_as_uint(1);
      products.block().transposed.words[j * products.block().transposed.stride + i] = __float_as_uint(1);
    }
  }
  products.add(device, {0, 0, static_cast<int>(n), static_cast<int>(m)});
  bool right = true;
  for (const float g : grad_a) right = right && g == static_cast<float>(m);
  for (const float g : grad_v) right = right && g == static_cast<float>(n);
  return right;
}

// Every tile says 1 of every row and column.
bool merge_right() {
  const int64_t n = 300, m = 1000;
  const int tile_columns = 64;
  const duet_context device = context();
  const Memory64 memory(bytes_of<cuda::SweepSums>(n, m, tile_columns, cuda::Shift::no, cuda::Cross::no));
  Workspace pieces(memory.view());
  const cuda::SweepSums sums(pieces, n, m, tile_columns, cuda::Shift::no, cuda::Cross::no);
  sums.begin(device);
  std::fill_n(sums.partials().rows.sum, sums.partials().rows.stride * 16, 1.0f);
  std::fill_n(sums.partials().columns.sum, sums.partials().columns.stride * 3, 1.0f);
  cuda::merge_sums(device, {0, 0, static_cast<int>(n), static_cast<int>(m)}, tile_columns, {&sums});
  bool right = true;
  for (int64_t i = 0; i < n; ++i) right = right && sums.rows()[i].sum == 16;
  for (int64_t j = 0; j < m; ++j) right = right && sums.columns()[j].sum == 3;
  return right;
}

// "" where no schedule shows anything.
std::string finding(bool (*right)()) {
  std::string found;
  for_each_schedule([&] {
    try {
      if (!right() && found.empty()) found = "a wrong result, " + repeat_command();
    } catch (const Error& error) {
      if (found.empty()) found = error.what();
    }
  });
  return found;
}

}  // namespace

TEST_CASE("a barrier left out of the tile product or the merge of sums is found") {
  for (const auto& kernel : {products_right, merge_right}) {
    const std::string found = finding(kernel);
    CAPTURE(found);
#ifdef DUET_PLANT_MISSING_BARRIER
    CHECK(!found.empty());
#else
    CHECK(found.empty());
#endif
  }
}

}  // namespace duet::simt
