// Rows of any width in the plane that keeps most of them: their first two principal components.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/features.h"

namespace duet::report {

struct Projection {
  std::vector<std::array<float, 2>> points;  // one a row
  std::array<double, 2> share = {0, 0};      // of the rows' variance along each axis
};
// Of finite rows. Axes point where their largest weight is above 0. Fewer than two rows, or equal ones: all at 0.
Projection principal_plane(const data::Features& rows);

}  // namespace duet::report
