#include "kernels/core/arguments.h"

#include <algorithm>

namespace duet {
namespace {

// Whether 0 ... count - 1 and first ... first + other - 1 have a number in common.
bool meet(int64_t count, int64_t first, int64_t other) { return first < count && first + other > 0; }

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

}  // namespace

bool share_memory(const Region& a, const Region& b) {
  if (a.first >= b.end || b.first >= a.end) return false;
  if (a.rows == 1 && b.rows == 1) return true;
  if (a.rows == 1 || (b.rows > 1 && b.rows < a.rows)) return share_memory(b, a);
  const auto shift = static_cast<int64_t>(b.first - a.first);
  if (a.stride == b.stride) {  // row j of b begins `within` bytes into the stride of row j + down of a
    const int64_t down = floor_div(shift, a.stride), within = shift - down * a.stride;
    return (within < a.bytes && meet(a.rows, down, b.rows)) ||
           (within + b.bytes > a.stride && meet(a.rows, down + 1, b.rows));
  }
  if (b.rows == 1) {  // the last row of a that begins before b's end
    const int64_t last = std::min(a.rows - 1, floor_div(shift + b.bytes - 1, a.stride));
    return last >= 0 && last * a.stride + a.bytes > shift;
  }
  // Two strides: for each row of the view that has fewer, the last row of the other that begins before its end.
  for (int64_t i = 0; i < a.rows; ++i) {
    const int64_t begin = i * a.stride - shift, last = std::min(b.rows - 1, floor_div(begin + a.bytes - 1, b.stride));
    if (last >= 0 && last * b.stride + b.bytes > begin) return true;
  }
  return false;
}

Matrix<const float> Arguments::side(const duet_const_matrix& view, const char* name, int64_t columns, int64_t rows) {
  const Matrix<const float> given = takes_halves_ && is_half(view, name)
                                        ? half(view, name, rows, columns)
                                        : matrix<const float>(view, name, rows, columns);
  require(given.rows <= INT32_MAX, name, ": expected below 2^31 rows, got ", given.rows);
  return given;
}

Matrix<const float> Arguments::half(const duet_const_matrix& view, const char* name, int64_t rows, int64_t columns) {
  is_given(view, name, view.dtype, rows, columns, Need::required, look_);
  const uintptr_t place = front_ + reserved_.used();
  reserved_.take_matrix<float>(view.rows, view.columns);
  float* const data = look_ == Look::shapes ? detail::somewhere<float>() : reinterpret_cast<float*>(place);
  if (look_ == Look::data && view.rows > 0 && view.columns > 0) {
    const Matrix<const uint16_t> from{static_cast<const uint16_t*>(view.data), view.rows, view.columns,
                                      has_stride(view) ? view.row_stride : view.columns};
    add(name, from);
    if (half_count_ == kMostHalves)
      throw Error(DUET_STATUS_INTERNAL_ERROR, text(name, ": more than ", kMostHalves, " sides"));
    halves_[half_count_++] = {from.data, data, from.rows, from.columns, from.stride, view.dtype};
  }
  return {data, view.rows, view.columns, view.columns};
}

void Arguments::become_output(const void* data, const char* name) {
  for (int k = 0; k < count_; ++k)
    if (regions_[k].first == reinterpret_cast<uintptr_t>(data)) regions_[k].written = true, regions_[k].name = name;
}

Arguments::Clash Arguments::clash() const {
  for (int i = 0; i < count_; ++i) {
    const Region& one = regions_[i];
    for (int j = 0; j < i; ++j) {
      const Region& other = regions_[j];
      if (one.first >= other.end || other.first >= one.end || !(one.written || other.written)) continue;
      if (share_memory(one, other)) return one.written ? Clash{&one, &other} : Clash{&other, &one};
    }
  }
  return {nullptr, nullptr};
}

void Arguments::refuse(const Clash& clash) {
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(clash.output->name, ": shares memory with ", clash.other->name));
}

void Arguments::check(const duet_workspace& workspace, size_t needed) {
  needed += reserved();
  Workspace(workspace).check(needed);
  if (needed > 0) add("workspace", true, workspace.data, 1, static_cast<int64_t>(needed), static_cast<int64_t>(needed));
  check();
}

namespace {
constexpr const char* kBesideSums = "where sums are given";
}  // namespace

Matrix<double> sums_or_none(Arguments& arguments, const duet_matrix& sums, const char* name, int64_t rows,
                            int64_t columns) {
  return wants_sums(sums) ? arguments.matrix<double>(sums, name, rows, columns) : Matrix<double>{};
}

Vector<float> vector_or_sums(Arguments& arguments, const duet_vector& view, const char* name, int64_t size,
                             const duet_matrix& sums) {
  if (!wants_sums(sums)) return arguments.vector<float>(view, name, size);
  require_absent(view, name, kBesideSums);
  return {};
}

Matrix<float> matrix_or_sums(Arguments& arguments, const duet_matrix& view, const char* name, int64_t rows,
                             int64_t columns, const duet_matrix& sums) {
  if (!wants_sums(sums)) return arguments.matrix<float>(view, name, rows, columns);
  require_absent(view, name, kBesideSums);
  return {};
}

void refuse_sums() {
  throw Error(DUET_STATUS_UNSUPPORTED, "sums of parts of a batch: expected a context of the CPU, which alone has them");
}

}  // namespace duet
