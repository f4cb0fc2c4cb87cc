// Plots as inline SVG, each a figure with a legend and, under it, a table of what it shows.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace duet::report {

// A line: y over x, equally many, x ascending. NaN: no point there.
struct Series {
  std::string name;
  std::vector<double> x, y;
};
struct Axes {
  std::string x, y;  // what they show
  // Ends of y; NaN: those of the data.
  double least = std::numeric_limits<double>::quiet_NaN(), most = std::numeric_limits<double>::quiet_NaN();
};
// Every point of a series of at most kMostPoints is drawn, of a longer one so many at equal distances and the last.
inline constexpr size_t kMostPoints = 1000;
std::string line_chart(const std::string& title, const Axes& axes, const std::vector<Series>& series,
                       const std::string& note = "");

// Points of one look. colour: 0 to 9, or below 0 the one of what belongs to no class.
struct Cloud {
  int colour = 0;
  bool cross = false;  // else a dot
  std::vector<std::array<float, 2>> points;
};
struct NamedPlace {
  std::string name;
  std::array<double, 2> place;
};
// Points in a plane, both axes of one scale; names are written at their places. spoken: what it shows, for whoever
// does not see it.
std::string scatter(const std::string& spoken, const std::vector<Cloud>& clouds, const std::vector<NamedPlace>& names);

// An n x n matrix by rows: a value of most is full, 0 is empty. rules: rows and columns before which a line is drawn.
std::string heat_map(const std::string& spoken, int64_t n, const std::vector<float>& values, double most,
                     const std::vector<int64_t>& rules);

// Two keys of a legend: a line of series k, and a point.
std::string line_key(size_t k);
std::string point_key(int colour, bool cross);
std::string legend(const std::vector<std::string>& keys_and_texts);

}  // namespace duet::report
