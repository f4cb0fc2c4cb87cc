#include "data/feature_source.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/elements.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

constexpr Pooling kPoolings[] = {Pooling::mean, Pooling::max, Pooling::first, Pooling::flatten};

bool is_good(double value) { return std::abs(value) <= FeatureSource::kLargestValue; }  // NaN fails

}  // namespace

const char* pooling_name(Pooling pooling) {
  switch (pooling) {
    case Pooling::mean: return "mean";
    case Pooling::max: return "max";
    case Pooling::first: return "first";
    case Pooling::flatten: return "flatten";
  }
  return "";
}

Pooling parse_pooling(const std::string& word, const std::string& key) {
  for (const Pooling pooling : kPoolings)
    if (word == pooling_name(pooling)) return pooling;
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(key, ": expected mean, max, first or flatten, got '", word, "'"));
}

FeatureSource::FeatureSource(StoredArray array, Pooling pooling) : array_(std::move(array)), pooling_(pooling) {
  const ArrayView& view = array_.view;
  require(!is_text(view.type), view.name, ": strings; expected features, which are numbers");
  require(view.shape.size() >= 2, view.name, ": shape ", shape_text(view.shape),
          "; expected features of two dimensions, rows x columns, or more, rows x times x columns");
  require(view.rows() > 0 && std::ranges::min(view.shape) > 0, view.name, ": shape ", shape_text(view.shape),
          "; expected at least one row and one column");
  const std::vector<int64_t> steps = element_steps(view);
  row_step_ = steps.front();
  column_step_ = steps.back();
  width_ = view.shape.back();
  if (view.shape.size() > 2) {
    // Those between lie one after another in both orders.
    for (size_t axis = 1; axis + 1 < view.shape.size(); ++axis) times_ *= view.shape[axis];
    time_step_ = view.fortran_order ? steps[1] : steps[view.shape.size() - 2];
    require(pooling != Pooling::flatten || !view.fortran_order || view.shape.size() == 3, view.name, ": shape ",
            shape_text(view.shape), " in Fortran order; expected C order for pool=flatten of several axes");
  }
  columns_ = pooling == Pooling::flatten ? times_ * width_ : width_;
}

double FeatureSource::rounding() const {
  switch (array_.view.type) {
    case ElementType::f2: return 0x1p-11;
    case ElementType::bf2: return 0x1p-8;
    case ElementType::f4: return 0x1p-24;
    case ElementType::f8: return 0x1p-53;
    default: return times_ > 1 && pooling_ == Pooling::mean ? 0x1p-53 : 0;
  }
}

std::string FeatureSource::pooled() const {
  const std::vector<int64_t>& shape = array_.view.shape;
  if (shape.size() == 2) return "";
  std::string times;
  for (size_t axis = 1; axis + 1 < shape.size(); ++axis) times += text(axis == 1 ? "" : " x ", shape[axis]);
  times += shape.size() == 3 ? " times" : " places";
  if (pooling_ == Pooling::first) return "first of " + times;
  if (pooling_ == Pooling::flatten) return text(times, " of ", width_, " columns side by side");
  return text(pooling_name(pooling_), " over ", times);
}

void FeatureSource::refuse(int64_t row, int64_t time, int64_t column) const {
  throw Error(
      DUET_STATUS_INVALID_ARGUMENT,
      text(name(), ": row ", row, times_ > 1 ? text(", time ", time) : "", ", column ", column, " is ",
           value(row, time, column), "; expected a finite number, of at most ", kLargestValue, " in magnitude"));
}

int64_t FeatureSource::rows_at_once() const {
  constexpr int64_t kBytes = 32 << 20;  // as much as costs no time that could be measured
  const int64_t as_float = columns_ * static_cast<int64_t>(sizeof(float)),
                in_file = times_ * width_ * element_bytes(array_.view);
  return std::max<int64_t>(1, kBytes / std::max(as_float, in_file));
}

double FeatureSource::value(int64_t row, int64_t time, int64_t column) const {
  double out = 0;
  with_elements(array_.view, [&](auto element) {
    out = static_cast<double>(element(array_.view.row(row) * row_step_ + time * time_step_ + column * column_step_));
  });
  return out;
}

void FeatureSource::read_row(int64_t i, std::span<double> out) const {
  const int64_t first = array_.view.row(i) * row_step_, times = pooling_ == Pooling::first ? 1 : times_;
  int64_t bad_time = -1;
  with_elements(array_.view, [&](auto element) {
    for (int64_t time = 0; time < times; ++time) {
      const int64_t start = first + time * time_step_;
      double* const to = pooling_ == Pooling::flatten ? out.data() + time * width_ : out.data();
      bool good = true;
      for (int64_t k = 0; k < width_; ++k) {
        const auto one = static_cast<double>(element(start + k * column_step_));
        good &= is_good(one);
        if (time == 0 || pooling_ == Pooling::flatten)
          to[k] = one;
        else
          to[k] = pooling_ == Pooling::max ? std::max(to[k], one) : to[k] + one;
      }
      if (!good && bad_time < 0) bad_time = time;
    }
  });
  if (bad_time >= 0)
    for (int64_t k = 0; k < width_; ++k)
      if (!is_good(value(i, bad_time, k))) refuse(i, bad_time, k);
  if (pooling_ == Pooling::mean && times > 1)
    for (double& sum : out) sum /= static_cast<double>(times);
}

}  // namespace duet::data
