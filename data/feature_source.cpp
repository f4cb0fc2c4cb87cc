#include "data/feature_source.h"

#include <cmath>
#include <utility>

#include "data/npy_elements.h"
#include "kernels/core/error.h"

namespace duet::data {

FeatureSource::FeatureSource(NpyFile file, FortranOrder order) : file_(std::move(file)) {
  const NpyView& view = file_.view;
  require(!view.fortran_order || order == FortranOrder::accept, view.name,
          ": Fortran order; expected C order (save numpy.ascontiguousarray of it, or set the key accept_fortran_order "
          "to true)");
  require(view.shape.size() == 2, view.name, ": shape ", shape_text(view.shape),
          "; expected features of two dimensions, rows x columns");
  require(view.shape[0] > 0 && view.shape[1] > 0, view.name, ": shape ", shape_text(view.shape),
          "; expected at least one row and one column");
}

double FeatureSource::rounding() const {
  switch (file_.view.type) {
    case NpyType::f2: return 0x1p-11;
    case NpyType::f4: return 0x1p-24;
    case NpyType::f8: return 0x1p-53;
    default: return 0;
  }
}

void FeatureSource::read_row(int64_t i, std::span<double> out) const {
  const int64_t row_step = file_.view.fortran_order ? 1 : columns(),
                column_step = file_.view.fortran_order ? rows() : 1;
  bool good = true;
  with_elements(file_.view, [&](auto value) {
    for (size_t k = 0; k < out.size(); ++k) {
      out[k] = static_cast<double>(value(i * row_step + static_cast<int64_t>(k) * column_step));
      good &= std::abs(out[k]) <= kLargestValue;  // NaN fails
    }
  });
  if (good) return;
  size_t k = 0;
  while (std::abs(out[k]) <= kLargestValue) ++k;
  throw Error(DUET_STATUS_INVALID_ARGUMENT,
              text(name(), ": row ", i, ", column ", k, " is ", out[k], "; expected a finite number, of at most ",
                   kLargestValue, " in magnitude"));
}

}  // namespace duet::data
