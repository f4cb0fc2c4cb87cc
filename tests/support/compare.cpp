#include "tests/support/compare.h"

#include <algorithm>
#include <cmath>

namespace duet::test {

double largest(const Doubles& values) {
  double worst = 0;
  for (const double value : values)
    if (std::isfinite(value)) worst = std::max(worst, std::abs(value));
  return worst;
}

void check_close(const Doubles& actual, const Doubles& expected, double tolerance, const std::string& what) {
  REQUIRE_MESSAGE(actual.size() == expected.size(), what);
  double worst = -1;
  size_t where = 0;
  for (size_t k = 0; k < actual.size(); ++k) {
    double error = std::abs(actual[k] - expected[k]);
    if (actual[k] == expected[k] || (std::isnan(actual[k]) && std::isnan(expected[k]))) error = 0;
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    if (error > worst) worst = error, where = k;
  }
  if (actual.empty()) return;
  CHECK_MESSAGE(worst <= tolerance, what << ": element " << where << " is " << actual[where] << ", expected "
                                         << expected[where] << ", off by " << worst << ", allowed " << tolerance);
}

void check_relative(const Doubles& actual, const Doubles& expected, double relative, const std::string& what,
                    double floor) {
  check_close(actual, expected, relative * largest(expected) + floor, what);
}

void check_parts(const Doubles& actual, const Doubles& expected, const Doubles& parts, double relative,
                 const std::string& what, double floor) {
  REQUIRE_MESSAGE(actual.size() == expected.size(), what);
  REQUIRE_MESSAGE(actual.size() == parts.size(), what);
  double worst = -1;
  size_t where = 0;
  for (size_t k = 0; k < actual.size(); ++k) {
    double over = std::abs(actual[k] - expected[k]) - relative * std::abs(parts[k]) - floor;
    if (actual[k] == expected[k] || (std::isnan(actual[k]) && std::isnan(expected[k]))) over = 0;
    if (std::isnan(over)) over = std::numeric_limits<double>::infinity();
    if (over > worst) worst = over, where = k;
  }
  if (actual.empty()) return;
  CHECK_MESSAGE(worst <= 0, what << ": element " << where << " is " << actual[where] << ", expected " << expected[where]
                                 << ", beyond " << relative << " of " << parts[where] << " by " << worst);
}

Doubles central_differences(const std::function<double(const Doubles&)>& f, Doubles x, double step) {
  Doubles out(x.size());
  for (size_t k = 0; k < x.size(); ++k) {
    const double kept = x[k];
    x[k] = kept + step;
    const double above = f(x);
    x[k] = kept - step;
    const double below = f(x);
    x[k] = kept;
    out[k] = (above - below) / (2 * step);
  }
  return out;
}

}  // namespace duet::test
